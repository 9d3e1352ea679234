"""The verbs of the loop as plain functions of an installation and nouns. Each gives `Made`; the recording seam does the rest."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import orjson

from counterfoil import canonical
from counterfoil.catalog import Made
from counterfoil.errors import ConflictError, GateError
from counterfoil.types import (
    Attempt,
    Bento,
    Candidate,
    DataPolicy,
    Dataset,
    Decision,
    Evaluation,
    FamilyConfig,
    FeatureSpec,
    Noun,
    OnlineRows,
    Release,
    UseCase,
    Verdict,
)
from flows.champion import to_beat
from flows.cost import measured
from flows.place import Place, code_version
from flows.pure import emptied, evaluate_into, fit_into

if TYPE_CHECKING:
    from flows.gate import Policy
    from models.choose import Chooser
    from models.tune import Proposal


def days(place: Place, as_of: datetime) -> dict[str, str]:
    """Return the landed days before `as_of` with the SHA-256 of their files."""
    from counterfoil.landing import read_manifest

    manifest = read_manifest(place.settings)
    limit = as_of.date().isoformat()
    return {day: part.sha256 for day, part in sorted(manifest.days.items()) if day < limit}


def tables(place: Place) -> dict[str, str]:
    """Return the SHA-256 of the landed items and people."""
    from counterfoil.landing import read_manifest

    manifest = read_manifest(place.settings)
    parts = {"items": manifest.items, "people": manifest.people}
    return {name: part.sha256 for name, part in parts.items() if part is not None}


def validate(
    place: Place, days: Mapping[str, str], tables: Mapping[str, str], policy: DataPolicy | None = None
) -> Made:
    """Hold every landed day against the contract; one verdict per day, good or bad.

    `tables` says which items the events are held against: other items, other verdicts. `policy` is the use case's own, or None.
    """
    from flows.gate import validate_days

    verdicts = validate_days(place.settings.landing, days, policy=cast("Policy | None", policy))
    _report(place, "days", verdicts)
    return Made(nouns=verdicts)


def require(place: Place, verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Return the verdicts when all passed. GateError when one did not, GateFault when the gate itself broke."""
    from flows import gate

    try:
        gate.require(verdicts)
    except GateError as refusal:
        raise type(refusal)(f"{refusal}; every finding is in {reports(place)}") from refusal
    return tuple(verdicts)


def believed(verdict: Noun) -> bool:
    """Say whether a remembered verdict may be believed: one of a gate that broke is found anew."""
    return not getattr(verdict, "faulted", False)


def reports(place: Place) -> Path:
    """Return the folder of the gate's reports and Data Docs."""
    return place.settings.home / "reports"


def _report(place: Place, name: str, verdicts: Sequence[Verdict]) -> None:
    """Write the pages that a person reads: our report, and Great Expectations' Data Docs."""
    from flows import gate

    gate.write_report(verdicts, reports(place) / name)
    gate.write_data_docs(verdicts, reports(place) / name / "data-docs")


def snapshot(
    place: Place,
    use_case: str,
    spec: FeatureSpec,
    as_of: datetime,
    days: Mapping[str, str],
    tables: Mapping[str, str],
    verdicts: Sequence[Verdict],
) -> Made:
    """Write a dataset version: interactions, items, people and point-in-time features as they were known at each moment."""
    from flows.snapshot import write_dataset

    folder = emptied(place.folder(use_case, "dataset"))
    with measured() as cost:
        about = write_dataset(place.settings, spec, as_of, days, folder)
        _require_same(place, as_of, days, tables)
        stored = place.store.put(folder)
    dataset = Dataset(
        use_case=use_case,
        address=stored.address,
        sha256=stored.sha256,
        as_of=as_of,
        holdout_from=about.holdout_from,
        rows=about.rows,
        people=about.people,
        items=about.items,
        first_time=about.first_time,
        last_time=about.last_time,
        feature_service=spec.service,
        verdicts=tuple(verdict.id for verdict in verdicts),
        code_version=code_version(),
        seconds=cost.seconds,
    )
    return Made(nouns=(dataset,), stored=(stored,))


def _require_same(
    place: Place, as_of: datetime, expected_days: Mapping[str, str], expected_tables: Mapping[str, str]
) -> None:
    """Refuse a snapshot of bytes that the gate has not seen. ConflictError when something landed meanwhile, or was altered."""
    landing = place.settings.landing
    paths = {
        landing / "events" / f"day={day}" / "events.parquet": sha256 for day, sha256 in expected_days.items()
    }
    paths |= {landing / f"{name}.parquet": sha256 for name, sha256 in expected_tables.items()}
    now = (days(place, as_of), tables(place))
    if now != (dict(expected_days), dict(expected_tables)) or any(
        not path.is_file() or canonical.file_digest(path) != sha256 for path, sha256 in paths.items()
    ):
        raise ConflictError(
            "data landed, or was altered, while the snapshot was written; run again to take what is there now"
        )


