"""A rollout on a real installation: from the gate's decision through shadow and canary to everybody, or back, each on record."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

from counterfoil.errors import ConflictError, GateError, InputError, UnknownError
from counterfoil.types import Candidate, Decision, Gate, Quarantine, Release, Rollout, UseCase
from flows import rollout, steer
from flows.place import Place
from flows.quarantine import end, in_force
from flows.supervisor.wanted import Wanted, wanted
from flows.verify import verify
from models.families.popularity import PopularityConfig
from tests.loop_shop import END, land_shop, place_of, ran, small_case, turn, write_shop
from tests.loop_shop import challenger_of as challenger
from tests.loop_shop import champion_of as champion

STEPS = Rollout(shares=(0.01, 0.5))
CASE = small_case(rollout=STEPS)
SAID = ("In 600 s 5,000 answers. Nothing is surely worse.",)


@pytest.fixture
def place(turned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A copy of an installation whose loop was turned once, before there was a rollout."""
    use(monkeypatch, CASE)
    copied = place_of(shutil.copytree(turned, tmp_path / "home"))
    yield copied
    copied.catalog.engine.dispose()


def use(monkeypatch: pytest.MonkeyPatch, case: UseCase) -> None:
    monkeypatch.setattr(steer, "use_case", lambda name: {"small": case}[name])


def loser(place: Place) -> Candidate:
    return next(one for one in place.catalog.find(Candidate, "small") if one.family == "popularity")


def decision(place: Place, release: Release) -> Decision:
    found = place.catalog.get(release.decision)
    assert isinstance(found, Decision)
    return found


def test_a_promoted_candidate_goes_stage_by_stage_to_everybody(place: Place) -> None:
    first = champion(place)
    told = steer.promote(place, loser(place).id, "Ada", "something else")
    assert (told["stage"], told["share"]) == ("shadow", 0.0) and champion(place) == first
    seen = []
    while (now := place.catalog.challenger("small")) is not None:
        seen.append((now.stage, now.share))
        made = rollout.advance(place, CASE, now, SAID)
        assert made is not None and made.bento == now.bento and made.epoch == now.epoch + 1
        said = decision(place, made)
        assert said.approved_by == "monitor" and said.sentences[1:] == SAID and said.winner == loser(place).id
    assert seen == [("shadow", 0.0), ("canary", 0.01), ("canary", 0.5)]
    assert champion(place).bento == made.bento != first.bento
    assert verify(place, lambda what, count: None)["faults"] == []
    back = rollout.roll_back(place, CASE, champion(place), first, ("150 of 3,000 answers failed.",))
    assert champion(place) == back and (back.bento, back.stage) == (first.bento, "champion")
    [kept] = place.catalog.find(Quarantine)
    assert kept.by == "monitor" and made.bento in kept.nouns and "150 of 3,000" in kept.reason
    with pytest.raises(GateError, match="150 of 3,000"):
        steer.promote(place, loser(place).id, "Ada", "again")
    assert verify(place, lambda what, count: None)["faults"] == []


def test_a_challenger_is_taken_back_by_the_monitor_and_by_people(place: Place) -> None:
    first = champion(place)
    steer.promote(place, loser(place).id, "Ada", "to see", "canary", 0.2)
    late = challenger(place)
    assert (late.stage, late.share) == ("canary", 0.2)
    made = rollout.take_back(place, CASE, late, ("2 of 3 answers were empty.",))
    assert made.stage == "retired" and place.catalog.challenger("small") is None and champion(place) == first
    said = decision(place, made)
    assert (said.verb, said.winner, said.approved_by) == ("reject", None, "monitor")
    with pytest.raises(ConflictError, match="does not answer any more"):
        rollout.advance(place, CASE, late, SAID)
    with pytest.raises(ConflictError, match="does not answer any more"):
        rollout.take_back(place, CASE, late, SAID)
    with pytest.raises(GateError, match="2 of 3"):
        steer.promote(place, loser(place).id, "Ada", "again", "shadow")
    with pytest.raises(UnknownError, match="no challenger"):
        steer.withdraw(place, "small", "Ada", "there is none")
    assert verify(place, lambda what, count: None)["faults"] == []


