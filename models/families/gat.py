"""A graph attention network's config and registry line; the network is in models/nn/gat.py, which brings torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from models.config import Checked, Options, Span, bounds
from models.data import TrainingSet
from models.family import Family, Model


@dataclass(frozen=True, kw_only=True)
class GatConfig(Checked):
    """The network's size, how long and by what it learns, how a history is weighed.

    An item hears the last `takers` of those who took it, a person the last `length` of their items. Learning ends after
    `epochs`, or after `targets` interactions were asked for. `half_life_days`, from which attention to age starts, and
    `own_weight` are chosen on validation where they are not given (models/recency.py).
    """

    family: ClassVar[str] = "gat"
    width: int = bounds(128, 1, 2048, search=Span(32, 256, log=True))
    heads: int = bounds(4, 1, 64, search=Options(1, 2, 4, 8))
    takers: int = bounds(50, 0, 10_000, search=Span(10, 100, log=True))
    length: int = bounds(50, 1, 10_000, search=Span(10, 100, log=True))
    temperature: float = bounds(0.1, 1e-3, 100.0, search=Span(0.05, 0.5, log=True))
    negatives: int = bounds(512, 1, 65_536)
    rate: float = bounds(0.01, 1e-6, 1.0, search=Span(1e-3, 0.1, log=True))
    epochs: int = bounds(10, 1, 10_000, work=True)
    targets: int = bounds(5_000_000, 1, 10**10)
    half_life_days: float | None = bounds(None, 0.01, 1e9)
    own_weight: float | None = bounds(None, 0.0, 1e6)
    prior_weight: float = bounds(0.001, 1e-6, 1.0)
    feature: str = "buyers_28d"


def fit(config: GatConfig, training: TrainingSet, seed: int) -> Model:
    """Learn vectors and attention by descent; the steps are drawn by `seed`. ConfigError when heads do not divide the width."""
    from models.nn import gat

    return gat.fit(config, training, seed)


def load(folder: Path) -> Model:
    """Read what `save` wrote; IntegrityError when it is not that."""
    from models.nn import gat

    return gat.load(folder)


FAMILY = Family(
    config=GatConfig,
    fit=fit,
    load=load,
    paper="Velickovic, Cucurull, Casanova, Romero, Lio, Bengio: Graph attention networks, ICLR 2018",
    seeded=True,
)
