"""Examples: what a ranker learns from. Candidates of people who took something, with what it was worth. No fitting here.

Shapes: P people, N rows, F signals.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.rank.pool import Pool


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Signals of candidates, sorted by group (one person at one moment), and the gain of each: 0 when it was not taken."""

    names: tuple[str, ...]
    value_NF: np.ndarray  # float32
    gain_N: np.ndarray  # float32
    group_N: np.ndarray  # int64, ascending

    def __len__(self) -> int:
        return len(self.gain_N)

    @property
    def start_G(self) -> np.ndarray:
        """Where each group starts, and the end of the last one, int64 [groups + 1]."""
        return np.flatnonzero(np.diff(self.group_N, prepend=-1, append=np.iinfo(np.int64).max))

    def telling(self) -> "Examples":
        """Return the examples without signals that are the same everywhere."""
        first_F = self.value_NF[:1]
        same_NF = (self.value_NF == first_F) | (np.isnan(self.value_NF) & np.isnan(first_F))
        told = np.flatnonzero(~same_NF.all(axis=0))
        return replace(self, names=tuple(self.names[f] for f in told), value_NF=self.value_NF[:, told])


def join(parts: Sequence[Examples]) -> Examples:
    """Put parts one after the other; groups are numbered anew."""
    groups, group = 0, []
    for part in parts:
        number_N = np.cumsum(np.diff(part.group_N, prepend=-1) > 0) - 1 + groups
        group.append(number_N)
        groups = int(number_N[-1]) + 1 if len(part) else groups
    return Examples(
        names=parts[0].names,
        value_NF=np.concatenate([part.value_NF for part in parts]),
        gain_N=np.concatenate([part.gain_N for part in parts]),
        group_N=np.concatenate(group).astype(np.int64),
    )


def sample(pool: Pool, gain_N: np.ndarray, negatives: int, random: np.random.Generator) -> np.ndarray:
    """Keep what was taken, and per person at most `negatives` of the rest; nobody without anything taken. bool [N]."""
    taken_P = np.bincount(pool.row_N[gain_N > 0], minlength=pool.people)
    draw_N = np.where(gain_N > 0, -1.0, random.random(len(pool)))
    order_N = np.lexsort((draw_N, pool.row_N))
    place_N = np.empty(len(pool), np.int64)
    place_N[order_N] = pool.place_N
    taken_N = taken_P[pool.row_N]
    return (taken_N > 0) & (place_N < taken_N + negatives)
