"""Two towers' config and registry line; the networks and how they learn are in models/nn/twotower.py, which brings torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from models.config import Checked, Span, bounds
from models.data import TrainingSet
from models.family import Family, Model


@dataclass(frozen=True, kw_only=True)
class TwoTowerConfig(Checked):
    """The towers' size, and how long and by what they learn.

    A batch of targets is its own draw of negatives. Of the items of a batch the share `unknown` is shown by what is said of them
    alone, so that new items have vectors of use. Learning ends after `epochs`, or after `targets` interactions were asked for.
    `half_life_days` is chosen on validation where it is not given (models/recency.py). Up to `exact` items are searched by
    all their products, more through an index (models/index.py).
    """

    family: ClassVar[str] = "twotower"
    width: int = bounds(128, 1, 2048, search=Span(32, 256, log=True))
    hidden: int = bounds(128, 1, 8192, search=Span(64, 512, log=True))
    length: int = bounds(50, 1, 10_000, search=Span(10, 100, log=True))
    temperature: float = bounds(0.1, 1e-3, 100.0, search=Span(0.05, 0.5, log=True))
    batch: int = bounds(1024, 2, 65_536)
    rate: float = bounds(3e-3, 1e-6, 1.0, search=Span(1e-3, 3e-2, log=True))
    epochs: int = bounds(10, 1, 10_000, work=True)
    targets: int = bounds(2_000_000, 1, 10**10)
    unknown: float = bounds(0.1, 0.0, 1.0, search=Span(0.0, 0.5))
    tokens: int = bounds(20_000, 0, 10_000_000)
    half_life_days: float | None = bounds(None, 0.01, 1e9)
    exact: int = bounds(100_000, 1, 10**9)


def fit(config: TwoTowerConfig, training: TrainingSet, seed: int) -> Model:
    """Learn both towers from what people took next; the batches are drawn by `seed`."""
    from models.nn import twotower

    return twotower.fit(config, training, seed)


def load(folder: Path) -> Model:
    """Read what `save` wrote; IntegrityError when it is not that."""
    from models.nn import twotower

    return twotower.load(folder)


FAMILY = Family(
    config=TwoTowerConfig,
    fit=fit,
    load=load,
    paper="Yi, Yang, Hong, Cheng, Heldt, Kumthekar, Zhao, Wei, Chi: Sampling-bias-corrected neural modeling for large corpus "
    "item recommendations, RecSys 2019",
    seeded=True,
)
