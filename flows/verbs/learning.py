"""What the verbs do with models: attempts of a tuning, fits, evaluations, and the decision between them."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterfoil import canonical
from counterfoil.catalog import Made
from counterfoil.types import (
    Attempt,
    Candidate,
    Dataset,
    Decision,
    Evaluation,
    FamilyConfig,
    UseCase,
    Verdict,
)
from flows.cost import Cost
from flows.place import Place, code_version
from flows.pure import evaluate_into, fit_into

if TYPE_CHECKING:
    from models.choose import Chooser
    from models.tune import Proposal


def attempt(place: Place, dataset: Dataset, study: str, metric: str, seed: int, proposal: "Proposal") -> Made:
    """Try one config of a tuning on what the dataset allows to choose by; the holdout is not looked at."""
    folder = place.opened(dataset.address, dataset.sha256)
    outcome = chooser_of(folder, place.settings.threads, metric, seed).attempt(proposal)
    tried = Attempt(
        use_case=dataset.use_case,
        dataset=dataset.id,
        family=proposal.config.family,
        study=study,
        number=proposal.number,
        config=canonical.plain(proposal.config),
        seed=seed,
        metric=metric,
        state=outcome.state,
        value=outcome.value,
        first=outcome.first,
        bar=proposal.bar,
        reason=outcome.reason,
        code_version=code_version(),
        seconds=outcome.seconds,
    )
    return Made(nouns=(tried,))


@lru_cache(maxsize=1)
def chooser_of(dataset: Path, threads: int, metric: str, seed: int) -> "Chooser":
    """Return what a dataset folder allows to choose by; read once for all trials of a search."""
    from models import dataset as dataset_folder
    from models.choose import chooser

    return chooser(dataset_folder.read(dataset, threads=threads).training(), metric, seed=seed)


def fit(
    place: Place,
    use_case: str,
    dataset: Dataset,
    config: FamilyConfig,
    seed: int,
    chosen_by: Sequence[Attempt] = (),
) -> Made:
    """Fit one contender on what the dataset allows to learn from, and store its artefact.

    `chosen_by` are the trials of the tuning that its config comes from: the record says what it rests on.
    """
    name = config.family if seed == 0 else f"{config.family}-seed-{seed}"
    folder = place.folder(use_case, "candidates", f"{name}-tuned" if chosen_by else name)
    cost = fit_into(
        place.opened(dataset.address, dataset.sha256), config, seed, place.settings.threads, folder
    )
    return kept(place, use_case, dataset, config, seed, folder, cost)


def kept(
    place: Place, use_case: str, dataset: Dataset, config: FamilyConfig, seed: int, folder: Path, cost: Cost
) -> Made:
    """Store the artefact that a fit left in a folder, as the candidate of that config and seed."""
    stored = place.store.put(folder)
    candidate = Candidate(
        use_case=use_case,
        family=config.family,
        config=canonical.plain(config),
        seed=seed,
        dataset=dataset.id,
        address=stored.address,
        sha256=stored.sha256,
        code_version=code_version(),
        fit_seconds=cost.seconds,
        peak_bytes=cost.peak_bytes,
        artefact_bytes=stored.bytes,
    )
    return Made(nouns=(candidate,), stored=(stored,))


def evaluate(place: Place, dataset: Dataset, candidate: Candidate) -> Made:
    """Score one candidate on the dataset's holdout, unit by unit, over the full catalogue."""
    data = place.opened(dataset.address, dataset.sha256)
    model = load_model(place, candidate, dataset, data)
    folder = place.folder(dataset.use_case, "evaluations", candidate.id)
    scores = evaluate_into(model, data, place.settings.threads, folder)
    stored = place.store.put(folder)
    evaluation = Evaluation(
        use_case=dataset.use_case,
        candidate=candidate.id,
        family=candidate.family,
        seed=candidate.seed,
        dataset=dataset.id,
        address=stored.address,
        sha256=stored.sha256,
        units=len(scores.units.unit_P),
        metrics=scores.metrics,
        slices=scores.slices,
        code_version=code_version(),
        cost={
            "score_ms": scores.score_ms,
            "fit_seconds": candidate.fit_seconds,
            "peak_bytes": float(candidate.peak_bytes),
            "artefact_bytes": float(candidate.artefact_bytes),
        },
    )
    return Made(nouns=(evaluation,), stored=(stored,))


def load_model(place: Place, candidate: Candidate, dataset: Dataset, data: Path) -> Any:
    """Return a candidate's model that speaks the item indices of `dataset`, whichever dataset it learned from."""
    from models import dataset as dataset_folder
    from models.families import family
    from models.renumber import Renumbered

    model = family(candidate.family).load(place.opened(candidate.address, candidate.sha256))
    if candidate.dataset == dataset.id:
        return model
    learned_from = place.catalog.get(candidate.dataset)
    assert isinstance(learned_from, Dataset)
    theirs = dataset_folder.read(place.opened(learned_from.address, learned_from.sha256)).item_ids
    return Renumbered(model, their_ids=theirs, our_ids=dataset_folder.read(data).item_ids)


def decide(
    place: Place,
    case: UseCase,
    dataset: Dataset,
    verdict: Verdict,
    evaluations: Sequence[Evaluation],
    defending: Evaluation | None,
    refits: Sequence[Evaluation],
) -> Made:
    """Weigh the contenders against the champion (or the baseline, on the first run) by the use case's gate.

    The verdict on the snapshot is not weighed: it is handed in so that the record says what the decision rests on.
    """
    from models import decide as rules

    contenders = [_contender(place, case, evaluation) for evaluation in evaluations]
    weighed = rules.decide(
        case.gate,
        contenders,
        champion=None if defending is None else _contender(place, case, defending),
        baseline=case.baseline,
        noise=rules.noise_of([(e.family, e.metrics[case.gate.primary]) for e in (*evaluations, *refits)]),
    )
    by_evaluation = {evaluation.id: evaluation.candidate for evaluation in evaluations}
    decision = Decision(
        use_case=case.name,
        dataset=dataset.id,
        verb=weighed.verb,
        winner=None if weighed.winner is None else by_evaluation[weighed.winner],
        champion=None if defending is None else defending.candidate,
        evaluations=tuple(evaluation.id for evaluation in (*evaluations, *refits)),
        comparisons=tuple(weighed.comparisons),
        sentences=tuple(weighed.sentences),
        gate=canonical.sha256(case.gate),
        code_version=code_version(),
    )
    return Made(nouns=(decision,))


def _contender(place: Place, case: UseCase, evaluation: Evaluation) -> Any:
    from models.decide import Contender
    from models.evaluate import read_units
    from models.guardrails import slices_of

    units = read_units(place.opened(evaluation.address, evaluation.sha256) / "units.parquet")
    parts = {name: units.of(name) for name in slices_of(case.gate)}
    return Contender(
        id=evaluation.id,
        family=evaluation.family,
        units=units.unit_P,
        values=units.values[case.gate.primary],
        metrics=evaluation.metrics,
        cost=evaluation.cost,
        parts={name: part_U for name, part_U in parts.items() if part_U is not None},
    )
