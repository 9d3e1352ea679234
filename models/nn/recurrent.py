"""Recurrent encoders over item embeddings: GRU4Rec's, and the same with LSTM cells. No items, no loss here.

Hidasi, Karatzoglou, Baltrunas & Tikk (ICLR 2016); Hochreiter & Schmidhuber (1997). Dropout lies on what goes in and on what comes
out, not between steps. Shapes: B sequences, L positions, D width, M memory.
"""

from torch import Tensor, nn

from models.nn.dropout import ByteDropout, keep

CELLS = {"gru": nn.GRU, "lstm": nn.LSTM}


class Recurrent(nn.Module):
    """Cells of `memory` numbers in `layers`, brought back to the width of items, added to the item at hand and normed."""

    def __init__(self, cell: str, *, width: int, memory: int, layers: int) -> None:
        super().__init__()
        self.cells = CELLS[cell](width, memory, layers, batch_first=True)
        self.outer = nn.Linear(memory, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x_BLD: Tensor, dropout: ByteDropout | None = None) -> Tensor:
        """Return what each position knows of the sequence up to itself, [B, L, D]."""
        drop = dropout or keep
        known_BLM, _ = self.cells(drop(x_BLD))
        return self.norm(x_BLD + self.outer(drop(known_BLM)))
