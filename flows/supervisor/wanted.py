"""What the release table says is to run: the champion, its challenger, and for a while the champion before it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from counterfoil.types import Release, Rollout
from flows import earlier
from flows.place import Place

LOOKED_BACK = 5  # champions


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Who is to answer for a use case as of an epoch. `spare` is kept ready to take its place again, and answers nobody.

    `back`: people go back to the champion, whose bento was champion not long ago.
    """

    use_case: str
    epoch: int
    champion: Release
    challenger: Release | None = None
    spare: Release | None = None
    mirror: float = 0.0
    back: bool = False

    @property
    def releases(self) -> tuple[Release, ...]:
        """All of them, the most urgent first."""
        return tuple(one for one in (self.champion, self.challenger, self.spare) if one is not None)


def wanted(
    place: Place,
    use_case: str,
    rollout: Rollout | None,
    now: datetime | None = None,
    known: Wanted | None = None,
) -> Wanted | None:
    """Read the release table. None while nobody was ever released.

    `known` is what was read last: while the epoch is the same and time changes nothing either, it is the answer again, for one
    short question.
    """
    now = now or datetime.now(UTC)
    if known is not None and _still(place, known, rollout, now):
        return known
    rows = place.catalog.releases(use_case)
    active = {row["stage"]: row["id"] for row in rows if row["valid_to"] is None}
    if "champion" not in active:
        return None
    champion = release_of(place, active["champion"])
    challenging = active.get("canary") or active.get("shadow")
    challenger = None if challenging is None else release_of(place, challenging)
    watched = _watched(champion, rollout, now)
    spare = next(earlier.champions(place, use_case, champion.epoch), None) if watched else None
    if spare is not None and not earlier.may_serve(place, spare):
        spare = None  # what was rolled back is nothing to go back to
    taken = {
        champion.tag,
        *([] if challenger is None else [challenger.tag]),
    }  # a process stands for one release
    return Wanted(
        use_case=use_case,
        epoch=rows[0]["epoch"],
        champion=champion,
        challenger=challenger,
        spare=spare if spare is not None and spare.tag not in taken else None,
        mirror=(rollout or Rollout()).mirror,
        back=known.back if known is not None and known.champion == champion else _came_back(place, champion),
    )


def _came_back(place: Place, champion: Release) -> bool:
    before = islice(earlier.champions(place, champion.use_case, champion.epoch), LOOKED_BACK)
    return any(one.bento == champion.bento for one in before)


def _watched(champion: Release, rollout: Rollout | None, now: datetime) -> bool:
    """Say whether a champion is so new that the one before it is kept ready: a rollback is not to wait for a start."""
    return (now - champion.valid_from).total_seconds() < (rollout or Rollout()).watch_seconds


def _still(place: Place, known: Wanted, rollout: Rollout | None, now: datetime) -> bool:
    """Say whether nothing can have changed since: every change of who answers has an epoch; a spare goes by time as well."""
    if known.spare is not None or _watched(known.champion, rollout, now):
        return False
    return place.catalog.epoch(known.use_case) == known.epoch


def release_of(place: Place, name: str) -> Release:
    """Return a release by its id."""
    found = place.catalog.get(name)
    assert isinstance(found, Release)
    return found
