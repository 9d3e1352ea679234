"""What served at a moment, as it is known now or as it was known at another moment.

Two times, told apart: when a release began to serve (valid time), and when the catalog was told of it (recorded time). A champion
serves until the next one begins, a challenger until another stage of it, another challenger or a champion does; that follows
from the releases alone, which are never changed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from counterfoil.catalog.catalog import Catalog
from counterfoil.catalog.switch import ENDS
from counterfoil.types import Release


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """A release and its time of service: `until` is None while it lasts, as far as was known."""

    release: Release
    since: datetime
    until: datetime | None
    recorded_at: datetime


def served(
    catalog: Catalog, at: datetime, use_case: str | None = None, known_at: datetime | None = None
) -> list[Serving]:
    """Return what served at a moment, by use case and stage; with `known_at` only what had been recorded by then."""
    return [
        one
        for one in _terms(catalog, use_case, known_at)
        if one.since <= at and (one.until is None or at < one.until)
    ]


def _terms(catalog: Catalog, use_case: str | None, known_at: datetime | None) -> Iterator[Serving]:
    found = [
        (release, recorded_at)
        for release, recorded_at in catalog.recorded(Release, use_case)
        if known_at is None or recorded_at <= known_at
    ]
    found.sort(key=lambda one: (one[0].use_case, one[0].epoch))
    for place, (release, recorded_at) in enumerate(found):
        if release.stage == "retired":
            continue
        following = next(
            (
                later.valid_from
                for later, _ in found[place + 1 :]
                if later.use_case == release.use_case and release.stage in ENDS[later.stage]
            ),
            None,
        )
        until = following if release.stage == "champion" else _first(following, release.valid_to)
        yield Serving(release=release, since=release.valid_from, until=until, recorded_at=recorded_at)


def _first(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)
