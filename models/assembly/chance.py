"""Chances: how likely people take what members propose, learned where no member has learned.

Stacking (Wolpert, "Stacked generalization", Neural Networks 1992) with probabilities: trees read where each member places an
item, and say how likely it is taken, never less for a better place. They must not know items apart (by how many took one, say):
they would learn what sold in those weeks, and no fold of people shows that. People weigh as one hit of theirs weighs in nDCG.
Shapes: P people, N rows of a pool, M members, F signals.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.assembly.worth import total, worth
from models.metrics.accuracy import ideal, taken
from models.rank import booster
from models.rank.booster import Booster, BoosterConfig
from models.rank.pool import Pool

FOLDS = 5
MOST_ROWS = 1_000_000  # rows to learn from; beyond that, what was not taken is drawn and weighs more
SMOOTHING = 20.0  # of ranks (models/assembly/worth.py)
SILENT = np.float32(1e6)  # the place of what a member does not propose: behind all others
TREES = BoosterConfig(trees=120, depth=4, rate=0.06, columns=0.7, rows=0.8)


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """Signals of what members propose, whether it was taken, how much the row counts, and whose row it is."""

    names: tuple[str, ...]
    signal_NF: np.ndarray  # float32
    taken_N: np.ndarray  # bool
    weight_N: np.ndarray  # float32
    row_N: np.ndarray  # int64

    def where(self, mask_N: np.ndarray) -> "Lesson":
        """Return the rows that the mask keeps."""
        return replace(
            self,
            signal_NF=self.signal_NF[mask_N],
            taken_N=self.taken_N[mask_N],
            weight_N=self.weight_N[mask_N],
            row_N=self.row_N[mask_N],
        )


def names(members: Sequence[str]) -> tuple[str, ...]:
    """Return what the signals are called."""
    return (*(f"place_{member}" for member in members), "worth", "history")


def signals(found: Pool, had_P: np.ndarray) -> np.ndarray:
    """Return the signals of a pool, float32 [N, M + 2].

    The place in each member's list (SILENT where it is not there), what all of them think of it together, and how many
    interactions the person has (`had_P`).
    """
    members = found.rank_NS.shape[1]
    signal_NF = np.empty((len(found), members + 2), np.float32)
    signal_NF[:, :members] = np.where(np.isnan(found.rank_NS), SILENT, found.rank_NS)
    signal_NF[:, members] = total(worth(found, "rank", SMOOTHING), (1.0,) * members)
    signal_NF[:, members + 1] = had_P[found.row_N]
    return signal_NF


def lesson(
    found: Pool,
    members: Sequence[str],
    truth: Sequence[np.ndarray],
    had_P: np.ndarray,
    k: int,
) -> Lesson:
    """Lay out what was proposed beside what was taken; a person weighs one over the best DCG@k that was possible."""
    return Lesson(
        names=names(members),
        signal_NF=signals(found, had_P),
        taken_N=found.taken(truth),
        weight_N=(1.0 / ideal(taken(truth), k))[found.row_N].astype(np.float32),
        row_N=found.row_N,
    )


def learn(from_: Lesson, seed: int, threads: int) -> Booster:
    """Return trees that give the chance of each row of signals."""
    from_ = _bounded(from_, seed)
    members = len(from_.names) - 2
    return booster.chances(
        TREES,
        from_.signal_NF,
        from_.taken_N,
        from_.weight_N,
        from_.names,
        slopes=(-1,) * members + (1, 0),
        seed=seed,
        threads=threads,
    )


def apart(of: Lesson, seed: int, threads: int) -> np.ndarray:
    """Return the chance of each row by trees that have not learned from its person, float32 [N]."""
    chance_N = np.zeros(len(of.row_N), np.float32)
    for fold in range(FOLDS):
        own_N = of.row_N % FOLDS == fold
        if own_N.any() and not own_N.all():
            chance_N[own_N] = learn(of.where(~own_N), seed, threads).score(of.signal_NF[own_N])
    return chance_N


def _bounded(lesson: Lesson, seed: int) -> Lesson:
    missed = int((~lesson.taken_N).sum())
    most = MOST_ROWS - int(lesson.taken_N.sum())
    if missed <= most:
        return lesson
    share = max(most, 1) / missed
    kept_N = lesson.taken_N | (np.random.default_rng(seed).random(len(lesson.row_N)) < share)
    kept = lesson.where(kept_N)
    return replace(kept, weight_N=np.where(kept.taken_N, kept.weight_N, kept.weight_N / np.float32(share)))
