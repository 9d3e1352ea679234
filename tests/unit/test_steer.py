"""People's hands on the loop: approvals that a gate waits for, a candidate promoted against it, a rollback; all on record."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from counterfoil.errors import ConflictError, GateError, InputError, UnknownError
from counterfoil.types import Approval, Bento, Candidate, Decision, Gate
from flows import approval, steer, verbs
from flows.champion import approvers, signed, waits_for
from flows.place import Place
from flows.quarantine import end
from flows.verify import verify
from tests.loop_shop import END, challenger_of, champion_of, place_of, ran, small_case, turn

CASE = small_case()
TWO = small_case(gate=Gate(primary="ndcg@10", margin=0.002, min_units=50, noise_seeds=(1,), approvals=2))


@pytest.fixture
def place(turned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A copy of an installation whose loop was turned once; its use case is the small shop's."""
    monkeypatch.setattr(steer, "use_case", lambda name: {"small": CASE}[name])
    copied = place_of(shutil.copytree(turned, tmp_path / "home"))
    yield copied
    copied.catalog.engine.dispose()


def loser(place: Place) -> Candidate:
    return next(one for one in place.catalog.find(Candidate, "small") if one.family == "popularity")


def test_a_candidate_is_promoted_against_the_gate_and_taken_back(place: Place) -> None:
    first = place.catalog.champion("small")
    assert first is not None
    told = steer.promote(place, loser(place).id, "Ada", "the shelf is empty")
    now = place.catalog.champion("small")
    assert now is not None and now.id == told["release"] and now.epoch == first.epoch + 1
    decision = place.catalog.get(now.decision)
    assert isinstance(decision, Decision)
    assert decision.winner == loser(place).id and decision.approved_by == "Ada"
    assert "the shelf is empty" in decision.sentences[0] and "ndcg@10" in decision.sentences[1]
    back = steer.rollback(place, "small", "Grace", "it was a bad idea")
    again = place.catalog.champion("small")
    assert again is not None and again.id == back["release"]
    assert (again.bento, again.epoch) == (first.bento, first.epoch + 2)
    found = verify(place, lambda what, count: None)
    assert found["faults"] == []
    decided = place.catalog.find(Decision)
    with pytest.raises(GateError, match="it was a bad idea"):
        steer.promote(place, loser(place).id, "Ada", "again")
    assert place.catalog.find(Decision) == decided
    assert place.catalog.champion("small") == again
    end(place, back["quarantine"], "it was not that bad", "Grace")
    shutil.rmtree(place.settings.bentos / "bentos" / now.tag.replace(":", "/"))
    with pytest.raises(InputError, match="packages it anew"):
        steer.rollback(place, "small", "Grace", "forth", to=now.id)
    assert place.catalog.champion("small") == again


def test_what_cannot_be_steered_is_refused_and_changes_nothing(place: Place) -> None:
    before = place.catalog.rows()
    known = {row["id"] for row in before}
    serving = place.catalog.champion("small")
    assert serving is not None
    winner = place.catalog.get(serving.decision).winner  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="serves already"):
        steer.promote(place, winner, "Ada", "again")
    with pytest.raises(InputError, match="--reason is empty"):
        steer.promote(place, loser(place).id, "Ada", "  ")
    with pytest.raises(InputError, match="not a candidate"):
        steer.promote(place, serving.id, "Ada", "why not")
    with pytest.raises(
        UnknownError, match="has no release before it with another bento; there is nothing to go back to"
    ):
        steer.rollback(place, "small", "Ada", "back")
    with pytest.raises(InputError, match="--reason is empty"):
        steer.rollback(place, "small", "Ada", " ")
    with pytest.raises(InputError, match="names nobody"):
        steer.whoever(" ")
    assert {row["id"] for row in place.catalog.rows()} == known


def test_a_rollback_goes_back_to_an_earlier_champion_of_the_same_use_case_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = small_case(name="other")
    monkeypatch.setattr(steer, "use_case", lambda name: {"small": CASE, "other": other}[name])
    first = champion_of(place)
    foreign = turn(place, other, END)[0].release
    steer.promote(place, loser(place).id, "Ada", "to see", "shadow")
    shadow = challenger_of(place)
    assert foreign is not None and foreign.stage == "champion"
    known = {row["id"] for row in place.catalog.rows()}
    refused = {
        foreign.id: "is a release of other, not of small",
        shadow.id: "was shadow, and never served everybody",
        first.id: "no earlier than",
        first.decision: "is a decision, not a release",
    }
    for to, said in refused.items():
        with pytest.raises(InputError, match=said):
            steer.rollback(place, "small", "Ada", "back", to=to)
    assert {row["id"] for row in place.catalog.rows()} == known and champion_of(place) == first
    steer.promote(place, loser(place).id, "Ada", "it is good", "champion")
    second = champion_of(place)
    told = steer.rollback(place, "small", "Ada", "back", to=first.id)
    assert champion_of(place).bento == first.bento and told["epoch"] == second.epoch + 1
    with pytest.raises(GateError, match="back"):
        steer.rollback(place, "small", "Ada", "forth", to=second.id)
    assert verify(place, lambda what, count: None)["faults"] == []


