"""The suite for a day's partition: the contract's row rules, and what the day must be against the days before."""

from collections.abc import Iterator
from datetime import datetime

from counterfoil.contracts import EVENT
from flows.gate.history import COMPARED, OPTIONAL
from flows.gate.policy import Bounds, Policy
from flows.gate.profile import DOUBLED, FLOATS
from flows.gate.rules import literal, row_rule, row_rules
from flows.gate.suite import Expectation, Suite

DAY_START = "epoch_us(day::TIMESTAMP)"


def day_rules(as_of: datetime | None) -> tuple[Expectation, ...]:
    """Return what every row of a day must keep: the contract's rules, its own day, a known item, not the future."""
    inside = f"epoch_us(time) NOT BETWEEN {DAY_START} AND {DAY_START} + 86399999999"
    rules = [*row_rules(EVENT), row_rule("inside_day", "time", inside, "a time within the partition's day")]
    if as_of is not None:
        rules.append(
            row_rule("not_in_future", "time", f"time > {literal(as_of)}", f"not after {as_of.isoformat()}")
        )
    return tuple(rules)


def unknown_item() -> Expectation:
    """Return the rule that finds rows whose item is not in items.parquet; it is judged by its share, not by its count."""
    stranger = "item IS NOT NULL AND item NOT IN (SELECT id FROM known_items)"
    return row_rule("unknown", "item", stranger, "an item of items.parquet")


def day_suite(policy: Policy, rules: tuple[Expectation, ...]) -> Suite:
    """Return the whole suite for days: schema first, then rows, then the day as a whole."""
    return Suite("event-day", (*_schema(), *_whole(policy), *rules, *_against_before(policy)))


def _schema() -> Iterator[Expectation]:
    yield _flag("readable", None, "readable", "a Parquet file that can be read")
    yield _flag("as_recorded", None, "as_recorded", "the bytes have the SHA-256 that was recorded")
    for name in EVENT.names:
        yield _flag("present", name, f"{name}.present", "a column of that name")
        yield _flag("typed", name, f"{name}.typed", f"the contract's type, {EVENT.field(name).type}")
    yield Expectation(
        name="no_unknown_columns", column=None, metric="unknown_columns", says="no column beside the contract's",
        severity="warning", unit="count", minimum=0.0, maximum=0.0,
    )  # fmt: skip


def _flag(name: str, column: str | None, metric: str, says: str) -> Expectation:
    return Expectation(
        name=name, column=column, metric=metric, says=says, unit="flag", minimum=1.0, maximum=1.0
    )


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
        ("known", "critical", policy.items_known_critical),
        ("all_known", "warning", policy.items_known_warning),
    )
    for name, severity, share in known:
        yield Expectation(
            name=name, column="item", metric="item.known_share", says=f"{share:.1%} or more of the items in items.parquet",
            severity=severity, unit="share", minimum=share, predicate=stranger.predicate, counts=stranger.metric,
        )  # fmt: skip


def _against_before(policy: Policy) -> Iterator[Expectation]:
    says = "rows against the median of the days before"
    yield from _pair("volume", None, "volume.ratio", policy.volume_warning, policy.volume_critical, says)
    for name in OPTIONAL:
        says = "share of filled rows against the days before"
        lows = (policy.filled_warning, float("inf")), (policy.filled_critical, float("inf"))
        yield from _pair("filled_as_before", name, f"{name}.filled_ratio", *lows, says)
    for name in FLOATS:
        says = "median against the days before"
        yield from _pair(
            "level_as_before", name, f"{name}.level_ratio", policy.level_warning, policy.level_critical, says
        )
    for name in COMPARED:
        yield Expectation(
            name="varies_as_before", column=name, metric=f"{name}.constant", says="not one value alone where it used to vary",
            unit="flag", minimum=0.0, maximum=0.0,
        )  # fmt: skip
    shift = (0.0, policy.js_warning), (0.0, policy.js_critical)
    yield from _pair(
        "mix_as_before",
        "kind",
        "kind.shift",
        *shift,
        "divergence of the mix of kinds from the days before",
        "bits",
    )


def _pair(
    name: str,
    column: str | None,
    metric: str,
    warning: Bounds,
    critical: Bounds,
    says: str,
    unit: str = "ratio",
) -> Iterator[Expectation]:
    """Yield the critical expectation and, under the name with `_closely`, the warning one."""
    for suffix, severity, (low, high) in (("", "critical", critical), ("_closely", "warning", warning)):
        yield Expectation(
            name=name + suffix, column=column, metric=metric, says=f"{says}: {low:g} to {high:g}", severity=severity,
            unit=unit, minimum=low, maximum=None if high == float("inf") else high,
        )  # fmt: skip
