"""SASRec's config and registry line; the network and how it learns are in models/nn/sasrec.py, which brings torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from models.config import Checked, bounds
from models.data import TrainingSet
from models.family import Family, Model


@dataclass(frozen=True, kw_only=True)
class SasRecConfig(Checked):
    """The network's size, and how long and by what it learns. Work is bounded by `steps`, never by the clock.

    `epochs` may end learning before `steps` on small data. A target is drawn from the next `ahead` baskets.
    """

    family: ClassVar[str] = "sasrec"
    length: int = bounds(200, 1, 2000)
    width: int = bounds(64, 2, 1024)
    blocks: int = bounds(1, 1, 12)
    heads: int = bounds(1, 1, 16)
    dropout: float = bounds(0.1, 0.0, 0.9)
    negatives: int = bounds(512, 1, 65_536)
    batch: int = bounds(16, 1, 4096)
    steps: int = bounds(500, 1, 10_000_000)
    epochs: int = bounds(100, 1, 10_000)
    rate: float = bounds(3e-3, 1e-6, 1.0)
    row_rate: float = bounds(6e-3, 1e-6, 1.0)
    warmup: float = bounds(0.05, 0.0, 1.0)
    ahead: int = bounds(4, 1, 1000)
    sampling: float = bounds(0.5, 0.0, 1.0)


def fit(config: SasRecConfig, training: TrainingSet, seed: int) -> Model:
    """Learn from every person's sequence; ConfigError when heads do not divide the width."""
    from models.nn import sasrec

    return sasrec.fit(config, training, seed)


def load(folder: Path) -> Model:
    """Read what `save` wrote; IntegrityError when it is not that."""
    from models.nn import sasrec

    return sasrec.load(folder)


FAMILY = Family(
    config=SasRecConfig,
    fit=fit,
    load=load,
    paper="Kang, McAuley: Self-attentive sequential recommendation, ICDM 2018; Petrov, Macdonald: gSASRec, RecSys 2023",
    seeded=True,
)
