"""LSTM: cells with a long and a short memory read a person's latest items one by one; the last state scores the catalogue.

It differs from GRU4Rec by the cells, from SASRec by the encoder (models/nn/recurrent.py): it learns by the same loss, on the same
batches.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from models.config import Span, bounds
from models.families.sequential import SequenceConfig, family

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class LstmConfig(SequenceConfig):
    """The size of the memory beside how it learns."""

    family: ClassVar[str] = "lstm"
    memory: int = bounds(64, 1, 2048, search=Span(32, 512, log=True))
    layers: int = bounds(1, 1, 8)


def encoder(config: LstmConfig) -> "nn.Module":
    """Make the network that turns items into states."""
    from models.nn.recurrent import Recurrent

    return Recurrent("lstm", width=config.width, memory=config.memory, layers=config.layers)


FAMILY = family(
    LstmConfig,
    encoder,
    "Hochreiter, Schmidhuber: Long short-term memory, Neural Computation 1997",
)
