"""What people's verbs do, recorded as the loop's are: a word on a decision, and a decision by hand."""

from datetime import datetime

from counterfoil import canonical
from counterfoil.catalog import Made
from counterfoil.types import Approval, Bento, Candidate, Dataset, Decision, Evaluation, UseCase
from flows.place import Place, code_version


def approve(place: Place, decision: Decision, by: str, at: datetime, note: str) -> Made:
    """Put somebody's word beside a decision."""
    return Made(nouns=(Approval(use_case=decision.use_case, decision=decision.id, by=by, at=at, note=note),))


def steer(
    place: Place,
    case: UseCase,
    dataset: Dataset,
    evaluation: Evaluation,
    candidate: Candidate,
    champion: Candidate | None,
    bento: Bento | None,
    by: str,
    at: datetime,
    sentences: tuple[str, ...],
) -> Made:
    """Decide by hand that a candidate is to serve: with a bento that is there (a rollback), or one that is yet to be made.

    The evaluation is what was measured of it, whatever the gate made of that.
    """
    decision = Decision(
        use_case=case.name,
        dataset=dataset.id,
        verb="promote",
        winner=candidate.id,
        champion=None if champion is None else champion.id,
        evaluations=(evaluation.id,),
        comparisons=(),
        sentences=(f"{canonical.utc_text(at)}: {sentences[0]}", *sentences[1:]),
        gate=canonical.sha256(case.gate),
        code_version=code_version(),
        approved_by=by,
    )
    return Made(nouns=(decision,))
