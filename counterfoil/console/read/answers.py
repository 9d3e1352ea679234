"""The page Answer: one receipt in words, and its chain down to the rows."""

from typing import Any

import pyarrow.parquet as pq

from counterfoil.catalog.served import served
from counterfoil.console import words
from counterfoil.errors import CounterfoilError
from counterfoil.receipts.recent import newest
from counterfoil.types import Bento, Candidate, Dataset, Decision, OnlineRows, Receipt, Release
from flows.answer import NEXT_DAYS
from flows.answer import acts as what_came_next
from flows.champion import signed
from flows.place import Place

LISTED = 25


def answers(place: Place) -> dict[str, Any]:
    """Return the newest answers."""
    found = newest(place.receipts, LISTED)
    titles = _titles(place, [item.item for one in found for item in one.items[:3]])
    return {
        "answers": [
            {
                "id": one.id,
                "time": one.time,
                "person": one.person,
                "use_case": one.use_case,
                "items": len(one.items),
                "first": [titles.get(item.item, (item.item, ""))[0] for item in one.items[:3]],
                "release": one.release,
                "degraded": list(one.degraded),
            }
            for one in found
        ]
    }


def answer(place: Place, receipt_id: str) -> dict[str, Any]:
    """Return an answer as a person reads it. UnknownError when there is none of that id."""
    stub = place.receipts.find(receipt_id)
    titles = _titles(place, [item.item for item in stub.items])
    release, bento, candidate, dataset, decision = _behind(place, stub)
    return {
        "id": stub.id,
        "time": stub.time,
        "use_case": stub.use_case,
        "person": stub.person,
        "asked": _asked(stub),
        "items": [
            {
                "item": item.item,
                "title": titles.get(item.item, ("", ""))[0],
                "category": titles.get(item.item, ("", ""))[1],
                "score": item.score,
                "sources": list(item.sources),
                "reasons": list(item.reasons),
            }
            for item in stub.items
        ],
        "known": _known(stub),
        "served": _served(stub),
        "decided": {
            "decision": decision.id,
            "verb": decision.verb,
            "sentences": list(decision.sentences),
            "by": signed(place, decision),
        },
        "chain": [
            _step(
                "receipt",
                stub.id,
                f"{words.counted(len(stub.items), 'item')}, answered {words.when(stub.time)}",
            ),
            _step("release", release.id, _term(place, release)),
            _step("decision", decision.id, f"{decision.verb}, approved by {decision.approved_by}"),
            _step("bento", bento.id, bento.tag),
            _step(
                "candidate",
                candidate.id,
                f"{candidate.family}, seed {candidate.seed}, {candidate.code_version}",
            ),
            _step("dataset", dataset.id, _covers(dataset)),
            *_online(place, stub),
            _rows(dataset),
        ],
        "features": stub.features.get("person", {}),
        "feature_time": stub.feature_time,
        "stages_ms": stub.stages_ms,
        "rules": list(stub.rules),
        "degraded": list(stub.degraded),
        "request": stub.request,
    }


