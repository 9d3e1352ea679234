"""Candidates beside the model's: what goes with items, what is due again, what sells where somebody buys, what is new.

Each source ranks by a measure of its own that says what it is; none of them was fitted to anything. Measures of different sources
are never compared: lists are merged by places. Shapes: I items, K candidates, A anchors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bentos.snapshot import RECENT_DAYS, Snapshot
from models.data import DAY_US, Features, Interactions

SESSION, GOES_WITH, LIKE = "session", "goes with", "like it"
HABIT, SEGMENT, POPULAR = "repurchase due", "popular in segment", "fallback"
BRAND, NEW = "new from a brand", "new"
MONTH_US = RECENT_DAYS * DAY_US
MOST = 100  # of one source
LEAST = 1e-6  # of the best one's worth: less is nothing
SMOOTH = 60  # of reciprocal ranks, as in the paper
AISLES = 3  # that somebody buys from most
ANCHORS = 20  # items of a history that neighbours are asked for: the latest


Near = tuple[
    np.ndarray, np.ndarray
]  # neighbours of each anchor, int32 [A, J], -1: none, and a measure of each, float32


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """What one source proposes, best first: item numbers, and the measure by which it ranks; `because` as `Supported` has it."""

    name: str
    item_K: np.ndarray  # int32
    measure_K: np.ndarray  # float32
    because: Mapping[int, tuple[int, bool]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Supported:
    """What anchors speak for: items best first, what each is worth, who proposes it, and because of which anchor it stands there.

    `because` holds (anchor, whether by shared days rather than by likeness) of those items that would stand lower without that
    one anchor.
    """

    item_K: np.ndarray
    worth_K: np.ndarray
    names: list[tuple[str, ...]]
    because: dict[int, tuple[int, bool]]


class Sources:
    """The sources of one snapshot; what does not depend on who asks is sorted once."""

    def __init__(self, items: Snapshot) -> None:
        self.items = items
        self.first_us_I = first_known(items)
        self._by_aisle = _by_code(items.aisle.code_I[items.popular_I], items.popular_I)
        self._newest_I = np.argsort(-self.first_us_I, kind="stable").astype(np.int32)[: 10 * MOST]
        self._sold = max(1, int(items.recent_I.sum()))

    def days_of(self, anchors: np.ndarray) -> Near:
        """Return what was taken on the same days as each anchor, with the cosine of days, 0 to 1, float32."""
        return self.items.partner_IK[anchors], self.items.bond_IK[anchors].astype(np.float32)

    def likes_of(self, anchors: np.ndarray) -> Near:
        """Return what the catalogue describes like each anchor, with the likeness of words, 0 to 1, float32."""
        return self.items.like_IK[anchors], self.items.likeness_IK[anchors].astype(np.float32)

    def goes_with(self, anchors: np.ndarray, weight_A: np.ndarray) -> Listed:
        """Return what was taken on the same days as the anchors: per item the sum of weight x cosine of days."""
        found = supported(anchors, weight_A, [(GOES_WITH, *self.days_of(anchors), 1.0)], None, None)
        return Listed(name=GOES_WITH, item_K=found.item_K, measure_K=found.worth_K, because=found.because)

    def due(self, features: Features) -> Listed:
        """Return what somebody took twice or more and is about due again, by its share of their baskets."""
        wanted = ("times_bought", "overdue", "share_of_baskets")
        if not len(features.pair_item_N) or not set(wanted) <= set(features.pair_names):
            return _none(HABIT)
        times_R, overdue_R, share_R = (
            features.pair_NF[:, features.pair_names.index(name)] for name in wanted
        )
        row_K = np.flatnonzero((times_R > 1) & (overdue_R > 0.5) & (overdue_R < 3.0))
        best = row_K[np.lexsort((features.pair_item_N[row_K], -share_R[row_K]))][:MOST]
        return Listed(name=HABIT, item_K=features.pair_item_N[best], measure_K=share_R[best])

    def segment(self, aisles: Sequence[int]) -> Listed:
        """Return what sells in these aisles, the first three of them, by its share of the month's sales."""
        parts = [self._by_aisle.get(aisle, np.zeros(0, np.int32))[:MOST] for aisle in aisles[:AISLES]]
        if not parts:
            return _none(SEGMENT)
        item_N = np.concatenate(parts)
        share_N = (self.items.recent_I[item_N] / self._sold).astype(np.float32)
        best = np.lexsort((item_N, -share_N))[:MOST]
        return Listed(name=SEGMENT, item_K=item_N[best], measure_K=share_N[best])

    def new(self, as_of_us: int) -> Listed:
        """Return what came within 28 days, the newest first; the measure is the share of those days that is left."""
        age_K = as_of_us - self.first_us_I[self._newest_I]
        item_K = self._newest_I[(age_K >= 0) & (age_K <= MONTH_US)][:MOST]
        left_K = 1.0 - (as_of_us - self.first_us_I[item_K]) / MONTH_US
        return Listed(name=NEW, item_K=item_K, measure_K=left_K.astype(np.float32))

    def brand(self, history: Interactions, as_of_us: int) -> Listed:
        """Return what came within 28 days from brands that somebody takes, by the brand's share of the history and newness."""
        fresh = self.new(as_of_us)
        share_B = np.bincount(self.items.brand.code_I[history.item_N], minlength=len(self.items.brand.names))
        share_B[0] = 0  # of no known brand
        measure_K = fresh.measure_K * share_B[self.items.brand.code_I[fresh.item_K]] / max(1, len(history))
        best = np.lexsort((fresh.item_K, -measure_K))
        best = best[measure_K[best] > 0]
        return Listed(name=BRAND, item_K=fresh.item_K[best], measure_K=measure_K[best].astype(np.float32))

    def popular(self, free_I: np.ndarray, count: int) -> Listed:
        """Return what sells most in the whole shop among what is free, by its share of the month's sales."""
        popular_I = self.items.popular_I
        item_K = popular_I[free_I[popular_I]][:count]
        return Listed(
            name=POPULAR,
            item_K=item_K,
            measure_K=(self.items.recent_I[item_K] / self._sold).astype(np.float32),
        )

    def aisles_of(self, item_N: np.ndarray) -> list[int]:
        """Return the aisles of these items, the most frequent first; items of no known aisle tell nothing."""
        count_C = np.bincount(self.items.aisle.code_I[item_N], minlength=1)
        count_C[0] = 0
        best = np.argsort(-count_C, kind="stable")[:AISLES]
        return [int(code) for code in best if count_C[code]]


