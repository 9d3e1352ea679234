"""Who is shown where lists leave room: items that few lists hold get a bonus, learned from the lists of those who are known.

The last places of a list go to candidates by their value plus a bonus per item. A bonus rises while its item is shown too
seldom and falls when it is shown too often, as the dual price of a quota does (Balseiro, Lu, Mirrokni, "Dual mirror descent for
online allocation problems", ICML 2020; Xu et al., "P-MMF: provider max-min fairness re-ranking", WWW 2023). At answering time it
is a number per item, whoever asks. Shapes: P people, N rows of a pool, C the largest pool of one, H leading places, S places
given away, D length of the inner lists, I items.
"""

from dataclasses import dataclass

import numpy as np

from models.data import Ranking
from models.rank.pool import Pool

ROUNDS = 40
STEP = 0.1  # of the largest bonus, in the first round; it shrinks to nothing
FALL = 0.5  # how fast a bonus falls, beside how fast it rises


@dataclass(frozen=True, kw_only=True)
class Board:
    """Candidates per person, padded: value float32 [P, C] (-inf: padding, or among the leading places), item int64 [P, C]."""

    value_PC: np.ndarray
    item_PC: np.ndarray
    source_PC: np.ndarray

    def best(self, bonus_I: np.ndarray, places: int) -> np.ndarray:
        """Return the columns of each person's best candidates by value plus bonus, int64 [P, S]; ties to the lower item."""
        value_PC = self.value_PC + bonus_I[self.item_PC]
        return np.argsort(-value_PC, axis=1, kind="stable")[:, :places]

    def within(self, most: float, places: int) -> "Board":
        """Return the candidates that a bonus of at most `most` can bring among the `places` best, in the order of their value."""
        order_PC = np.argsort(-self.value_PC, axis=1, kind="stable")
        value_PC = np.take_along_axis(self.value_PC, order_PC, axis=1)
        least_P1 = value_PC[:, min(places, value_PC.shape[1]) - 1 :][:, :1] - np.float32(most)
        width = max(1, int((value_PC >= least_P1).sum(axis=1).max(initial=1)))
        item_PC = np.take_along_axis(self.item_PC, order_PC, axis=1)
        source_PC = np.take_along_axis(self.source_PC, order_PC, axis=1)
        return Board(value_PC=value_PC[:, :width], item_PC=item_PC[:, :width], source_PC=source_PC[:, :width])


def board(found: Pool, worth_N: np.ndarray, takers_I: np.ndarray, power: float, head_PH: np.ndarray) -> Board:
    """Lay candidates out by person: worth over (takers + 1)^power as a share of the person's best, without those in `head_PH`.

    `takers_I` covers the catalogue. Candidates of a person lie in the order of their items.
    """
    size_P = found.sizes_P
    place_N = np.arange(len(found)) - np.repeat(np.cumsum(size_P) - size_P, size_P)
    shape = (found.people, int(size_P.max(initial=1)))
    value_PC = np.full(shape, -np.inf, np.float32)
    item_PC = np.zeros(shape, np.int64)
    source_PC = np.zeros(shape, np.uint8)
    at = (found.row_N, place_N)
    value_PC[at] = worth_N * (takers_I[found.item_N] + 1.0) ** -power
    most_P1 = value_PC.max(axis=1, keepdims=True)
    value_PC = np.divide(value_PC, most_P1, out=value_PC, where=most_P1 > 0)
    item_PC[at], source_PC[at] = found.item_N, found.source_N
    taken_N = _among(found, head_PH)
    value_PC[found.row_N[taken_N], place_N[taken_N]] = -np.inf
    return Board(value_PC=value_PC, item_PC=item_PC, source_PC=source_PC)


def _among(found: Pool, head_PH: np.ndarray) -> np.ndarray:
    """Return which rows of the pool are among each person's leading items, bool [N]."""
    row_M, place_M = np.nonzero(head_PH >= 0)
    return np.isin(found.key_N, row_M * found.items + head_PH[row_M, place_M])


def learn(on: Board, head_PH: np.ndarray, items: int, places: int, most: float, quota: float) -> np.ndarray:
    """Return a bonus between 0 and `most` per item, float32 [I], by which each item is shown about `quota` times.

    Items that the leading places show as often need none. Those that nobody wants even so stay at `most`.
    """
    bonus_I = np.zeros(items, np.float32)
    if not places or not most:
        return bonus_I
    on = on.within(most, places)
    led_I = np.bincount(head_PH[head_PH >= 0], minlength=items)
    short_I = led_I < quota
    for turn in range(ROUNDS):
        best_PS = on.best(bonus_I, places)
        shown_PS = np.isfinite(np.take_along_axis(on.value_PC, best_PS, axis=1))
        item_PS = np.take_along_axis(on.item_PC, best_PS, axis=1)
        count_I = led_I + np.bincount(item_PS[shown_PS], minlength=items)
        change_I = np.where(count_I < quota, 1.0, FALL * (quota - count_I) / quota)
        step = STEP * most * (1 - turn / ROUNDS)
        bonus_I = np.where(short_I, np.clip(bonus_I + step * change_I, 0.0, most), 0.0).astype(np.float32)
    return bonus_I


def fill(inner: Ranking, on: Board, bonus_I: np.ndarray, lead: int, places: int, k: int) -> Ranking:
    """Return lists of `k`: the `lead` first of the inner ones, then `places` by value plus bonus, then the inner ones' rest.

    Scores fall by place; `inner` is at least as long as is asked, or as there are items.
    """
    best_PS = on.best(bonus_I, places)
    kept_PS = np.isfinite(np.take_along_axis(on.value_PC, best_PS, axis=1))
    given_PS = np.where(kept_PS, np.take_along_axis(on.item_PC, best_PS, axis=1), -1)
    source_PS = np.take_along_axis(on.source_PC, best_PS, axis=1)
    rest_PD = inner.item_PK[:, lead:]
    again_PD = (rest_PD[:, :, None] == given_PS[:, None, :]).any(axis=2)
    item_PK = np.concatenate([inner.item_PK[:, :lead], given_PS, np.where(again_PD, -1, rest_PD)], axis=1)
    source_PK = np.concatenate([inner.source_PK[:, :lead], source_PS, inner.source_PK[:, lead:]], axis=1)
    order_PK = np.argsort(item_PK < 0, axis=1, kind="stable")[:, :k]
    item_PK = np.take_along_axis(item_PK, order_PK, axis=1).astype(np.int32)
    source_PK = np.take_along_axis(source_PK, order_PK, axis=1)
    score_PK = np.where(item_PK >= 0, 1.0 / np.arange(1, item_PK.shape[1] + 1), -np.inf).astype(np.float32)
    return Ranking(
        item_PK=item_PK,
        score_PK=score_PK,
        sources=inner.sources,
        source_PK=np.where(item_PK >= 0, source_PK, 0).astype(np.uint8),
    )
