"""Bad data on request: the faults that can be asked for, and how each spoils events. Where and when: `saboteur.py`.

A row fault spoils a few events of one day; a whole-day fault changes that day as a whole and stands on it alone. Faults act on
Arrow tables after the true events are made, so that asking for one changes nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PRICED = ("view", "cart", "purchase")
HOUR_US = 3_600_000_000
SPIKE = 4  # copies beside each event
LATE_SHARE = 0.3
BOT_SHARE = 0.5
FreshIds = Callable[[int], pa.Array]
MetBy = Literal["contract", "duplicates", "gate", "nobody"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """Where a fault strikes: the rows of its day in `table`, chance, and a source of fresh event ids."""

    table: pa.Table
    rows: np.ndarray
    rng: np.random.Generator
    fresh_ids: FreshIds
    end_us: int

    def values(self, column: str, rows: np.ndarray) -> pa.Array:
        """Return a column at these rows."""
        return self.table[column].combine_chunks().take(pa.array(rows))


@dataclass(frozen=True, kw_only=True, slots=True)
class Struck:
    """What a fault left: the table, the ids it spoiled, the rows that must go, and whether they come after all, late."""

    table: pa.Table
    ids: list[str]
    dropped: np.ndarray | None = None
    late: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultKind:
    """A fault that can be asked for. `kinds` are the events it may strike; `column`, what must be there to be spoiled.

    `met_by` says who ought to notice: the contract (row by row), the duplicate count, the gate on data, or nobody, since
    data may come late.
    """

    says: str
    strike: Callable[[Site], Struck]
    whole_day: bool = False
    kinds: tuple[str, ...] = ()
    column: str | None = None
    removes: bool = False
    met_by: MetBy = "gate"


def put(table: pa.Table, column: str, rows: np.ndarray, values: Any) -> pa.Table:
    """Return the table with these values in that column at these rows (in ascending order); None is null."""
    place = table.schema.get_field_index(column)
    mask = np.zeros(len(table), bool)
    mask[rows] = True
    kind = table.schema.field(place).type
    filler = values if isinstance(values, pa.Array) else pa.array([values] * len(rows), kind)
    column_values = table[column].combine_chunks()
    return table.set_column(
        place, column, pc.replace_with_mask(column_values, pa.array(mask), filler.cast(kind))
    )


def _ids(site: Site, rows: np.ndarray) -> list[str]:
    return site.values("id", rows).to_pylist()


def _same(column: str, value: Any) -> Callable[[Site], Struck]:
    """Return a strike that writes one value into one column."""

    def strike(site: Site) -> Struck:
        return Struck(table=put(site.table, column, site.rows, value), ids=_ids(site, site.rows))

    return strike


def _scaled(column: str, factor: float) -> Callable[[Site], Struck]:
    """Return a strike that multiplies one column."""

    def strike(site: Site) -> Struck:
        values = pc.multiply(site.values(column, site.rows), factor)
        return Struck(table=put(site.table, column, site.rows, values), ids=_ids(site, site.rows))

    return strike


def _unknown_item(site: Site) -> Struck:
    names = pa.array([f"unknown-{number}" for number in range(len(site.rows))])
    return Struck(table=put(site.table, "item", site.rows, names), ids=_ids(site, site.rows))


def _future(site: Site) -> Struck:
    ahead_us = site.end_us + site.rng.integers(30 * 24, 400 * 24, len(site.rows)) * HOUR_US
    times = pa.array(ahead_us).cast(pa.timestamp("us", tz="UTC"))
    return Struck(table=put(site.table, "time", site.rows, times), ids=_ids(site, site.rows))


def _swapped(site: Site) -> Struck:
    table = put(site.table, "person", site.rows, site.values("item", site.rows))
    return Struck(
        table=put(table, "item", site.rows, site.values("person", site.rows)), ids=_ids(site, site.rows)
    )


def _duplicate(site: Site) -> Struck:
    again = site.table.take(pa.array(site.rows))
    return Struck(table=pa.concat_tables([site.table, again]), ids=_ids(site, site.rows))


def _altered_duplicate(site: Site) -> Struck:
    again = site.table.take(pa.array(site.rows))
    again = put(again, "price", np.arange(len(again)), pc.add(site.values("price", site.rows), 1.0))
    return Struck(table=pa.concat_tables([site.table, again]), ids=_ids(site, site.rows))


def _one_item(site: Site) -> Struck:
    item = site.values("item", site.rows[:1])[0].as_py()
    return Struck(table=put(site.table, "item", site.rows, item), ids=_ids(site, site.rows))


def _spike(site: Site) -> Struck:
    rows = np.repeat(site.rows, SPIKE)
    return _more(site, site.table.take(pa.array(rows)))


def _bot(site: Site) -> Struck:
    views = site.rows[site.rng.integers(0, len(site.rows), max(50, int(BOT_SHARE * len(site.rows))))]
    made = site.table.take(pa.array(np.sort(views)))
    person = made["person"][0].as_py()
    everywhere = np.arange(len(made))
    made = put(put(made, "person", everywhere, person), "session", everywhere, f"{person}-bot")
    return _more(site, made)


def _more(site: Site, rows: pa.Table) -> Struck:
    """Return the table with events added under fresh ids."""
    fresh = site.fresh_ids(len(rows))
    rows = rows.set_column(0, site.table.schema.field("id"), fresh)
    return Struck(table=pa.concat_tables([site.table, rows]), ids=fresh.to_pylist())


def _outage(site: Site) -> Struck:
    time_us = site.values("time", site.rows).cast(pa.int64()).to_numpy()
    gone = site.rows[time_us % (24 * HOUR_US) >= 10 * HOUR_US]
    return Struck(table=site.table, ids=_ids(site, gone), dropped=gone)


def _late(site: Site) -> Struck:
    held = site.rows[site.rng.random(len(site.rows)) < LATE_SHARE]
    return Struck(table=site.table, ids=_ids(site, held), dropped=held, late=True)


def _skewed(site: Site) -> Struck:
    times = pc.add(site.values("time", site.rows), pa.scalar(9 * HOUR_US, pa.duration("us")))
    return Struck(table=put(site.table, "time", site.rows, times), ids=_ids(site, site.rows))


def _row(
    says: str,
    strike: Callable[[Site], Struck],
    *kinds: str,
    column: str | None = None,
    met_by: MetBy = "contract",
) -> FaultKind:
    return FaultKind(says=says, strike=strike, kinds=kinds, column=column, met_by=met_by)


def _day(
    says: str,
    strike: Callable[[Site], Struck],
    *kinds: str,
    column: str | None = None,
    met_by: MetBy = "gate",
) -> FaultKind:
    removes = strike is _outage
    return FaultKind(
        says=says, strike=strike, whole_day=True, kinds=kinds, column=column, removes=removes, met_by=met_by
    )


FAULTS: dict[str, FaultKind] = {
    "duplicate": _row("events come twice, the same in every column", _duplicate, met_by="duplicates"),
    "altered-duplicate": _row("an id comes twice, the second time at another price", _altered_duplicate, *PRICED, column="price",
                              met_by="duplicates"),
    "missing-person": _row("nobody is named", _same("person", None)),
    "missing-time": _row("no time is given", _same("time", None)),
    "missing-kind": _row("it is not said what was done", _same("kind", None)),
    "missing-item": _row("no item is named where one must be", _same("item", None), *PRICED, "click", "impression"),
    "missing-query": _row("a search without words", _same("query", None), "search"),
    "empty-person": _row("the person is an empty text", _same("person", "")),
    "wrong-kind": _row("a kind that no contract knows", _same("kind", "buy")),
    "negative-price": _row("prices below zero", _scaled("price", -1.0), *PRICED, column="price"),
    "infinite-price": _row("prices are infinite", _same("price", float("inf")), *PRICED, column="price"),
    "nan-price": _row("prices are not a number", _same("price", float("nan")), *PRICED, column="price"),
    "huge-price": _row("prices beyond the contract's bound", _same("price", 1e9), *PRICED, column="price"),
    "huge-quantity": _row("quantities beyond the contract's bound", _same("quantity", 1e9), "cart", "purchase"),
    "zero-position": _row("positions that count from 0", _same("position", 0), "impression", column="position"),
    "negative-dwell": _row("looked at for less than no time", _same("dwell_ms", -5), "view", column="dwell_ms"),
    "long-query": _row("a query of 5,000 letters", _same("query", "x" * 5000), "search"),
    "far-future": _row("times in the year 2150", _same("time", datetime(2150, 1, 1, tzinfo=UTC))),
    "ancient-time": _row("times in the year 1970", _same("time", datetime(1970, 1, 1, tzinfo=UTC))),
    "future-time": _row("times 30 to 400 days after the end", _future, met_by="gate"),
    "unknown-item": _row("items that are not in the catalogue", _unknown_item, column="item", met_by="gate"),
    "swapped-columns": _row("person and item stand in each other's column", _swapped, column="item", met_by="gate"),
    "null-burst": _day("no price on any event of a day", _same("price", None), *PRICED, column="price"),
    "price-in-cents": _day("prices of a day come in cents", _scaled("price", 100.0), *PRICED, column="price"),
    "one-item": _day("all events of a day are about one item", _one_item, column="item"),
    "volume-spike": _day(f"each event of a day comes {SPIKE + 1} times, under ids of its own", _spike),
    "outage": _day("nothing arrives from 10:00 on; the ids are those of the lost events", _outage),
    "late-events": _day("three in ten events of a day come at the end of the feed", _late, met_by="nobody"),
    "clock-skew": _day("the clock of a day is nine hours ahead", _skewed),
    "bot": _day("one person adds half a day's events in a session", _bot, "view", "impression"),
}  # fmt: skip
