"""People's hands on the loop: approve a decision, promote a candidate, roll back; each a decision on record, with who and why."""

import getpass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from counterfoil import canonical, terminal
from counterfoil.errors import ConflictError, InputError, UnknownError
from counterfoil.types import (
    Bento,
    Candidate,
    Dataset,
    Decision,
    Evaluation,
    Noun,
    Quarantine,
    Release,
    Stage,
    UseCase,
)
from flows import champion as champions
from flows import earlier, machine, verbs
from flows.place import Place, open_place
from flows.quarantine import require_free
from flows.running import only_run
from flows.steps import Steps, recorder, steps
from flows.use_cases import use_case

NounType = TypeVar("NounType", bound=Noun)

STAGES = {
    "champion": "serves",
    "canary": "serves some",
    "shadow": "answers in shadow",
    "retired": "takes the challenger back",
}


def whoever(by: str | None) -> str:
    """Return the name that is put on record: the one given, else the one that this process runs as."""
    name = (by if by is not None else getpass.getuser()).strip()
    if not name or len(name) > 80 or not name.isprintable():
        raise InputError(f"--by {by!r} names nobody; give a name of 1 to 80 characters")
    if champions.known_as(name) in ("gate", "monitor"):
        raise InputError(
            f"--by {name} is what stands on record where no person decided; give a person's name"
        )
    return name


def approve(
    place: Place, decision_id: str, by: str, note: str = "", case: UseCase | None = None
) -> dict[str, Any]:
    """Put a word on a decision to promote; the last one that its gate waits for releases the winner.

    `case` is its use case, where it is none of those that are registered. InputError when the decision promotes nobody,
    ConflictError when the same person approved it before.
    """
    decision = noun_of(place, decision_id, Decision)
    if decision.verb != "promote":
        raise InputError(
            f"{decision.id} says {decision.verb}, so there is nothing to approve; `counterfoil promote CANDIDATE` goes against it"
        )
    case = case or use_case(decision.use_case)
    with only_run(place, case.name):
        taken = steps(place, recorder(place))
        approval = champions.approval(place, decision, by)
        waits = champions.waits_for(place, case, decision)
        if approval is None:
            approval = taken.approve(decision, by, datetime.now(UTC), note)
            waits = champions.waits_for(place, case, decision)
        elif waits or _released(place, decision):
            raise ConflictError(f"{approval.by} has approved {decision.id} before; another person has to")
        release = None if waits or _released(place, decision) else _release(place, case, taken, decision)
    return _steered(place, case, decision, release, approval=approval.id, waits_for=waits)


def promote(
    place: Place,
    candidate_id: str,
    by: str,
    reason: str,
    stage: Stage | None = None,
    share: float | None = None,
    key: str | None = None,
) -> dict[str, Any]:
    """Let a candidate serve, whatever the gate said of it; where the gate asks for people, this is the first one's word.

    `stage` and `share` say how; without a stage the use case's rollout does, and without a rollout it serves everybody at once.
    The same `key` again gives what came of it first. InputError when it was never evaluated, or serves so already.
    """
    again = _first(place, key, "promote", candidate_id)
    if again is not None:
        return again
    candidate = noun_of(place, candidate_id, Candidate)
    case = use_case(candidate.use_case)
    _require_stage(stage, share)
    with only_run(place, case.name):
        evaluation = measured(place, candidate)
        how = (
            ""
            if stage is None
            else f" as {stage}" + ("" if share is None else f" to {share:.2%} of the people")
        )
        said = f"{by} promotes {candidate.family} ({candidate.id}){how}: {_reason(reason)}"
        decision, nouns = _decide(
            place, case, evaluation, candidate, None, by, (said, _figure(case, evaluation)), stage, share
        )
        bento = _packaged(place, evaluation, candidate)
        taken = steps(place, recorder(place))
        if case.gate.approvals or bento is None:
            # Where people are asked the key is the decision's: whose word releases it knows no key.
            decision = taken.steer(decision, nouns, asked=_asked(key) if case.gate.approvals else None)
        if case.gate.approvals:
            taken.approve(decision, by, datetime.now(UTC), reason)
        waits = champions.waits_for(place, case, decision)
        if waits:
            release = None
        elif bento is None or case.gate.approvals:
            release = _release(place, case, taken, decision, None if case.gate.approvals else key)
        else:
            release = switch(place, case, decision, nouns, bento, key=key)[1]
    return _steered(place, case, decision, release, waits_for=waits)