def anonymous(told: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without whom it was for: no pseudonym, nothing that they asked for or that was known of them."""
    return {**told, "person": None, "asked": [], "known": "", "features": {}, "request": {}}


def acts(place: Place, receipt_id: str) -> dict[str, Any]:
    """Return what the person did with an answer in the days after it. UnknownError when there is none of that id."""
    found = what_came_next(place, place.receipts.find(receipt_id))
    titles = _titles(place, [act["item"] for act in found if act["item"]])
    told = [{**act, "title": titles.get(act["item"], (act["item"] or "", ""))[0]} for act in found]
    return {"id": receipt_id, "days": NEXT_DAYS, "acts": told}


def _behind(place: Place, stub: Receipt) -> tuple[Release, Bento, Candidate, Dataset, Decision]:
    release: Any = place.catalog.get(stub.release)
    bento: Any = place.catalog.get(release.bento)
    candidate: Any = place.catalog.get(bento.candidate)
    return (
        release,
        bento,
        candidate,
        place.catalog.get(candidate.dataset),
        place.catalog.get(release.decision),
    )  # type: ignore[return-value]


def _step(kind: str, id: str | None, says: str) -> dict[str, Any]:
    return {"kind": kind, "id": id, "says": says}


def _term(place: Place, release: Release) -> str:
    since = release.valid_from
    found = [one for one in served(place.catalog, since, release.use_case) if one.release.id == release.id]
    until = found[0].until if found else None
    told = f"until {words.when(until)}" if until else "and still does"
    return (
        f"{words.percent(release.share)} of the traffic as {release.stage}, from {words.when(since)} {told}"
    )


def _covers(dataset: Dataset) -> str:
    return (
        f"{dataset.rows:,} interactions of {dataset.people:,} people with {dataset.items:,} items, as known"
        f" before {dataset.as_of:%Y-%m-%d}"
    )


def _rows(dataset: Dataset) -> dict[str, Any]:
    says = (
        f"landed rows from {words.when(dataset.first_time)} to {words.when(dataset.last_time)}, under"
        f" {words.counted(len(dataset.verdicts), 'verdict')}, all of which let them pass"
    )
    return _step("rows", None, says)


def _online(place: Place, stub: Receipt) -> list[dict[str, Any]]:
    """Return where the person's features came from: they may be of a later day than the model's."""
    found = [one for one in place.catalog.find(OnlineRows, stub.use_case) if one.as_of == stub.feature_time]
    return [
        _step("online", one.id, f"the person's features as of {words.when(one.as_of)}") for one in found[:1]
    ]


def _asked(stub: Receipt) -> list[str]:
    """Return the request in sentences; fields that nobody here knows are said by their names."""
    request = dict(stub.request)
    who = "a known person" if stub.features.get("person") else "somebody of whom nothing was known"
    request.pop("person", None)
    many = request.pop("n", None)
    said = [f"{who[0].upper()}{who[1:]} asked for {many or 'some'} items."]
    context = request.pop("context", None) or {}
    moment = context.pop("time", None) if isinstance(context, dict) else None
    if moment:
        said.append(f"The request says that it is {_moment(moment)}.")
    for name, value in [*(context.items() if isinstance(context, dict) else ()), *request.items()]:
        value = _given(value)
        if value is not None:
            said.append(f"{name.replace('_', ' ').capitalize()}: {_plainly(value)}.")
    return said


def _moment(text: Any) -> str:
    try:
        return words.when(str(text))
    except ValueError:
        return str(text)


def _given(value: Any) -> Any:
    """Return what was given of a value, None when nothing was: fields that nobody filled, and what is off."""
    if isinstance(value, dict):
        value = {name: inner for name, inner in value.items() if _given(inner) is not None}
    return None if value in (None, False, {}, [], "") else value


def _plainly(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_plainly(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plainly, value))
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _known(stub: Receipt) -> str:
    rows = (stub.features.get("history") or {}).get("rows", 0)
    if stub.feature_time is None and not rows:
        return "Nothing was known of the person, so the list is what suits everybody."
    told = (
        f"{words.counted(int(rows), 'earlier interaction')} of the person"
        if rows
        else "no earlier interaction"
    )
    since = f", and their features as of {words.when(stub.feature_time)}" if stub.feature_time else ""
    return f"The model saw {told}{since}."


def _served(stub: Receipt) -> str:
    took = stub.stages_ms.get("total") or sum(stub.stages_ms.values())
    time = f" It took {took:.0f} ms." if took else ""
    lack = f" Answered with less than usual: {', '.join(stub.degraded)}." if stub.degraded else ""
    if stub.unseen:
        return f"Nobody saw this answer: {stub.bento} was asked as a shadow, beside who answered.{time}{lack}"
    return f"Answered by {stub.bento} as {stub.arm}, which {words.percent(stub.propensity)} of such requests get.{time}{lack}"


def _titles(place: Place, ids: list[str]) -> dict[str, tuple[str, str]]:
    """Return (title, category) of items as they landed last; those that are not there have none."""
    path = place.settings.landing / "items.parquet"
    if not ids or not path.is_file():
        return {}
    try:
        table = pq.read_table(
            path, columns=["id", "title", "category"], filters=[("id", "in", sorted(set(ids)))]
        )
    except (OSError, ValueError, CounterfoilError):
        return {}  # the page is readable without titles
    return {row["id"]: (row["title"] or row["id"], row["category"] or "") for row in table.to_pylist()}
