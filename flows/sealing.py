"""Sealing receipts: what no process writes to any more becomes a Parquet file whose root is an entry of the ledger.

Cut off anywhere, nothing is lost and the next sealing goes on: the sealed file is there before its entry, the open one goes last.
"""

from collections.abc import Callable
from typing import Any

from counterfoil.receipts import Receipts, sealed, segment
from flows.place import Place


def seal(place: Place, progress: Callable[[str, int], None] = lambda what, count: None) -> dict[str, Any]:
    """Seal every segment that is done with, and return how many there were, of how many receipts."""
    receipts = Receipts(place.settings.receipts)
    segments = held = 0
    for path in receipts.finished():
        made = sealed.write(path)
        place.catalog.seal(made.segment, made.receipts, made.root, made.sha256)
        path.unlink(missing_ok=True)  # another sealing may have been as far
        segment.sync_folder(path.parent)
        segments, held = segments + 1, held + made.receipts
        progress("seal", held)
    return {"segments": segments, "receipts": held}
