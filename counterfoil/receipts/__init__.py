"""Receipts: one stub per answer, written before the answer leaves, found again by its id.

`segment` knows the bytes of a segment file, `store` the folder of segments. Who writes a receipt is not decided here: the
serving seam in `bentos/seam.py` does, for every answer.
"""

from counterfoil.receipts.store import Receipts

__all__ = ["Receipts"]
