"""The last order of a list: boosts, pins, caps, difference from each other, and one slot for learning. Pure functions.

What comes in is a list of candidates, best first; only their places count, since scores of different models have different
scales. Shapes: K candidates, C kinds of codes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

AISLE, SHELF, BRAND, SELLER = 0, 1, 2, 3  # rows of the codes
# How much the same aisle, shelf and brand make two items alike; together 1. Who sells them does not.
LIKE = np.array([0.3, 0.5, 0.2])


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """How a list is to be ordered. `caps` holds the most items of one shelf, brand or seller, by the row of the codes.

    `factor_K` multiplies what a place is worth; `pins` holds candidates by the place (from 0) that they are pinned to.
    """

    n: int
    diversity: float = 0.0
    caps: Mapping[int, int] = field(default_factory=dict)
    factor_K: np.ndarray | None = None
    pins: Mapping[int, int] = field(default_factory=dict)

    @property
    def plain(self) -> bool:
        """Whether the list stays as it came."""
        return not (self.diversity or self.caps or self.pins or self.factor_K is not None)


def order(codes_CK: np.ndarray, wanted: Wanted) -> list[int]:
    """Return which candidates make the list, in its order: at most `n`, fewer where caps leave fewer.

    `codes_CK` int32: aisle, shelf, brand and seller of each; 0 is unknown, and what is unknown is like nothing and not capped.
    Places are worth 1 down to 0, times the factor. By maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998) each
    place goes to the candidate with the greatest (1 - d) x worth - d x likeness to the one before it that it is most alike.
    Pins come first and count towards caps.
    """
    count = codes_CK.shape[1]
    if wanted.plain:
        return list(range(min(wanted.n, count)))
    worth_K = 1.0 - np.arange(count) / max(1, count)
    if wanted.factor_K is not None:
        worth_K = worth_K * wanted.factor_K
    nearest_K, left_K = np.zeros(count), np.ones(count, bool)
    left_K[list(wanted.pins.values())] = False  # they have their places
    counts = {row: np.zeros(int(codes_CK[row].max(initial=0)) + 1, np.int32) for row in wanted.caps}
    for pinned in wanted.pins.values():
        _count(counts, codes_CK, pinned)
    chosen: list[int] = []
    for place in range(wanted.n):
        one: int | None = wanted.pins.get(place)
        if one is None:
            one = _best(worth_K, nearest_K, _open(left_K, counts, codes_CK, wanted.caps), wanted.diversity)
            if one is None:
                continue
            _count(counts, codes_CK, one)
        chosen.append(one)
        left_K[one] = False
        if wanted.diversity:
            np.maximum(nearest_K, alike(codes_CK, one), out=nearest_K)
    return chosen


def alike(codes_CK: np.ndarray, one: int) -> np.ndarray:
    """Return how alike every candidate is to one of them, 0 to 1: the weights of the codes that are the same and known."""
    codes_CK = codes_CK[: len(LIKE)]
    code_C = codes_CK[:, one]
    same_CK = (codes_CK == code_C[:, None]) & (code_C[:, None] != 0)
    return LIKE @ same_CK


def within(
    codes_CK: np.ndarray, caps: Mapping[int, int], chosen: Sequence[int], others: Sequence[int]
) -> list[int]:
    """Return which of the others may join the chosen, each alone, without a shelf, brand or seller over its cap."""
    if not caps or not len(others):
        return list(others)
    counts = {row: np.zeros(int(codes_CK[row].max(initial=0)) + 1, np.int32) for row in caps}
    for one in chosen:
        _count(counts, codes_CK, one)
    open_K = _open(np.ones(codes_CK.shape[1], bool), counts, codes_CK, caps)
    return [one for one in others if open_K[one]]


def _open(
    left_K: np.ndarray, counts: Mapping[int, np.ndarray], codes_CK: np.ndarray, caps: Mapping[int, int]
) -> np.ndarray:
    """Say which candidates may still come: not there yet, and of no shelf, brand or seller that is full."""
    open_K = left_K
    for row, most in caps.items():
        open_K = open_K & ((codes_CK[row] == 0) | (counts[row][codes_CK[row]] < most))
    return open_K


def _count(counts: Mapping[int, np.ndarray], codes_CK: np.ndarray, one: int) -> None:
    for row, count_G in counts.items():
        count_G[codes_CK[row, one]] += 1


def _best(worth_K: np.ndarray, nearest_K: np.ndarray, open_K: np.ndarray, diversity: float) -> int | None:
    if not open_K.any():
        return None
    return int(np.where(open_K, (1 - diversity) * worth_K - diversity * nearest_K, -np.inf).argmax())


@dataclass(frozen=True, kw_only=True, slots=True)
class Explored:
    """What the slot for learning shows: a candidate, and the chance with which just this one stands there."""

    place: int  # from 0
    one: int
    chance: float
    by_chance: bool  # false: what would have stood there anyway


def explore(
    chosen: Sequence[int], others: Sequence[int], place: int, rate: float, nonce: str
) -> Explored | None:
    """Return what stands at `place` (from 0): with chance `rate` one of the others, each as likely, else who stood there.

    None when nothing is explored: the rate is 0, or there is nobody to draw. `nonce` is the answer's, so that the same comes out
    again: two numbers from 0 to 1 are read off BLAKE2b of it.
    """
    if rate <= 0 or not others or not chosen:
        return None
    place = min(place, len(chosen) - 1)
    told = hashlib.blake2b(f"explore\0{nonce}".encode(), digest_size=16).digest()
    whether, which = (int.from_bytes(part, "big") / 2**64 for part in (told[:8], told[8:]))
    if whether >= rate:
        return Explored(place=place, one=chosen[place], chance=1.0 - rate, by_chance=False)
    one = others[min(int(which * len(others)), len(others) - 1)]
    return Explored(place=place, one=one, chance=rate / len(others), by_chance=True)
