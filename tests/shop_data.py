"""A tiny shop with planted tastes, for tests of families: who likes what is known, so learning it can be told from luck.

Every item belongs to a taste (item % tastes) and every person to one (person % tastes). On each visit a person takes
favourites again and again, sometimes another item of the taste, rarely anything. Within a taste the lower numbers are
the more popular. The last item is never taken by anybody.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from models.data import DAY_US, Content, Features, Interactions, Query, TrainingSet

START_US = 1_500_000_000_000_000
ITEM_NAMES = ("popularity_7d", "popularity_28d", "buyers_28d", "age_days")
PERSON_NAMES = ("purchases_28d", "recency_days")
PAIR_NAMES = ("times", "since_last_days")
TASTES = ("citrus mint", "cedar resin", "vanilla cocoa", "lavender rose", "pepper clove", "amber musk")
COLOURS = ((220, 40, 40), (40, 180, 60), (50, 80, 220), (230, 210, 50), (200, 60, 200), (60, 200, 210))
GOODS = ("soap", "candle", "oil", "tea", "balm", "cream", "salt", "mist", "wax", "sachet", "bar")


@dataclass(frozen=True, kw_only=True)
class Shop:
    """What may be learned, the question at its end, and what people took afterwards."""

    training: TrainingSet
    query: Query
    truth: tuple[np.ndarray, ...]
    tastes: int

    def of_taste(self, item_PK: np.ndarray) -> np.ndarray:
        """Say per answer whether the item is of the person's taste, bool [P, K]."""
        return item_PK % self.tastes == (np.arange(len(item_PK)) % self.tastes)[:, None]


def shop(
    *,
    seed: int = 0,
    people: int = 60,
    items: int = 41,
    tastes: int = 4,
    days: int = 112,
    horizon_days: int = 14,
    cutoffs: int = 2,
    visit_every_days: int = 4,
    threads: int = 1,
    pictures: Path | None = None,
) -> Shop:
    """Make a shop; the same arguments give the same arrays. Training ends `horizon_days` before `days`.

    With a folder for `pictures` every item has one, drawn into it.
    """
    everything = visits(
        seed=seed, people=people, items=items, tastes=tastes, days=days, every_days=visit_every_days
    )
    until_us = START_US + (days - horizon_days) * DAY_US
    moments = [until_us - (back + 1) * horizon_days * DAY_US for back in range(cutoffs)]
    training = TrainingSet(
        interactions=everything.between(None, until_us),
        until_us=until_us,
        horizon_us=horizon_days * DAY_US,
        cutoffs={moment: features(everything, moment) for moment in sorted(moments)},
        features=features(everything, until_us),
        category_I=(np.arange(items) % tastes).astype(np.int32),
        threads=threads,
        history_cap=200,
        content=content([item % tastes for item in range(items)], pictures),
    )
    after = everything.between(until_us, None)
    truth = tuple(np.unique(after.item_N[after.person_N == person]) for person in range(people))
    return Shop(
        training=training, query=training.query(np.arange(people), until_us), truth=truth, tastes=tastes
    )


def content(taste_I: Sequence[int], pictures: Path | None = None) -> Content:
    """Describe items of these tastes: words of the taste beside words that say nothing, shelves, brands, prices, pictures."""
    words = [TASTES[taste % len(TASTES)] for taste in taste_I]
    return Content(
        title_I=tuple(f"{GOODS[item % len(GOODS)]} of {told}" for item, told in enumerate(words)),
        text_I=tuple(f"for home and travel, number {item}, {told}" for item, told in enumerate(words)),
        category_I=tuple(f"scents > {told.split()[0]}" for told in words),
        brand_I=tuple(f"house of {told.split()[1]}" for told in words),
        image_I=("",) * len(words) if pictures is None else drawn(pictures, taste_I),
        price_I=np.array([5.0 + 10.0 * taste for taste in taste_I], np.float32),
    )


def drawn(folder: Path, taste_I: Sequence[int]) -> tuple[str, ...]:
    """Draw a picture per item: the taste is its colour and shape, which lie anywhere; the background says nothing."""
    random = np.random.default_rng(len(taste_I))
    paths = []
    for item, taste in enumerate(taste_I):
        size, centre_2 = int(random.integers(5, 8)), random.integers(8, 16, 2)
        grid_2SS = np.abs(np.indices((24, 24)) - centre_2[:, None, None])
        inside_SS = (grid_2SS.max(0) if taste % 2 else grid_2SS.sum(0)) <= size
        pixel_SS3 = np.full((24, 24, 3), random.integers(60, 190), np.uint8)
        pixel_SS3[inside_SS] = COLOURS[taste % len(COLOURS)]
        path = folder / f"{len(taste_I)}-{item}.png"
        Image.fromarray(pixel_SS3).save(path)
        paths.append(str(path))
    return tuple(paths)


