"""Scale: signals as a linear model or a network can read them. Nothing here is for trees.

Every column is taken through a monotone curve that gives it a mean of 0 and a spread of 1: a signed logarithm, which tames
counts and ages; what lies far out is cut off. Beside it stands its rank among what was learned from. Where columns may be absent
another column says so, once for those that are absent together; an absent value itself is 0.
Shapes: N rows, F signals, X columns read.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models import artefact

FAR = 5.0
KNOTS = 33
SEEN = 100_000  # rows that the curves are learned from


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Mean and spread of the logarithms, float32 [F]; knots of the ranks, float32 [F, KNOTS]; columns whose absence is told."""

    mean_F: np.ndarray
    spread_F: np.ndarray  # 0: the column never varied, and is left out
    knot_FK: np.ndarray
    absent_M: np.ndarray  # int32, indices of signals

    @property
    def width(self) -> int:
        """Number of columns read, X."""
        return 2 * int((self.spread_F > 0).sum()) + len(self.absent_M)

    @property
    def signal_X(self) -> np.ndarray:
        """Which signal each column tells of, int64 [X]."""
        used = np.flatnonzero(self.spread_F > 0)
        return np.concatenate([used, used, self.absent_M])

    def read(self, signal_NF: np.ndarray) -> np.ndarray:
        """Return the columns, float32 [N, X]."""
        used = np.flatnonzero(self.spread_F > 0)
        finite_NF = np.isfinite(signal_NF)
        log_NF = _log(signal_NF[:, used])
        log_NF = np.clip((log_NF - self.mean_F[used]) / self.spread_F[used], -FAR, FAR)
        place = np.linspace(-1.7, 1.7, KNOTS)  # uniform with a spread of 1
        rank_NF = np.column_stack(
            [np.interp(signal_NF[:, f], self.knot_FK[f], place) for f in used]
            or [np.zeros((len(signal_NF), 0))]
        )
        missing_NF = ~finite_NF[:, used]
        log_NF[missing_NF] = 0.0
        rank_NF[missing_NF] = 0.0
        return np.hstack([log_NF, rank_NF, ~finite_NF[:, self.absent_M]]).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write `ranker.scale.npy`, `ranker.knots.npy` and `ranker.absent.npy`."""
        artefact.write_array(folder / "ranker.scale.npy", np.stack([self.mean_F, self.spread_F]))
        artefact.write_array(folder / "ranker.knots.npy", self.knot_FK)
        artefact.write_array(folder / "ranker.absent.npy", self.absent_M)


def load(folder: Path) -> Scale:
    """Read what `save` wrote; IntegrityError when it is not that."""
    mean_F, spread_F = artefact.read_array(folder / "ranker.scale.npy", np.float32, ndim=2)
    return Scale(
        mean_F=mean_F,
        spread_F=spread_F,
        knot_FK=artefact.read_array(folder / "ranker.knots.npy", np.float32, ndim=2),
        absent_M=artefact.read_array(folder / "ranker.absent.npy", np.int32),
    )


def learn(signal_NF: np.ndarray) -> Scale:
    """Read the curves off evenly spread rows."""
    seen_NF = signal_NF[np.unique(np.linspace(0, len(signal_NF) - 1, min(SEEN, len(signal_NF))).astype(int))]
    seen_NF = np.where(np.isfinite(seen_NF), seen_NF, np.nan)
    mean_F, spread_F = np.zeros(seen_NF.shape[1], np.float32), np.zeros(seen_NF.shape[1], np.float32)
    knot_FK = np.zeros((seen_NF.shape[1], KNOTS), np.float32)
    told: dict[bytes, int] = {}
    for f, value_N in enumerate(seen_NF.T):
        missing_N = np.isnan(value_N)
        here_N = value_N[~missing_N]
        if missing_N.any() and len(here_N):
            told.setdefault(np.packbits(missing_N).tobytes(), f)
        if len(here_N) and here_N.min() < here_N.max():
            log_N = _log(here_N)
            mean_F[f], spread_F[f] = log_N.mean(), log_N.std()
            knot_FK[f] = _knots(here_N)
    return Scale(
        mean_F=mean_F, spread_F=spread_F, knot_FK=knot_FK, absent_M=np.array(sorted(told.values()), np.int32)
    )


def _knots(value_N: np.ndarray) -> np.ndarray:
    """Return quantiles of the distinct values, each weighted by the root of its count, so that zeros leave room for the rest."""
    value_V, count_V = np.unique(value_N, return_counts=True)
    mass_V = np.cumsum(np.sqrt(count_V))
    return np.interp(np.linspace(mass_V[0], mass_V[-1], KNOTS), mass_V, value_V)


def _log(value: np.ndarray) -> np.ndarray:
    return np.sign(value) * np.log1p(np.abs(value))
