"""Receipts: one stub per answer, written before the answer leaves, found again by its id.

`segment` knows the bytes of an open segment, `sealed` those of one that is done with, `store` the folder of both. Who writes a
receipt is not decided here: the serving seam in `bentos/seam.py` does, for every answer.
"""

from counterfoil.receipts.store import Erased, Receipts

__all__ = ["Erased", "Receipts"]
