"""SASRec: a causal transformer reads a person's latest items; its last state scores the whole catalogue.

The encoder is in models/nn/encoder.py, how it learns in models/nn/learner.py; one history is read by models/transformer.py.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from models import transformer
from models.config import Options, bounds
from models.families.sequential import SequenceConfig, family
from models.sequence import Last, Weights

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class SasRecConfig(SequenceConfig):
    """The transformer's size beside how it learns. ConfigError at fit when heads do not divide the width."""

    family: ClassVar[str] = "sasrec"
    blocks: int = bounds(1, 1, 12, search=Options(1, 2))
    heads: int = bounds(1, 1, 16, search=Options(1, 2, 4))


def encoder(config: SasRecConfig) -> "nn.Module":
    """Make the network that turns items into states."""
    from models.nn.encoder import Encoder

    return Encoder(length=config.given_length, width=config.width, blocks=config.blocks, heads=config.heads)


def single(config: SasRecConfig, weights: Weights) -> Last:
    """Make what reads one history without torch; ValueError when the weights are not those of the config."""
    read = transformer.read(
        weights, length=config.given_length, width=config.width, blocks=config.blocks, heads=config.heads
    )
    return read.last


FAMILY = family(
    SasRecConfig,
    encoder,
    "Kang, McAuley: Self-attentive sequential recommendation, ICDM 2018; Petrov, Macdonald: gSASRec, RecSys 2023",
    single,
)
