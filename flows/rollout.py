"""What the judge's rulings come to: the next stage, a challenger taken back, an earlier champion again; decided by `monitor`.

Each is a decision with its evidence in sentences and a release, written in one transaction against the epoch that was judged: a
ruling that comes late changes nothing (ConflictError). Nothing here waits for a run of the loop, or for what serves to follow.
"""

from dataclasses import replace
from datetime import UTC, datetime

from counterfoil import canonical
from counterfoil.errors import ConflictError
from counterfoil.types import Bento, Candidate, Decision, Release, Rollout, Stage, UseCase
from flows import champion as champions
from flows import steer
from flows.place import Place, code_version

MONITOR = "monitor"


def following(rollout: Rollout, release: Release) -> tuple[Stage, float]:
    """Return the stage and the share after those of a challenger."""
    after = [share for share in rollout.shares if share > release.share]
    return ("canary", after[0]) if after else ("champion", 1.0)


def advance(place: Place, case: UseCase, challenger: Release, sentences: tuple[str, ...]) -> Release | None:
    """Let a challenger go a stage further: the decision that brought it here goes on, with what was seen since.

    None where its gate waits for people whose word nobody of them gave before.
    """
    assert case.rollout is not None
    before = steer.noun_of(place, challenger.decision, Decision)
    if not _approved(place, case, challenger):
        return None
    stage, share = following(case.rollout, challenger)
    whom = "everybody" if stage == "champion" else f"{share:.2%} of the people"
    said = (
        f"{MONITOR} lets {challenger.tag} answer {whom} after {challenger.stage} at {challenger.share:.2%}."
    )
    decision = replace(
        before, sentences=_said(said, sentences), approved_by=MONITOR, stage=stage, share=share,
        code_version=code_version(),
    )  # fmt: skip
    return _switch(place, case, decision, challenger)


def take_back(place: Place, case: UseCase, challenger: Release, sentences: tuple[str, ...]) -> Release:
    """Take a challenger back, and keep its bento and its model from being released by the next turn."""
    before = steer.noun_of(place, challenger.decision, Decision)
    said = f"{MONITOR} takes {challenger.tag} back from {challenger.stage} at {challenger.share:.2%}."
    decision = replace(
        before, verb="reject", winner=None, sentences=_said(said, sentences), approved_by=MONITOR,
        stage="retired", share=0.0, code_version=code_version(),
    )  # fmt: skip
    return _switch(place, case, decision, challenger, keep=" ".join(sentences))


def roll_back(
    place: Place, case: UseCase, champion: Release, to: Release, sentences: tuple[str, ...]
) -> Release:
    """Let the champion before serve again; the one that is left is kept from being released by the next turn."""
    before, left = steer.noun_of(place, to.decision, Decision), steer.noun_of(place, champion.bento, Bento)
    beaten = champions.to_beat(place, case.name, {before.winner or ""})
    said = f"{MONITOR} rolls back from {champion.id} to {to.id}."
    evaluation = steer.measured(
        place, steer.noun_of(place, steer.noun_of(place, to.bento, Bento).candidate, Candidate)
    )
    decision = replace(
        before, champion=beaten, evaluations=(evaluation.id,), comparisons=(), sentences=_said(said, sentences),
        approved_by=MONITOR, stage="champion", share=1.0, code_version=code_version(),
    )  # fmt: skip
    return _switch(place, case, decision, to, keep=" ".join(sentences), kept=left, after=champion)


def _switch(
    place: Place,
    case: UseCase,
    decision: Decision,
    of: Release,
    *,
    keep: str | None = None,
    kept: Bento | None = None,
    after: Release | None = None,
) -> Release:
    """Carry a decision about a release's bento out, unless somebody has changed who answers since it was judged."""
    epoch = place.catalog.epoch(case.name)
    judged = after or of
    active = (place.catalog.champion(case.name), place.catalog.challenger(case.name))
    if judged.id not in {one.id for one in active if one is not None}:
        raise ConflictError(f"{judged.id} does not answer any more, so nothing is done about it")
    bento = steer.noun_of(place, of.bento, Bento)
    candidate = steer.noun_of(place, bento.candidate, Candidate)
    evaluation = steer.measured(place, candidate)
    behind = steer.behind(place, evaluation, candidate, decision.champion, bento)
    others = [place.catalog.get(name) for name in decision.evaluations if name != evaluation.id]
    keeps = None
    if keep is not None:
        back = None if kept is None else candidate
        keeps = steer.keep(kept or bento, back, f"taken back by {MONITOR}: {keep}", MONITOR)
    with place.catalog.signed_once():
        return steer.switch(place, case, decision, (*behind, *others), bento, after=epoch, keeps=keeps)[1]


def _approved(place: Place, case: UseCase, challenger: Release) -> bool:
    """Say whether the people whom the gate asks for have approved a decision by which this bento was released."""
    if not case.gate.approvals:
        return True
    releases = [place.catalog.get(row["id"]) for row in place.catalog.releases(case.name)]
    decisions = [
        steer.noun_of(place, one.decision, Decision)
        for one in releases
        if isinstance(one, Release) and one.bento == challenger.bento and one.stage != "retired"
    ]
    return any(not champions.waits_for(place, case, decision) for decision in decisions)


def _said(first: str, sentences: tuple[str, ...]) -> tuple[str, ...]:
    return (f"{canonical.utc_text(datetime.now(UTC))}: {first}", *sentences)