def rollback(
    place: Place, name: str, by: str, reason: str, to: str | None = None, key: str | None = None
) -> dict[str, Any]:
    """Let an earlier champion's bento serve again: that of the release named, else of the newest that differs from what serves.

    It waits for no run of the loop and for nobody's word. The same `key` again gives what came of it first. UnknownError when
    there is none, InputError when the one named is no earlier champion of this use case, or its bento is gone from this machine.
    GateError when it is in quarantine, or learned from somebody forgotten. UnavailableError when it is done, and its checkpoint
    could not be left outside.
    """
    again = _first(place, key, "rollback", name)
    if again is not None:
        return again
    with place.catalog.signed_once():  # a place of checkpoints that is down stands in nobody's way back
        return _rolled_back(place, name, by, reason, to, key)


def _rolled_back(
    place: Place, name: str, by: str, reason: str, to: str | None, key: str | None
) -> dict[str, Any]:
    case, after, why = use_case(name), place.catalog.epoch(name), _reason(reason)
    serving = place.catalog.champion(case.name)
    if serving is None:
        raise UnknownError(f"nothing serves for {case.name}, so there is nothing to roll back")
    named = None if to is None else noun_of(place, to, Release)
    back = earlier.newest(place, serving) if named is None else earlier.require_earlier(serving, named)
    bento = earlier.bento_of(place, back)
    if not verbs.packaged(place, bento):
        raise InputError(
            f"{bento.tag} is not on this machine any more; `counterfoil promote {bento.candidate}` packages it anew"
        )
    candidate = noun_of(place, bento.candidate, Candidate)
    said = f"{by} rolls back from {serving.id} to {back.id}: {why}"
    evaluation = measured(place, candidate)
    decision, nouns = _decide(
        place, case, evaluation, candidate, bento, by, (said, _figure(case, evaluation)), "champion"
    )
    kept = keep(noun_of(place, serving.bento, Bento), candidate, f"rolled back by {by}: {reason}", by)
    decision, release = switch(place, case, decision, nouns, bento, after=after, keeps=kept, key=key)
    return _steered(place, case, decision, release, quarantine=kept.id)


def withdraw(place: Place, name: str, by: str, reason: str, key: str | None = None) -> dict[str, Any]:
    """Take the challenger of a use case back: nobody sees it any more, and the next turn does not release it.

    As `rollback`. UnknownError when there is no challenger.
    """
    again = _first(place, key, "withdraw", name)
    if again is not None:
        return again
    with place.catalog.signed_once():
        return _withdrawn(
            place, name, by, (f"{by} takes the challenger back: {_reason(reason)}",), reason, key
        )


def _withdrawn(
    place: Place, name: str, by: str, sentences: tuple[str, ...], reason: str, key: str | None
) -> dict[str, Any]:
    case, after = use_case(name), place.catalog.epoch(name)
    challenger = place.catalog.challenger(case.name)
    if challenger is None:
        raise UnknownError(
            f"{case.name} has no challenger, so there is none to take back; `counterfoil rollback` is for the champion"
        )
    bento = noun_of(place, challenger.bento, Bento)
    candidate = noun_of(place, bento.candidate, Candidate)
    evaluation = measured(place, candidate)
    champion = champions.serving(place, case.name)
    now = datetime.now(UTC)
    decision = verbs.decided(case, evaluation, candidate, champion, by, now, sentences, "retired")
    nouns = behind(place, evaluation, candidate, champion, bento)
    kept = keep(bento, None, f"taken back by {by}: {reason}", by)
    decision, release = switch(place, case, decision, nouns, bento, after=after, keeps=kept, key=key)
    return _steered(place, case, decision, release, quarantine=kept.id)


def keep(bento: Bento, back: Candidate | None, reason: str, by: str) -> Quarantine:
    """Keep what was taken back from being released by the next turn; a model that serves again under another bento is free."""
    again = back is not None and bento.candidate == back.id
    kept = [bento.id] if again else [bento.id, bento.candidate]
    return Quarantine(subject=bento.id, nouns=tuple(sorted(kept)), reason=reason, by=by, at=datetime.now(UTC))


def _decide(
    place: Place,
    case: UseCase,
    evaluation: Evaluation,
    candidate: Candidate,
    bento: Bento | None,
    by: str,
    sentences: tuple[str, ...],
    stage: Stage | None,
    share: float | None = None,
) -> tuple[Decision, tuple[Noun, ...]]:
    """Return a decision that is not on record yet, and the nouns that it rests on."""
    _require_news(place, case, candidate, bento, stage, share)
    champions.require_kept(place, candidate.id)  # nothing is decided that could not be released
    require_free(place, bento or _to_be_made(case, candidate, evaluation))  # before anything is on record
    beaten = champions.to_beat(
        place, case.name, {candidate.id}
    )  # as the release asks: None where it learned from who was forgotten
    now = datetime.now(UTC)
    decision = verbs.decided(case, evaluation, candidate, beaten, by, now, sentences, stage, share)
    return decision, behind(place, evaluation, candidate, beaten, bento)


