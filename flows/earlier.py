"""Champions of before: which they were, and whether one may take its place again."""

from collections.abc import Iterator

from counterfoil.catalog.erased import erased
from counterfoil.errors import InputError, UnknownError
from counterfoil.types import Bento, Release
from flows.place import Place
from flows.quarantine import hold


def champions(place: Place, use_case: str, epoch: int) -> Iterator[Release]:
    """Yield the champions of a use case before an epoch, newest first."""
    for row in place.catalog.releases(use_case):
        if row["stage"] == "champion" and row["epoch"] < epoch:
            release = place.catalog.get(row["id"])
            assert isinstance(release, Release)
            yield release


def bento_of(place: Place, release: Release) -> Bento:
    """Return the bento of a release."""
    bento = place.catalog.get(release.bento)
    assert isinstance(bento, Bento)
    return bento


def may_serve(place: Place, release: Release) -> bool:
    """Say whether an earlier release may come back: not what was rolled back itself, nor who learned from somebody forgotten."""
    bento = bento_of(place, release)
    return hold(place, bento) is None and erased(place.catalog).learned(bento.candidate) is None


def newest(place: Place, serving: Release) -> Release:
    """Return the newest champion before this one that has another bento and may come back. UnknownError without one."""
    barred: dict[str, None] = {}
    for release in champions(place, serving.use_case, serving.epoch):
        if release.bento != serving.bento:
            if may_serve(place, release):
                return release
            barred[release.id] = None
    said = "has no release before it with another bento"
    if barred:
        some = ", ".join(list(barred)[:3]) + (f" and {len(barred) - 3} more" if len(barred) > 3 else "")
        said = (
            f"has releases before it that may not come back ({some}; `counterfoil quarantine list` says why)"
        )
    raise UnknownError(f"{serving.id} {said}; there is nothing to go back to")


def require_earlier(serving: Release, release: Release) -> Release:
    """Return a release that was named, if it was champion before the one that serves. InputError when it was not.

    Whether it may serve is seen before it is decided.
    """
    said = ""
    if release.use_case != serving.use_case:
        said = f"is a release of {release.use_case}, not of {serving.use_case}"
    elif release.stage != "champion":
        said = f"was {release.stage}, and never served everybody as that"
    elif release.epoch >= serving.epoch:
        said = f"is of epoch {release.epoch}, no earlier than {serving.id}, which serves"
    if said:
        raise InputError(
            f"{release.id} {said}; go back to an earlier champion of {serving.use_case}, as `counterfoil models` lists them"
        )
    return release
