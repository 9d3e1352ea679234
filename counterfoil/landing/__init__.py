"""Where behaviour data comes to rest: day files of events, items, people, quarantine, and the manifest over them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterfoil.landing.held import Quarantined, quarantine, quarantined_rows
    from counterfoil.landing.intake import Landed, land
    from counterfoil.landing.manifest import Batch, DayPart, Manifest, is_recorded
    from counterfoil.landing.origin import Origin, holding, origins
    from counterfoil.landing.resubmission import resubmit
    from counterfoil.landing.staging import read_manifest

__all__ = [
    "Batch",
    "DayPart",
    "Landed",
    "Manifest",
    "Origin",
    "Quarantined",
    "holding",
    "is_recorded",
    "land",
    "origins",
    "quarantine",
    "quarantined_rows",
    "read_manifest",
    "resubmit",
]
# Importers, DuckDB and Arrow are brought in by who lands something, not by who only asks what has landed.
_WHERE = {
    **dict.fromkeys(("Quarantined", "quarantine", "quarantined_rows"), "held"),
    **dict.fromkeys(("Landed", "land"), "intake"),
    **dict.fromkeys(("Batch", "DayPart", "Manifest", "is_recorded"), "manifest"),
    **dict.fromkeys(("Origin", "holding", "origins"), "origin"),
    "resubmit": "resubmission",
    "read_manifest": "staging",
}


def __getattr__(name: str) -> Any:
    """Return a name of this package from the module that it lives in."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
