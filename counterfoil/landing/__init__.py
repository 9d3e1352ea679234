"""Where behaviour data comes to rest: day files of events, items, people, quarantine, and the manifest over them."""

from counterfoil.landing.intake import Landed, land
from counterfoil.landing.manifest import Batch, DayPart, Manifest, read_manifest

__all__ = ["Batch", "DayPart", "Landed", "Manifest", "land", "read_manifest"]
