"""Signals: one row of float32 per candidate, computed alike for training and for serving. No learning here.

What the retrievers said, the features that came with the question (any names, any number), what the person's own history
says about the item and where it stands, and what is known of the item (Lore). NaN means absent.
Shapes: P people, N candidates, H lines of the histories, F signals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.data import Features, Query
from models.rank.itemtable import ItemTable
from models.rank.kin import Kin
from models.rank.past import Groups, Past, place_within
from models.rank.pool import Pool
from models.rank.shelves import Shelves

HALF_LIVES_DAYS = (7, 20, 45, 90, 180)
SHELF_HALF_LIVES_DAYS = (20, 90)
PERSON_HALF_LIVES_DAYS = (20, 90)
LATEST_BASKETS = (5, 15)
TASTE_HALF_LIFE_DAYS = 90
PRIOR_TAKINGS = 2.0  # of the item's own gap between takings, in the person's

Columns = dict[str, np.ndarray]

# The names of what a person's own history says, in order (models/rank/single.py fills in the same).
OWN = (
    *(f"own.decayed_{days}d" for days in HALF_LIVES_DAYS),
    *(f"own.{name}" for name in ("count", "days_since_last", "days_since_first", "interval_days", "due")),
    *(f"own.{name}" for name in ("usual_days", "usual_due", "quantity", "baskets_since_last")),
    "own.share_since_first",
    *(f"own.in_last_{some}" for some in LATEST_BASKETS),
    "own.place",
    *(f"own.baskets_{days}d" for days in PERSON_HALF_LIVES_DAYS),
    *(f"own.{name}" for name in ("baskets", "lines", "basket_lines", "repeat_share")),
    *(f"own.{name}" for name in ("days_since_any", "basket_days")),
    *(f"own.per_basket_{days}d" for days in PERSON_HALF_LIVES_DAYS),
)
TASTE = ("taste.popular", "taste.age_days", "taste.price")


def shelf_names(level: str) -> tuple[str, ...]:
    """Return the names of the signals of a level, in order."""
    return (
        *(f"own.{level}_{days}d" for days in SHELF_HALF_LIVES_DAYS),
        *(f"own.share_of_{level}_{days}d" for days in SHELF_HALF_LIVES_DAYS),
        *(f"own.{level}_share_{days}d" for days in SHELF_HALF_LIVES_DAYS),
        f"own.{level}_days_since_last",
        f"own.{level}_passed_over_days",
    )


@dataclass(frozen=True, kw_only=True)
class Lore:
    """What is known of items up to a moment, whoever asks."""

    table: ItemTable
    shelves: Shelves
    kin: Kin


def signals(
    pool: Pool, query: Query, *, lore: Lore, retrievers: Sequence[str]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names of the signals and their values, float32 [N, F]."""
    past = Past.of(query)
    item = lore.table.give(pool.item_N)
    person = _person(pool, past)
    pair = _pair(pool, past, item["habit.gap_days"])
    columns: Columns = {
        **{f"{name}.score": pool.score_NS[:, s] for s, name in enumerate(retrievers)},
        **{f"{name}.rank": pool.rank_NS[:, s] for s, name in enumerate(retrievers)},
        **_given(pool, query.features),
        **pair,
        **person,
        **{
            f"own.per_basket_{days}d": pair[f"own.decayed_{days}d"]
            / np.maximum(person[f"own.baskets_{days}d"], 1e-6)
            for days in PERSON_HALF_LIVES_DAYS
        },
        **_shelves(pool, past, lore.shelves, pair),
        **item,
        **_taste(pool, past, lore, item),
        **lore.kin.columns(pool, past),
    }
    return tuple(columns), np.array(
        list(columns.values()), np.float32
    ).T  # column by column: a quarter of the time


def _given(pool: Pool, features: Features) -> Columns:
    """Return the features that came with the question."""
    person_NF, item_NF = features.person_PF[pool.row_N], features.item_IF[pool.item_N]
    pair_NF = np.full((len(pool), len(features.pair_names)), np.nan, np.float32)
    key_R = features.pair_person_N.astype(np.int64) * pool.items + features.pair_item_N  # ascending
    if len(key_R):
        at_N = np.minimum(np.searchsorted(key_R, pool.key_N), len(key_R) - 1)
        found_N = np.flatnonzero(key_R[at_N] == pool.key_N)
        pair_NF[found_N] = features.pair_NF[at_N[found_N]]
    return {
        **{f"person.{name}": person_NF[:, f] for f, name in enumerate(features.person_names)},
        **{f"item.{name}": item_NF[:, f] for f, name in enumerate(features.item_names)},
        **{f"pair.{name}": pair_NF[:, f] for f, name in enumerate(features.pair_names)},
    }


