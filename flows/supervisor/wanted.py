"""What the release table says is to run: the champion, its challenger, and for a while the champion before it."""

from dataclasses import dataclass
from datetime import UTC, datetime

from counterfoil.types import Release, Rollout
from flows import steer
from flows.place import Place


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Who is to answer for a use case as of an epoch. `spare` is kept ready to take its place again, and answers nobody."""

    use_case: str
    epoch: int
    champion: Release
    challenger: Release | None = None
    spare: Release | None = None
    mirror: float = 0.0

    @property
    def releases(self) -> tuple[Release, ...]:
        """All of them, the most urgent first."""
        return tuple(one for one in (self.champion, self.challenger, self.spare) if one is not None)


def wanted(
    place: Place, use_case: str, rollout: Rollout | None, now: datetime | None = None
) -> Wanted | None:
    """Read the release table. None while nobody was ever released."""
    rows = place.catalog.releases(use_case)
    active = {row["stage"]: row["id"] for row in rows if row["valid_to"] is None}
    if "champion" not in active:
        return None
    champion = release_of(place, active["champion"])
    challenging = active.get("canary") or active.get("shadow")
    challenger = None if challenging is None else release_of(place, challenging)
    age = ((now or datetime.now(UTC)) - champion.valid_from).total_seconds()
    watched = (
        age < (rollout or Rollout()).watch_seconds
    )  # a rollback by hand is not to wait for a start either
    before = [row for row in rows if row["stage"] == "champion" and row["epoch"] < champion.epoch]
    spare = release_of(place, before[0]["id"]) if watched and before else None
    if spare is not None and not steer.may_serve(place, spare):
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
    )


def release_of(place: Place, name: str) -> Release:
    """Return a release by its id."""
    found = place.catalog.get(name)
    assert isinstance(found, Release)
    return found
