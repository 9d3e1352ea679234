"""What a model card tells, gathered from the catalog alone: the same catalog gives the same facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from inspect import getdoc
from typing import Any, TypeVar

import numpy as np

from counterfoil.errors import InputError, UnknownError
from counterfoil.types import (
    Bento,
    Candidate,
    Comparison,
    Dataset,
    Decision,
    Evaluation,
    Noun,
    UseCase,
    Verdict,
)
from flows.place import Place
from flows.use_cases import use_case

FEW_UNITS = 30  # below this a mean's interval by its standard error says little
Found = TypeVar("Found", bound=Noun)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mean:
    """A mean over units with its 95% interval by the standard error; None where there is no value per unit, or too few."""

    value: float
    units: int | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A decision that weighed the candidate: as what, and what was found of it."""

    decision: Decision
    comparison: Comparison | None
    role: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """A term of service: of which release, since and until when (None: it lasts)."""

    release: str
    tag: str
    epoch: int
    stage: str
    share: float
    since: datetime
    until: datetime | None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that a card is written from. `primary` is the metric that decided."""

    candidate: Candidate
    family_text: str
    case: UseCase | None
    case_text: str
    dataset: Dataset
    verdicts: tuple[Verdict, ...]
    evaluations: tuple[tuple[Evaluation, Dataset], ...]
    primary: str
    means: Mapping[str, Mean]
    slices: Mapping[str, Mean]
    judged: tuple[Judged, ...]
    served: tuple[Served, ...]
    bentos: tuple[Bento, ...]
    trials: int

    @property
    def evaluation(self) -> Evaluation | None:
        """The evaluation that the card speaks of: the one on the dataset that the candidate learned from, else the newest."""
        found = _own_first(self.evaluations, self.dataset)
        return found[0] if found else None


@dataclass(kw_only=True)
class Reader:
    """Reads nouns of the catalog, each once: the cards of one decision share a dataset and its hundreds of verdicts."""

    place: Place
    known: dict[str, Noun] = field(default_factory=dict)

    def noun(self, name: str, kind: type[Found]) -> Found:
        """Return a noun of that kind."""
        if name not in self.known:
            self.known[name] = self.place.catalog.get(name)
        found = self.known[name]
        assert isinstance(found, kind)
        return found

    def children(self, name: str, kind: type[Found]) -> list[Found]:
        """Return the nouns of that kind that were made from this one."""
        ids = {child for _, child in self.place.catalog.children(name) if child.startswith(f"{kind.kind}-")}
        return [self.noun(child, kind) for child in sorted(ids)]


def gather(reader: Reader, candidate_id: str) -> Facts:
    """Return what the catalog knows of a candidate. UnknownError when there is none, InputError when it is another noun."""
    place = reader.place
    candidate = place.catalog.get(candidate_id)
    if not isinstance(candidate, Candidate):
        raise InputError(
            f"{candidate_id} is a {candidate.kind}, and cards are of candidates; `counterfoil models` lists them"
        )
    dataset = reader.noun(candidate.dataset, Dataset)
    evaluations = sorted(
        ((one, reader.noun(one.dataset, Dataset)) for one in reader.children(candidate.id, Evaluation)),
        key=lambda pair: (pair[1].as_of, pair[0].id),
    )
    own = _own_first(evaluations, dataset)
    case = _case(candidate.use_case)
    judged = _judged(reader, candidate, [one for one, _ in evaluations])
    primary = _primary(case, own, judged)
    means, slices = _measured(place, own[0], primary) if own else ({}, {})
    bentos = [one for one in place.catalog.find(Bento, candidate.use_case) if one.candidate == candidate.id]
    return Facts(
        candidate=candidate,
        family_text=_family_text(candidate.family),
        case=case,
        case_text=_text_of(f"flows.use_cases.{candidate.use_case}"),
        dataset=dataset,
        verdicts=tuple(reader.noun(name, Verdict) for name in dataset.verdicts),
        evaluations=tuple(evaluations),
        primary=primary,
        means=means,
        slices=slices,
        judged=judged,
        served=_served(place, candidate.use_case, {one.id for one in bentos}),
        bentos=tuple(bentos),
        trials=sum(role == "attempt" for role, _ in place.catalog.parents(candidate.id)),
    )


def _own_first(evaluations: Sequence[tuple[Evaluation, Dataset]], dataset: Dataset) -> list[Evaluation]:
    """Return the evaluations on the dataset that was learned from, else all, newest first."""
    own = [one for one, data in evaluations if data.id == dataset.id]
    return own or [one for one, _ in evaluations[::-1]]


def _case(name: str) -> UseCase | None:
    try:
        return use_case(name)
    except UnknownError:
        return None


def _text_of(module: str) -> str:
    """Return what a module says of itself; nothing when there is no such module."""
    try:
        return getdoc(import_module(module)) or ""
    except ModuleNotFoundError:
        return ""


def _family_text(family: str) -> str:
    from models.families import MODULES

    return _text_of(MODULES.get(family, f"models.families.{family}"))


def _judged(reader: Reader, candidate: Candidate, evaluations: list[Evaluation]) -> tuple[Judged, ...]:
    """Return the decisions that weighed the candidate, oldest first."""
    decisions: dict[str, Decision] = {}
    for evaluation in evaluations:
        decisions.update({one.id: one for one in reader.children(evaluation.id, Decision)})
    recorded = reader.place.catalog.recorded(Decision, candidate.use_case)
    order = {one.id: number for number, (one, _) in enumerate(recorded)}
    mine = {one.id for one in evaluations}
    found = []
    for decision in sorted(decisions.values(), key=lambda one: order[one.id]):
        comparison = next((one for one in decision.comparisons if one.evaluation in mine), None)
        if decision.winner == candidate.id:
            role = "winner"
        elif decision.champion == candidate.id:
            role = "champion"
        else:
            role = "refit, to learn how much is luck" if comparison is None else "contender"
        found.append(Judged(decision=decision, comparison=comparison, role=role))
    return tuple(found)


def _primary(case: UseCase | None, evaluations: list[Evaluation], judged: tuple[Judged, ...]) -> str:
    """Return the metric that decided: the gate's, else the one whose mean is what was compared."""
    if not evaluations:
        return case.gate.primary if case else ""
    metrics = evaluations[0].metrics
    for one in judged:
        for name, value in sorted(metrics.items()):
            if one.comparison is not None and abs(value - one.comparison.value) < 1e-9:
                return name
    return case.gate.primary if case else sorted(metrics)[0]


