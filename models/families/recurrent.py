"""What the recurrent families share: the size of the memory, and an encoder that differs by its cells alone."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from models import recurrence
from models.config import Span, bounds
from models.families.sequential import SequenceConfig
from models.sequence import Last, Weights

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig(SequenceConfig):
    """The size of the memory beside how it learns."""

    cells: ClassVar[Literal["gru", "lstm"]]
    memory: int = bounds(64, 1, 2048, search=Span(32, 512, log=True))
    layers: int = bounds(1, 1, 8)


def encoder(config: RecurrentConfig) -> "nn.Module":
    """Make the network that turns items into states."""
    from models.nn.recurrent import Recurrent

    return Recurrent(config.cells, width=config.width, memory=config.memory, layers=config.layers)


def single(config: RecurrentConfig, weights: Weights) -> Last:
    """Make what reads one history without torch; ValueError when the weights are not those of the config."""
    read = recurrence.read(
        weights, cells=config.cells, width=config.width, memory=config.memory, layers=config.layers
    )
    return read.last
