"""How much each member counts: coordinate ascent on a trial, from the member that is best alone.

One weight is changed at a time, to the value on a grid that helps most, and only while it helps by more than one standard error
of the paired difference: what a few people like better is not believed. Nothing is random.
Shapes: P people of the trial, N rows of a pool, M members, R people with a right answer in the pool, C the largest pool of one,
T right answers in the pool.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.assembly.worth import Kind, worth
from models.data import Ranking
from models.rank import pool
from models.rank.pool import Pool

GRID = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5)
CHANGES = 24  # of weights, at most
CLEAR = 2.0  # standard errors by which ranks must be ahead of scores to be taken instead


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The weights by member, what a place is worth, and the ascent: a line per change with the metric and all weights."""

    kind: Kind
    weight_M: tuple[float, ...]
    ascent: tuple[dict[str, float], ...]


class Board:
    """A trial's right answers among all candidates, padded, so that a set of weights is scored by one pass.

    Candidates of a row lie in the order of their items; a tie goes to the lower item, as in the answer.
    """

    def __init__(
        self, found: Pool, worth_NM: np.ndarray, truth: Sequence[np.ndarray], k: int, flat: float = 0.0
    ) -> None:
        taken_P = np.array([len(items) for items in truth], np.int64)
        right_N = found.taken(truth)
        row_R, at_N = np.unique(found.row_N, return_inverse=True)
        useful_R = np.bincount(at_N, right_N) > 0
        kept_N = useful_R[at_N]
        at_N = (np.cumsum(useful_R) - 1)[at_N[kept_N]]
        size_R = np.bincount(at_N, minlength=int(useful_R.sum()))
        place_N = np.arange(len(at_N)) - np.repeat(np.cumsum(size_R) - size_R, size_R)
        shape = (worth_NM.shape[1], len(size_R), int(size_R.max(initial=0)))
        self.worth_MRC = np.zeros(shape, np.float32)
        self.worth_MRC[:, at_N, place_N] = worth_NM[kept_N].T
        self.filled_RC = np.zeros(shape[1:], bool)
        self.filled_RC[at_N, place_N] = True
        self.right_N = right_N[kept_N]
        self.row_T, self.place_T = at_N[self.right_N], place_N[self.right_N]
        self.gain_K = (1.0 - flat) / np.log2(np.arange(2, k + 2)) + flat
        best_K = np.concatenate([[0.0], np.cumsum(self.gain_K)])
        self.ideal_R = best_K[np.minimum(taken_P[row_R[useful_R]], k)]
        self.name = "gain" if flat else "ndcg"
        self.people = len(truth)

    def values(self, score_RC: np.ndarray) -> np.ndarray:
        """Return what is chosen by for these scores, float64 [R]; all other people of the trial have 0."""
        k = len(self.gain_K)
        gain_T = np.zeros(len(self.row_T))
        # one right answer of everybody at a time, so that no array outgrows the scores
        turn_T = np.arange(len(self.row_T)) - np.searchsorted(self.row_T, self.row_T)
        column_C = np.arange(score_RC.shape[1])
        for turn in range(int(turn_T.max(initial=-1)) + 1):
            now = np.flatnonzero(turn_T == turn)
            rows, place = self.row_T[now], self.place_T[now][:, None]
            each_RC = score_RC if len(rows) == len(score_RC) else score_RC[rows]
            own = np.take_along_axis(each_RC, place, axis=1)
            ahead_RC = (each_RC > own) | ((each_RC == own) & (column_C < place))
            rank = (ahead_RC & self.filled_RC[rows]).sum(axis=1)
            gain_T[now] = np.where(rank < k, self.gain_K[np.minimum(rank, k - 1)], 0.0)
        return np.bincount(self.row_T, gain_T, minlength=len(self.ideal_R)) / self.ideal_R

    def of(self, weight_M: np.ndarray) -> np.ndarray:
        """Return what is chosen by with these weights, float64 [R]."""
        return self.values(self._sum(weight_M))

    def _sum(self, weight_M: np.ndarray) -> np.ndarray:
        score_RC = np.zeros(self.filled_RC.shape, np.float32)
        for m in np.flatnonzero(weight_M):
            score_RC += np.float32(weight_M[m]) * self.worth_MRC[m]
        return score_RC

    def changes(self, weight_M: np.ndarray, m: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return all weights with member m's changed along the grid, and what comes of each, float64 [R]."""
        others_M = weight_M.copy()
        others_M[m] = 0.0
        others_RC = self._sum(others_M)
        out = []
        for value in GRID:
            if value == weight_M[m] or not (value or others_M.any()):
                continue
            tried_M = others_M.copy()
            tried_M[m] = value
            out.append((tried_M, self.values(others_RC + np.float32(value) * self.worth_MRC[m])))
        return out


def weigh(
    names: Sequence[str],
    rankings: Sequence[Ranking],
    truth: Sequence[np.ndarray],
    *,
    kinds: Sequence[Kind],
    smoothing: float,
    items: int,
    k: int,
    flat: float = 0.0,
) -> Weights:
    """Choose weights, and what a place is worth: the first of `kinds` unless a later one is clearly ahead.

    Chosen by nDCG@k, whose discount is flattened by `flat`: 0 leaves it as it is, 1 is
    recall; of one right answer .5 is the mean of both.
    """
    found = pool.merge(rankings, len(truth), items)
    best: Weights | None = None
    best_R = np.zeros(0)
    for kind in kinds:
        board = Board(found, worth(found, kind, smoothing), truth, k, flat)
        weights, value_R = _ascend(board, kind, names)
        if best is None or _lead(value_R, best_R) > CLEAR:
            best, best_R = weights, value_R
    assert best is not None
    return best


def _ascend(board: Board, kind: Kind, names: Sequence[str]) -> tuple[Weights, np.ndarray]:
    alone = [board.of(np.eye(len(names))[m]) for m in range(len(names))]
    first = int(np.argmax([value_R.sum() for value_R in alone]))
    weight_M, value_R = np.eye(len(names))[first], alone[first]
    lines = [_line(board, names, 0, weight_M, value_R)]
    for _ in range(CHANGES if len(names) > 1 else 0):
        tried = [change for m in range(len(names)) for change in board.changes(weight_M, m)]
        other_M, other_R = max(tried, key=lambda change: float(change[1].sum()))
        if not _lead(other_R, value_R) > 1.0:
            break
        weight_M, value_R = other_M, other_R
        lines.append(_line(board, names, len(lines), weight_M, value_R))
    return Weights(kind=kind, weight_M=tuple(weight_M.tolist()), ascent=tuple(lines)), value_R


def _lead(one_R: np.ndarray, other_R: np.ndarray) -> float:
    """Return by how many of its standard errors a paired difference is above zero; 0 where nothing differs."""
    gain_R = one_R - other_R
    error = float(np.sqrt((gain_R**2).sum()))
    return float(gain_R.sum()) / error if error else 0.0


def _line(
    board: Board, names: Sequence[str], step: int, weight_M: np.ndarray, value_R: np.ndarray
) -> dict[str, float]:
    value = float(value_R.sum()) / max(1, board.people)
    weights = {f"weight of {name}": weight for name, weight in zip(names, weight_M.tolist(), strict=True)}
    return {"step": step, f"{board.name}@{len(board.gain_K)}": value, **weights}