def test_people_choose_stages_and_take_a_challenger_back(place: Place) -> None:
    steer.promote(place, loser(place).id, "Ada", "to see", "shadow")
    with pytest.raises(InputError, match="is the shadow already"):
        steer.promote(place, loser(place).id, "Ada", "to see", "shadow")
    steer.promote(place, loser(place).id, "Ada", "more", "canary")
    assert challenger(place).share == 0.05
    steer.promote(place, loser(place).id, "Ada", "more", "canary", 0.3)
    assert challenger(place).share == 0.3
    before = place.catalog.epoch("small")
    for stage, share, said in (
        ("shadow", 0.1, "share"),
        ("canary", 1.0, "share"),
        ("retired", None, "withdraw"),
    ):
        with pytest.raises(InputError, match=said):
            steer.promote(place, loser(place).id, "Ada", "wrong", stage, share)
    assert place.catalog.epoch("small") == before
    told = steer.withdraw(place, "small", "Grace", "enough")
    assert told["stage"] == "retired" and place.catalog.challenger("small") is None
    assert {row["stage"] for row in place.catalog.releases("small")} == {
        "champion",
        "shadow",
        "canary",
        "retired",
    }
    with pytest.raises(UnknownError, match="nothing to go back to"):
        steer.rollback(place, "small", "Ada", "what was only a canary is nothing to go back to")
    assert verify(place, lambda what, count: None)["faults"] == []


def test_a_key_said_twice_does_it_once(place: Place) -> None:
    first = steer.promote(place, loser(place).id, "Ada", "once", "shadow", key="monday")
    again = steer.promote(place, loser(place).id, "Ada", "once", "shadow", key="monday")
    assert again["again"] and again["release"] == first["release"] and place.catalog.epoch("small") == 2
    gone = steer.withdraw(place, "small", "Ada", "once", key="tuesday")
    again = steer.withdraw(place, "small", "Ada", "once", key="tuesday")
    assert (again["release"], again["quarantine"]) == (gone["release"], gone["quarantine"])
    assert place.catalog.epoch("small") == 3


def test_a_key_stands_for_one_verb_and_one_subject(place: Place) -> None:
    steer.promote(place, loser(place).id, "Ada", "once", "shadow", key="monday")
    with pytest.raises(ConflictError, match="stands for a promote already"):
        steer.withdraw(place, "small", "Ada", "once", key="monday")
    with pytest.raises(ConflictError, match="stands for a promote"):
        steer.promote(place, "candidate-0000000000000000", "Ada", "another", key="monday")
    steer.withdraw(place, "small", "Ada", "once")
    late = steer.promote(place, loser(place).id, "Ada", "once", "shadow", key="monday")
    assert late["again"] and late["overtaken"], "it was taken back meanwhile, which is said"


