"""Who is shown where lists leave room: items that few lists hold get a bonus, learned from the lists of those who are known.

A list holds the best by value plus a bonus per item. A bonus rises while its item is shown too seldom and falls when it is
shown too often, as the dual price of a quota does (Balseiro, Lu, Mirrokni, "Dual mirror descent for online allocation problems",
ICML 2020; Xu et al., "P-MMF: provider max-min fairness re-ranking", WWW 2023). At answering time it is a number per item,
whoever asks. Shapes: P people, N rows of a pool, C the largest pool of one, A places that bonuses decide on, I items.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.data import Ranking
from models.rank.pool import Pool

ROUNDS = 40
STEP = 0.1  # of the largest bonus, in the first round; it shrinks to nothing
FALL = 0.5  # how fast a bonus falls, beside how fast it rises


@dataclass(frozen=True, kw_only=True)
class Board:
    """Candidates per person by falling value, padded: value float32 [P, C] (-inf: padding), item and source [P, C]."""

    value_PC: np.ndarray
    item_PC: np.ndarray
    source_PC: np.ndarray

    def best(self, bonus_I: np.ndarray, places: int) -> np.ndarray:
        """Return the columns of each person's best candidates by value plus bonus, int64 [P, A], ascending."""
        value_PC = self.value_PC + bonus_I[self.item_PC]
        return np.sort(np.argsort(-value_PC, axis=1, kind="stable")[:, :places], axis=1)

    def items(self, column_PA: np.ndarray) -> np.ndarray:
        """Return the items in these columns, int64 [P, A], -1 for padding."""
        there_PA = np.isfinite(np.take_along_axis(self.value_PC, column_PA, axis=1))
        return np.where(there_PA, np.take_along_axis(self.item_PC, column_PA, axis=1), -1)

    def within(self, most: float, places: int) -> "Board":
        """Return the candidates that a bonus of at most `most` can bring among the `places` best."""
        last_P1 = self.value_PC[:, min(places, self.value_PC.shape[1]) - 1 :][:, :1]
        width = max(1, places, int((self.value_PC >= last_P1 - np.float32(most)).sum(axis=1).max(initial=1)))
        return Board(
            value_PC=self.value_PC[:, :width],
            item_PC=self.item_PC[:, :width],
            source_PC=self.source_PC[:, :width],
        )


def board(found: Pool, value_N: np.ndarray) -> Board:
    """Lay the candidates of each person out by falling value; ties go to the lower item."""
    order_N = np.lexsort((found.item_N, -value_N, found.row_N))
    shape = (found.people, int(found.sizes_P.max(initial=1)))
    value_PC = np.full(shape, -np.inf, np.float32)
    item_PC = np.zeros(shape, np.int32)
    source_PC = np.zeros(shape, np.uint8)
    at = (found.row_N, found.place_N)  # rows are sorted by person, before and after
    value_PC[at], item_PC[at], source_PC[at] = (
        value_N[order_N],
        found.item_N[order_N],
        found.source_N[order_N],
    )
    return Board(value_PC=value_PC, item_PC=item_PC, source_PC=source_PC)


def join(boards: Sequence[Board]) -> Board:
    """Put the people of several boards below each other."""
    width = max(part.value_PC.shape[1] for part in boards)

    def padded(parts: list[np.ndarray], filler: float) -> np.ndarray:
        return np.concatenate(
            [
                np.pad(part, ((0, 0), (0, width - part.shape[1])), constant_values=part.dtype.type(filler))
                for part in parts
            ]
        )

    return Board(
        value_PC=padded([part.value_PC for part in boards], -np.inf),
        item_PC=padded([part.item_PC for part in boards], 0),
        source_PC=padded([part.source_PC for part in boards], 0),
    )


def learn(on: Board, items: int, places: int, most: float, quota: float) -> np.ndarray:
    """Return a bonus between 0 and `most` per item, float32 [I], by which each item is shown about `quota` times.

    What is shown as often without one needs none. Items that nobody wants even so stay at `most`.
    """
    bonus_I = np.zeros(items, np.float32)
    if not most:
        return bonus_I
    on = on.within(most, places)
    for turn in range(ROUNDS):
        shown_PA = on.items(on.best(bonus_I, places))
        count_I = np.bincount(shown_PA[shown_PA >= 0], minlength=items)
        change_I = np.where(count_I < quota, 1.0, FALL * (quota - count_I) / quota)
        step = STEP * most * (1 - turn / ROUNDS)
        bonus_I = np.clip(bonus_I + step * change_I, 0.0, most).astype(np.float32)
    return bonus_I


def fill(on: Board, bonus_I: np.ndarray, places: int, k: int, sources: tuple[str, ...]) -> Ranking:
    """Return lists of `k`: the best `places` by value plus bonus, these by value alone, then the others by value.

    Scores fall by place.
    """
    best_PA = on.best(bonus_I, places)
    rest_PC = np.ones(on.value_PC.shape, bool)
    np.put_along_axis(rest_PC, best_PA, False, axis=1)
    # within the two groups, and columns as they are, which is by value
    order_PK = np.argsort(rest_PC | ~np.isfinite(on.value_PC), axis=1, kind="stable")[:, :k]
    item_PK = on.items(order_PK).astype(np.int32)
    if item_PK.shape[1] < k:
        item_PK = np.pad(item_PK, ((0, 0), (0, k - item_PK.shape[1])), constant_values=-1)
        order_PK = np.pad(order_PK, ((0, 0), (0, k - order_PK.shape[1])))
    there_PK = item_PK >= 0
    score_PK = np.where(there_PK, 1.0 / np.arange(1, k + 1), -np.inf).astype(np.float32)
    source_PK = np.where(there_PK, np.take_along_axis(on.source_PC, order_PK, axis=1), 0).astype(np.uint8)
    return Ranking(item_PK=item_PK, score_PK=score_PK, sources=sources, source_PK=source_PK)
