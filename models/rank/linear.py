"""Logistic regression over scaled signals (scikit-learn). Shapes: N candidates, F signals, X columns read (scale.py)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from counterfoil.errors import IntegrityError
from models import artefact
from models.config import Checked, Span, bounds
from models.rank import scale
from models.rank.examples import Examples
from models.rank.scale import Scale

FILE = "ranker.npy"


@dataclass(frozen=True, kw_only=True)
class LogisticConfig(Checked):
    """How strongly weights are held back (the inverse of the penalty, per thousand rows), and for how long is searched."""

    kind: Literal["logistic"] = "logistic"
    looseness: float = bounds(0.01, 1e-9, 1e6, search=Span(1e-5, 100, log=True))
    iterations: int = bounds(100, 1, 100_000)


class Logistic:
    """One weight per column, and the bias at the end, float64 [X + 1]."""

    told = "coefficient x value"

    def __init__(self, weight_X: np.ndarray, curves: Scale, names: tuple[str, ...]) -> None:
        self.weight_X = weight_X
        self.scale = curves
        self.names = names

    def score(self, signal_NF: np.ndarray) -> np.ndarray:
        """Return the log-odds, float32 [N]."""
        read_NX = self.scale.read(signal_NF).astype(np.float64)
        # summed row by row alike, however many rows there are: equal rows stay equal
        return (np.einsum("nx,x->n", read_NX, self.weight_X[:-1]) + self.weight_X[-1]).astype(np.float32)

    def contributions(self, signal_NF: np.ndarray) -> np.ndarray | None:
        """Return each signal's part of the log-odds, float32 [N, F + 1], against a row where everything is as usual."""
        part_NX = self.scale.read(signal_NF) * self.weight_X[:-1]
        out_NF = np.zeros((len(signal_NF), signal_NF.shape[1] + 1))
        for x, f in enumerate(self.scale.signal_X):
            out_NF[:, f] += part_NX[:, x]
        out_NF[:, -1] = self.weight_X[-1]
        return out_NF.astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write the weights and the scale."""
        artefact.write_array(folder / FILE, self.weight_X)
        self.scale.save(folder)


def grow(config: LogisticConfig, examples: Examples, *, seed: int, threads: int) -> Logistic:
    """Fit by L-BFGS; what gained more weighs more. Nothing is random.

    Cox, "The regression analysis of binary sequences" (1958).
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    curves = scale.learn(examples.value_NF)
    taken_N = examples.gain_N > 0
    weight_N = np.where(taken_N, examples.gain_N, 1.0)
    model = LogisticRegression(C=1000 * config.looseness / len(examples), max_iter=config.iterations)
    with threadpool_limits(1):  # the sums, and so the bytes, depend on the number of threads
        model.fit(curves.read(examples.value_NF), taken_N, sample_weight=weight_N)
    weight_X = np.append(model.coef_[0], model.intercept_[0]).astype(np.float64)
    return Logistic(weight_X, curves, examples.names)


def load(config: LogisticConfig, folder: Path, names: tuple[str, ...]) -> Logistic:
    """Read what `save` wrote; IntegrityError when it is not that."""
    curves = scale.load(folder)
    weight_X = artefact.read_array(folder / FILE, np.float64)
    if len(weight_X) != curves.width + 1 or len(curves.mean_F) != len(names):
        raise IntegrityError(
            f"{FILE} does not fit its scale and the {len(names)} signals named beside it; fit again"
        )
    return Logistic(weight_X, curves, names)
