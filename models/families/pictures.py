"""Pictures' config and registry line; the network and how it learns are in models/nn/pictures.py, which brings torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from models.config import bounds
from models.data import TrainingSet
from models.families.content import VectorConfig
from models.family import Family, Model


@dataclass(frozen=True, kw_only=True)
class PicturesConfig(VectorConfig):
    """Where pictures lie, how large they are looked at, and how long and by what the network learns.

    Paths that are not absolute start from `folder` (or the working directory). `size` is the side in pixels; a `temperature`
    below 1 sharpens likeness. More than `most_pictures` are refused: each takes 3 size^2 bytes.
    """

    family: ClassVar[str] = "pictures"
    folder: str = ""
    size: int = bounds(32, 8, 512)
    width: int = bounds(32, 2, 1024)
    channels: int = bounds(16, 1, 512)
    batch: int = bounds(64, 2, 4096)
    steps: int = bounds(400, 1, 1_000_000)
    rate: float = bounds(5e-3, 1e-6, 1.0)
    temperature: float = bounds(0.1, 1e-3, 10.0)
    most_pictures: int = bounds(200_000, 1, 10_000_000)


def fit(config: PicturesConfig, training: TrainingSet, seed: int) -> Model:
    """Learn from pictures that the same people took; ConfigError when no item has one that can be read."""
    from models.nn import pictures

    return pictures.fit(config, training, seed)


def load(folder: Path) -> Model:
    """Read what `save` wrote; IntegrityError when it is not that."""
    from models.nn import pictures

    return pictures.load(folder)


FAMILY = Family(
    config=PicturesConfig,
    fit=fit,
    load=load,
    paper="McAuley et al.: Image-based recommendations on styles and substitutes, SIGIR 2015; van den Oord et al.: InfoNCE, 2018",
    seeded=True,
)