def behind(
    place: Place, evaluation: Evaluation, candidate: Candidate, champion: str | None, bento: Bento | None
) -> tuple[Noun, ...]:
    """Return the nouns that a decision about a candidate rests on."""
    found: list[Noun] = [noun_of(place, evaluation.dataset, Dataset), evaluation, candidate]
    if champion is not None and champion != candidate.id:
        found.append(noun_of(place, champion, Candidate))
    return (*found, *([] if bento is None else [bento]))


def _require_stage(stage: Stage | None, share: float | None) -> None:
    if stage == "retired":
        raise InputError(
            "nothing is promoted to retired; `counterfoil withdraw USECASE` takes a challenger back"
        )
    if share is not None and (stage != "canary" or not 0 < share < 1):
        raise InputError(f"--share {share:g} is not for that; give a canary a share above 0 and below 1")


def _require_news(
    place: Place,
    case: UseCase,
    candidate: Candidate,
    bento: Bento | None,
    stage: Stage | None,
    share: float | None,
) -> None:
    """See that a candidate does not serve so already."""
    release = place.catalog.champion(case.name)
    same = bento is None or release is None or bento.id == release.bento
    if champions.serving(place, case.name) == candidate.id and same:
        raise InputError(f"{candidate.id} serves already")
    challenger = place.catalog.challenger(case.name)
    if challenger is None or noun_of(place, challenger.bento, Bento).candidate != candidate.id:
        return
    if stage == challenger.stage and share in (None, challenger.share):
        raise InputError(f"{candidate.id} is the {stage} already, with {challenger.share:.2%} of the people")


def _packaged(place: Place, evaluation: Evaluation, candidate: Candidate) -> Bento | None:
    """Return the challenger's bento, or None where one is to be packaged."""
    challenger = place.catalog.challenger(candidate.use_case)
    bento = None if challenger is None else noun_of(place, challenger.bento, Bento)
    return bento if bento is not None and bento.candidate == candidate.id else None


def switch(
    place: Place,
    case: UseCase,
    decision: Decision,
    nouns: tuple[Noun, ...],
    bento: Bento,
    *,
    after: int | None = None,
    keeps: Quarantine | None = None,
    key: str | None = None,
) -> tuple[Decision, Release]:
    """Record decision and release in one transaction; return both as they are on record."""
    known = place.catalog.epoch(case.name) if after is None else after
    taken = steps(place, recorder(place))
    made = taken.switch(case, decision, nouns, bento, known, keeps, asked=_asked(key))
    return made[0], made[1]


def _asked(key: str | None) -> str | None:
    return None if key is None else canonical.sha256({"asked": key})


def _first(place: Place, key: str | None, verb: str, subject: str) -> dict[str, Any] | None:
    """Return what came of a key before, None when it is new. The service follows once more: that may be what is missing.

    ConflictError when the key stands for something else: another verb, or another candidate or use case.
    """
    ids = None if key is None else place.catalog.done(_asked(key) or "")
    if not ids:
        return None
    nouns = [place.catalog.get(name) for name in ids]
    release = next((noun for noun in nouns if isinstance(noun, Release)), None)
    decided = next((noun.id for noun in nouns if isinstance(noun, Decision)), None)
    decision = noun_of(place, (decided if release is None else release.decision) or "", Decision)
    kept = next((noun.id for noun in nouns if isinstance(noun, Quarantine)), None)
    by_hand = "promote" if kept is None else "rollback"
    did = "withdraw" if decision.stage == "retired" else by_hand
    if (did, decision.winner if did == "promote" else decision.use_case) != (verb, subject):
        raise ConflictError(
            f"--key {key} stands for a {did} already ({decision.id}); give this a key of its own"
        )
    case = use_case(decision.use_case)
    more: dict[str, Any] = {} if kept is None else {"quarantine": kept}
    if release is None:  # the gate asked for people; the last one's word may have released it since
        release = next((noun_of(place, name, Release) for name in _releases_of(place, decision)), None)
        more["waits_for"] = champions.waits_for(place, case, decision)
    return _steered(place, case, decision, release, again=True, **more)


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


def _release(
    place: Place, case: UseCase, taken: Steps, decision: Decision, key: str | None = None
) -> Release:
    bento = _packaged_by(place, decision) or taken.package(
        case, noun_of(place, decision.dataset, Dataset), decision
    )
    release: Release = taken.release(case, decision, bento, asked=_asked(key))
    return release


def _packaged_by(place: Place, decision: Decision) -> Bento | None:
    """Return the challenger's bento where the decision is about it: a stage more, and no package."""
    winner = noun_of(place, decision.winner or "", Candidate)
    return _packaged(place, measured(place, winner), winner)


def _released(place: Place, decision: Decision) -> bool:
    return bool(_releases_of(place, decision))


def _releases_of(place: Place, decision: Decision) -> list[str]:
    return [child for _, child in place.catalog.children(decision.id) if child.startswith("release-")]


