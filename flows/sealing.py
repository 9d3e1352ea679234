"""Sealing receipts: what no process writes to any more becomes a Parquet file whose root is an entry of the ledger.

Cut off anywhere, nothing is lost and the next sealing goes on: the sealed file is there before its entry, the open one goes
last, and only when it holds what was sealed.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from counterfoil import segment
from counterfoil.errors import CounterfoilError, IntegrityError
from counterfoil.files import sync
from counterfoil.receipts import Receipts, draft, sealed
from flows.place import Place

QUIET_SECONDS = 3600.0


def seal(
    place: Place,
    progress: Callable[[str, int], None] = lambda what, count: None,
    *,
    quiet_seconds: float = QUIET_SECONDS,
    only: Collection[str] | None = None,
) -> dict[str, Any]:
    """Seal every segment that is done with, and return how many there were, of how many receipts; `only` those of these names.

    A segment that cannot be sealed stays as it is, and the others are sealed; then IntegrityError names it.
    """
    segments = held = 0
    faults: list[str] = []
    known = place.catalog.seals()
    draft.sweep(place.settings.receipts)
    for path in Receipts(place.settings.receipts).open_segments():
        if only is not None and path.stem not in only:
            continue
        try:
            with segment.done_with(path, quiet_seconds) as free:
                if not free:
                    continue
                held += _one(place, path, known.get(path.stem))
        except CounterfoilError as fault:
            faults.append(f"{path.name}: {fault}")
            continue
        segments += 1
        progress("seal", held)
    if faults:
        raise IntegrityError(
            f"{segments} segments were sealed, and {len(faults)} could not be: {'; '.join(faults)}"
        )
    return {"segments": segments, "receipts": held}


def _one(place: Place, path: Path, known: dict[str, Any] | None) -> int:
    size = path.stat().st_size
    rows, closed = sealed.read(path), path.with_suffix(sealed.SUFFIX)
    if known is not None and (known["root"], known["receipts"]) != (rows.root, len(rows.numbers)):
        raise IntegrityError(
            f"it was sealed with {known['receipts']} receipts of other contents; run `counterfoil verify`"
        )
    if rows.numbers and (known is None or not closed.exists()):
        made = sealed.write(rows, closed)
        place.catalog.seal(made.segment, made.receipts, made.root, made.sha256)
    if path.stat().st_size != size:
        raise IntegrityError("somebody wrote to it meanwhile; it stays")
    path.unlink()
    draft.drop(path)
    sync(path.parent)
    return len(rows.numbers)
