"""Networks that rank: an MLP with two hidden layers, and the same with cross layers beside it (DCN-v2).

They are learned in torch (models/nn/listwise.py) and asked in NumPy, so that whoever asks needs no torch.
Shapes: N candidates, F signals, X columns read (scale.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from counterfoil.errors import IntegrityError
from models.config import Checked, Span, bounds
from models.rank import scale
from models.rank.examples import Examples
from models.rank.scale import Scale

FILE = "ranker.safetensors"


@dataclass(frozen=True, kw_only=True)
class MlpConfig(Checked):
    """Widths of the two hidden layers, and how they learn: `groups` people a step, a rate that falls to zero."""

    kind: Literal["mlp"] = "mlp"
    first: int = bounds(64, 1, 4096)
    second: int = bounds(32, 1, 4096)
    dropout: float = bounds(0.1, 0.0, 0.9, search=Span(0.0, 0.5))
    rate: float = bounds(2e-3, 1e-6, 1.0, search=Span(2e-4, 2e-2, log=True))
    decay: float = bounds(1e-3, 0.0, 10.0, search=Span(1e-6, 1e-1, log=True))
    epochs: int = bounds(10, 1, 10_000, search=Span(3, 40, log=True))
    groups: int = bounds(32, 1, 100_000)


@dataclass(frozen=True, kw_only=True)
class CrossConfig(Checked):
    """As for the MLP; `crosses` layers multiply the signals with each other, through matrices of low `rank`."""

    kind: Literal["dcn"] = "dcn"
    crosses: int = bounds(2, 1, 16)
    rank: int = bounds(16, 1, 1024)
    first: int = bounds(64, 1, 4096)
    second: int = bounds(32, 1, 4096)
    dropout: float = bounds(0.1, 0.0, 0.9, search=Span(0.0, 0.5))
    rate: float = bounds(2e-3, 1e-6, 1.0, search=Span(2e-4, 2e-2, log=True))
    decay: float = bounds(1e-3, 0.0, 10.0, search=Span(1e-6, 1e-1, log=True))
    epochs: int = bounds(10, 1, 10_000, search=Span(3, 40, log=True))
    groups: int = bounds(32, 1, 100_000)


class NetworkRanker:
    """Weights by the names that torch gave them, float32."""

    told = "a network"

    def __init__(self, weights: Mapping[str, np.ndarray], curves: Scale, names: tuple[str, ...]) -> None:
        self.weights = weights
        self.scale = curves
        self.names = names

    def score(self, signal_NF: np.ndarray) -> np.ndarray:
        """Return one score per row, float32 [N]."""
        return forward(self.weights, self.scale.read(signal_NF)).astype(np.float32)

    def contributions(self, signal_NF: np.ndarray) -> np.ndarray | None:
        """Return None: what a network makes of a signal depends on all others."""
        return None

    def save(self, folder: Path) -> None:
        """Write the weights and the scale."""
        from safetensors.numpy import save_file

        save_file({name: np.ascontiguousarray(value) for name, value in self.weights.items()}, folder / FILE)
        self.scale.save(folder)


def forward(weights: Mapping[str, np.ndarray], read_NX: np.ndarray) -> np.ndarray:
    """Return one score per row, float64 [N].

    In double precision, so that equal rows come out equal in single precision, whatever stands beside them.
    """
    double = {name: value.astype(np.float64) for name, value in weights.items()}
    x_NX = read_NX.astype(np.float64)
    deep = np.maximum(x_NX @ double["first.weight"].T + double["first.bias"], 0.0)
    deep = np.maximum(deep @ double["second.weight"].T + double["second.bias"], 0.0)
    score_N = deep @ double["out.weight"][0]
    layers = sum(name.endswith(".narrow") for name in weights)
    cross_NX = x_NX
    for layer in range(layers):
        narrowed = cross_NX @ double[f"crosses.{layer}.narrow"].T
        widened = narrowed @ double[f"crosses.{layer}.widen"].T + double[f"crosses.{layer}.bias"]
        cross_NX = x_NX * widened + cross_NX
    return score_N + cross_NX @ double["cross_out.weight"][0] if layers else score_N


def grow(config: MlpConfig | CrossConfig, examples: Examples, *, seed: int, threads: int) -> NetworkRanker:
    """Fit listwise: a person's candidates share one softmax, and what gained more is to take more of it.

    Cao et al., "Learning to rank: from pairwise approach to listwise approach" (ICML 2007); Wang et al., "DCN V2" (WWW 2021).
    """
    from models.nn import listwise

    curves = scale.learn(examples.value_NF)
    weights = listwise.learn(
        config, curves.read(examples.value_NF), examples.gain_N, examples.start_G, seed=seed
    )
    return NetworkRanker(weights, curves, examples.names)


def load(config: MlpConfig | CrossConfig, folder: Path, names: tuple[str, ...]) -> NetworkRanker:
    """Read what `save` wrote; IntegrityError when it is not that."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    curves = scale.load(folder)
    try:
        weights = load_file(folder / FILE)
        fits = weights["first.weight"].shape == (config.first, curves.width)
    except (OSError, SafetensorError, KeyError) as error:
        raise IntegrityError(
            f"{FILE} cannot be read ({error}); restore the artefact by its digest"
        ) from error
    if not fits or len(curves.mean_F) != len(names):
        raise IntegrityError(
            f"{FILE} does not fit its scale and the {len(names)} signals named beside it; fit again"
        )
    return NetworkRanker(weights, curves, names)