def first_known(items: Snapshot) -> np.ndarray:
    """Return since when each item is there, int64 microseconds: first taken, or to be had; the later, where both are known."""
    never_I = items.first_us_I == np.iinfo(np.int64).max
    return np.where(never_I, items.available_us_I, np.maximum(items.first_us_I, items.available_us_I))


def allowed(listed: Listed, allowed_I: np.ndarray | None, excluded: np.ndarray | None) -> Listed:
    """Return what of a list may be in the answer."""
    kept_K = np.ones(len(listed.item_K), bool) if allowed_I is None else allowed_I[listed.item_K]
    if excluded is not None:
        kept_K &= ~np.isin(listed.item_K, excluded)
    return Listed(name=listed.name, item_K=listed.item_K[kept_K], measure_K=listed.measure_K[kept_K])


def supported(
    anchors: np.ndarray,
    weight_A: np.ndarray,
    parts: Sequence[tuple[str, np.ndarray, np.ndarray, float]],
    allowed_I: np.ndarray | None,
    excluded: np.ndarray | None,
) -> Supported:
    """Return what anchors speak for: per item the sum of weight x measure x the part's own weight. The anchors are left out.

    A part is (name, neighbours of each anchor, their measures, its weight). Ties go to the lower number.
    """
    near_N = np.concatenate([near_AJ.ravel() for _, near_AJ, _, _ in parts])
    by_part = [(measure_AJ * (weight_A * part)[:, None]).ravel() for _, _, measure_AJ, part in parts]
    worth_N = np.concatenate(by_part)
    part_N = np.repeat(np.arange(len(parts)), [len(one) for one in by_part])
    anchor_N = np.concatenate(
        [np.repeat(np.arange(len(anchors)), near_AJ.shape[1]) for _, near_AJ, _, _ in parts]
    )
    kept_N = (near_N >= 0) & (worth_N > 0) & ~np.isin(near_N, anchors)
    if allowed_I is not None:
        kept_N &= allowed_I[near_N]
    if excluded is not None:
        kept_N &= ~np.isin(near_N, excluded)
    item_G, at_N = np.unique(near_N[kept_N], return_inverse=True)
    worth_N, part_N, anchor_N = worth_N[kept_N], part_N[kept_N], anchor_N[kept_N]
    worth_AG = np.zeros((len(anchors), len(item_G)), np.float32)
    np.add.at(worth_AG, (anchor_N, at_N), worth_N)
    named_G = np.zeros(len(item_G), np.int64)
    np.bitwise_or.at(named_G, at_N, 1 << part_N)
    worth_G = worth_AG.sum(axis=0)
    best = np.lexsort((item_G, -worth_G))[:MOST]
    names = [
        tuple(part[0] for bit, part in enumerate(parts) if bits >> bit & 1) for bits in named_G[best].tolist()
    ]
    leading_K, sinks_K = _because(worth_AG[:, best], worth_G[best])
    by_days_AG = np.zeros(worth_AG.shape, bool)
    by_days = np.array([name == GOES_WITH for name, *_ in parts])
    np.logical_or.at(by_days_AG, (anchor_N, at_N), by_days[part_N])
    return Supported(
        item_K=item_G[best].astype(np.int32),
        worth_K=worth_G[best],
        names=names,
        because={
            int(item_G[at]): (int(anchors[leader]), bool(by_days_AG[leader, at]))
            for at, leader, sinks in zip(best.tolist(), leading_K.tolist(), sinks_K.tolist(), strict=True)
            if sinks
        },
    )


