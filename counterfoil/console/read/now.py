"""The page Now: what serves, at what share, since when; how all that serves is; what was decided last, what waits for people."""

from datetime import datetime
from typing import Any

from counterfoil.catalog.served import Serving, served
from counterfoil.console.read import outside
from counterfoil.errors import UnknownError
from counterfoil.types import Bento, Candidate, Decision, Quarantine
from flows import champion, machine
from flows.place import Place
from flows.supervisor.judging import last_ruling
from flows.use_cases import use_case


def now(place: Place, at: datetime) -> dict[str, Any]:
    """Return what there is to see at this moment."""
    serving = served(place.catalog, at)
    decisions = place.catalog.find(Decision, limit=50)
    last = {decision.use_case: decision for decision in reversed(decisions)}
    ruling = last_ruling(place.settings.run)
    names = sorted({*last, *(one.release.use_case for one in serving)})
    processes = outside.processes(place)
    asked = _asked(processes)
    return {
        "at": at,
        "health": outside.health(place),
        "processes": processes,
        "answers": outside.answers(place),
        "trouble": machine.trouble(place),
        "next_runs": outside.next_runs(place, at),
        "use_cases": [
            {
                "name": name,
                "serving": [_serving(place, one, asked) for one in serving if one.release.use_case == name],
                "challenged": place.catalog.challenger(name) is not None,
                "ruling": _ruling(place, name, ruling),
                "last_decision": _decided(last.get(name)),
            }
            for name in names
        ],
        "approvals": waiting(place, decisions),
        "quarantines": quarantines(place),
    }


def _asked(processes: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return by release what the gateway counted within the last minute."""
    return {row["release"]: row for one in processes for row in one["told"].get("releases", ())}


def _serving(place: Place, one: Serving, asked: dict[str, dict[str, Any]]) -> dict[str, Any]:
    release = one.release
    bento = place.catalog.get(release.bento)
    assert isinstance(bento, Bento)
    candidate = place.catalog.get(bento.candidate)
    assert isinstance(candidate, Candidate)
    return {
        "release": release.id,
        "epoch": release.epoch,
        "stage": release.stage,
        "share": release.share,
        "since": one.since,
        "bento": release.bento,
        "tag": release.tag,
        "candidate": candidate.id,
        "family": candidate.family,
        "decision": release.decision,
        "asked": asked.get(release.id),
    }


def _ruling(place: Place, name: str, ruling: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what the judge said last of what answers for a use case now, or of what it took back last.

    `answers` says whether that is still asked.
    """
    if ruling is None:
        return None
    rows = place.catalog.releases(name)
    row = next((row for row in rows if row["id"] == ruling["release"]), None)
    if row is None or (row["valid_to"] is not None and not _taken_back(row, rows, ruling)):
        return None
    return {**ruling, "answers": row["valid_to"] is None}


def _taken_back(row: dict[str, Any], rows: list[dict[str, Any]], ruling: dict[str, Any]) -> bool:
    """Say whether the newest change of who answers ended what the judge took back."""
    return bool(ruling["course"] == "take back" and row["epoch"] == rows[0]["epoch"] - 1)


def _decided(decision: Decision | None) -> dict[str, Any] | None:
    if decision is None:
        return None
    return {
        "id": decision.id,
        "verb": decision.verb,
        "sentences": list(decision.sentences),
        "approved_by": decision.approved_by,
    }


def waiting(place: Place, decisions: list[Decision]) -> list[dict[str, Any]]:
    """Return the newest decision of each use case that promotes a winner and was not released: it waits for people."""
    found, seen = [], set()
    for decision in decisions:
        if decision.use_case in seen:
            continue
        seen.add(decision.use_case)
        waits = _waits(place, decision)
        if waits:
            found.append(
                {
                    "decision": decision.id,
                    "use_case": decision.use_case,
                    "winner": decision.winner,
                    "waits_for": waits,
                }
            )
    return found


def _waits(place: Place, decision: Decision) -> int:
    released = any(child.startswith("release-") for _, child in place.catalog.children(decision.id))
    if decision.verb != "promote" or released:
        return 0
    try:
        return champion.waits_for(place, use_case(decision.use_case), decision)
    except UnknownError:  # a use case that this version does not have
        return 0


def quarantines(place: Place) -> list[dict[str, Any]]:
    """Return the quarantines that nobody lifted, newest first."""
    found = place.catalog.find(Quarantine)
    lifted = {one.lifts for one in found if one.lifts is not None}
    return [
        {
            "id": one.id,
            "subject": one.subject,
            "nouns": len(one.nouns),
            "reason": one.reason,
            "by": one.by,
            "at": one.at,
        }
        for one in found
        if one.lifts is None and one.id not in lifted
    ]
