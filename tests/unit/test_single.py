"""One person's signals by compiled loops are those that the crowd's arrays give, to the bit."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import random as sparse_random

from counterfoil import compiled
from models.data import DAY_US, Content, Features, Interactions, Query, Ranking
from models.rank import habits, pool, shelves, signals, single, trends
from models.rank.itemtable import ItemTable
from models.rank.kin import Kin
from models.rank.signals import Lore
from tests.shop_data import interactions

ITEMS, LATER = 40, 5  # LATER of them came after what is known of items was learned
NOW_US = 1_700_000_000_000_000
RETRIEVERS = ("one", "two", "three")


@pytest.fixture(scope="module", autouse=True)
def loops() -> None:
    compiled.compile_all()


@cache
def lore(levels: bool) -> Lore:
    random, known = np.random.default_rng(7), ITEMS - LATER
    person, item = np.sort(random.integers(20, size=300)), random.integers(known, size=300)
    times = (NOW_US - random.integers(1, 200 * DAY_US, size=300)).tolist()
    past = interactions(person.tolist(), item.tolist(), times, people=20, items=known)
    category_I = random.integers(-1, 4, known).astype(np.int32) if levels else np.zeros(0, np.int32)
    content = Content(
        title_I=("",) * known,
        text_I=("",) * known,
        category_I=tuple(["A > B", "A > C", "D > E", ""][i % 4] for i in range(known)),
        brand_I=tuple(["x", "y", ""][i % 3] for i in range(known)),
        image_I=("",) * known,
        price_I=np.where(np.arange(known) % 7, np.arange(known), np.nan).astype(np.float32),
    )
    placed = shelves.learn(known, category_I, content if levels else None)
    columns = habits.learn(past, NOW_US, 28 * DAY_US, placed.category_I) | trends.learn(past, NOW_US)
    sim_II = sparse_random(known, known, 0.3, format="csr", rng=random, dtype=np.float32)
    sim_II.sort_indices()
    return Lore(table=ItemTable.of(columns), shelves=placed, kin=Kin(sim_II=sim_II))


@st.composite
def histories(draw: st.DrawFn) -> Interactions:
    # few moments, so that baskets hold several items, and one item several times
    line = st.tuples(st.integers(0, 12), st.integers(0, ITEMS - 1), st.sampled_from([1.0, 2.0, 0.1, 7.25]))
    lines = sorted(draw(st.lists(line, max_size=40)), key=lambda told: (-told[0], told[1]))
    days = draw(st.lists(st.floats(0.001, 300), min_size=13, max_size=13, unique=True).map(sorted))
    return Interactions(
        person_N=np.zeros(len(lines), np.int32),
        item_N=np.array([item for _, item, _ in lines], np.int32),
        time_N=np.array([NOW_US - round(days[place] * DAY_US) for place, _, _ in lines], np.int64),
        weight_N=np.array([weight for *_, weight in lines], np.float32),
        people=1,
        items=ITEMS,
    )


def features(random: np.random.Generator, names: int, order: str) -> Features:
    paired = np.flatnonzero(random.random(ITEMS) < 0.4).astype(np.int32)
    value_IF = random.normal(size=(ITEMS, names)).astype(np.float32)
    value_IF[random.random(value_IF.shape) < 0.2] = np.nan
    return Features(
        person_names=tuple(f"p{f}" for f in range(names)),
        item_names=tuple(f"i{f}" for f in range(names)),
        pair_names=tuple(f"q{f}" for f in range(names)),
        person_PF=random.normal(size=(1, names)).astype(np.float32),
        item_IF=np.asarray(value_IF, order=order),  # type: ignore[call-overload]
        pair_person_N=np.zeros(len(paired), np.int32),
        pair_item_N=paired,
        pair_NF=random.normal(size=(len(paired), names)).astype(np.float32),
    )


@st.composite
def lists(draw: st.DrawFn) -> list[Ranking]:
    out = []
    for _ in RETRIEVERS:
        items = draw(st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=ITEMS))
        item_PK = np.array([[*items, *[-1] * (ITEMS - len(items))]], np.int32)
        score_PK = np.where(item_PK >= 0, -np.arange(ITEMS, dtype=np.float32) / 3, -np.inf).astype(np.float32)
        source_PK = (item_PK >= 0).astype(np.uint8)
        out.append(Ranking(item_PK=item_PK, score_PK=score_PK, sources=("one",), source_PK=source_PK))
    return out


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories(), lists(), st.booleans(), st.integers(0, 3), st.sampled_from("CF"), st.integers(0, 99))
def test_the_signals_of_one_person_are_the_same_to_the_bit(
    history: Interactions, asked: list[Ranking], levels: bool, names: int, order: str, seed: int
) -> None:
    query = Query(
        history=history,
        as_of_us=NOW_US,
        features=features(np.random.default_rng(seed), names, order),
    )
    candidates = pool.merge(asked, 1, ITEMS)
    known = lore(levels)
    right_names, right_NF = signals.signals(candidates, query, lore=known, retrievers=RETRIEVERS)
    found_names, found_NF = single.fill(candidates, query, lore=known, retrievers=RETRIEVERS)
    assert found_names == right_names
    assert found_NF.dtype == right_NF.dtype
    for name, found_N, right_N in zip(right_names, found_NF.T, right_NF.T, strict=True):
        np.testing.assert_array_equal(found_N, right_N, err_msg=name)


def test_only_one_person_goes_this_way() -> None:
    one = Query(
        history=interactions([], [], [], people=1, items=3),
        as_of_us=NOW_US,
        features=features(np.random.default_rng(0), 1, "C"),
    )
    assert single.ready(one)
    assert not single.ready(replace(one, history=replace(one.history, people=2)))


@given(
    st.lists(st.tuples(st.integers(0, ITEMS - 1), st.sampled_from([0.0, 1.0, -2.5])), max_size=30),
    st.integers(1, 40),
)
def test_one_retriever_for_one_person_is_pooled_and_ranked_as_several_are(
    listed: list[tuple[int, float]], k: int
) -> None:
    by_item = dict(listed)
    item_PK = np.array([[*by_item, -1, -1]], np.int32)
    score_PK = np.array([[*by_item.values(), -np.inf, -np.inf]], np.float32)
    one = Ranking(
        item_PK=item_PK, score_PK=score_PK, sources=("one",), source_PK=(item_PK >= 0).astype(np.uint8)
    )
    silent = replace(one, item_PK=np.full_like(item_PK, -1))
    alone, among = pool.merge([one], 1, ITEMS), pool.merge([one, silent], 1, ITEMS)
    for name in ("row_N", "item_N", "source_N"):
        assert getattr(alone, name).dtype == getattr(among, name).dtype
        assert getattr(alone, name).tolist() == getattr(among, name).tolist()
    for name in ("score_NS", "rank_NS"):
        assert getattr(alone, name).dtype == np.float32
        np.testing.assert_array_equal(getattr(alone, name), getattr(among, name)[:, :1])
    score_N = np.array([by_item[item] for item in alone.item_N.tolist()], np.float32)
    twice = replace(one, **{name: np.repeat(getattr(one, name), 2, axis=0) for name in PER_PERSON})
    two = pool.merge([twice], 2, ITEMS)
    best, both = pool.best(alone, score_N, k, ("one",)), pool.best(two, np.tile(score_N, 2), k, ("one",))
    for name in PER_PERSON:
        np.testing.assert_array_equal(getattr(best, name)[0], getattr(both, name)[0])


PER_PERSON = ("item_PK", "score_PK", "source_PK")
