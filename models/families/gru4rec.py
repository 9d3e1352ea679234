"""GRU4Rec: gated recurrent units read a person's latest items one by one; their last state scores the whole catalogue.

It differs from SASRec by the encoder alone (models/nn/recurrent.py): it learns by the same loss, on the same batches.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from models.families.recurrent import RecurrentConfig, encoder, single
from models.families.sequential import family


@dataclass(frozen=True, kw_only=True)
class Gru4RecConfig(RecurrentConfig):
    """As for the recurrent families together."""

    family: ClassVar[str] = "gru4rec"
    cells: ClassVar[Literal["gru", "lstm"]] = "gru"


FAMILY = family(
    Gru4RecConfig,
    encoder,
    single,
    "Hidasi, Karatzoglou: Recurrent neural networks with top-k gains for session-based recommendations, CIKM 2018",
)