def measured(place: Place, candidate: Candidate) -> Evaluation:
    """Return what was measured of a candidate last. InputError when nothing was."""
    found = [
        one for one in place.catalog.find(Evaluation, candidate.use_case) if one.candidate == candidate.id
    ]
    if not found:
        raise InputError(
            f"{candidate.id} was never evaluated, so nobody knows what it would do; evaluate it first"
        )
    return found[0]


def _figure(case: UseCase, evaluation: Evaluation) -> str:
    name = case.gate.primary
    return f"Measured of it: {name} {evaluation.metrics[name]:.4f} over {evaluation.units:,} units ({evaluation.id})."


def _reason(reason: str) -> str:
    text = reason.strip()
    if not text:
        raise InputError("--reason is empty; say why, for whoever asks later")
    return text


def noun_of(place: Place, noun_id: str, cls: type[NounType]) -> NounType:
    """Return a noun of the catalog that is of this kind. InputError when it is of another, UnknownError when there is none."""
    noun = place.catalog.get(noun_id)
    if not isinstance(noun, cls):
        raise InputError(f"{noun_id} is a {noun.kind}, not a {cls.kind}; list them with `counterfoil models`")
    return noun


def _steered(
    place: Place, case: UseCase, decision: Decision, release: Release | None, **more: Any
) -> dict[str, Any]:
    """Let the service that runs here follow, and say what came of it."""
    followed = None if release is None else machine.follow(place, case.name)
    active = (place.catalog.champion(case.name), place.catalog.challenger(case.name))
    overtaken = release is not None and release.id not in {one.id for one in active if one is not None}
    return {
        "decision": decision.id,
        "sentences": list(decision.sentences),
        "release": None if release is None else release.id,
        "bento": None if release is None else release.tag,
        "epoch": None if release is None else release.epoch,
        "stage": None if release is None else release.stage,
        "share": None if release is None else release.share,
        "service": followed,
        "answering": machine.answering(place),
        "overtaken": overtaken and release is not None and release.stage != "retired",
        **more,
    }


def show(told: dict[str, Any]) -> None:
    """Say what was decided and what serves now."""
    say = partial(terminal.OUT.print, highlight=False, markup=False, soft_wrap=True)
    if "approval" in told:
        say(f"{told['approval']} on {told['decision']}")
    if told.get("waits_for"):
        say(
            f"the gate waits for {told['waits_for']} more: `counterfoil approve {told['decision']}`, each by another"
        )
    for sentence in told["sentences"]:
        say(sentence)
    if told.get("quarantine"):
        say(
            f"{told['quarantine']} keeps what served before; `counterfoil quarantine lift {told['quarantine']}` ends that"
        )
    if told["release"] and told.get("overtaken"):
        say(f"{told['release']} was released, and does not answer any more: look at `counterfoil status`")
    elif told["release"]:
        say(
            f"{told['release']} {STAGES[told['stage']]}: {told['bento']}, epoch {told['epoch']}{_share(told)}"
        )
        say(_followed(told))


def _followed(told: dict[str, Any]) -> str:
    if told["service"]:
        return "what runs here has followed"
    if told["answering"]:
        return "what answers here goes on as it was: the supervisor does not run; `counterfoil up` starts it"
    return "nothing runs here; `counterfoil up` starts it"


def _share(told: dict[str, Any]) -> str:
    return f", {told['share']:.2%} of the people" if told["stage"] == "canary" else ""


def approve_here(decision_id: str, by: str | None, note: str) -> dict[str, Any]:
    """Approve in the installation that the settings name; a run of the loop that waited for this goes on."""
    place, name = open_place(), whoever(by)
    return approve_and_tell(place, decision_id, name, note)


def approve_and_tell(place: Place, decision_id: str, by: str, note: str) -> dict[str, Any]:
    """Approve, and let the run of the loop that waits for the decision end where nobody is waited for any more."""
    from flows import approval

    told = approve(place, decision_id, by, note)
    resumed = not told["waits_for"] and approval.resume(place, decision_id, by, note)
    return {**told, "resumed": resumed}


def promote_here(
    candidate_id: str,
    by: str | None,
    reason: str,
    stage: Stage | None,
    share: float | None,
    key: str | None,
) -> dict[str, Any]:
    """Promote in the installation that the settings name."""
    return promote(open_place(), candidate_id, whoever(by), reason, stage, share, key)


def rollback_here(name: str, by: str | None, reason: str, to: str | None, key: str | None) -> dict[str, Any]:
    """Roll back in the installation that the settings name."""
    return rollback(open_place(), name, whoever(by), reason, to, key)


def withdraw_here(name: str, by: str | None, reason: str, key: str | None) -> dict[str, Any]:
    """Take the challenger back in the installation that the settings name."""
    return withdraw(open_place(), name, whoever(by), reason, key)
