"""Where and when faults strike, and the account of what they spoiled. How they spoil: `fault.py`."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterfoil.errors import InputError
from counterfoil.simulator.chance import Stream, generator
from counterfoil.simulator.fault import FAULTS, FaultKind, FreshIds, MetBy, Site


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """A fault as it was planted: `day` is where; `ids` are the spoiled events (`removed`: they are not in the files)."""

    name: str
    says: str
    day: int
    whole_day: bool
    removed: bool
    met_by: MetBy
    ids: tuple[str, ...]


def days_of(
    faults: tuple[str, ...], days: int, fault_day: int | None, rng: np.random.Generator
) -> dict[str, int]:
    """Return the day of each fault: whole-day faults on days of their own, the others spread over the rest."""
    if fault_day is not None:
        return dict.fromkeys(faults, fault_day)
    whole = [name for name in faults if FAULTS[name].whole_day]
    first = days // 3 if days - days // 3 > len(faults) else min(1, days - 1)
    order = rng.permutation(np.arange(first, days)).tolist()
    placed = dict(zip(whole, order, strict=False))
    rest = order[len(whole) :] or order
    rows = [name for name in faults if not FAULTS[name].whole_day]
    return placed | {name: rest[number % len(rest)] for number, name in enumerate(rows)}


class Saboteur:
    """Strikes tables as they pass, and keeps the account: `ids` per fault, and what is held back until the end."""

    def __init__(self, days: dict[str, int], *, seed: int, rows: int, end_us: int) -> None:
        self.days = days
        self.ids: dict[str, list[str]] = {name: [] for name in days}
        self.late: list[pa.Table] = []
        self._seed, self._rows, self._end_us = seed, rows, end_us

    def strike(
        self, table: pa.Table, chunk_days: np.ndarray, day_N: np.ndarray, block: int, fresh_ids: FreshIds
    ) -> pa.Table:
        """Return a chunk's table with the faults of its days in it; `day_N` holds the day of each row.

        Faults append rows at the end and drop rows only when all have struck, so that row numbers stay what they were.
        """
        free_N = np.ones(len(day_N), bool)
        keep_N = np.ones(len(day_N), bool)
        for name in (name for name, day in self.days.items() if day in chunk_days):
            rng = generator(self._seed, Stream.FAULT, list(FAULTS).index(name), block)
            rows = self._chosen(
                table, np.flatnonzero((day_N == self.days[name]) & free_N), FAULTS[name], rng, block
            )
            if len(rows) == 0:
                continue
            free_N[rows] = False
            struck = FAULTS[name].strike(
                Site(table=table, rows=rows, rng=rng, fresh_ids=fresh_ids, end_us=self._end_us)
            )
            table = struck.table
            self.ids[name] += struck.ids
            if struck.dropped is not None:
                keep_N[struck.dropped] = False
                self.late += [table.take(pa.array(struck.dropped))] if struck.late else []
        added = np.ones(len(table) - len(keep_N), bool)
        return table if keep_N.all() else table.filter(pa.array(np.r_[keep_N, added]))

    def _chosen(
        self, table: pa.Table, rows: np.ndarray, fault: FaultKind, rng: np.random.Generator, block: int
    ) -> np.ndarray:
        """Return the rows that a fault strikes: a whole day's, or a few, in the first block of the day."""
        rows = eligible(table, rows, fault)
        if fault.whole_day:
            return rows
        return np.sort(rng.permutation(rows)[: self._rows]) if block == 0 else rows[:0]

    def account(self) -> tuple[Fault, ...]:
        """Return the faults as planted; InputError when one found nothing to spoil."""
        idle = [name for name, ids in self.ids.items() if not ids]
        if idle:
            raise InputError(
                f"faults {', '.join(idle)} found no event to spoil on their day; ask for more events"
            )
        return tuple(
            Fault(
                name=name,
                says=FAULTS[name].says,
                day=self.days[name],
                whole_day=FAULTS[name].whole_day,
                removed=FAULTS[name].removes,
                met_by=FAULTS[name].met_by,
                ids=tuple(ids),
            )
            for name, ids in self.ids.items()
        )


def eligible(table: pa.Table, rows: np.ndarray, fault: FaultKind) -> np.ndarray:
    """Return those of the rows that a fault may strike."""
    keep = np.ones(len(rows), bool)
    if fault.kinds:
        found = pc.is_in(table["kind"].combine_chunks().take(pa.array(rows)), value_set=pa.array(fault.kinds))
        keep &= found.to_numpy(zero_copy_only=False)
    if fault.column is not None:
        keep &= ~table[fault.column].combine_chunks().take(pa.array(rows)).is_null().to_numpy(
            zero_copy_only=False
        )
    return rows[keep]
