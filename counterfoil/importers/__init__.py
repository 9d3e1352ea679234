"""Readers of behaviour data, one module per shape of file; each returns a Source for `counterfoil.landing`."""

from collections.abc import Callable
from pathlib import Path

from counterfoil.errors import ContractError, UnknownError
from counterfoil.importers.collected import collected
from counterfoil.importers.complete_journey import complete_journey
from counterfoil.importers.contract import contract
from counterfoil.importers.interactions import interactions
from counterfoil.importers.mapped import mapped
from counterfoil.importers.online_retail import online_retail
from counterfoil.importers.retailrocket import retailrocket
from counterfoil.importers.sessions import sessions
from counterfoil.importers.source import Source

__all__ = ["IMPORTERS", "Importer", "Source", "open_source"]

Importer = Callable[[Path | None, Path | None], Source]
IMPORTERS: dict[str, Importer] = {
    "complete-journey": complete_journey,
    "uci-online-retail": online_retail,
    "retailrocket": retailrocket,
    "sessions": sessions,
    "interactions": interactions,
    "mapped": mapped,
    "contract": contract,
    "collected": collected,
}


def open_source(kind: str, path: Path | None = None, *, mapping: Path | None = None) -> Source:
    """Return the source of that kind at `path`; read are its headers and the bytes for its digest.

    Raises UnknownError for a kind that no importer bears, ContractError when the files are not of that kind.
    """
    if kind not in IMPORTERS:
        raise UnknownError(f"no importer is called {kind!r}; there are {', '.join(IMPORTERS)}")
    if mapping is not None and kind != "mapped":
        raise ContractError(f"{kind} takes no mapping file; leave it out, or import as: mapped")
    return IMPORTERS[kind](path, mapping)
