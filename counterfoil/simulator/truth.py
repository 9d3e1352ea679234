"""What is true about a simulated shop, kept beside its data: preferences, drift, position bias, cycles, planted faults.

Reads and writes folder/truth/: truth.json, vectors as npy, tables as Parquet. Tests and live people ask it;
nothing that learns may.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from counterfoil import canonical
from counterfoil.errors import InputError, UnknownError
from counterfoil.simulator import behaviour, wording
from counterfoil.simulator.config import ShopConfig
from counterfoil.simulator.cycle import Cycles
from counterfoil.simulator.saboteur import Fault
from counterfoil.simulator.table import numbered
from counterfoil.simulator.world import World, epoch, prices

VERSION = 1
SAMPLE = 20
Ids = Sequence[str] | Sequence[int] | np.ndarray


@dataclass(frozen=True)
class Truth:
    """The truth of one shop. People and items are named by id ("u17", "i4") or by number (17, 4)."""

    config: ShopConfig
    events: int
    faults: tuple[Fault, ...]
    folder: Path

    @classmethod
    def load(cls, folder: Path) -> "Truth":
        """Return the truth of the shop in `folder`; InputError when there is none."""
        path = folder / "truth" / "truth.json"
        if not path.is_file():
            raise InputError(f"{folder} holds no truth/truth.json; name the folder of a simulated shop")
        said = orjson.loads(path.read_bytes())
        config = said["config"] | {
            "start": canonical.utc_time(said["config"]["start"]),
            "faults": tuple(said["config"]["faults"]),
        }
        return cls(
            ShopConfig(**config), said["events"], _load_faults(folder / "truth", said["faults"]), folder
        )

    @property
    def drift_time(self) -> datetime | None:
        """The moment at which tastes and popularity shift; None without a drift."""
        return None if self.config.drift_day is None else self.config.day_start(self.config.drift_day)

    @property
    def examination(self) -> np.ndarray:
        """Probability that a position is looked at, float64 [list length], first position first."""
        return np.array(self.config.examination)

    @cached_property
    def person_EPK(self) -> np.ndarray:
        """Person vectors before (and after) the drift, float32."""
        return self._array("person_vectors")

    @cached_property
    def item_IK(self) -> np.ndarray:
        """Item vectors, float32."""
        return self._array("item_vectors")

    @cached_property
    def person_arrival_P(self) -> np.ndarray:
        """Day on which each person first comes, int64; 0: was there before."""
        return self._array("person_arrival")

    @cached_property
    def item_arrival_I(self) -> np.ndarray:
        """Day on which each item can first be had, int64; 0: was there before."""
        return self._array("item_arrival")

    @cached_property
    def activity_P(self) -> np.ndarray:
        """Relative rate of visits of each person, float64."""
        return self._array("activity")

    @cached_property
    def channel_P(self) -> np.ndarray:
        """Code of the channel that each person likes, int8."""
        return self._array("channel")

    @cached_property
    def price_I(self) -> np.ndarray:
        """Usual price of each item, float64."""
        return self._array("price")

    @cached_property
    def item_type_I(self) -> np.ndarray:
        """Kind of product of each item, int32."""
        return self._array("item_type")

    @cached_property
    def item_adjective_I2(self) -> np.ndarray:
        """The two adjectives in each item's text, strongest first, int64."""
        return self._array("item_adjective")

    def cycles(self) -> pa.Table:
        """Return the planted repurchase cycles: person, item, period in days, first day."""
        return pq.read_table(self.folder / "truth" / "cycles.parquet")

    def people(self, ids: Ids) -> np.ndarray:
        """Return the numbers of these people; UnknownError names the first that there is not."""
        return _numbers(ids, "u", self.config.people, "person")

    def items(self, ids: Ids) -> np.ndarray:
        """Return the numbers of these items; UnknownError names the first that there is not."""
        return _numbers(ids, "i", self.config.items, "item")

    def true_preference(self, people: Ids, items: Ids, day: int | np.ndarray) -> np.ndarray:
        """Return the true preference of each pair on a day, float32 [N]: a logit, see `attraction`.

        A single person (or item) beside many items (or people) is repeated.
        """
        person_N, item_N = np.broadcast_arrays(self.people(people), self.items(items))
        epoch_N = np.broadcast_to(epoch(self.config, np.asarray(day)), person_N.shape)
        return np.einsum("nk,nk->n", self.person_EPK[epoch_N, person_N], self.item_IK[item_N])

    def attraction(
        self, people: Ids, items: Ids, day: int | np.ndarray, grades: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the probability of a click on each item once the person looks at it, float [N].

        `grades` are those of `relevance`, for items shown in answer to a search.
        """
        attraction_N = behaviour.attraction(self.true_preference(people, items, day))
        return attraction_N if grades is None else attraction_N * behaviour.RELEVANCE[grades]

    def ideal_list(self, person: str | int, day: int, k: int) -> list[str]:
        """Return the k items that can be had on that day and that the person truly likes best, best first."""
        items = np.flatnonzero(self.item_arrival_I <= day)
        likes = self.true_preference(np.array([person]), items, day)
        return [f"i{item}" for item in items[np.argsort(-likes, kind="stable")[:k]]]

    def relevance(self, query: str, items: Ids) -> np.ndarray:
        """Return how well items answer a query, int64 [N]: 0 another kind, 1 the kind, 2 kind and adjective too."""
        if query not in self._queries:
            raise UnknownError(f"nobody in this shop asks for {query!r}; take a query from its events")
        kind, adjective = self._queries[query]
        item_N = self.items(items)
        fits_N = (self.item_adjective_I2[item_N] == adjective).any(axis=1) | (adjective < 0)
        return np.where(self.item_type_I[item_N] == kind, 1 + fits_N, 0)

    def price(self, items: Ids, day: int) -> np.ndarray:
        """Return what items cost on a day, float64 [N]."""
        item_N = self.items(items)
        return prices(self.config.seed, self.price_I, np.full(len(item_N), day), item_N)

    @cached_property
    def _queries(self) -> dict[str, tuple[int, int]]:
        categories, kinds = wording.shelves(self.config.items)
        known = wording.queries(categories, kinds, self.config.tastes)
        meaning = zip(known.type_Q.tolist(), known.adjective_Q.tolist(), strict=True)
        return dict(zip(known.text_Q, meaning, strict=True))

    def _array(self, name: str) -> np.ndarray:
        return np.load(self.folder / "truth" / f"{name}.npy", mmap_mode="r", allow_pickle=False)


def write_truth(folder: Path, world: World, cycles: Cycles, faults: tuple[Fault, ...], events: int) -> None:
    """Write what is true about a world and the faults planted in its events."""
    folder.mkdir(parents=True)
    arrays = {
        "person_vectors": world.people.vector_EPK,
        "person_arrival": world.people.arrival_P,
        "activity": world.people.activity_P,
        "channel": world.people.channel_P,
        "item_vectors": world.items.vector_IK,
        "item_arrival": world.items.arrival_I,
        "item_type": world.items.type_I,
        "item_adjective": world.items.adjective_I2,
        "price": world.items.price_I,
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
    pq.write_table(_cycle_table(cycles), folder / "cycles.parquet")
    pq.write_table(_bad_events(faults), folder / "bad_events.parquet")
    said = orjson.dumps(_said(world, faults, events), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    (folder / "truth.json").write_bytes(said)


def _said(world: World, faults: tuple[Fault, ...], events: int) -> dict[str, Any]:
    config = world.config
    drift = None if config.drift_day is None else canonical.utc_text(config.day_start(config.drift_day))
    bursts = np.flatnonzero(world.items.burst_day_I >= 0)
    return {
        "version": VERSION,
        "config": canonical.plain(config),
        "events": events,
        "drift_time": drift,
        "examination": list(config.examination),
        "bursts": [{"item": f"i{item}", "day": int(world.items.burst_day_I[item])} for item in bursts],
        "faults": [
            {
                "name": fault.name,
                "says": fault.says,
                "day": fault.day,
                "date": f"{config.day_start(fault.day):%Y-%m-%d}",
                "whole_day": fault.whole_day,
                "removed": fault.removed,
                "met_by": fault.met_by,
                "events": len(fault.ids),
                "sample": list(fault.ids[:SAMPLE]),
            }
            for fault in faults
        ],
    }


def _load_faults(folder: Path, said: list[dict[str, Any]]) -> tuple[Fault, ...]:
    """Return the faults with all their ids, which lie in bad_events.parquet."""
    rows = pq.read_table(folder / "bad_events.parquet").to_pydict()
    ids: dict[str, list[str]] = {}
    for name, event in zip(rows["fault"], rows["id"], strict=True):
        ids.setdefault(name, []).append(event)
    names = {field.name for field in dataclasses.fields(Fault)} - {"ids"}
    return tuple(
        Fault(**{name: one[name] for name in names}, ids=tuple(ids[str(one["name"])])) for one in said
    )


def _bad_events(faults: tuple[Fault, ...]) -> pa.Table:
    schema = pa.schema({"fault": pa.string(), "id": pa.string(), "day": pa.int64(), "removed": pa.bool_()})
    columns = {
        "fault": [fault.name for fault in faults for _ in fault.ids],
        "id": [event for fault in faults for event in fault.ids],
        "day": [fault.day for fault in faults for _ in fault.ids],
        "removed": [fault.removed for fault in faults for _ in fault.ids],
    }
    return pa.table(columns, schema=schema)


def _cycle_table(cycles: Cycles) -> pa.Table:
    return pa.table(
        {
            "person": numbered("u", cycles.person_J),
            "item": numbered("i", cycles.item_J),
            "period_days": cycles.period_J,
            "first_day": cycles.first_J,
        }
    )


def _numbers(ids: Ids, prefix: str, count: int, noun: str) -> np.ndarray:
    given = np.atleast_1d(np.asarray(ids))
    if given.dtype.kind in "UO":
        number_N = np.array([_number(name, prefix) for name in given.tolist()], np.int64)
    else:
        number_N = given.astype(np.int64)
    wrong_N = (number_N < 0) | (number_N >= count)
    if wrong_N.any():
        raise UnknownError(
            f"no {noun} {given[wrong_N].tolist()[0]!r} in this shop; there are {prefix}0 to {prefix}{count - 1}"
        )
    return number_N


def _number(name: str, prefix: str) -> int:
    digits = name.removeprefix(prefix)
    plain = name != digits and digits.isdecimal() and digits == str(int(digits))
    return int(digits) if plain else -1
