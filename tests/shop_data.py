"""A tiny shop with planted tastes, for tests of families: who likes what is known, so learning it can be told from luck.

Every item belongs to a taste (item % tastes) and every person to one (person % tastes). On each visit a person takes
favourites again and again, sometimes another item of the taste, rarely anything. Within a taste the lower numbers are
the more popular. The last item is never taken by anybody.
"""

from dataclasses import dataclass, replace

import numpy as np

from models.data import DAY_US, Features, Interactions, Query, TrainingSet

START_US = 1_500_000_000_000_000
ITEM_NAMES = ("popularity_7d", "popularity_28d", "buyers_28d", "age_days")
PERSON_NAMES = ("purchases_28d", "recency_days")
PAIR_NAMES = ("times", "since_last_days")


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
) -> Shop:
    """Make a shop; the same arguments give the same arrays. Training ends `horizon_days` before `days`."""
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
    )
    after = everything.between(until_us, None)
    truth = tuple(np.unique(after.item_N[after.person_N == person]) for person in range(people))
    return Shop(
        training=training, query=training.query(np.arange(people), until_us), truth=truth, tastes=tastes
    )


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


def no_features(people: int, items: int) -> Features:
    """Return features without a single column or pair, as of a question that brings none."""
    return Features(
        person_names=(),
        item_names=(),
        pair_names=(),
        person_PF=np.zeros((people, 0), np.float32),
        item_IF=np.zeros((items, 0), np.float32),
        pair_person_N=np.zeros(0, np.int32),
        pair_item_N=np.zeros(0, np.int32),
        pair_NF=np.zeros((0, 0), np.float32),
    )


def with_strangers(query: Query, count: int) -> Query:
    """Return the question with `count` more people about whom nothing is known, at the end."""
    rows_R = np.append(np.arange(query.people), np.full(count, -1))
    return replace(query, history=query.history.rows(rows_R), features=query.features.rows(rows_R))


def with_new_items(query: Query, count: int) -> Query:
    """Return the question with `count` more items in the catalogue that nobody took and no feature describes."""
    item_IF = query.features.item_IF
    unknown_IF = np.full((count, item_IF.shape[1]), np.nan, np.float32)
    return replace(
        query,
        history=replace(query.history, items=query.items + count),
        features=replace(query.features, item_IF=np.concatenate([item_IF, unknown_IF])),
    )


def _counts(index_N: np.ndarray, size: int) -> np.ndarray:
    return np.bincount(index_N, minlength=size).astype(float)


def _columns(*columns: np.ndarray) -> np.ndarray:
    return np.column_stack(columns).astype(np.float32)