def _measured(place: Place, evaluation: Evaluation, primary: str) -> tuple[dict[str, Mean], dict[str, Mean]]:
    """Return the means of all metrics over everybody, and of the primary one in each slice."""
    from models.evaluate import read_units

    units = read_units(place.opened(evaluation.address, evaluation.sha256) / "units.parquet")
    means = {name: _mean(value, units.values.get(name)) for name, value in sorted(evaluation.metrics.items())}
    slices = {
        name: _mean(part[primary], units.of(f"{primary}[{name}]"))
        for name, part in sorted(evaluation.slices.items())
        if primary in part
    }
    return means, slices


def _mean(value: float, value_P: Any) -> Mean:
    """Return a mean with the interval that its units' spread gives it; a figure about all lists at once has none."""
    if value_P is None:
        return Mean(value=value)
    value_P = value_P[np.isfinite(value_P)]
    units = len(value_P)
    if units < FEW_UNITS or abs(float(value_P.mean()) - value) > 1e-6:
        return Mean(value=value, units=units)
    reach = 1.96 * float(value_P.std(ddof=1)) / units**0.5
    return Mean(value=value, units=units, low=value - reach, high=value + reach)


def _served(place: Place, name: str, bentos: set[str]) -> tuple[Served, ...]:
    """Return when the candidate's bentos served, oldest first."""
    found = []
    for row in reversed(place.catalog.releases(name)):
        release: Any = place.catalog.get(row["id"])
        if release.bento in bentos:
            found.append(
                Served(
                    release=release.id,
                    tag=release.tag,
                    epoch=row["epoch"],
                    stage=row["stage"],
                    share=row["share"],
                    since=row["valid_from"],
                    until=row["valid_to"],
                )
            )
    return tuple(found)