def inspect(
    place: Place, dataset: Dataset, champion: Candidate | None, policy: DataPolicy | None = None
) -> Made:
    """Hold the whole snapshot against the contract, the days it was made of, and the data that the champion learned from.

    ConflictError when the landing does not hold these days any more.
    """
    from flows.gate import validate_snapshot

    reference = None
    if champion is not None:
        learned_from = place.catalog.get(champion.dataset)
        assert isinstance(learned_from, Dataset)
        reference = place.opened(learned_from.address, learned_from.sha256)
    folder = place.opened(dataset.address, dataset.sha256)
    if orjson.loads((folder / "dataset.json").read_bytes())["days"] != days(place, dataset.as_of):
        raise ConflictError(
            f"data landed since {dataset.id} was written, so its features cannot be held against it; run again"
        )
    verdict = validate_snapshot(
        folder,
        subject=dataset.id,
        sha256=dataset.sha256,
        as_of=dataset.as_of,
        reference=reference,
        landing=place.settings.landing,
        policy=cast("Policy | None", policy),
    )
    _report(place, "snapshot", (verdict,))
    return Made(nouns=(verdict,))


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


def package(place: Place, case: UseCase, dataset: Dataset, decision: Decision) -> Made:
    """Build the immutable bento of the decision's winner."""
    from bentos.package import package as build

    candidate = place.catalog.get(decision.winner or "")
    assert isinstance(candidate, Candidate)
    built = build(
        use_case=case.name,
        candidate=candidate,
        artefact=place.opened(candidate.address, candidate.sha256),
        dataset=place.opened(dataset.address, dataset.sha256),
        feature_service=case.features.service,
        settings=place.settings,
    )
    bento = Bento(
        use_case=case.name,
        candidate=candidate.id,
        dataset=dataset.id,
        tag=built.tag,
        sha256=built.sha256,
        feature_service=case.features.service,
        code_version=code_version(),
    )
    return Made(nouns=(bento,))


def packaged(place: Place, bento: Noun) -> bool:
    """Say whether a bento is still on this machine."""
    assert isinstance(bento, Bento)
    return bento_folder(place, bento.tag).is_dir()


def bento_folder(place: Place, tag: str) -> Path:
    """Return where BentoML keeps the bento of that tag."""
    return place.settings.bentos / "bentos" / tag.replace(":", "/")


def online(place: Place) -> dict[str, str]:
    """Return which online store this is, as a digest (its address may hold a password), and how long its rows live."""
    return {
        "store": canonical.sha256(place.settings.online_store_url or "this home"),
        "ttl_days": str(place.settings.feature_ttl_days),
    }


def materialise(place: Place, dataset: Dataset, target: Mapping[str, str]) -> Made:
    """Bring the online store to what was known at the dataset's as-of; serving goes on meanwhile.

    `target` says which store: another one is not there yet.
    """
    from feature_repo import build, online

    features = place.settings.features
    if not build.partition(features, online.VIEW, dataset.as_of).is_file():
        about = orjson.loads((place.opened(dataset.address, dataset.sha256) / "dataset.json").read_bytes())
        build.build(
            place.settings.landing,
            features,
            dataset.as_of,
            history_cap=about["history_cap"],
            history_kinds=about["history_kinds"],
            threads=place.settings.threads,
        )
    online.apply(place.settings)
    rows = online.materialise(place.settings, dataset.as_of)
    made = OnlineRows(
        use_case=dataset.use_case,
        dataset=dataset.id,
        as_of=dataset.as_of,
        feature_service=dataset.feature_service,
        sha256=canonical.file_digest(build.partition(features, online.VIEW, dataset.as_of)),
        rows=rows,
    )
    return Made(nouns=(made,))


def materialised(place: Place) -> bool:
    """Say whether the online store is still there; one on another machine is taken at its word."""
    files = ("online.sqlite", "registry.sqlite") if place.settings.online_store_url is None else ()
    return all((place.settings.features / name).is_file() for name in files)


def release(place: Place, case: UseCase, decision: Decision, bento: Bento) -> Made:
    """Make the bento the champion: the next epoch, from now on.

    ConflictError when somebody else was faster: another release since, or another champion than the decision was made against.
    """
    latest = place.catalog.releases(case.name)
    evaluations = [place.catalog.get(name) for name in decision.evaluations]
    beaten = to_beat(place, case.name, {evaluation.candidate for evaluation in evaluations})  # type: ignore[attr-defined]
    if beaten != decision.champion:
        raise ConflictError(
            f"{decision.id} was made against {decision.champion or 'no champion'}, but {beaten or 'nobody'} is to be beaten now;"
            " run again to decide against the champion of now"
        )
    made = Release(
        use_case=case.name,
        decision=decision.id,
        bento=bento.id,
        tag=bento.tag,
        epoch=latest[0]["epoch"] + 1 if latest else 1,
        valid_from=datetime.now(UTC),
    )
    return Made(nouns=(made,))
