"""Where behaviour data comes to rest: day files of events, items, people, quarantine, and the manifest over them."""

from counterfoil.landing.held import Quarantined, quarantine, quarantined_rows
from counterfoil.landing.intake import Landed, land
from counterfoil.landing.manifest import Batch, DayPart, Manifest, is_recorded
from counterfoil.landing.origin import Origin, holding, origins
from counterfoil.landing.resubmit import resubmit
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
