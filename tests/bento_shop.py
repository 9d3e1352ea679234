"""A small shop for the tests of bentos: a dataset folder written by hand, a model fitted on it, and a bento of both.

Forty people buy for 120 days. Everybody buys bread, and butter with it; person `p07` also buys coffee every ten days.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from bentos.package import Packaged, package
from counterfoil import pseudonym
from counterfoil.settings import Settings
from counterfoil.types import Candidate
from feature_repo.transforms import PAIR_FEATURES, pair_features
from models.data import DAY_US

NAMES = ("bread", "butter", "coffee", "tea", "milk", "soap", "brush", "novelty")
SHELVES = (
    "food > bakery",
    "food > dairy",
    "food > drinks",
    "food > drinks",
    "food > dairy",
    "home",
    "home",
    "home",
)
ITEMS = [*NAMES, *(f"filler{number:02d}" for number in range(32))]
AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
AS_OF_US = int(AS_OF.timestamp()) * 1_000_000
NEW_US = AS_OF_US - 10 * DAY_US
PEOPLE = 40
ITEM_NAMES = ("popularity_28d", "price")
PERSON_NAMES = ("recency_days", "baskets")
STAMP = pa.timestamp("us", tz="UTC")


def purchases() -> dict[str, list[int]]:
    """Return person, item, time and nothing else, sorted by (person, time, item)."""
    rows = []
    for person in range(PEOPLE):
        for week in range(17):
            time_us = AS_OF_US - (week * 7 + person % 7 + 1) * DAY_US
            basket = {0, 1, 8 + (person * 5 + week) % 32, 4 + (person + week) % 3}
            rows += [(person, time_us, item) for item in basket]
        if person % 2 == 0:
            rows.append((person, AS_OF_US - 3 * DAY_US + person, 7))
    rows += [(7, AS_OF_US - days * DAY_US - 3_600_000_000, 2) for days in (12, 22, 32, 42, 52)]
    rows.sort()
    return {"person": [r[0] for r in rows], "time": [r[1] for r in rows], "item": [r[2] for r in rows]}


def write_dataset(folder: Path, also: dict[str, list] | None = None) -> Path:
    """Write the dataset folder as flows/snapshot.py lays it out; `also` are more columns of the catalogue."""
    folder.mkdir(parents=True)
    bought = purchases()
    rows = len(bought["item"])
    write(folder / "items.parquet", items() | (also or {}))
    write(folder / "people.parquet", {"id": [f"p{person:02d}" for person in range(PEOPLE)]})
    interactions = {
        "person": pa.array(bought["person"], pa.int32()),
        "item": pa.array(bought["item"], pa.int32()),
        "time": pa.array(bought["time"], pa.int64()).cast(STAMP),
        "kind": ["purchase"] * rows,
        "quantity": [1.0] * rows,
        "price": [2.0] * rows,
    }
    write(folder / "interactions.parquet", interactions)
    moments = [AS_OF_US - 28 * DAY_US, AS_OF_US - 14 * DAY_US, AS_OF_US]
    write_features(folder, {name: np.array(values) for name, values in bought.items()}, moments)
    about = {
        "as_of_us": AS_OF_US,
        "holdout_from_us": moments[1],
        "cutoffs_us": moments[:1],
        "horizon_days": 14,
        "history_cap": 1000,
        "history_kinds": ["purchase"],
        "label_kinds": ["purchase"],
        "feature_service": "recommendation_v1",
        "person_names": PERSON_NAMES,
        "item_names": ITEM_NAMES,
        "pair_names": PAIR_FEATURES,
    }
    (folder / "dataset.json").write_bytes(orjson.dumps(about))
    return folder


def items() -> dict[str, list]:
    """Return the catalogue: soap is out of stock, the brush has no price, the novelty came ten days ago."""
    count = len(ITEMS)
    return {
        "id": ITEMS,
        "title": [name.upper() if name != "tea" else None for name in ITEMS],
        "text": [None] * count,
        "category": [*SHELVES, *(["misc"] * 32)],
        "brand": [None] * count,
        "price": [None if name == "brush" else 1.0 + index / 2 for index, name in enumerate(ITEMS)],
        "available_from": pa.array([NEW_US if name == "novelty" else None for name in ITEMS], pa.int64()).cast(STAMP),
        "in_stock": [0 if name == "soap" else 1 for name in ITEMS],
    }  # fmt: skip


def write_features(folder: Path, bought: dict[str, np.ndarray], moments: list[int]) -> None:
    """Write the three feature tables, a block of rows per moment."""
    person_rows, item_rows, pair_rows = [], [], []
    for moment in moments:
        before = {name: values[bought["time"] < moment] for name, values in bought.items()}
        recent = np.bincount(before["item"][before["time"] >= moment - 28 * DAY_US], minlength=len(ITEMS))
        item_rows += [(moment, item, float(recent[item]), 1.0 + item / 2) for item in range(len(ITEMS))]
        for person in range(PEOPLE):
            time_N = before["time"][before["person"] == person]
            person_rows.append(
                (moment, person, (moment - time_N.max()) / DAY_US, float(len(np.unique(time_N))))
            )
        pairs = pair_features(
            before["item"], before["time"], np.ones(len(before["item"])), moment, before["person"]
        )
        pair_rows += [
            (moment, *row)
            for row in zip(
                pairs.person_R.tolist(), pairs.item_R.tolist(), *pairs.feature_RF.T.tolist(), strict=True
            )
        ]
    write_block(folder / "person_features.parquet", ("person",), PERSON_NAMES, person_rows)
    write_block(folder / "item_features.parquet", ("item",), ITEM_NAMES, item_rows)
    write_block(folder / "pair_features.parquet", ("person", "item"), PAIR_FEATURES, pair_rows)


def write_block(path: Path, keys: tuple[str, ...], names: tuple[str, ...], rows: list) -> None:
    """Write rows of (moment, keys.., values..)."""
    columns = list(zip(*rows, strict=True))
    table = {"moment": pa.array(columns[0], pa.int64()).cast(STAMP)}
    table |= {name: pa.array(column, pa.int32()) for name, column in zip(keys, columns[1:], strict=False)}
    table |= {
        name: pa.array(column, pa.float32())
        for name, column in zip(names, columns[1 + len(keys) :], strict=True)
    }
    write(path, table)


def write(path: Path, columns: dict) -> None:
    """Write a Parquet file."""
    pq.write_table(pa.table(columns), path)


def write_artefact(dataset: Path, folder: Path, family_name: str = "repurchase") -> Path:
    """Fit a real family on the dataset and save it."""
    from models.dataset import read
    from models.families import family

    registered = family(family_name)
    folder.mkdir(parents=True)
    registered.fit(registered.config(), read(dataset).training(), 0).save(folder)
    return folder


def candidate(family_name: str = "repurchase") -> Candidate:
    """Return the noun of the fitted model."""
    return Candidate(
        use_case="recommendation",
        family=family_name,
        config={},
        seed=0,
        dataset="dataset-0123456789abcdef",
        address="none",
        sha256="0" * 64,
        code_version="test",
    )


def settings_of(home: Path) -> Settings:
    """Return settings whose home is that folder."""
    home.mkdir(parents=True, exist_ok=True)
    return Settings(home=home)


def make_bento(
    root: Path,
    settings: Settings,
    family_name: str = "repurchase",
    also: dict[str, list] | None = None,
) -> Packaged:
    """Write the dataset, fit the family, package both; `also` are more columns of the catalogue."""
    dataset = write_dataset(root / "dataset", also)
    artefact = write_artefact(dataset, root / "artefact", family_name)
    return package(
        use_case="recommendation",
        candidate=candidate(family_name),
        artefact=artefact,
        dataset=dataset,
        feature_service="recommendation_v1",
        settings=settings,
    )


@dataclass(frozen=True)
class MemoryRecent:
    """What happened since a row was made, in memory: nothing by default."""

    item_ids: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    times_us: tuple[int, ...] = ()
    quantities: tuple[float, ...] = ()
    here: tuple[bool, ...] = ()


@dataclass(frozen=True)
class MemoryView:
    """A person view in memory."""

    history_items: list[str]
    history_times_us: np.ndarray
    history_quantities: np.ndarray
    features: dict[str, float] = field(default_factory=dict)
    category_affinity: dict[str, float] = field(default_factory=dict)
    event_time: datetime | None = None
    expired: bool = False
    recent: MemoryRecent = MemoryRecent()


class MemoryOnline:
    """An online store in memory over the shop's purchases; people are known by their pseudonyms."""

    def __init__(self, key: str) -> None:
        bought = purchases()
        columns = (bought["person"], bought["time"], bought["item"])
        self.rows = {
            pseudonym.pseudonym(f"p{person:02d}", key): [
                (t, i) for p, t, i in zip(*columns, strict=True) if p == person
            ]
            for person in range(PEOPLE)
        }
        # by pseudonym of a person or a session: (item, kind, time in microseconds, quantity, whether in the session that asks)
        self.recent: dict[str | None, list[tuple[str, str, int, float, bool]]] = {}

    def person(self, person_id: str | None, now: datetime, session: str | None = None) -> MemoryView:
        """Return the view of a pseudonym, empty when nobody is known by it, with what was put into `recent`."""
        found = [row for key in (person_id, session) for row in self.recent.get(key, ()) if key]
        recent = (
            MemoryRecent(*zip(*sorted(found, key=lambda row: row[2]), strict=True))
            if found
            else MemoryRecent()
        )
        rows = self.rows.get(person_id)
        if rows is None:
            return MemoryView([], np.zeros(0), np.zeros(0), recent=recent)
        return MemoryView(
            history_items=[ITEMS[item] for _, item in rows],
            history_times_us=np.array([time for time, _ in rows]),
            history_quantities=np.ones(len(rows)),
            features={"recency_days": 1.0, "baskets": 17.0},
            category_affinity={"home": 0.5},
            event_time=AS_OF - timedelta(days=1),
            recent=recent,
        )
