"""A small grocer for tests of the loop: everybody buys favourites again and again, so that contenders differ.

`land_shop` brings it in through the importer and the landing, as `counterfoil data import contract` does.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from counterfoil.contracts import EVENT, ITEM, PERSON
from counterfoil.settings import Settings
from counterfoil.types import FeatureSpec, Gate, Release, UseCase
from flows.place import Place

START = datetime(2024, 1, 1, tzinfo=UTC)


DAYS = 24
END = START + timedelta(days=DAYS)


def write_shop(
    folder: Path,
    *,
    days: range | int = DAYS,
    people: int = 150,
    items: int = 40,
    seed: int = 7,
    dearer: float = 1.0,
) -> Path:
    """Write events, items and people as the contract has them: a visit every third day, two favourites of three on each.

    The days of one seed are the same whichever of them are written; `dearer` is a factor on what was paid.
    """
    wanted = range(days) if isinstance(days, int) else days
    rows = []
    for person in range(people):
        random = np.random.default_rng([seed, person])
        favourites = random.choice(items, 3, replace=False, p=_pull(items))
        for day in range(person % 3, wanted.stop, 3):
            taken = {*random.choice(favourites, 2, replace=False), random.choice(items, p=_pull(items))}
            time = START + timedelta(days=day, seconds=int(random.integers(8 * 3600, 20 * 3600)))
            if day in wanted:
                rows += [_purchase(person, item, time, n, dearer) for n, item in enumerate(sorted(taken))]
    rows.sort(key=lambda row: (row["time"], row["id"]))
    (folder / "events").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, EVENT.arrow()), folder / "events" / "part-0.parquet")
    catalogue = [
        {"id": f"i{item:03d}", "title": f"item {item}", "category": f"shelf {item % 5}", "price": 1.0 + item / 4, "in_stock": 1}
        for item in range(items)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(catalogue, ITEM.arrow()), folder / "items.parquet")
    known = [{"id": f"person {person}"} for person in range(people)]
    pq.write_table(pa.Table.from_pylist(known, PERSON.arrow()), folder / "people.parquet")
    return folder


def land_shop(settings: Settings, folder: Path) -> None:
    """Land what `write_shop` wrote."""
    from counterfoil.importers import open_source
    from counterfoil.landing import land

    land(open_source("contract", folder), settings)


def small_case(**changes: object) -> UseCase:
    """Return a use case that a small shop can feed: a week's horizon, two quick contenders, a gate that any lead clears."""
    from models.families.popularity import PopularityConfig
    from models.families.repurchase import RepurchaseConfig

    values: dict = {
        "name": "small",
        "task": "rank",
        "features": FeatureSpec(
            service="recommendation_v1",
            keys=("person", "item"),
            label_kinds=("purchase",),
            horizon_days=7,
            cutoffs=1,
        ),
        "contenders": (PopularityConfig(), RepurchaseConfig()),
        "baseline": "popularity",
        "gate": Gate(primary="ndcg@10", margin=0.002, min_units=50, noise_seeds=(1,)),
    }
    return UseCase(**{**values, **changes})


def place_of(home: Path, **settings: Any) -> Place:
    """Open the installation in that folder, with other settings if need be, whatever the environment says."""
    from flows import place

    home.mkdir(parents=True, exist_ok=True)
    return place.place_of(Settings(home=home, **settings))


def turn(place: Place, case: UseCase, as_of: datetime, **watch: Callable) -> tuple:
    """Turn the loop once with plain functions; return what it came to and the outcomes of its verbs."""
    from flows.advance import advance
    from flows.steps import recorder, steps

    memory = recorder(place)
    for name, watcher in watch.items():
        setattr(memory, name, watcher)
    return advance(case, as_of, steps(place, memory)), memory.outcomes


def ran(outcomes: list) -> list[str]:
    """Return the verbs that ran, in order, with what they ran on."""
    return [f"{outcome.verb} {outcome.label}".strip() for outcome in outcomes if not outcome.skipped]


def _pull(items: int) -> np.ndarray:
    weight_I = 1.0 / np.arange(1, items + 1)
    return weight_I / weight_I.sum()


def _purchase(person: int, item: int, time: datetime, line: int, dearer: float) -> dict:
    return {
        "id": f"{person}-{time:%Y%m%d}-{line}",
        "time": time,
        "person": f"person {person}",
        "kind": "purchase",
        "item": f"i{item:03d}",
        "quantity": 1.0,
        "price": dearer * (1.0 + item / 4),
    }


def champion_of(place: Place, name: str = "small") -> Release:
    """Return who serves; there is somebody."""
    found = place.catalog.champion(name)
    assert found is not None
    return found


def challenger_of(place: Place, name: str = "small") -> Release:
    """Return who is in shadow, or a canary; there is somebody."""
    found = place.catalog.challenger(name)
    assert found is not None
    return found
