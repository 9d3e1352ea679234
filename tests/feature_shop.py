"""Landing folders for the tests of features: a few rows by hand, or a seeded shop."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from counterfoil.contracts import EVENT, ITEM

START = datetime(2024, 1, 1, tzinfo=UTC)


def at(days: float, hours: float = 0) -> datetime:
    """Return the moment so many days after the shop's first."""
    return START + timedelta(days=days, hours=hours)


def bought(time: datetime, person: str, item: str, **more: Any) -> dict[str, Any]:
    """Return one purchase; its id follows from what it says unless one is given."""
    ident = f"{person}:{item}:{time.isoformat()}"
    return {
        "id": ident,
        "time": time,
        "person": person,
        "item": item,
        "kind": "purchase",
        "quantity": 1.0,
        **more,
    }


def land(folder: Path, events: Iterable[Mapping[str, Any]], items: Iterable[Mapping[str, Any]] = ()) -> Path:
    """Write a landing folder as the intake leaves it: one file per day, and the items. Days that are there are replaced."""
    rows = sorted(events, key=lambda event: (event["time"], event["id"]))
    for day, group in groupby(rows, key=lambda event: event["time"].date()):
        path = folder / "events" / f"day={day}" / "events.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(list(group), EVENT.arrow()), path)
    pq.write_table(pa.Table.from_pylist(list(items), ITEM.arrow()), folder / "items.parquet")
    return folder


def shop(people: int, items: int, days: int, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the events and items of a seeded shop: visits with several lines, tied times, returns, unknown prices."""
    rng = np.random.default_rng(seed)
    catalogue = [
        {
            "id": f"i{number:04d}",
            "title": f"item {number}",
            "category": None if number % 17 == 0 else f"shelf {number % 5} > part {number % 13}",
            "price": float(rng.integers(50, 2000)) / 100,
            "in_stock": 1,
        }
        for number in range(items)
    ]
    events = []
    for number in range(people):
        person = f"p{number:05d}"
        for visit in range(int(rng.integers(1, 9))):
            time = at(float(rng.integers(0, days)), float(rng.integers(8, 21)))
            for line, item in enumerate(rng.integers(0, items, int(rng.integers(1, 6)))):
                event = bought(
                    time,
                    person,
                    f"i{item:04d}",
                    id=f"{person}-{visit}-{line}",
                    session=None if number % 3 == 0 else f"{person}-{visit}",
                    quantity=[1.0, 2.0, 0.5, None, -1.0][int(rng.integers(0, 5))],
                    price=None if rng.random() < 0.1 else float(rng.integers(50, 2000)) / 100,
                )
                events.append(event)
    return events, catalogue
