"""What people's verbs do, recorded as the loop's are: a word on a decision, and a decision by hand."""

from datetime import datetime

from counterfoil import canonical
from counterfoil.catalog import Made
from counterfoil.types import Approval, Candidate, Decision, Evaluation, Noun, Stage, UseCase
from flows.place import Place, code_version


def approve(place: Place, decision: Decision, by: str, at: datetime, note: str) -> Made:
    """Put somebody's word beside a decision."""
    return Made(nouns=(Approval(use_case=decision.use_case, decision=decision.id, by=by, at=at, note=note),))


def steer(place: Place, decision: Decision, behind: tuple[Noun, ...]) -> Made:
    """Put a decision by hand on record before anything is released by it; `behind` are the nouns that it rests on."""
    return Made(nouns=(decision,), parents={decision.id: behind})


def decided(
    case: UseCase,
    evaluation: Evaluation,
    candidate: Candidate,
    champion: str | None,
    by: str,
    at: datetime,
    sentences: tuple[str, ...],
    stage: Stage | None,
    share: float | None = None,
) -> Decision:
    """Decide by hand that a candidate is to serve at a stage, or (`retired`) that it is taken back; nothing is recorded yet.

    The evaluation is what was measured of it, whatever the gate made of that; `champion` the candidate that it goes before.
    """
    return Decision(
        use_case=case.name,
        dataset=evaluation.dataset,
        verb="reject" if stage == "retired" else "promote",
        winner=None if stage == "retired" else candidate.id,
        champion=champion,
        evaluations=(evaluation.id,),
        comparisons=(),
        sentences=(f"{canonical.utc_text(at)}: {sentences[0]}", *sentences[1:]),
        gate=canonical.sha256(case.gate),
        code_version=code_version(),
        approved_by=by,
        stage=stage,
        share=share,
    )
