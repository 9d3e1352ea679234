"""The page of one turn of the loop, filled from the catalog alone: the same decision gives the same page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from counterfoil import canonical
from counterfoil.errors import UnknownError
from counterfoil.files import write_durably
from counterfoil.types import Attempt, Candidate, Comparison, Dataset, Decision, Evaluation, Gate
from flows.place import Place
from flows.report.findings import Contender, Findings
from flows.report.page import page
from flows.report.svg import Tone
from flows.use_cases import use_case

CURVE = "curve.json"  # what a family leaves in its artefact of how it learned


def path_of(place: Place, decision: Decision) -> Path:
    """Return where the page of a decision lies."""
    return place.settings.home / "reports" / decision.use_case / decision.id / "index.html"


def write(place: Place, decision: Decision) -> Path:
    """Write the page of a decision and return its path."""
    path = path_of(place, decision)
    write_durably(path, page(findings(place, decision)).encode())
    return path


def findings(place: Place, decision: Decision, *, artefacts: bool = True) -> Findings:
    """Return what the catalog knows of a decision and what it rests on; without `artefacts` nothing is fetched from the store."""
    dataset = place.catalog.get(decision.dataset)
    assert isinstance(dataset, Dataset)
    gate = _gate(decision)
    evaluations = {name: _evaluation(place, name) for name in decision.evaluations}
    reference = _reference(place, decision)
    contenders = [
        _contender(
            place, decision, comparison, evaluations[comparison.evaluation], reference, gate, artefacts
        )
        for comparison in decision.comparisons
    ]
    return Findings(
        title=f"{decision.use_case}, {dataset.as_of.date()}",
        opening=f"Learned from what was known before {dataset.as_of.date()}; asked for the days from"
        f" {dataset.holdout_from.date()} on.",
        verdict=decision.verb,
        sentences=decision.sentences,
        primary=gate.primary if gate else _primary(decision, evaluations),
        reference=reference or "nobody",
        contenders=tuple(sorted(contenders, key=lambda one: -one.value)),
        facts=_facts(dataset, evaluations),
        record=_record(decision, dataset),
    )


def _contender(
    place: Place,
    decision: Decision,
    comparison: Comparison,
    evaluation: Evaluation,
    reference: str | None,
    gate: Gate | None,
    artefacts: bool,
) -> Contender:
    candidate = place.catalog.get(evaluation.candidate)
    assert isinstance(candidate, Candidate)
    lead = None
    if comparison.difference is not None and comparison.family != reference:
        assert comparison.difference_low is not None
        assert comparison.difference_high is not None
        lead = (comparison.difference, comparison.difference_low, comparison.difference_high)
    return Contender(
        name=comparison.family,
        tone=_tone(decision, comparison, evaluation, reference),
        value=comparison.value,
        low=comparison.low,
        high=comparison.high,
        lead=lead,
        bar=max(gate.margin, comparison.noise or 0.0) if gate else comparison.noise,
        noise=comparison.noise,
        breaches=comparison.breaches,
        metrics=evaluation.metrics,
        slices=evaluation.slices,
        cost=evaluation.cost,
        curve=_curve(place, candidate) if artefacts else [],
        config=candidate.config,
        trials=_trials(place, candidate),
        note=candidate.id,
    )


def _tone(decision: Decision, comparison: Comparison, evaluation: Evaluation, reference: str | None) -> Tone:
    if evaluation.candidate == decision.winner:
        return "best"
    if comparison.family == reference:
        return "reference"
    return "broken" if comparison.breaches else "plain"


def _reference(place: Place, decision: Decision) -> str | None:
    """Return whom leads are over: the champion, else the baseline, which leads itself by nothing; None when nobody was paired."""
    if decision.champion is not None:
        champion = place.catalog.get(decision.champion)
        assert isinstance(champion, Candidate)
        return f"the champion ({champion.family})"
    zero = [one.family for one in decision.comparisons if one.difference == 0.0 == one.difference_high]
    return zero[0] if zero else None


def _gate(decision: Decision) -> Gate | None:
    """Return the gate that the decision was made by; None when the use case has another one now, or is gone."""
    try:
        gate = use_case(decision.use_case).gate
    except UnknownError:
        return None
    return gate if canonical.sha256(gate) == decision.gate else None


def _primary(decision: Decision, evaluations: Mapping[str, Evaluation]) -> str:
    """Return the metric that was compared, when its gate is not known any more: the one whose means are the values."""
    for name in sorted({name for one in evaluations.values() for name in one.metrics}):
        values = [(one.value, evaluations[one.evaluation].metrics.get(name)) for one in decision.comparisons]
        if all(mean is not None and abs(value - mean) < 1e-9 for value, mean in values):
            return name
    return "the primary metric"


def _evaluation(place: Place, name: str) -> Evaluation:
    found = place.catalog.get(name)
    assert isinstance(found, Evaluation)
    return found


def _curve(place: Place, candidate: Candidate) -> list[Mapping[str, float]]:
    """Return how a candidate learned, where its artefact tells."""
    if CURVE not in place.catalog.stored(candidate.address).manifest:
        return []
    path = place.opened(candidate.address, candidate.sha256) / CURVE
    told: list[Mapping[str, float]] = orjson.loads(path.read_bytes())
    return told


def _trials(place: Place, candidate: Candidate) -> list[dict[str, Any]]:
    """Return the trials of the tuning that the candidate's config comes from."""
    behind = [
        place.catalog.get(name) for role, name in place.catalog.parents(candidate.id) if role == "attempt"
    ]
    found = [one for one in behind if isinstance(one, Attempt)]
    return [
        {"number": one.number, "value": one.value, "state": one.state}
        for one in sorted(found, key=lambda one: one.number)
    ]


def _facts(dataset: Dataset, evaluations: Mapping[str, Evaluation]) -> dict[str, str]:
    units = max((one.units for one in evaluations.values()), default=0)
    return {
        "asked for": f"{units:,} people, {(dataset.as_of - dataset.holdout_from).days} days from {dataset.holdout_from.date()}",
        "interactions": f"{dataset.rows:,}",
        "people": f"{dataset.people:,}",
        "items": f"{dataset.items:,}",
        "from": str(dataset.first_time.date()),
        "to": str(dataset.last_time.date()),
        "features": dataset.feature_service,
        "verdicts on the data": f"{len(dataset.verdicts):,}, all passed",
    }


def _record(decision: Decision, dataset: Dataset) -> dict[str, str]:
    return {
        "decision": decision.id,
        "approved by": decision.approved_by,
        "winner": decision.winner or "nobody",
        "champion before": decision.champion or "nobody",
        "gate, SHA-256": decision.gate,
        "dataset": dataset.id,
        "dataset's address": dataset.address,
        "dataset's manifest, SHA-256": dataset.sha256,
        "code": decision.code_version,
    }
