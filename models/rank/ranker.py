"""Rankers: which there are, and what all of them keep to. Each is a module beside this one, imported when it is asked for.

Shapes: N candidates, F signals.
"""

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from models.rank.booster import BoosterConfig
from models.rank.examples import Examples
from models.rank.linear import LogisticConfig
from models.rank.network import CrossConfig, MlpConfig

RankerConfig = BoosterConfig | LogisticConfig | MlpConfig | CrossConfig

MODULES: dict[type, str] = {
    BoosterConfig: "models.rank.booster",
    LogisticConfig: "models.rank.linear",
    MlpConfig: "models.rank.network",
    CrossConfig: "models.rank.network",
}


class Ranker(Protocol):
    """A grown ranker. Scores are float32, higher is better, and comparable within one person's candidates only.

    Signals come as they are: NaN where absent, on any scale; a ranker sees to that itself.
    """

    names: tuple[str, ...]
    told: str  # how parts of a score are found, or what ranks where there are none

    def score(self, signal_NF: np.ndarray) -> np.ndarray:
        """Return one score per row, float32 [N]."""

    def contributions(self, signal_NF: np.ndarray) -> np.ndarray | None:
        """Return what each signal added, float32 [N, F + 1], the last being the bias, rows adding up to the score; None where
        that is not exact.
        """

    def save(self, folder: Path) -> None:
        """Write files whose names begin with `ranker`; twice the same bytes."""


def grow(config: RankerConfig, examples: Examples, *, seed: int, threads: int) -> Ranker:
    """Learn to put what gained above what did not."""
    ranker: Ranker = _module(config).grow(config, examples, seed=seed, threads=threads)
    return ranker


def load(config: RankerConfig, folder: Path, names: tuple[str, ...]) -> Ranker:
    """Read what `save` wrote; IntegrityError when it is not a ranker by these signals."""
    ranker: Ranker = _module(config).load(config, folder, names)
    return ranker


def _module(config: RankerConfig) -> Any:
    return import_module(MODULES[type(config)])