def visits(*, seed: int, people: int, items: int, tastes: int, days: int, every_days: int) -> Interactions:
    """Make everybody's purchases over `days`: per visit two favourites of three, one of the taste, and now and then anything."""
    random = np.random.default_rng(seed)
    person, item, time = [], [], []
    for someone in range(people):
        taste = someone % tastes
        liked = np.arange(taste, items - 1, tastes)
        pull = 1.0 / np.arange(1, len(liked) + 1)
        favourites = random.choice(liked, 3, replace=False, p=pull / pull.sum())
        for day in range(int(random.integers(every_days)), days, every_days):
            basket = {*random.choice(favourites, 2, replace=False), random.choice(liked, p=pull / pull.sum())}
            if random.random() < 0.2:
                basket.add(random.integers(items - 1))
            moment = START_US + day * DAY_US + int(random.integers(DAY_US))
            for thing in sorted(basket):
                person.append(someone)
                item.append(int(thing))
                time.append(moment)
    return interactions(person, item, time, people=people, items=items)


def interactions(
    person: list[int],
    item: list[int],
    time: list[int],
    *,
    people: int,
    items: int,
    weight: list[float] | None = None,
) -> Interactions:
    """Sort parallel lists into interactions; every quantity is 1 unless told."""
    order = np.lexsort((item, time, person))
    weights = np.ones(len(person)) if weight is None else np.asarray(weight)
    return Interactions(
        person_N=np.asarray(person, np.int32)[order],
        item_N=np.asarray(item, np.int32)[order],
        time_N=np.asarray(time, np.int64)[order],
        weight_N=weights.astype(np.float32)[order],
        people=people,
        items=items,
    )


def features(everything: Interactions, moment_us: int) -> Features:
    """Return what was known at `moment_us`: plain counts and ages, NaN where there is nothing."""
    known = everything.between(None, moment_us)
    week, month = (known.between(moment_us - days * DAY_US, None) for days in (7, 28))
    first_I = np.full(known.items, np.nan)
    np.fmin.at(first_I, known.item_N, known.time_N.astype(float))
    last_P = np.full(known.people, np.nan)
    np.fmax.at(last_P, known.person_N, known.time_N.astype(float))
    times = known.matrix().tocoo()
    last = {}
    for person, item, time in zip(known.person_N, known.item_N, known.time_N, strict=True):
        last[int(person), int(item)] = int(time)
    pairs = sorted(last)
    count = {(int(p), int(i)): float(n) for p, i, n in zip(times.row, times.col, times.data, strict=True)}
    pair_NF = np.array([[count[pair], (moment_us - last[pair]) / DAY_US] for pair in pairs], np.float32)
    return Features(
        person_names=PERSON_NAMES,
        item_names=ITEM_NAMES,
        pair_names=PAIR_NAMES,
        person_PF=_columns(_counts(month.person_N, known.people), (moment_us - last_P) / DAY_US),
        item_IF=_columns(
            _counts(week.item_N, known.items),
            _counts(month.item_N, known.items),
            month.matrix().getnnz(axis=0),
            (moment_us - first_I) / DAY_US,
        ),
        pair_person_N=np.array([pair[0] for pair in pairs], np.int32),
        pair_item_N=np.array([pair[1] for pair in pairs], np.int32),
        pair_NF=pair_NF.reshape(len(pairs), len(PAIR_NAMES)),
    )


def with_strangers(query: Query, count: int) -> Query:
    """Return the question with `count` more people about whom nothing is known, at the end."""
    rows_R = np.append(np.arange(query.people), np.full(count, -1))
    return replace(query, history=query.history.rows(rows_R), features=query.features.rows(rows_R))


def with_new_items(query: Query, count: int, said: Content | None = None) -> Query:
    """Return the question with `count` more items in the catalogue that nobody took, and of which only `said` is known."""
    item_IF = query.features.item_IF
    unknown_IF = np.full((count, item_IF.shape[1]), np.nan, np.float32)
    return replace(
        query,
        history=replace(query.history, items=query.items + count),
        features=replace(query.features, item_IF=np.concatenate([item_IF, unknown_IF])),
        content=None if query.content is None else joined(query.content, said or _silence(count)),
    )


def joined(known: Content, more: Content) -> Content:
    """Return the content of a catalogue and of the items that came after it."""
    return Content(
        title_I=known.title_I + more.title_I,
        text_I=known.text_I + more.text_I,
        category_I=known.category_I + more.category_I,
        brand_I=known.brand_I + more.brand_I,
        image_I=known.image_I + more.image_I,
        price_I=np.append(known.price_I, more.price_I),
    )


def _silence(count: int) -> Content:
    nothing = ("",) * count
    return Content(
        title_I=nothing,
        text_I=nothing,
        category_I=nothing,
        brand_I=nothing,
        image_I=nothing,
        price_I=np.full(count, np.nan, np.float32),
    )


def _counts(index_N: np.ndarray, size: int) -> np.ndarray:
    return np.bincount(index_N, minlength=size).astype(float)


def _columns(*columns: np.ndarray) -> np.ndarray:
    return np.column_stack(columns).astype(np.float32)
