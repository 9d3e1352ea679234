"""LSTM: cells with a long and a short memory read a person's latest items one by one; the last state scores the catalogue.

It differs from GRU4Rec by the cells, from SASRec by the encoder (models/nn/recurrent.py): it learns by the same loss, on the same
batches.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from models.families.recurrent import RecurrentConfig, encoder, single
from models.families.sequential import family


@dataclass(frozen=True, kw_only=True)
class LstmConfig(RecurrentConfig):
    """As for the recurrent families together."""

    family: ClassVar[str] = "lstm"
    cells: ClassVar[Literal["gru", "lstm"]] = "lstm"


FAMILY = family(
    LstmConfig,
    encoder,
    single,
    "Hochreiter, Schmidhuber: Long short-term memory, Neural Computation 1997",
)
