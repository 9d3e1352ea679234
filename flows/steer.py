"""People's hands on the loop: approve a decision, promote a candidate, roll back; each a decision on record, with who and why."""

import getpass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from counterfoil import terminal
from counterfoil.catalog.erased import erased
from counterfoil.errors import ConflictError, InputError, UnknownError
from counterfoil.types import Bento, Candidate, Dataset, Decision, Evaluation, Noun, Release, UseCase
from flows import champion as champions
from flows import machine, verbs
from flows.place import Place, open_place
from flows.quarantine import hold, impose, require_free
from flows.running import only_run
from flows.steps import Steps, recorder, steps
from flows.use_cases import use_case


def whoever(by: str | None) -> str:
    """Return the name that is put on record: the one given, else the one that this process runs as."""
    name = (by if by is not None else getpass.getuser()).strip()
    if not name or len(name) > 80 or not name.isprintable():
        raise InputError(f"--by {by!r} names nobody; give a name of 1 to 80 characters")
    if name == "gate":
        raise InputError("--by gate is what stands on record where no person decided; give a person's name")
    return name


def approve(place: Place, decision_id: str, by: str, note: str = "") -> dict[str, Any]:
    """Put a word on a decision to promote; the last one that its gate waits for releases the winner.

    InputError when the decision promotes nobody, ConflictError when the same person approved it before.
    """
    decision = _of(place, decision_id, Decision)
    if decision.verb != "promote":
        raise InputError(
            f"{decision.id} says {decision.verb}, so there is nothing to approve; `counterfoil promote CANDIDATE` goes against it"
        )
    case = use_case(decision.use_case)
    with only_run(place, case.name):
        taken = steps(place, recorder(place))
        approval = champions.approval(place, decision, by)
        waits = champions.waits_for(place, case, decision)
        if approval is None:
            approval = taken.approve(decision, by, datetime.now(UTC), note)
            waits = champions.waits_for(place, case, decision)
        elif waits or _released(place, decision):
            raise ConflictError(f"{by} has approved {decision.id} before; another person has to")
        release = None if waits or _released(place, decision) else _release(place, case, taken, decision)
    return _steered(place, case, decision, release, approval=approval.id, waits_for=waits)


def promote(place: Place, candidate_id: str, by: str, reason: str) -> dict[str, Any]:
    """Let a candidate serve, whatever the gate said of it; where the gate asks for people, this is the first one's word.

    InputError when it was never evaluated, or serves already.
    """
    candidate = _of(place, candidate_id, Candidate)
    case = use_case(candidate.use_case)
    with only_run(place, case.name):
        evaluation = _measured(place, candidate)
        said = f"{by} promotes {candidate.family} ({candidate.id}): {_reason(reason)}"
        decision, taken = _decide(
            place, case, evaluation, candidate, None, by, (said, _figure(case, evaluation))
        )
        if case.gate.approvals:
            taken.approve(decision, by, datetime.now(UTC), reason)
        waits = champions.waits_for(place, case, decision)
        release = None if waits else _release(place, case, taken, decision)
    return _steered(place, case, decision, release, waits_for=waits)


def rollback(place: Place, name: str, by: str, reason: str, to: str | None = None) -> dict[str, Any]:
    """Let an earlier release's bento serve again: the one named, else the newest that differs from what serves.

    UnknownError when there is none, InputError when its bento is gone from this machine. UnavailableError when it is done, and
    its checkpoint could not be left outside.
    """
    with place.catalog.signed_once():  # a place of checkpoints that is down stands in nobody's way back
        return _rolled_back(place, name, by, reason, to)


def _rolled_back(place: Place, name: str, by: str, reason: str, to: str | None) -> dict[str, Any]:
    case = use_case(name)
    with only_run(place, case.name):
        serving = place.catalog.champion(case.name)
        if serving is None:
            raise UnknownError(f"nothing serves for {case.name}, so there is nothing to roll back")
        earlier = _earlier(place, serving, to)
        bento = _of(place, earlier.bento, Bento)
        if not verbs.packaged(place, bento):
            raise InputError(
                f"{bento.tag} is not on this machine any more; `counterfoil promote {bento.candidate}` packages it anew"
            )
        candidate = _of(place, bento.candidate, Candidate)
        said = f"{by} rolls back from {serving.id} to {earlier.id}: {_reason(reason)}"
        evaluation = _measured(place, candidate)
        decision, taken = _decide(
            place, case, evaluation, candidate, bento, by, (said, _figure(case, evaluation))
        )
        release = taken.release(case, decision, bento)
        kept = _keep(place, _of(place, serving.bento, Bento), candidate, f"rolled back by {by}: {reason}", by)
    return _steered(place, case, decision, release, quarantine=kept)


def _keep(place: Place, bento: Bento, back: Candidate, reason: str, by: str) -> str:
    """Keep what was rolled back from being released by the next turn; a model that serves again under another bento is free."""
    nouns = [bento.id] if bento.candidate == back.id else [bento.id, bento.candidate]
    return impose(place, bento.id, nouns, {}, reason, by).id


