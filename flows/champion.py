"""Who serves, and who must be beaten: reads of the catalog that the loop's verbs and its composition ask."""

import unicodedata
from collections.abc import Sequence

from counterfoil.catalog.erased import erased
from counterfoil.errors import GateError, InputError
from counterfoil.types import Approval, Candidate, Dataset, Decision, UseCase
from flows.place import Place


def champion(place: Place, case: UseCase, dataset: Dataset) -> Candidate | None:
    """Return the candidate whose data this dataset is held against: who served before anything was released from it, or None.

    InputError when the champion learned from days that this dataset holds out: no fair comparison is left.
    """
    decision = _serving(place, case.name)
    if decision is None:
        return None
    earlier = [release for release in _decisions(place, case.name) if release.dataset == dataset.id]
    if earlier:
        return _candidate(place, _kept(place, earlier[-1].champion))
    serving = _candidate(place, _kept(place, decision.winner))
    if serving is not None:
        _require_not_later(place, serving, dataset)
    return serving


def defender(
    place: Place, case: UseCase, dataset: Dataset, candidates: Sequence[Candidate]
) -> Candidate | None:
    """Return the candidate that these must beat, or None: the champion, unless it is one of them.

    Deciding twice is deciding once: where the very contenders of the champion's decision come again, who it beat defends.
    A champion that learned from somebody who was forgotten does not defend: what is best without them takes its place.
    InputError when the defender learned from days that this dataset holds out.
    """
    contenders = {candidate.id for candidate in candidates}
    beat = _candidate(place, to_beat(place, case.name, contenders))
    if beat is not None and beat.id not in contenders:
        _require_not_later(place, beat, dataset)
    return beat


def to_beat(place: Place, use_case: str, contenders: set[str]) -> str | None:
    """Return the id of the candidate that these contenders must beat, or None: also where it learned from somebody forgotten."""
    decision = _serving(place, use_case)
    if decision is None:
        return None
    decided = {place.catalog.get(name).candidate for name in decision.evaluations}  # type: ignore[attr-defined]
    again = decision.winner in contenders and contenders <= decided
    return _kept(place, decision.champion if again else decision.winner)


def _kept(place: Place, name: str | None) -> str | None:
    """Return a candidate's id, None where it learned from somebody who was forgotten since."""
    return None if name is None or erased(place.catalog).learned(name) else name


def require_kept(place: Place, candidate: str) -> None:
    """See that a candidate may serve: GateError where it learned from somebody who was forgotten since."""
    gone = erased(place.catalog).learned(candidate)
    if gone is not None:
        raise GateError(
            f"{candidate} learned from somebody who was forgotten on {gone.at:%Y-%m-%d} ({gone.id}), so it serves no more;"
            " run the loop again, and choose one that it fits without them"
        )


def serving(place: Place, use_case: str) -> str | None:
    """Return the id of the candidate that serves now, or None."""
    decision = _serving(place, use_case)
    return None if decision is None else decision.winner


def waits_for(place: Place, case: UseCase, decision: Decision) -> int:
    """Return how many people have yet to approve a decision before its winner may serve."""
    return max(0, case.gate.approvals - len(approvers(place, decision)))


def approvers(place: Place, decision: Decision) -> set[str]:
    """Return who approved a decision, each person once, as they spelled their name first."""
    words = sorted(_approvals(place, decision), key=lambda one: one.at, reverse=True)
    return set({known_as(one.by): one.by for one in words}.values())


def signed(place: Place, decision: Decision) -> list[str]:
    """Return in whose name a decision stands: who took it, then who approved it besides, each once, by name."""
    taken = decision.approved_by
    return [taken, *sorted(name for name in approvers(place, decision) if known_as(name) != known_as(taken))]


def approval(place: Place, decision: Decision, by: str) -> Approval | None:
    """Return somebody's word on a decision, None when they have said nothing."""
    return next((one for one in _approvals(place, decision) if known_as(one.by) == known_as(by)), None)


def known_as(name: str) -> str:
    """Return what people are told apart by: a name without differences of case, width and spaces (Unicode, NFKC_Casefold)."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def _approvals(place: Place, decision: Decision) -> list[Approval]:
    children = [place.catalog.get(child) for _, child in place.catalog.children(decision.id)]
    return [child for child in children if isinstance(child, Approval)]


def _serving(place: Place, use_case: str) -> Decision | None:
    """Return the decision by which somebody serves now."""
    release = place.catalog.champion(use_case)
    return None if release is None else place.catalog.get(release.decision)  # type: ignore[return-value]


def _decisions(place: Place, use_case: str) -> list[Decision]:
    """Return the decisions that led to a release, newest first."""
    releases = [place.catalog.get(row["id"]) for row in place.catalog.releases(use_case)]
    return [place.catalog.get(release.decision) for release in releases]  # type: ignore[attr-defined, misc]


def _candidate(place: Place, name: str | None) -> Candidate | None:
    return None if name is None else place.catalog.get(name)  # type: ignore[return-value]


def _require_not_later(place: Place, candidate: Candidate, dataset: Dataset) -> None:
    learned_from = place.catalog.get(candidate.dataset)
    assert isinstance(learned_from, Dataset)
    if learned_from.holdout_from > dataset.holdout_from:
        raise InputError(
            f"the champion of {dataset.use_case} learned from what happened until {learned_from.holdout_from.date()}, and as of"
            f" {dataset.as_of.date()} the days from {dataset.holdout_from.date()} on are held out; choose a later --as-of"
        )
