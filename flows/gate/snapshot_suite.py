"""The suite for a whole snapshot: the contract's row rules on interactions, items and people, freshness, volume, shift."""

from collections.abc import Iterator
from dataclasses import replace
from math import inf

from counterfoil.contracts import EVENT, ITEM, PERSON, Contract, Field
from flows.gate.policy import Policy
from flows.gate.rules import not_in_future, row_rule, row_rules
from flows.gate.suite import Expectation, Suite, flag, pair


def _from_event(name: str, required: bool) -> Field:
    return replace(EVENT.field(name), required=required, required_for=())


INTERACTION = Contract(
    name="interaction",
    key="person",
    fields=(
        Field(name="person", type="int", says="row of people.parquet", required=True, minimum=0),
        Field(name="item", type="int", says="row of items.parquet", required=True, minimum=0),
        _from_event("time", True),
        _from_event("kind", True),
        _from_event("quantity", False),
        _from_event("price", False),
    ),
)
KEYS = {
    "items": Contract(name="items", key="id", fields=(ITEM.field("id"),)),
    "people": Contract(name="people", key="id", fields=(PERSON.field("id"),)),
}
# What is compared with the reference, and how: column -> (metric, unit). Only these two speak of broken data when they move far;
# the others move when a shop changes, which is why models are trained anew: they warn.
CRITICAL_SHIFTS = {"kind": "bits", "price": "psi"}
WARNING_SHIFTS = ("hour", "weekday", "category", "popularity")


def interaction_rules() -> tuple[Expectation, ...]:
    """Return what every interaction must keep: the contract's rules, people and items that exist, no future."""
    return (
        *row_rules(INTERACTION),
        row_rule("known", "person", "person >= (SELECT count(*) FROM people)", "a row of people.parquet"),
        row_rule("known", "item", "item >= (SELECT count(*) FROM items)", "a row of items.parquet"),
        not_in_future(),
    )


def key_rules() -> tuple[tuple[str, Expectation], ...]:
    """Return (table, rule) for the ids of items and people; the rules' columns are named `items.id` and `people.id`."""
    return tuple((table, _of_table(table, rule)) for table, c in KEYS.items() for rule in row_rules(c))


def _of_table(table: str, rule: Expectation) -> Expectation:
    metric = f"{table}.{rule.metric}"
    return replace(rule, column=f"{table}.{rule.column}", metric=metric, counts=metric, unit="count")


def snapshot_suite(policy: Policy, *, compared: bool, traced: bool = False) -> Suite:
    """Return the suite for a snapshot.

    `compared` says whether there is a reference to hold it against, `traced` whether its features are computed anew.
    """
    expectations = (
        *_schema(),
        *_whole(policy),
        *interaction_rules(),
        *(rule for _, rule in key_rules()),
        *(_against_reference(policy) if compared else ()),
        *(_against_the_past() if traced else ()),
    )
    return Suite("snapshot" if compared else "snapshot-first", expectations)


def _schema() -> Iterator[Expectation]:
    for contract in (INTERACTION, *KEYS.values()):
        table = "" if contract is INTERACTION else f"{contract.name}."
        name = table.rstrip(".") or "interactions"
        yield flag("readable", name, f"{name}.readable", f"{name}.parquet can be read")
        for column in contract.names:
            yield flag("present", table + column, f"{name}.{column}.present", "a column of that name")
            yield flag("typed", table + column, f"{name}.{column}.typed", "the contract's type")


def _whole(policy: Policy) -> Iterator[Expectation]:
    floors = (
        (None, "rows", policy.snapshot_rows_floor),
        ("items", "items.rows", 1),
        ("people", "people.rows", 1),
    )
    for column, metric, floor in floors:
        yield Expectation(
            name="rows_at_least", column=column, metric=metric, says=f"{floor} rows or more", unit="count", minimum=float(floor)
        )  # fmt: skip
    for table in KEYS:
        metric = f"{table}.id.unique"
        yield Expectation(
            name="unique", column=f"{table}.id", metric=metric, says="no id twice", unit="count", minimum=0.0, maximum=0.0,
            counts=metric,
        )  # fmt: skip
    for name in ("person", "item", "time"):
        yield flag("varies", name, f"{name}.varies", "more than one value")
    days = policy.freshness_days
    yield Expectation(
        name="fresh", column="time", metric="age_days", says=f"newest event at most {days:g} days before the snapshot",
        unit="days", minimum=0.0, maximum=days,
    )  # fmt: skip
    yield Expectation(
        name="no_gap", column="time", metric="gap_days", says=f"no more than {policy.gap_days:g} days in a row without events",
        severity="warning", unit="days", minimum=0.0, maximum=policy.gap_days,
    )  # fmt: skip


def _against_reference(policy: Policy) -> Iterator[Expectation]:
    for table, metric in ((None, "rows_ratio"), ("items", "items_ratio"), ("people", "people_ratio")):
        share = policy.reference_share
        yield Expectation(
            name="not_shrunk", column=table, metric=metric, says=f"rows against the reference: {share:g} or more",
            unit="ratio", minimum=share,
        )  # fmt: skip
    says = "rows a day, lately, against the reference"
    yield from pair("volume", None, "volume.ratio", policy.volume_warning, policy.volume_critical, says)
    for column in ("quantity", "price"):
        says = "share of filled rows, lately, against the reference"
        bounds = (policy.filled_warning, inf), (policy.filled_critical, inf)
        yield from pair("filled_as_reference", column, f"{column}.filled_ratio", *bounds, says)
    for column, unit in CRITICAL_SHIFTS.items():
        js, psi = (policy.js_warning, policy.js_critical), (policy.psi_warning, policy.psi_critical)
        warning, critical = js if unit == "bits" else psi
        says = f"shift of {column}, lately, from the reference"
        yield from pair("shift", column, f"{column}.shift", (0.0, warning), (0.0, critical), says, unit)  # type: ignore[arg-type]
    for column in WARNING_SHIFTS:
        high = policy.js_warning
        yield Expectation(
            name="shift_closely", column=column, metric=f"{column}.shift", unit="bits", severity="warning",
            says=f"shift of {column}, lately, from the reference: 0 to {high:g}", minimum=0.0, maximum=high,
        )  # fmt: skip


def _against_the_past() -> Iterator[Expectation]:
    for view in ("person", "item", "pair"):
        table = f"{view}_features"
        yield flag(
            "readable",
            table,
            f"{table}.readable",
            f"{table}.parquet can be read and held against the landed days",
        )
        if view != "pair":  # nobody may have a history yet
            yield Expectation(
                name="traced", column=table, metric=f"{table}.traced", says="1 row or more computed anew", unit="count",
                minimum=1.0,
            )  # fmt: skip
        yield Expectation(
            name="knows_no_future", column=table, metric=f"{table}.changed", counts=f"{table}.changed", unit="count",
            says="the same values when computed anew from what was landed before their moment", minimum=0.0, maximum=0.0,
        )  # fmt: skip
        yield Expectation(
            name="explained", column=table, metric=f"{table}.unexplained", counts=f"{table}.unexplained", unit="count",
            says="no feature that the transform does not compute", minimum=0.0, maximum=0.0,
        )  # fmt: skip