def test_no_switch_lets_a_bento_of_another_use_case_answer(place: Place) -> None:
    first = champion_of(place)
    bento, decision = place.catalog.get(first.bento), place.catalog.get(first.decision)
    assert isinstance(bento, Bento) and isinstance(decision, Decision)
    with pytest.raises(InputError, match="answers for other, not for small"):
        steer.switch(place, CASE, decision, (), replace(bento, use_case="other"))
    with pytest.raises(InputError, match="answers for other, not for small"):
        verbs.release(place, CASE, decision, replace(bento, use_case="other"))
    assert champion_of(place) == first


def test_a_gate_that_asks_for_two_people_waits_for_both(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steer, "use_case", lambda name: {"small": TWO}[name])
    before = place.catalog.champion("small")
    advanced, outcomes = turn(place, TWO, END)
    assert advanced.decision.verb == "promote" and advanced.release is None
    assert "release" not in ran(outcomes)
    assert place.catalog.champion("small") == before
    first = steer.approve(place, advanced.decision.id, "Ada", "looks right")
    assert first["waits_for"] == 1 and first["release"] is None
    with pytest.raises(ConflictError, match="Ada has approved"):
        steer.approve(place, advanced.decision.id, "Ada")
    second = steer.approve(place, advanced.decision.id, "Grace")
    assert second["waits_for"] == 0
    now = place.catalog.champion("small")
    assert now is not None and now.id == second["release"] and now.decision == advanced.decision.id
    assert approvers(place, advanced.decision) == {"Ada", "Grace"}
    assert len(place.catalog.find(Approval, "small")) == 2
    again, outcomes = turn(place, TWO, END)
    assert again.release == now and ran(outcomes) == []
    assert verify(place, lambda what, count: None)["faults"] == []


def test_who_promotes_where_two_are_asked_is_told_whose_word_is_wanted_and_signs_once(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(steer, "use_case", lambda name: {"small": TWO}[name])
    told = steer.promote(place, loser(place).id, "Ada", "to see")
    steer.show(told)
    assert f"waits for 1 more: `counterfoil approve {told['decision']}`" in capsys.readouterr().out
    steer.approve(place, told["decision"], "Grace")
    decision = place.catalog.get(told["decision"])
    assert isinstance(decision, Decision) and signed(place, decision) == ["Ada", "Grace"]


class Suspended(BaseException):
    """The run waits for a word."""


def test_a_run_that_hears_a_bad_name_asks_again_and_goes_on_waiting(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As Prefect has it: the run begins anew with each word, and hears under each key what was said under it."""
    monkeypatch.setattr(steer, "use_case", lambda name: {"small": TWO}[name])
    decision = turn(place, TWO, END)[0].decision
    said: dict[str, tuple[str, str]] = {}
    waits: list[str] = []

    def ask(key: str) -> tuple[str, str]:
        if key not in said:
            waits.append(key)
            raise Suspended
        return said[key]

    for name in ("  ", "gate", "Monitor", "a" * 81, "Ada", "ADA ", "Grace"):
        with pytest.raises(Suspended):
            approval.hear(place, TWO, decision, ask)
        said[waits[-1]] = (name, "by Prefect")
    approval.hear(place, TWO, decision, ask)
    assert len(set(waits)) == 7 and "passed over" in caplog.text
    assert approvers(place, decision) == {"Ada", "Grace"}
    assert champion_of(place).decision == decision.id


def test_one_person_is_one_approver_however_the_name_is_spelled(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steer, "use_case", lambda name: {"small": TWO}[name])
    decision = turn(place, TWO, END)[0].decision
    steer.approve(place, decision.id, "Zoé Weiß")
    for again in ("zoé weiß ", "ZOÉ  WEISS", "Zoe\u0301 Weiß", "\uff3a\uff4f\uff45\u0301 Weiß"):
        with pytest.raises(ConflictError, match="Zoé Weiß has approved"):
            steer.approve(place, decision.id, again)
    word = Approval(use_case="small", decision=decision.id, by="zoé weiß", at=datetime.now(UTC), note="")
    place.catalog.record("approve", "an earlier version", [word], [("decision", decision.id)], [], 0.0)
    assert waits_for(place, TWO, decision) == 1, "also of words on record from before"
    assert approvers(place, decision) == {"Zoé Weiß"}
    assert steer.approve(place, decision.id, "Zoe Weiß")["waits_for"] == 0, (
        "without the accent it is another name"
    )


def test_a_decision_that_promotes_nobody_cannot_be_approved(place: Place) -> None:
    strict = small_case(gate=Gate(primary="ndcg@10", margin=0.9, min_units=50, noise_seeds=(1,)))
    held, _ = turn(place, strict, END)
    assert held.decision.verb != "promote"
    with pytest.raises(InputError, match="nothing to approve"):
        steer.approve(place, held.decision.id, "Ada")
