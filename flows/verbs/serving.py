"""What the verbs do for serving: the bento of a winner, the rows of the online store, the release."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import orjson

from counterfoil import canonical
from counterfoil.catalog import Made
from counterfoil.catalog.lineage import nouns
from counterfoil.errors import ConflictError, InputError, UnavailableError
from counterfoil.types import (
    Bento,
    Candidate,
    Dataset,
    Decision,
    Noun,
    OnlineRows,
    Quarantine,
    Release,
    Stage,
    UseCase,
)
from flows.champion import require_kept, to_beat
from flows.place import Place, code_version
from flows.quarantine import require_free

SHARES: dict[Stage, float] = {"champion": 1.0, "canary": 0.05, "shadow": 0.0, "retired": 0.0}


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
    """Say whether the online store is still there, and filled; that one does not answer is told by whoever writes to it."""
    from feature_repo import online

    if place.settings.online_store_url is None:  # quickly said
        return all(
            (place.settings.features / name).is_file() for name in ("online.sqlite", "registry.sqlite")
        )
    try:
        return online.stands(place.settings)
    except UnavailableError:
        return False


def release(place: Place, case: UseCase, decision: Decision, bento: Bento) -> Made:
    """Let the winner of a decision on record begin: the next epoch, from now on, at the stage that `opening` says.

    ConflictError when somebody else was faster: another release since, or another champion than the decision was made against.
    InputError when the bento is another use case's. GateError when it holds what is in quarantine, or its model learned from
    somebody who was forgotten.
    """
    return Made(nouns=(_released(place, case, decision, bento, place.catalog.epoch(case.name)),))


def switch(
    place: Place,
    case: UseCase,
    decision: Decision,
    behind: tuple[Noun, ...],
    bento: Bento,
    after: int,
    keeps: Quarantine | None = None,
) -> Made:
    """Put a decision on record together with the release that carries it out, and with what is kept from then on, or nothing.

    `behind` are the nouns that the decision rests on; `after` is the epoch that whoever decided knew. Errors as of `release`.
    """
    made = _released(place, case, decision, bento, after)
    parents: dict[str, tuple[Noun, ...]] = {decision.id: behind, made.id: (decision, bento)}
    if keeps is None:
        return Made(nouns=(decision, made), parents=parents)
    kept = tuple(nouns(place.catalog, keeps.nouns))
    return Made(nouns=(decision, made, keeps), parents={**parents, keeps.id: kept})


def opening(place: Place, case: UseCase, decision: Decision) -> tuple[Stage, float]:
    """Return the stage and the share at which a decision's winner begins: those asked for, else those of the rollout's start.

    That is in shadow; where nobody serves yet there is nobody to be held against, and the first one serves at once.
    """
    if decision.stage is not None:
        return decision.stage, SHARES[decision.stage] if decision.share is None else decision.share
    if case.rollout is None or place.catalog.champion(case.name) is None:
        return "champion", 1.0
    return "shadow", 0.0


def _released(place: Place, case: UseCase, decision: Decision, bento: Bento, after: int) -> Release:
    _require_own(case, bento)
    stage, share = opening(place, case, decision)
    if stage != "retired":
        require_kept(place, bento.candidate)
        require_free(place, bento, decision)
        _require_defender(place, case, decision)
    if stage in ("shadow", "canary"):
        _require_other(place, case, bento, stage)
    now = datetime.now(UTC)
    return Release(
        use_case=case.name,
        decision=decision.id,
        bento=bento.id,
        tag=bento.tag,
        epoch=after + 1,
        stage=stage,
        share=share,
        valid_from=now,
        valid_to=now if stage == "retired" else None,
    )


def _require_own(case: UseCase, bento: Bento) -> None:
    if bento.use_case != case.name:
        raise InputError(
            f"{bento.tag} answers for {bento.use_case}, not for {case.name}; release a bento that was packaged for {case.name}"
        )


def _require_defender(place: Place, case: UseCase, decision: Decision) -> None:
    evaluations = [place.catalog.get(name) for name in decision.evaluations]
    beaten = to_beat(place, case.name, {evaluation.candidate for evaluation in evaluations})  # type: ignore[attr-defined]
    if beaten != decision.champion:
        raise ConflictError(
            f"{decision.id} was made against {decision.champion or 'no champion'}, but {beaten or 'nobody'} is to be beaten now;"
            " run again to decide against the champion of now"
        )


def _require_other(place: Place, case: UseCase, bento: Bento, stage: str) -> None:
    champion = place.catalog.champion(case.name)
    if champion is None:
        raise ConflictError(
            f"nobody serves for {case.name} yet, so nothing is released as {stage}; promote it to champion"
        )
    if champion.bento == bento.id:
        raise InputError(f"{bento.tag} serves everybody already, so it is no {stage} of its own")
