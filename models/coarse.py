"""Which items' inner products with one person may be among the best: told from whole numbers, proven, then computed exactly.

Every vector is kept a second time as int8 with a scale of its own, a quarter of the bytes that an answer has to walk through. The
product of whole numbers is off by at most what rounding took from both vectors (the Cauchy-Schwarz inequality), so each item's
true product lies between two bounds, and what cannot reach the k-th best lower bound is left out. What remains, some hundreds, is
multiplied exactly: the recall is 1, whatever the vectors' lengths. Compiled (counterfoil/compiled.py).
Shapes: I items, D width, in B blocks of W, K list length, C candidates.
"""

import threading

import numpy as np

from counterfoil.compiled import loop
from models.family import best_of, bound

LEAST = 5_000  # items; below, every product takes as long
WIDE = 64  # numbers that are multiplied at once
STEPS = 127
PERSON_STEPS = 32_767
BLOCK = 64  # items of whose lower bounds the best is taken, so that not all of them are sorted
TINY = 1e-30  # below, numbers lose their digits: such a vector counts as zeros, and as off by all that it is
SLACK = 4.8e-7  # of a sum of a few float32
NOTHING = 1.2e-38  # what products of tiny numbers may come to that float32 tells as zero
FAINT = 1e-22  # a number whose square float32 tells as zero: what a length may lack of each


class Coarse:
    """Vectors float32 [I, D] as whole numbers, and how far these are off. `offset_I` is added to every product."""

    def __init__(self, vector_ID: np.ndarray, offset_I: np.ndarray) -> None:
        self._own = threading.local()
        self.vector_ID, self.offset_I = vector_ID, np.ascontiguousarray(offset_I, np.float32)
        width = vector_ID.shape[1]
        most_I = np.abs(vector_ID).max(axis=1, initial=0.0)
        self.scale_I = (np.where(most_I > TINY, most_I, 1) / STEPS).astype(np.float32)
        code_ID = np.rint(vector_ID / self.scale_I[:, None]).astype(np.int8)
        near_ID = code_ID * self.scale_I[:, None]
        self.code_IBW = np.pad(code_ID, ((0, 0), (0, -width % WIDE))).reshape(len(vector_ID), -1, WIDE)
        self.faint = FAINT * max(1, width) ** 0.5
        self.length_I = _up(np.linalg.norm(near_ID, axis=1), self.faint)
        # beside what rounding to whole numbers takes: the sums of products in float32, here and when computed exactly
        sums = (width + 8) * 2.0**-22
        self.off_I = _up(np.linalg.norm(vector_ID - near_ID, axis=1) + sums * self.length_I, self.faint)
        self.steps = min(PERSON_STEPS, (2**31 - 1) // (STEPS * max(1, width)))

    def bounds(self, person_D: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what each item's product, with its offset, is at least and at most, float32 [I] twice.

        They are room that the thread's next question writes to again: fresh pages would cost more than the arithmetic.
        """
        scale = max(float(np.abs(person_D).max(initial=0.0)), 1e-30) / self.steps
        code_D = np.rint(person_D / scale).astype(np.int16)
        off = float(np.linalg.norm(person_D - code_D * scale))
        length = float(np.linalg.norm(person_D)) * (1 + 1e-6) + self.faint
        total_I, low_I, high_I = self._room()
        multiply(self.code_IBW, np.pad(code_D, (0, -len(code_D) % WIDE)).reshape(-1, WIDE), total_I)
        bracket(
            total_I,
            self.scale_I,
            self.length_I,
            self.off_I,
            self.offset_I,
            np.float32(scale),
            np.float32(length),
            np.float32(off * (1 + 1e-6) + self.faint),
            low_I,
            high_I,
        )
        return low_I, high_I

    def _room(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if not hasattr(self._own, "room"):
            items = len(self.offset_I)
            self._own.room = tuple(np.empty(items, kind) for kind in (np.int32, np.float32, np.float32))
        room: tuple[np.ndarray, np.ndarray, np.ndarray] = self._own.room
        return room

    def best(
        self,
        person_D: np.ndarray,
        k: int,
        *,
        allowed_I: np.ndarray | None = None,
        excluded: np.ndarray | None = None,
        extra: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the `k` items with the largest products and these, best first; ties go to the lower index.

        `extra` names distinct items and what is added to theirs, float32. None where so few may be answered that there are no
        `k` to be sure of: then every product is to be computed.
        """
        low_I, high_I = self.bounds(person_D)
        for item_C, added_C in () if extra is None else (extra,):
            low_I[item_C] += added_C - np.abs(added_C) * np.float32(1e-5)
            high_I[item_C] += added_C + np.abs(added_C) * np.float32(1e-5)
        for out in (~allowed_I if allowed_I is not None else None, excluded):
            if out is not None:
                low_I[out] = high_I[out] = -np.inf
        least = bound(low_I, k, rows=min(BLOCK, len(low_I) // (4 * k)))
        if least == -np.inf:
            return None
        item_C = np.flatnonzero(high_I >= least)
        score_C = self.vector_ID[item_C] @ person_D + self.offset_I[item_C]
        if extra is not None:
            at_C = np.minimum(np.searchsorted(item_C, extra[0]), len(item_C) - 1)
            here_C = item_C[at_C] == extra[0]
            score_C[at_C[here_C]] += extra[1][here_C]
        best = best_of(score_C, k)
        return item_C[best], score_C[best]


def ready(items: int) -> bool:
    """Say whether one person's answer over so many items goes this way: the loop is compiled, and it pays."""
    return multiply.ready and items >= LEAST


@loop("void(int8[:,:,::1], int16[:,::1], int32[::1])")
def multiply(code_IBW, code_BW, total_I):  # type: ignore[no-untyped-def]
    """Fill in the products of whole numbers, block by block of WIDE: a number that the compiler knows makes it quick."""
    for i in range(code_IBW.shape[0]):
        total = np.int32(0)
        for b in range(code_IBW.shape[1]):
            for w in range(WIDE):
                total += np.int32(code_IBW[i, b, w]) * np.int32(code_BW[b, w])
        total_I[i] = total


@loop(
    "void(int32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32, float32, float32, "
    "float32[::1], float32[::1])"
)
def bracket(total_I, scale_I, length_I, off_I, offset_I, scale, length, off, low_I, high_I):  # type: ignore[no-untyped-def]
    """Fill in the bounds: the product of whole numbers, and off it what the rounding of either vector may come to."""
    for i in range(len(total_I)):
        near = np.float32(total_I[i]) * scale_I[i] * scale + offset_I[i]
        around = off_I[i] * length + length_I[i] * off
        around += (abs(near) + abs(offset_I[i])) * np.float32(SLACK) + np.float32(NOTHING)
        low_I[i] = near - around
        high_I[i] = near + around


def _up(length_I: np.ndarray, faint: float) -> np.ndarray:
    """Return lengths as float32, none of them smaller than it is."""
    return (np.asarray(length_I, np.float64) * (1 + 1e-6) + faint).astype(np.float32)
