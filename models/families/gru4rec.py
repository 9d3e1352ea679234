"""GRU4Rec: gated recurrent units read a person's latest items one by one; their last state scores the whole catalogue.

It differs from SASRec by the encoder alone (models/nn/recurrent.py): it learns by the same loss, on the same batches.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from models.config import Span, bounds
from models.families.sequential import SequenceConfig, family

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Gru4RecConfig(SequenceConfig):
    """The size of the memory beside how it learns."""

    family: ClassVar[str] = "gru4rec"
    memory: int = bounds(64, 1, 2048, search=Span(32, 512, log=True))
    layers: int = bounds(1, 1, 8)


def encoder(config: Gru4RecConfig) -> "nn.Module":
    """Make the network that turns items into states."""
    from models.nn.recurrent import Recurrent

    return Recurrent("gru", width=config.width, memory=config.memory, layers=config.layers)


FAMILY = family(
    Gru4RecConfig,
    encoder,
    "Hidasi, Karatzoglou: Recurrent neural networks with top-k gains for session-based recommendations, CIKM 2018",
)
