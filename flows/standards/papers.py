"""What is laid down beside the page of a decision: a model card per candidate, and the bill of the bento."""

from pathlib import Path

from counterfoil.files import write_durably
from counterfoil.types import Bento, Decision
from flows.place import Place
from flows.standards import bom, card


def write(place: Place, decision: Decision) -> list[Path]:
    """Write the papers of a decision; returns the files. Nobody calls this by hand: each turn of the loop does."""
    written = card.write_all(place, decision)
    for name in sorted({child for _, child in place.catalog.children(decision.id)}):
        made = place.catalog.get(name) if name.startswith("bento-") else None
        if isinstance(made, Bento):
            path = bom.path(place, made, decision)
            write_durably(path, bom.encode(bom.bom(place, name)))
            written.append(path)
    return written