def _because(worth_AK: np.ndarray, worth_K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which anchor speaks most for each item, and whether the item would stand lower without that one.

    Without it all that it speaks for loses; what loses everything is out of the list, and may come back after its end at best.
    Without the only one that speaks for anything there would be no list.
    """
    if not len(worth_K):
        return np.zeros(0, np.int64), np.zeros(0, bool)
    leading_K, least = worth_AK.argmax(axis=0), LEAST * worth_K[0]
    if (worth_AK.max(axis=1) > least).sum() <= 1:
        return leading_K, np.ones(len(worth_K), bool)
    left_KK = worth_K[None, :] - worth_AK[leading_K]  # row k: all without the leader of k
    own_K = np.diagonal(left_KK)
    before_K = ((left_KK > own_K[:, None] + least) & (left_KK > least)).sum(axis=1)
    place_K = np.where(own_K > least, before_K, (left_KK > least).sum(axis=1))
    return leading_K, place_K > np.arange(len(worth_K))


def by_reciprocal_rank(lists: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the items of all lists (each best first, distinct), best first, and what their places are worth together.

    The worth is the sum of 1 / (60 + place) over the lists that name the item (Cormack, Clarke, Buettcher, SIGIR 2009); ties go
    to the earlier list, then place.
    """
    item_N = np.concatenate(lists)
    worth_N = np.concatenate([1.0 / (SMOOTH + 1 + np.arange(len(one))) for one in lists])
    item_G, first_G, at_N = np.unique(item_N, return_index=True, return_inverse=True)
    worth_G = np.bincount(at_N, worth_N, len(item_G))
    best = np.lexsort((first_G, -worth_G))
    return item_G[best], worth_G[best]


def in_turns(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the items of two lists (each best first, distinct) in turns, and 1 / the better of their places.

    An item stands where the list that has it higher puts it; at equal places the first list goes before (balanced interleaving,
    Radlinski, Kurup, Joachims, CIKM 2008). So what moves one item in its list moves no other past a third.
    """
    item_N = np.concatenate([first, second])
    place_N = np.concatenate([np.arange(len(first)), np.arange(len(second))])
    order_N = np.argsort(place_N, kind="stable")
    _, at_G = np.unique(item_N[order_N], return_index=True)
    kept = order_N[np.sort(at_G)]
    return item_N[kept], 1.0 / (1 + place_N[kept])


def _none(name: str) -> Listed:
    return Listed(name=name, item_K=np.zeros(0, np.int32), measure_K=np.zeros(0, np.float32))


def _by_code(code_I: np.ndarray, item_I: np.ndarray) -> dict[int, np.ndarray]:
    """Return the items of each code in the order given."""
    order = np.argsort(code_I, kind="stable")
    codes, starts = np.unique(code_I[order], return_index=True)
    return dict(zip(codes.tolist(), np.split(item_I[order], starts[1:]), strict=True))