def _pair(pool: Pool, past: Past, gap_days_N: np.ndarray) -> Columns:
    """Return how often, how lately and how regularly the person took the item; `gap_days_N` is everybody's usual gap."""
    pair = Groups(past.pair_H, past.pair_of(pool.key_N), len(past.pair_G) + 1)
    fades = (past.decay(days) for days in HALF_LIVES_DAYS)
    lately = (past.back_H < some for some in LATEST_BASKETS)
    count_N, quantity_N, *more = pair.several([np.ones(len(past.age_H)), past.weight_H, *fades, *lately])
    last_N, first_N = pair.latest(past.age_H), pair.earliest(past.age_H)
    back_N = pair.earliest(past.back_H.astype(float))
    decayed = dict(zip(HALF_LIVES_DAYS, more, strict=False))
    with np.errstate(divide="ignore", invalid="ignore"):
        interval_N = np.where(count_N > 1, (first_N - last_N) / (count_N - 1), np.nan)
        due_N = np.where(interval_N > 0, last_N / interval_N, np.nan)
    usual_N = (first_N - last_N + PRIOR_TAKINGS * gap_days_N) / (count_N - 1 + PRIOR_TAKINGS)
    return {
        **{f"own.decayed_{days}d": value_N for days, value_N in decayed.items()},
        "own.count": count_N,
        "own.days_since_last": last_N,
        "own.days_since_first": first_N,
        "own.interval_days": interval_N,
        "own.due": due_N,
        "own.usual_days": usual_N,
        "own.usual_due": last_N / np.maximum(usual_N, 1.0),
        "own.quantity": quantity_N,
        "own.baskets_since_last": pair.latest(past.back_H.astype(float)),
        "own.share_since_first": count_N / (back_N + 1),
        **{
            f"own.in_last_{some}": value_N
            for some, value_N in zip(LATEST_BASKETS, more[len(HALF_LIVES_DAYS) :], strict=True)
        },
        "own.place": place_within(pool.row_N, decayed[90], pool.sizes_P),
    }


def _person(pool: Pool, past: Past) -> Columns:
    """Return how often the person comes and how much of it is repeated."""
    lines_P = np.bincount(past.row_H, minlength=past.people)
    distinct_P = np.bincount(past.pair_G // past.items, minlength=past.people)
    last_P, first_P = np.full(past.people, np.nan), np.full(past.people, np.nan)
    last_P[past.row_H] = past.age_H
    first_P[past.row_H[::-1]] = past.age_H[::-1]
    columns_P: Columns = {
        **{
            f"own.baskets_{days}d": np.bincount(
                past.row_H[past.opens_H], past.decay(days)[past.opens_H], past.people
            )
            for days in PERSON_HALF_LIVES_DAYS
        },
        "own.baskets": past.baskets_P,
        "own.lines": lines_P,
        "own.basket_lines": lines_P / np.maximum(past.baskets_P, 1),
        "own.repeat_share": 1 - distinct_P / np.maximum(lines_P, 1),
        "own.days_since_any": last_P,
        "own.basket_days": (first_P - last_P) / np.maximum(past.baskets_P - 1, 1),
    }
    return {name: value_P[pool.row_N] for name, value_P in columns_P.items()}


def _shelves(pool: Pool, past: Past, shelves: Shelves, pair: Columns) -> Columns:
    """Return the signals of all levels."""
    columns: Columns = {}
    code_NL, code_HL = shelves.codes(pool.item_N), shelves.codes(past.item_H)
    lines = {
        days: np.maximum(np.bincount(past.row_H, past.decay(days), past.people), 1e-6)[pool.row_N]
        for days in SHELF_HALF_LIVES_DAYS
    }
    for level, code_N, code_H in zip(shelves.levels, code_NL.T, code_HL.T, strict=True):
        width = int(max(code_N.max(initial=0), code_H.max(initial=0))) + 1
        shelf = Groups(past.row_H * width + code_H, pool.row_N * width + code_N, past.people * width)
        columns |= _shelf(level, shelf, past, lines, pair)
    return columns


def _shelf(level: str, shelf: Groups, past: Past, lines: dict[int, np.ndarray], pair: Columns) -> Columns:
    """Return how much and how lately the person took from where the item stands, and the item's part in that.

    `lines` says by half-life what the person took of everything, float64 [N], above zero.
    """
    taken = {days: shelf.total(past.decay(days)) for days in SHELF_HALF_LIVES_DAYS}
    last_N = shelf.latest(past.age_H)
    return {
        **{f"own.{level}_{days}d": value_N for days, value_N in taken.items()},
        **{
            f"own.share_of_{level}_{days}d": pair[f"own.decayed_{days}d"] / np.maximum(value_N, 1e-6)
            for days, value_N in taken.items()
        },
        **{f"own.{level}_share_{days}d": value_N / lines[days] for days, value_N in taken.items()},
        f"own.{level}_days_since_last": last_N,
        f"own.{level}_passed_over_days": pair["own.days_since_last"] - last_N,
    }


def _taste(pool: Pool, past: Past, lore: Lore, item: Columns) -> Columns:
    """Return how far the candidate is from what the person usually takes: how popular, how new, how dear."""
    weight_H = past.decay(TASTE_HALF_LIFE_DAYS)
    taken = lore.table.give(past.item_H, ("trend.takers", "trend.age_days"))
    price_N, price_H = lore.shelves.price(pool.item_N), lore.shelves.price(past.item_H)
    usual_P = {
        "popular": past.mean(taken["trend.takers"], weight_H),
        "age_days": past.mean(
            taken["trend.age_days"] - past.age_H, weight_H
        ),  # how old it was when it was taken
        "price": past.mean(price_H, weight_H),
    }
    value_N = {"popular": item["trend.takers"], "age_days": item["trend.age_days"], "price": price_N}
    return {f"taste.{name}": value_N[name] - usual_P[name][pool.row_N] for name in usual_P}