def test_a_key_holds_where_the_gate_asks_for_people(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(primary="ndcg@10", margin=0.002, min_units=50, noise_seeds=(1,), approvals=2)
    use(monkeypatch, small_case(rollout=STEPS, gate=gate))
    first = steer.promote(place, loser(place).id, "Ada", "once", "shadow", key="monday")
    again = steer.promote(place, loser(place).id, "Ada", "once", "shadow", key="monday")
    assert again["again"] and again["decision"] == first["decision"] and again["waits_for"] == 1
    done = steer.approve(place, first["decision"], "Grace")
    again = steer.promote(place, loser(place).id, "Ada", "once", "shadow", key="monday")
    assert again["release"] == done["release"] and again["waits_for"] == 0
    assert place.catalog.epoch("small") == 2


def test_two_people_have_to_agree_whichever_way_leads_to_everybody(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(primary="ndcg@10", margin=0.002, min_units=50, noise_seeds=(1,), approvals=2)
    case = small_case(rollout=STEPS, gate=gate)
    use(monkeypatch, case)
    for stage in ("shadow", "champion"):
        told = steer.promote(place, loser(place).id, "Ada", f"as {stage}", stage)
        assert told["waits_for"] == 1 and told["release"] is None
        done = steer.approve(place, told["decision"], "Grace")
        assert done["stage"] == stage and done["waits_for"] == 0
    assert champion(place).id == done["release"]
    steer.rollback(place, "small", "Ada", "at once, and alone")
    assert champion(place).epoch == 4


def test_the_champion_before_is_kept_ready_for_a_while_unless_it_challenges_again(place: Place) -> None:
    first = champion(place)
    steer.promote(place, loser(place).id, "Ada", "at once", "champion")
    fresh = champion(place)
    table = wanted(place, "small", STEPS)
    assert table is not None and (table.champion, table.spare, table.challenger) == (fresh, first, None)
    old = wanted(place, "small", STEPS, fresh.valid_from + timedelta(seconds=STEPS.watch_seconds + 1))
    assert old is not None and old.spare is None
    without = wanted(place, "small", None)
    assert without is not None and without.spare == first, (
        "a rollback by hand is not to wait for a start either"
    )
    winner = decision(place, first).winner
    steer.promote(place, winner or "", "Ada", "again", "shadow")
    again = wanted(place, "small", STEPS)
    assert again is not None and again.challenger is not None and again.challenger.tag == first.tag
    assert again.spare is None, "one process stands for one release"
    assert wanted(place, "another", STEPS) is None


def test_what_is_wanted_is_one_short_question_while_nothing_changed(place: Place) -> None:
    asked: list[str] = []
    event.listen(place.catalog.reader, "before_cursor_execute", lambda *said: asked.append(said[2]))

    def look(known: Wanted | None, seconds: float = 0.0) -> Wanted | None:
        moment = champion(place).valid_from + timedelta(seconds=seconds)
        asked.clear()
        return wanted(place, "small", STEPS, moment, known)

    later = STEPS.watch_seconds + 1
    first = look(None, later)
    assert first is not None and len(asked) > 2
    assert look(first, later) is first
    assert asked[:1] == ["BEGIN"] and len(asked) == 2 and "max(" in asked[1]
    steer.promote(place, loser(place).id, "Ada", "beside", "shadow")
    second = look(first, later)
    assert second is not None and second.challenger is not None and second.epoch == first.epoch + 1
    steer.withdraw(place, "small", "Ada", "not now")
    third = look(second, later)
    assert third is not None and third.challenger is None and third.epoch == second.epoch + 1
    [kept] = in_force(place)
    end(place, kept.id, "mended", "Ada")
    steer.promote(place, loser(place).id, "Ada", "at once", "champion")
    fourth = look(third)
    assert fourth is not None and fourth.spare is not None and fourth.champion != third.champion
    aged = look(fourth, later)
    assert aged is not None and aged.spare is None, "a spare goes by time, without an epoch"
    assert look(aged, later) is aged


def test_the_monitor_lets_nobody_through_whom_no_second_person_approved(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate asks for two people since after the challenger began."""
    steer.promote(place, loser(place).id, "Ada", "to see", "shadow")
    gate = Gate(primary="ndcg@10", margin=0.002, min_units=50, noise_seeds=(1,), approvals=2)
    case = small_case(rollout=STEPS, gate=gate)
    use(monkeypatch, case)
    now = challenger(place)
    assert rollout.advance(place, case, now, SAID) is None and challenger(place) == now
    steer.approve(place, now.decision, "Ada")
    assert rollout.advance(place, case, now, SAID) is None
    steer.approve(place, now.decision, "Grace")
    assert rollout.advance(place, case, now, SAID) is not None


def test_a_turn_begins_in_shadow_and_the_same_again_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of all serves at once; what beats it begins in shadow. The same turn is remembered at every stage of it."""
    use(monkeypatch, CASE)
    place = place_of(tmp_path / "home")
    land_shop(place.settings, write_shop(tmp_path / "shop"))
    held, _ = turn(place, small_case(rollout=STEPS, contenders=(PopularityConfig(),)), END)
    assert held.release is None
    steer.promote(place, loser(place).id, "Ada", "better than nobody")
    first = champion(place)
    second, _ = turn(place, CASE, END)
    assert second.release is not None and second.release.stage == "shadow" and champion(place) == first
    while (now := place.catalog.challenger("small")) is not None:
        again, outcomes = turn(place, CASE, END)
        assert again.release == second.release and ran(outcomes) == []
        rollout.advance(place, CASE, now, SAID)
    again, outcomes = turn(place, CASE, END)
    assert ran(outcomes) == [] and again.decision == second.decision
    assert champion(place).bento == second.release.bento
    rollout.roll_back(place, CASE, champion(place), first, ("It failed.",))
    with pytest.raises(GateError, match="It failed"):
        steer.promote(place, second.decision.winner or "", "Ada", "again")
    assert verify(place, lambda what, count: None)["faults"] == []
    place.catalog.engine.dispose()
