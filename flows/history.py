"""What `counterfoil as-of` does: what served at a moment, and on whose decision."""

from datetime import datetime
from typing import Any

from counterfoil import canonical, terminal
from counterfoil.catalog.served import Serving, served
from counterfoil.errors import InputError
from counterfoil.types import Decision
from flows.champion import signed
from flows.place import Place, open_place


def as_of(moment: str, use_case: str | None, known_at: str | None) -> dict[str, Any]:
    """Return what served at a moment, and on whose decision. InputError when a moment is none."""
    place = open_place()
    at, known = _moment(moment), None if known_at is None else _moment(known_at)
    return {
        "at": at,
        "known_at": known,
        "serving": served_at(place, at, use_case, known),
    }


def served_at(
    place: Place, at: datetime, use_case: str | None, known_at: datetime | None
) -> list[dict[str, Any]]:
    """Return the same of an installation that is open: each release that served, with its decision."""
    return [_serving(place, one) for one in served(place.catalog, at, use_case, known_at)]


def _moment(text: str) -> datetime:
    try:
        return canonical.utc_time(text)
    except ValueError as fault:
        raise InputError(f"{text!r} is no moment ({fault}); write it as 2026-11-28T14:00:00Z") from fault


def _serving(place: Place, one: Serving) -> dict[str, Any]:
    release, decision = one.release, place.catalog.get(one.release.decision)
    assert isinstance(decision, Decision)
    return {
        "use_case": release.use_case,
        "release": release.id,
        "bento": release.tag,
        "epoch": release.epoch,
        "stage": release.stage,
        "share": release.share,
        "since": one.since,
        "until": one.until,
        "recorded_at": one.recorded_at,
        "decision": decision.id,
        "approved_by": ", ".join(signed(place, decision)),
        "evidence": list(decision.sentences),
    }


def show_as_of(told: dict[str, Any]) -> None:
    """Say it in sentences."""
    known = f", as it was known at {told['known_at']}" if told["known_at"] else ""
    if not told["serving"]:
        terminal.OUT.print(f"nothing served at {told['at']}{known}", highlight=False)
    for one in told["serving"]:
        until = f"until {one['until']}" if one["until"] else "and still does"
        terminal.OUT.print(
            f"{one['use_case']}: {one['release']} ({one['bento']}, epoch {one['epoch']}) as {one['stage']} for"
            f" {one['share']:.0%}, since {one['since']} {until}{known}; recorded {one['recorded_at']}",
            highlight=False,
        )
        terminal.OUT.print(f"  {one['decision']}, approved by {one['approved_by']}:", highlight=False)
        for sentence in one["evidence"]:
            terminal.OUT.print(f"    {sentence}", highlight=False, markup=False)
