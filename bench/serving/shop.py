"""A shop of any size, made from a seed: everybody has a few shelves with a power law within each.

Nobody has fewer than HISTORY lines, so that every question carries a history of the length that the floor is measured with.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from counterfoil.contracts import EVENT, ITEM, PERSON

START = datetime(2026, 1, 5, tzinfo=UTC)
HISTORY, MORE = 50, 12.0  # lines that everybody has, and how many come on top, on average
VISIT = 5  # lines of a visit
SHELF, TASTES, TAIL = 100, 3, 0.8  # items of a shelf; shelves of a person; how few of a shelf sell most
MOMENT = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a shop is."""

    items: int
    people: int
    days: int = 60
    seed: int = 0

    @property
    def as_of(self) -> datetime:
        """The moment after its last day."""
        return START + timedelta(days=self.days)


def item_id(number: int) -> str:
    """Return the shop's name of an item."""
    return f"i{number:07d}"


def person_id(number: int) -> str:
    """Return the shop's name of a person."""
    return f"person {number}"


def write(folder: Path, size: Size) -> Path:
    """Write events, items and people as the contract has them; the same size gives the same rows."""
    folder.mkdir(parents=True)
    pq.write_table(_events(size), folder / "events.parquet")
    pq.write_table(_items(size), folder / "items.parquet")
    people = {"id": [person_id(one) for one in range(size.people)]}
    pq.write_table(
        pa.Table.from_pydict(people).cast(pa.schema([PERSON.arrow().field("id")])), folder / "people.parquet"
    )
    return folder


def _events(size: Size) -> pa.Table:
    """Return what people bought, by time: visits of VISIT lines at any time of the shop's days."""
    random = np.random.default_rng(size.seed)
    lines_P = HISTORY + random.geometric(1 / MORE, size.people)
    person_N = np.repeat(np.arange(size.people), lines_P)
    line_N = np.arange(len(person_N)) - np.repeat(np.cumsum(lines_P) - lines_P, lines_P)
    visit_N = line_N // VISIT
    _, visit_N = np.unique(person_N * 1_000 + visit_N, return_inverse=True)
    second_V = random.integers(8 * 3600, 20 * 3600, visit_N.max() + 1)
    time_V = (random.integers(0, size.days, visit_N.max() + 1) * 86_400 + second_V) * 1_000_000
    time_N = time_V[visit_N] + int(START.timestamp() * 1e6)
    taste_PT = random.integers(0, size.items // SHELF, (size.people, TASTES))
    shelf_N = taste_PT[person_N, random.integers(0, TASTES, len(person_N))]
    place_N = np.minimum((SHELF ** random.random(len(person_N)) ** TAIL).astype(np.int64) - 1, SHELF - 1)
    item_N = shelf_N * SHELF + place_N
    order_N = np.lexsort((line_N, person_N, time_N))
    id_N = [f"e{number}" for number in range(len(order_N))]
    names_I, names_P = _names(item_id, size.items), _names(person_id, size.people)
    columns = {
        "id": pa.array(id_N),
        "time": pa.array(time_N[order_N]).cast(MOMENT),
        "person": names_P.take(pa.array(person_N[order_N])),
        "kind": pa.array(["purchase"] * len(order_N)),
        "session": pa.array([f"s{visit}" for visit in visit_N[order_N].tolist()]),
        "item": names_I.take(pa.array(item_N[order_N])),
        "quantity": pa.array(np.ones(len(order_N))),
        "price": pa.array(_price(item_N[order_N])),
    }
    schema = pa.schema([EVENT.arrow().field(name) for name in columns])
    return pa.table(columns).cast(schema)


def _items(size: Size) -> pa.Table:
    number_I = np.arange(size.items)
    shelf_I = (number_I // SHELF).tolist()
    columns = {
        "id": _names(item_id, size.items),
        "title": pa.array([f"item {number}" for number in range(size.items)]),
        "category": pa.array([f"hall {shelf % 20} > shelf {shelf}" for shelf in shelf_I]),
        "brand": pa.array([f"brand {number % 997}" for number in range(size.items)]),
        "price": pa.array(_price(number_I)),
        "in_stock": pa.array(np.ones(size.items, np.int64)),
    }
    return pa.table(columns).cast(pa.schema([ITEM.arrow().field(name) for name in columns]))


def _price(number_N: np.ndarray) -> np.ndarray:
    return 1.0 + (number_N * 37 % 400) / 10.0


def _names(name: "type[str] | object", count: int) -> pa.Array:
    return pa.array([name(number) for number in range(count)])  # type: ignore[operator]
