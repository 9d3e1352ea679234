"""The page Time: what served at a moment, on whose decision; and all changes."""

from datetime import datetime, timedelta
from typing import Any

from counterfoil.types import Release
from flows.history import served_at
from flows.place import Place

STEPS = 1000  # of the slider
LISTED = 50


def moments(
    place: Place, at: datetime | None, known_at: datetime | None, step: int | None, now: datetime
) -> dict[str, Any]:
    """Return what served at a moment: the one given, else where the slider stands between the first release and now."""
    releases = place.catalog.recorded(Release)
    first = min((release.valid_from for release, _ in releases), default=now)
    first = min(first, now - timedelta(minutes=1)) - (now - first) * 0.02  # a little before anything served
    if step is not None:
        at = first + (now - first) * (min(max(step, 0), STEPS) / STEPS)
    at = now if at is None else at
    return {
        "at": at,
        "known_at": known_at,
        "first": first,
        "until": now,
        "step": round(min(1.0, max(0.0, (at - first) / (now - first))) * STEPS),
        "steps": STEPS,
        "serving": served_at(place, at, None, known_at),
        "changes": [
            {
                "release": release.id,
                "use_case": release.use_case,
                "epoch": release.epoch,
                "stage": release.stage,
                "share": release.share,
                "from": release.valid_from,
                "recorded_at": recorded_at,
                "decision": release.decision,
            }
            for release, recorded_at in sorted(releases, key=lambda one: one[0].valid_from, reverse=True)[
                :LISTED
            ]
        ],
    }
