"""Readers of behaviour data, one module per shape of file; each returns a Source for `counterfoil.landing`."""

from collections.abc import Callable
from pathlib import Path

from counterfoil.errors import UnknownError
from counterfoil.importers.complete_journey import complete_journey
from counterfoil.importers.source import Source

__all__ = ["IMPORTERS", "Importer", "Source", "open_source"]

Importer = Callable[[Path | None, Path | None], Source]
IMPORTERS: dict[str, Importer] = {
    "complete-journey": complete_journey,
}


def open_source(kind: str, path: Path | None = None, *, mapping: Path | None = None) -> Source:
    """Return the source of that kind at `path`; nothing is read yet but the bytes for its digest.

    Raises UnknownError for a kind that no importer bears, ContractError when the files are not of that kind.
    """
    if kind not in IMPORTERS:
        raise UnknownError(f"no importer is called {kind!r}; there are {', '.join(IMPORTERS)}")
    return IMPORTERS[kind](path, mapping)
