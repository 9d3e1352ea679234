"""One answer, whole: from its receipt to everything that it rests on, and on to what the person did next."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from bentos.bundle import ABOUT
from counterfoil import canonical, terminal
from counterfoil.types import (
    Bento,
    Candidate,
    Dataset,
    Decision,
    Evaluation,
    OnlineRows,
    Receipt,
    Release,
    Verdict,
)
from flows import collecting
from flows.champion import signed
from flows.place import Place, open_place
from flows.verbs import bento_folder

NEXT_DAYS = 7
FIGURES = ("ndcg@10", "recall@10", "coverage@10", "novelty@10")


def resolve(place: Place, receipt_id: str) -> dict[str, Any]:
    """Return an answer with all that is on record of how it came about. UnknownError when there is no such receipt.

    Catalog reads by id alone; of the landed days only those that follow the answer are read.
    """
    stub = place.receipts.find(receipt_id)
    catalog = place.catalog
    release = _get(place, stub.release, Release)
    bento, decision = _get(place, release.bento, Bento), _get(place, release.decision, Decision)
    candidate = _get(place, bento.candidate, Candidate)
    learned_from = _get(place, candidate.dataset, Dataset)
    evaluations = [_get(place, name, Evaluation) for name in decision.evaluations]
    online = [one for one in catalog.find(OnlineRows, stub.use_case) if one.as_of == stub.feature_time]
    return {
        "receipt": stub,
        "release": release,
        "bento": bento,
        "decision": decision,
        "approved_by": signed(place, decision),
        "evaluation": next((one for one in evaluations if one.candidate == candidate.id), None),
        "candidate": candidate,
        "made": {
            kind: catalog.made(noun.id) for kind, noun in (("candidate", candidate), ("release", release))
        },
        "dataset": learned_from,
        "packaged_from": bento.dataset,
        "verdicts": [_verdict(_get(place, name, Verdict)) for name in learned_from.verdicts],
        "features": {
            "service": bento.feature_service,
            "views": views(place, bento),
            "person": None if not online else online[0],
            "values": stub.features,
            "event_time": stub.feature_time,
        },
        "next": acts(place, stub),
    }


def views(place: Place, bento: Bento) -> dict[str, list[str]]:
    """Return the columns of each feature view that the model of a bento reads, as it was packaged; {} when it is gone."""
    described = bento_folder(place, bento.tag) / "src" / ABOUT
    if not described.is_file():
        return {}
    about = orjson.loads(described.read_bytes())
    return {view: list(about[f"{view}_names"]) for view in ("person", "item", "pair")}


def acts(place: Place, stub: Receipt, days: int = NEXT_DAYS) -> list[dict[str, Any]]:
    """Return what the person did within `days` of the moment that was asked for, oldest first.

    `because` says how an act belongs to the answer: it names the receipt, or it is about an item that was shown (of an
    answer of a shadow: that is on the list, which nobody saw). `landed` is False of what came in over HTTP and has not landed
    yet.
    """
    asked = stub.request.get("context", {}).get("time")
    moment = canonical.utc_time(asked) if asked else stub.time
    until = moment + timedelta(days=days)
    shown = [item.item for item in stub.items]
    about = "the item is on this list, which nobody saw" if stub.unseen else "the item was shown"
    landed = _landed(place, stub, moment, until)
    known = {row[0] for row in landed}
    fresh = [
        (one["id"], one["time"], one["kind"], one.get("item"), one.get("quantity"), one.get("receipt"))
        for one in collecting.acts_of(place, stub.id, stub.person or "", shown)
        if moment <= one["time"] < until and one["id"] not in known
    ]
    return [
        {
            "event": row[0],
            "time": row[1].astimezone(UTC),
            "kind": row[2],
            "item": row[3],
            "quantity": row[4],
            "because": "it names this receipt" if row[5] == stub.id else about,
            "landed": row[0] in known,
        }
        for row in sorted([*landed, *fresh], key=lambda row: (row[1], row[0]))
    ]


def _landed(place: Place, stub: Receipt, moment: datetime, until: datetime) -> list[Any]:
    import duckdb

    files = [str(path) for path in _days(place, moment, (until - moment).days) if path.is_file()]
    if not files:
        return []
    with duckdb.connect() as con:
        con.execute("SET enable_progress_bar = false")
        return con.execute(
            "SELECT id, time, kind, item, quantity, receipt FROM read_parquet($files, union_by_name = true)"
            " WHERE time >= $moment AND time < $until"
            " AND (receipt = $receipt OR (person = $person AND list_contains($shown, item))) ORDER BY time, id",
            {
                "files": files,
                "moment": moment,
                "until": until,
                "receipt": stub.id,
                "person": stub.person,
                "shown": [item.item for item in stub.items],
            },
        ).fetchall()


def _days(place: Place, moment: datetime, days: int) -> list[Path]:
    dates = [moment.date() + timedelta(days=day) for day in range(days + 1)]
    return [
        place.settings.landing / "events" / f"day={date.isoformat()}" / "events.parquet" for date in dates
    ]


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "id": verdict.id,
        "subject": verdict.subject,
        "sha256": verdict.sha256,
        "passed": verdict.passed,
        "rows": verdict.rows,
        "suite": verdict.suite,
        "checks": verdict.checks,
    }


def _get(place: Place, noun_id: str, cls: type[Any]) -> Any:
    noun = place.catalog.get(noun_id)
    assert isinstance(noun, cls), noun_id
    return noun


def resolve_here(receipt_id: str) -> dict[str, Any]:
    """Resolve in the installation that the settings name."""
    return resolve(open_place(), receipt_id)


def show(whole: dict[str, Any]) -> None:
    """Tell it from the answer back to the data, then what came after."""
    from flows import commands

    commands.show_receipt(whole["receipt"])
    if whole["receipt"].unseen:
        _say("nobody saw this answer: a shadow was asked beside who answered")
    release, bento, decision = whole["release"], whole["bento"], whole["decision"]
    candidate, dataset, evaluation = whole["candidate"], whole["dataset"], whole["evaluation"]
    _say(
        f"{release.id}: {release.stage} of {release.use_case} for {release.share:.0%}, since {release.valid_from}"
    )
    _say(f"{bento.id}: {bento.tag}, SHA-256 {bento.sha256}")
    _say(f"{decision.id}: {decision.verb}, approved by {', '.join(whole['approved_by'])}")
    for sentence in decision.sentences:
        _say(f"  {sentence}")
    if evaluation is not None:
        told = [name for name in FIGURES if name in evaluation.metrics]
        figures = ", ".join(f"{name} {evaluation.metrics[name]:.4f}" for name in told)
        _say(f"{evaluation.id}: {figures}, over {evaluation.units:,} units")
    config = ", ".join(f"{name}={value}" for name, value in sorted(candidate.config.items()))
    _say(
        f"{candidate.id}: {candidate.family} ({config or 'defaults'}), seed {candidate.seed}, {candidate.code_version}"
    )
    for kind, made in whole["made"].items():
        if made is not None:
            where = f"flow run {made['run']}" if made["run"] else "no flow run"
            _say(
                f"  {kind} by {made['verb']} in {where}, {made['seconds']:.1f} s, recorded {made['recorded_at']}"
            )
    _say(f"{dataset.id}: {dataset.address}, SHA-256 {dataset.sha256}")
    _say(
        f"  {dataset.rows:,} rows of {dataset.people:,} people and {dataset.items:,} items,"
        f" {dataset.first_time} to {dataset.last_time}, as of {dataset.as_of}"
    )
    verdicts = whole["verdicts"]
    passed, checks = (
        sum(one["passed"] for one in verdicts),
        [check for one in verdicts for check in one["checks"]],
    )
    _say(f"  {passed} of {len(verdicts)} verdicts passed, by {len(checks):,} expectations")
    missed = Counter((c.severity, c.expectation, c.column) for c in checks if not c.success)
    for (severity, expectation, column), count in missed.most_common():
        _say(f"  {severity} in {count} of them: {expectation} of {column}")
    features = whole["features"]
    for view, columns in features["views"].items():
        _say(f"{features['service']}: {view} ({', '.join(columns)})")
    if features["person"] is not None:
        _say(f"the person's row: {features['person'].id}, as of {features['event_time']}")
    _next(whole["next"])


def _next(found: list[dict[str, Any]]) -> None:
    if not found:
        _say(f"nothing that the person did with it within {NEXT_DAYS} days is known")
    for act in found:
        late = "" if act["landed"] else ", not landed yet"
        _say(f"then {act['time']}: {act['kind']} of {act['item']} ({act['because']}{late})")


def _say(text: str) -> None:
    terminal.OUT.print(text, highlight=False, markup=False, soft_wrap=True)
