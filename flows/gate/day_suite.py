"""The suite for a day's partition: the contract's row rules, and what the day must be against the days before."""

from collections.abc import Iterator
from math import inf

from counterfoil.contracts import EVENT
from flows.gate.history import COMPARED, OPTIONAL
from flows.gate.policy import Policy
from flows.gate.profile import DOUBLED, FLOATS
from flows.gate.rules import not_in_future, row_rule, row_rules
from flows.gate.suite import CRITICAL, WARNING, Expectation, Suite, flag, pair

DAY_START = "epoch_us(day::TIMESTAMP)"


def day_rules(*, clocked: bool) -> tuple[Expectation, ...]:
    """Return what every row of a day must keep: the contract's rules, its own day, a known item; with a clock, not the future."""
    inside = f"epoch_us(time) NOT BETWEEN {DAY_START} AND {DAY_START} + 86399999999"
    rules = [*row_rules(EVENT), row_rule("inside_day", "time", inside, "a time within the partition's day")]
    if clocked:
        rules.append(not_in_future())
    return tuple(rules)


def unknown_item() -> Expectation:
    """Return the rule that finds rows whose item is not in items.parquet; it is judged by its share, not by its count."""
    stranger = "item IS NOT NULL AND item NOT IN (SELECT id FROM known_items)"
    return row_rule("unknown", "item", stranger, "an item of items.parquet")


def day_suite(policy: Policy, rules: tuple[Expectation, ...]) -> Suite:
    """Return the whole suite for days: schema first, then rows, then the day as a whole."""
    return Suite("event-day", (*_schema(), *_whole(policy), *rules, *_against_before(policy)))


def _schema() -> Iterator[Expectation]:
    yield flag("readable", None, "readable", "a Parquet file that can be read")
    yield flag("as_recorded", None, "as_recorded", "the bytes have the SHA-256 that was recorded")
    for name in EVENT.names:
        yield flag("present", name, f"{name}.present", "a column of that name")
        yield flag("typed", name, f"{name}.typed", f"the contract's type, {EVENT.field(name).type}")
    yield Expectation(
        name="no_unknown_columns", column=None, metric="unknown_columns", says="no column beside the contract's",
        severity="warning", unit="count", minimum=0.0, maximum=0.0,
    )  # fmt: skip


def _whole(policy: Policy) -> Iterator[Expectation]:
    floor = policy.rows_floor
    yield Expectation(
        name="rows_at_least", column=None, metric="rows", says=f"{floor} rows or more", unit="count", minimum=float(floor)
    )  # fmt: skip
    yield Expectation(
        name="unique", column=EVENT.key, metric=DOUBLED, says="no event twice", minimum=0.0, maximum=0.0, counts=DOUBLED
    )  # fmt: skip
    stranger = unknown_item()
    known = (
        # A shop that never gave a catalogue is warned; one that did must name what it sells.
        ("known", "item.catalogued_share", CRITICAL, policy.items_known_critical),
        ("all_known", "item.known_share", WARNING, policy.items_known_warning),
    )
    for name, metric, severity, share in known:
        yield Expectation(
            name=name, column="item", metric=metric, says=f"{share:.1%} or more of the items in items.parquet",
            severity=severity, unit="share", minimum=share, predicate=stranger.predicate, counts=stranger.metric,
        )  # fmt: skip


def _against_before(policy: Policy) -> Iterator[Expectation]:
    says = "rows against the median of the days before"
    yield from pair("volume", None, "volume.ratio", policy.volume_warning, policy.volume_critical, says)
    for name in OPTIONAL:
        says = "share of filled rows against the days before"
        bounds = (policy.filled_warning, inf), (policy.filled_critical, inf)
        yield from pair("filled_as_before", name, f"{name}.filled_ratio", *bounds, says)
    for name in FLOATS:
        says = "median against the days before"
        bounds = policy.level_warning, policy.level_critical
        yield from pair("level_as_before", name, f"{name}.level_ratio", *bounds, says)
    for name in COMPARED:
        yield Expectation(
            name="varies_as_before", column=name, metric=f"{name}.constant", says="not one value alone where it used to vary",
            unit="flag", minimum=0.0, maximum=0.0,
        )  # fmt: skip
    says = "divergence of the mix of kinds from the days before, in bits"
    bounds = (0.0, policy.js_warning), (0.0, policy.js_critical)
    yield from pair("mix_as_before", "kind", "kind.shift", *bounds, says, "bits")
