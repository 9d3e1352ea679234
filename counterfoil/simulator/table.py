"""Rows as Arrow tables in the columns of the contracts: events, items, people. No randomness but what the world holds."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterfoil.contracts import EVENT, ITEM, KINDS, PERSON
from counterfoil.simulator import wording
from counterfoil.simulator.chance import hashed
from counterfoil.simulator.visit import DAY_US, Rows
from counterfoil.simulator.world import CHANNELS, World

TIME = pa.timestamp("us", tz="UTC")
AGES = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")
INCOMES = ("under 25k", "25-50k", "50-75k", "75-100k", "100k and more")
COUNTRIES = ("DE", "FR", "GB", "US", "NL", "PL")
HIDDEN, ENDING, ENDS_WITHIN_DAYS = 0.01, 0.02, 30  # shares of the items, and when they end after the past


def numbered(prefix: str, number_N: np.ndarray) -> pa.Array:
    """Return texts: the prefix and a number each."""
    return pc.binary_join_element_wise(pa.scalar(prefix), pa.array(number_N).cast(pa.string()), "")


@dataclass(frozen=True)
class Press:
    """Turns rows of codes into event tables; holds the texts that codes stand for."""

    world: World

    @cached_property
    def person_P(self) -> pa.Array:
        """Ids of people: u0, u1, ..."""
        return numbered("u", np.arange(self.world.config.people))

    @cached_property
    def item_I(self) -> pa.Array:
        """Ids of items: i0, i1, ..."""
        return numbered("i", np.arange(self.world.config.items))

    @cached_property
    def query_Q(self) -> pa.Array:
        """All queries that are typed."""
        world = self.world
        return pa.array(wording.queries(world.categories, world.kinds, world.config.tastes).text_Q)

    def ids(self, first: int, count: int) -> pa.Array:
        """Return event ids s{seed}:{number}, numbered from `first`."""
        return numbered(f"s{self.world.config.seed}:", np.arange(first, first + count))

    def events(self, rows: Rows, first_event: int, chunk: int) -> pa.Table:
        """Return rows as a table of the event contract; visits are named by seed, chunk and number."""
        count = len(rows)
        columns = {
            "id": self.ids(first_event, count),
            "time": pa.array(rows.time_N).cast(TIME),
            "person": self.person_P.take(pa.array(rows.person_N)),
            "kind": pa.array(KINDS).take(pa.array(rows.kind_N)),
            "session": numbered(f"v{self.world.config.seed}-{chunk}-", rows.session_N),
            "item": self.item_I.take(_codes(rows.item_N)),
            "query": self.query_Q.take(_codes(rows.query_N)),
            "position": _codes(rows.position_N).cast(pa.int64()),
            "dwell_ms": _codes(rows.dwell_N).cast(pa.int64()),
            "quantity": _numbers(rows.quantity_N),
            "price": _numbers(rows.price_N),
            "channel": pa.array(CHANNELS).take(pa.array(rows.channel_N)),
            "receipt": pa.nulls(count, pa.string()),
        }
        return pa.table(columns, schema=EVENT.arrow())

    def days(self, rows: Rows) -> np.ndarray:
        """Return the day of each row, int64 [N]."""
        start_us = int(self.world.config.start.timestamp()) * 1_000_000
        return (rows.time_N - start_us) // DAY_US


def _codes(code_N: np.ndarray) -> pa.Array:
    return pa.array(code_N, mask=code_N < 0)


def _numbers(value_N: np.ndarray) -> pa.Array:
    return pa.array(value_N, mask=np.isnan(value_N))


def items(world: World) -> pa.Table:
    """Return the catalogue as a table of the item contract."""
    goods, config, kinds = world.items, world.config, world.kinds
    category, kind = goods.category_I.tolist(), (goods.type_I % kinds).tolist()
    first, second = goods.adjective_I2.T.tolist()
    maker, quality = goods.brand_I.tolist(), goods.quality_I.tolist()
    every = range(config.items)
    shelf = [wording.SHELVES[code][0] for code in range(world.categories)]
    start_us = int(config.start.timestamp()) * 1_000_000
    since_I = np.where(
        goods.arrival_I > 0, goods.arrival_I, -1 - (hashed(config.seed, np.arange(config.items)) * 365)
    )
    columns = {
        "id": Press(world).item_I,
        "title": [wording.title(i, category[i], kind[i], first[i], maker[i]) for i in every],
        "text": [wording.text(category[i], kind[i], first[i], second[i], quality[i]) for i in every],
        "category": [f"{shelf[category[i]]} > {wording.SHELVES[category[i]][3][kind[i]]}" for i in every],
        "brand": [wording.brand(number) for number in maker],
        "image": pa.nulls(config.items, pa.string()),
        "price": goods.price_I,
        "available_from": pa.array(start_us + since_I.astype(np.int64) * DAY_US).cast(TIME),
        "in_stock": (hashed(config.seed + 7, np.arange(config.items)) < 0.97).astype(np.int64),
        **_shown(world),
    }
    return pa.table(columns, schema=ITEM.arrow())


def _shown(world: World) -> dict[str, pa.Array]:
    """Return who sells each item, until when, and what is hidden: as the catalogue stands at the end of the past.

    Drawn by hashes, apart from all other chance. What ends does so in the month after the past, so that nothing was sold
    after its end; what is hidden was sold before.
    """
    config, number_I = world.config, np.arange(world.config.items)
    over_us = int(config.day_start(config.days).timestamp()) * 1_000_000
    seller_I, ends_I, day_I, hidden_I = (hashed(config.seed, number_I, key) for key in range(1, 5))
    day_I = (day_I * ENDS_WITHIN_DAYS).astype(np.int64)
    return {
        "seller": pa.array(wording.SELLERS).take(
            pa.array((seller_I**2 * len(wording.SELLERS)).astype(np.int64))
        ),
        "available_until": pa.array(over_us + day_I * DAY_US, mask=ends_I >= ENDING).cast(TIME),
        "hidden": pa.array((hidden_I < HIDDEN).astype(np.int64)),
    }


def people(world: World) -> pa.Table:
    """Return the people as a table of the person contract, under their raw ids."""
    config, number_P = world.config, np.arange(world.config.people)
    taste_PD = world.people.vector_EPK[0, :, : config.tastes]
    leaning_P = np.einsum("pd,cd->pc", taste_PD, world.items.centroid_CD.astype(np.float32)).argmax(axis=1)
    segments = [shelf[0].split(" > ")[0].lower() for shelf in wording.SHELVES[: world.categories]]
    income_P = np.digitize(world.people.band_P, (-1.2, -0.3, 0.5, 1.4))
    columns = {
        "id": Press(world).person_P,
        "age": _picked(AGES, config.seed + 11, number_P),
        "income": pa.array(INCOMES).take(pa.array(income_P)),
        "household_size": _picked(("1", "2", "3", "4", "5+"), config.seed + 12, number_P),
        "segment": pa.array(segments).take(pa.array(leaning_P)),
        "country": _picked(COUNTRIES, config.seed + 13, number_P),
    }
    return pa.table(columns, schema=PERSON.arrow())


def _picked(choices: tuple[str, ...], seed: int, number_P: np.ndarray) -> pa.Array:
    return pa.array(choices).take(pa.array((hashed(seed, number_P) * len(choices)).astype(np.int64)))
