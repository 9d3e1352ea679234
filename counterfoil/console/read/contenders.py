"""The page Contenders: a decision with its evidence, and the decisions before it."""

from typing import Any

from counterfoil.errors import InputError
from counterfoil.types import Decision, Quarantine
from flows import champion
from flows.champion import approvers
from flows.place import Place
from flows.report import turn
from flows.report.findings import Contender

LISTED = 20
COSTS = ("fit_seconds", "peak_bytes", "artefact_bytes", "score_ms")


def contenders(place: Place, decision_id: str | None = None) -> dict[str, Any]:
    """Return a decision with its contenders, by default the newest that compared any; None where nothing was decided yet.

    UnknownError when there is no such decision, InputError when the id names something else.
    """
    newest = place.catalog.find(Decision, limit=LISTED)
    if decision_id is None:
        chosen = next((one for one in newest if one.comparisons), newest[0] if newest else None)
    else:
        found = place.catalog.get(decision_id)
        if not isinstance(found, Decision):
            raise InputError(f"{decision_id} is a {found.kind}, not a decision; see /lineage/{decision_id}")
        chosen = found
    listed = [{"id": one.id, "use_case": one.use_case, "verb": one.verb} for one in newest]
    return {"decision": None if chosen is None else _told(place, chosen), "decisions": listed}


def _told(place: Place, decision: Decision) -> dict[str, Any]:
    found = turn.findings(place, decision, artefacts=False)
    candidates = {one.note for one in found.contenders}
    blocked = _blocked(place, candidates)
    release = next((id for _, id in place.catalog.children(decision.id) if id.startswith("release-")), None)
    return {
        "id": decision.id,
        "use_case": decision.use_case,
        "title": found.title,
        "opening": found.opening,
        "verb": decision.verb,
        "sentences": list(decision.sentences),
        "primary": found.primary,
        "reference": found.reference,
        "contenders": [_contender(one, blocked) for one in found.contenders],
        "slices": _slices(found.contenders, found.primary),
        "facts": dict(found.facts),
        "record": dict(found.record),
        "winner": decision.winner,
        "approved_by": decision.approved_by,
        "serving": champion.serving(place, decision.use_case),
        "release": release,
        "approvers": sorted(approvers(place, decision)),
        "report": f"/reports/{decision.use_case}/{decision.id}/index.html"
        if turn.path_of(place, decision).is_file()
        else None,
    }


def _contender(one: Contender, blocked: set[str]) -> dict[str, Any]:
    return {
        "name": one.name,
        "candidate": one.note,
        "tone": one.tone,
        "value": one.value,
        "low": one.low,
        "high": one.high,
        "lead": None if one.lead is None else list(one.lead),
        "bar": one.bar,
        "noise": one.noise,
        "breaches": list(one.breaches),
        "coverage": next((value for name, value in one.metrics.items() if name.startswith("coverage")), None),
        "cost": {name: one.cost.get(name) for name in COSTS},
        "quarantined": one.note in blocked,
    }


def _slices(found: tuple[Contender, ...], primary: str) -> list[dict[str, Any]]:
    names = list(dict.fromkeys(name for one in found for name in one.slices))
    rows = []
    for name in names:
        values = [one.slices.get(name, {}).get(primary) for one in found]
        if any(value is not None for value in values):
            units = max(int(one.slices.get(name, {}).get("units", 0)) for one in found)
            rows.append({"name": name, "units": units, "values": values})
    return rows


def _blocked(place: Place, candidates: set[str]) -> set[str]:
    """Return which candidates an open quarantine names."""
    found = place.catalog.find(Quarantine)
    lifted = {one.lifts for one in found if one.lifts is not None}
    named = {noun for one in found if one.lifts is None and one.id not in lifted for noun in one.nouns}
    return candidates & named
