"""Lists that people are shown, of themselves or after a search, and where they click.

Shapes: L lists, M places of a list, N shown items. Lists without a query stand in random order, so that clicks by position show
the bias of position alone; answers to a search are sorted by popularity with noise, as shops do, so that there
position and appeal are confounded.
"""

import numpy as np

from counterfoil.simulator import behaviour, wording
from counterfoil.simulator.stock import Stock
from counterfoil.simulator.visit import Rows, Visits, categories, rows
from counterfoil.simulator.world import World

HOME_SHARE, SEARCH_SHARE = 0.32, 0.22  # of visits, those that see a list


def lists(
    world: World, stock: Stock, visits: Visits, rng: np.random.Generator
) -> tuple[list[Rows], tuple[np.ndarray, ...]]:
    """Return searches, impressions and clicks, and the clicked pages as (session, item, offset ms)."""
    home_S = np.flatnonzero(rng.random(len(visits)) < HOME_SHARE)
    search_S = np.flatnonzero(rng.random(len(visits)) < SEARCH_SHARE)
    query_L = np.r_[np.full(len(home_S), -1), _queries(world, visits, search_S, rng)]
    session_L = np.r_[home_S, search_S]
    shown_LM, kept_LM = _shown(world, stock, visits, session_L, query_L, rng)
    row_N, column_N = np.nonzero(kept_LM)
    session_N, item_N = session_L[row_N], shown_LM[row_N, column_N]
    examination = np.array(world.config.examination)
    epoch_N = world.epoch(visits.day_S[session_N])
    attraction_N = behaviour.attraction(world.logits(epoch_N, visits.person_S[session_N], item_N))
    attraction_N *= np.where(
        query_L[row_N] < 0, 1, behaviour.RELEVANCE[_grades(world, query_L[row_N], item_N)]
    )
    clicked_N = np.flatnonzero(behaviour.clicks(rng, attraction_N, examination[column_N]))
    offset_L = rng.integers(1_000, 60_000, len(session_L))
    seen = (session_N[clicked_N], item_N[clicked_N])
    click_ms = (
        offset_L[row_N[clicked_N]] + 800 + (column_N[clicked_N] + 1) * rng.integers(300, 1500, len(clicked_N))
    )
    place_N = column_N + 1
    query_N = query_L[row_N]
    asked = query_L >= 0
    made = [
        rows(world, visits, "search", session_L[asked], offset_L[asked] - 500, query=query_L[asked]),
        rows(world, visits, "impression", session_N, offset_L[row_N], item=item_N, query=query_N, position=place_N),
        rows(world, visits, "click", *seen[:1], click_ms, item=seen[1], query=query_N[clicked_N],
              position=place_N[clicked_N]),
    ]  # fmt: skip
    return made, (*seen, click_ms + 50)


def _queries(world: World, visits: Visits, search_S: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw what is typed: a kind of product, sometimes misspelt, sometimes with the adjective nearest to the person's taste."""
    count, tastes = len(search_S), world.config.tastes
    category_N = categories(visits.cut_SC[search_S], rng, 1)[:, 0]
    kind_N = np.minimum(rng.geometric(0.35, count) - 1, world.kinds - 1)
    epoch_N = world.epoch(visits.day_S[search_S])
    taste_ND = world.people.vector_EPK[epoch_N, visits.person_S[search_S], :tastes]
    taste_ND = taste_ND + rng.standard_normal(taste_ND.shape, np.float32)
    strongest_N = np.abs(taste_ND).argmax(axis=1)
    adjective_N = 2 * strongest_N + (np.take_along_axis(taste_ND, strongest_N[:, None], 1)[:, 0] < 0)
    form_N = np.where(rng.random(count) < 0.3, 2 + adjective_N, rng.random(count) < 0.06)
    return (category_N * world.kinds + kind_N) * wording.per_type(tastes) + form_N


def _grades(world: World, query_N: np.ndarray, item_N: np.ndarray) -> np.ndarray:
    """Return how well items answer queries: 0 another kind, 1 the kind, 2 the kind and its adjective, if any was asked."""
    type_N, form_N = np.divmod(query_N, wording.per_type(world.config.tastes))
    fits_N = (world.items.adjective_I2[item_N] == form_N[:, None] - 2).any(axis=1) | (form_N < 2)
    return np.where(world.items.type_I[item_N] == type_N, 1 + fits_N, 0)


def _shown(
    world: World,
    stock: Stock,
    visits: Visits,
    session_L: np.ndarray,
    query_L: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lists that are shown, item [L, M] by position, and which places are filled; no item twice in a list."""
    length = world.config.list_length
    width = length + 3
    category_LM = categories(visits.cut_SC[session_L], rng, width)
    asked_L1 = (query_L >= 0)[:, None]
    type_L1 = np.maximum(query_L, 0)[:, None] // wording.per_type(world.config.tastes)
    near_LM = asked_L1 & (rng.random((len(query_L), width)) < 0.8)
    category_LM = np.where(asked_L1, type_L1 // world.kinds, category_LM)
    start_LM = np.where(near_LM, type_L1, category_LM * world.kinds)
    stop_LM = np.where(near_LM, type_L1 + 1, (category_LM + 1) * world.kinds)
    day_L1 = visits.day_S[session_L][:, None]
    place_LM = stock.draw(rng, day_L1, world.type_start[start_LM], world.type_start[stop_LM])
    item_LM = world.shelf_I[place_LM]
    keep_LM = _first_of_each(item_LM)
    keep_LM &= np.cumsum(keep_LM, axis=1) <= length
    noise_LM = rng.random(item_LM.shape)
    appeal_LM = world.items.log_weight_EI[world.epoch(day_L1), item_LM] - 0.7 * np.log(
        -np.log(noise_LM + 1e-12)
    )
    key_LM = np.where(keep_LM, np.where(asked_L1, -appeal_LM, noise_LM), np.inf)
    order_LM = np.argsort(key_LM, axis=1, kind="stable")[:, :length]
    return np.take_along_axis(item_LM, order_LM, 1), np.take_along_axis(keep_LM, order_LM, 1)


def _first_of_each(item_LM: np.ndarray) -> np.ndarray:
    """Return a mask of places whose item does not stand further left in the same row."""
    order_LM = np.argsort(item_LM, axis=1, kind="stable")
    sorted_LM = np.take_along_axis(item_LM, order_LM, 1)
    first_LM = np.ones(item_LM.shape, bool)
    first_LM[:, 1:] = sorted_LM[:, 1:] != sorted_LM[:, :-1]
    mask_LM = np.empty_like(first_LM)
    np.put_along_axis(mask_LM, order_LM, first_LM, 1)
    return mask_LM