def _decide(
    place: Place,
    case: UseCase,
    evaluation: Evaluation,
    candidate: Candidate,
    bento: Bento | None,
    by: str,
    sentences: tuple[str, ...],
) -> tuple[Decision, Steps]:
    release = place.catalog.champion(case.name)
    same = bento is None or release is None or bento.id == release.bento
    if champions.serving(place, case.name) == candidate.id and same:
        raise InputError(f"{candidate.id} serves already")
    champions.require_kept(place, candidate.id)  # nothing is decided that could not be released
    require_free(place, bento or _to_be_made(case, candidate, evaluation))  # before anything is on record
    taken = steps(place, recorder(place))
    dataset = _of(place, evaluation.dataset, Dataset)
    beaten = champions.to_beat(
        place, case.name, {candidate.id}
    )  # as the release asks: None where it learned from who was forgotten
    champion = None if beaten is None else _of(place, beaten, Candidate)
    now = datetime.now(UTC)
    decision = taken.steer(case, dataset, evaluation, candidate, champion, bento, by, now, sentences)
    return decision, taken


def _to_be_made(case: UseCase, candidate: Candidate, evaluation: Evaluation) -> Bento:
    """Return the bento that a candidate would be packaged into, as far as a quarantine asks of it; it is not recorded."""
    return Bento(
        use_case=case.name,
        candidate=candidate.id,
        dataset=evaluation.dataset,
        tag=candidate.id,
        sha256="",
        feature_service=case.features.service,
        code_version="",
    )


def _release(place: Place, case: UseCase, taken: Steps, decision: Decision) -> Release:
    dataset = _of(place, decision.dataset, Dataset)
    return taken.release(case, decision, taken.package(case, dataset, decision))


def _released(place: Place, decision: Decision) -> bool:
    return any(child.startswith("release-") for _, child in place.catalog.children(decision.id))


def _measured(place: Place, candidate: Candidate) -> Evaluation:
    found = [
        one for one in place.catalog.find(Evaluation, candidate.use_case) if one.candidate == candidate.id
    ]
    if not found:
        raise InputError(
            f"{candidate.id} was never evaluated, so nobody knows what it would do; evaluate it first"
        )
    return found[0]


def _earlier(place: Place, serving: Release, to: str | None) -> Release:
    if to is not None:
        return _of(place, to, Release)
    for row in place.catalog.releases(serving.use_case):
        release = _of(place, row["id"], Release)
        if release.epoch < serving.epoch and release.bento != serving.bento and _may_serve(place, release):
            return release
    raise UnknownError(
        f"{serving.id} has no release before it with another bento; there is nothing to go back to"
    )


def _may_serve(place: Place, release: Release) -> bool:
    """Say whether an earlier release may come back: not what was rolled back itself, nor who learned from somebody forgotten."""
    bento = _of(place, release.bento, Bento)
    return hold(place, bento) is None and erased(place.catalog).learned(bento.candidate) is None


def _figure(case: UseCase, evaluation: Evaluation) -> str:
    name = case.gate.primary
    return f"Measured of it: {name} {evaluation.metrics[name]:.4f} over {evaluation.units:,} units ({evaluation.id})."


def _reason(reason: str) -> str:
    text = reason.strip()
    if not text:
        raise InputError("--reason is empty; say why, for whoever asks later")
    return text


def _of(place: Place, noun_id: str, cls: type[Any]) -> Any:
    noun: Noun = place.catalog.get(noun_id)
    if not isinstance(noun, cls):
        raise InputError(f"{noun_id} is a {noun.kind}, not a {cls.kind}; list them with `counterfoil models`")
    return noun


def _steered(
    place: Place, case: UseCase, decision: Decision, release: Release | None, **more: Any
) -> dict[str, Any]:
    """Let the service that runs here follow, and say what came of it."""
    followed = None if release is None else machine.follow(place, case.name)
    return {
        "decision": decision.id,
        "sentences": list(decision.sentences),
        "release": None if release is None else release.id,
        "bento": None if release is None else release.tag,
        "epoch": None if release is None else release.epoch,
        "service": followed,
        **more,
    }


def show(told: dict[str, Any]) -> None:
    """Say what was decided and what serves now."""
    say = partial(terminal.OUT.print, highlight=False, markup=False, soft_wrap=True)
    if "approval" in told:
        say(f"{told['approval']} on {told['decision']}")
    if told.get("waits_for"):
        say(f"the gate waits for {told['waits_for']} more")
    for sentence in told["sentences"]:
        say(sentence)
    if told.get("quarantine"):
        say(
            f"{told['quarantine']} keeps what served before; `counterfoil quarantine lift {told['quarantine']}` ends that"
        )
    if told["release"]:
        say(f"{told['release']} serves: {told['bento']}, epoch {told['epoch']}")
        say(
            "the service here has switched"
            if told["service"]
            else "no service runs here; `counterfoil up` starts it"
        )


def approve_here(decision_id: str, by: str | None, note: str) -> dict[str, Any]:
    """Approve in the installation that the settings name."""
    return approve(open_place(), decision_id, whoever(by), note)


def promote_here(candidate_id: str, by: str | None, reason: str) -> dict[str, Any]:
    """Promote in the installation that the settings name."""
    return promote(open_place(), candidate_id, whoever(by), reason)


def rollback_here(name: str, by: str | None, reason: str, to: str | None) -> dict[str, Any]:
    """Roll back in the installation that the settings name."""
    return rollback(open_place(), name, whoever(by), reason, to)
