"""Where the parts meet: forgetting and the remote, the journal of events, steering; a rollback and its quarantine."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bentos.bundle import open_bundle
from counterfoil.catalog import Made
from counterfoil.errors import ConflictError, GateError, IntegrityError, UnavailableError, UnknownError
from counterfoil.landing.erase import rows_of
from counterfoil.pseudonym import pseudonym
from counterfoil.receipts import sealed
from counterfoil.settings import Settings
from counterfoil.types import Bento, Candidate, Dataset, Erasure, Gate, Noun, Receipt
from flows import blast, sealing, steer, why
from flows.away import push
from flows.people.forget import forget
from flows.place import Place, place_of
from flows.quarantine import impose, in_force
from flows.settled import settle
from flows.standards import openlineage, prov
from flows.standards.journal import Position
from flows.steps import recorder, steps
from flows.subject import Subject, landed
from flows.verbs import bento_folder
from flows.verify import verify
from tests.loop_shop import END, ran, small_case, turn

CASE = small_case()
NAME = "person 3"
OLD = datetime.now(UTC) - timedelta(days=40)


@pytest.fixture
def place(turned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A copy of an installation whose loop was turned once, with a remote that is named by its address."""
    monkeypatch.setattr(steer, "use_case", lambda name: {"small": CASE}[name])
    home = shutil.copytree(turned, tmp_path / "home")
    made = place_of(Settings(home=home, remote=str(tmp_path / "far"), receipt_days=30))
    yield made
    made.catalog.engine.dispose()


def answered(place: Place, moment: datetime, person: str) -> Receipt:
    release = place.catalog.champion("small")
    assert release is not None
    receipts = place.receipts
    stub = Receipt(
        id=receipts.new_id(moment), time=moment, use_case="small", release=release.id, bento=release.tag,
        epoch=release.epoch, person=person, request={}, items=(), rules=(), features={}, feature_time=None, degraded=(),
    )  # fmt: skip
    receipts.write(stub)
    receipts.close()
    return stub


def loser(place: Place) -> Candidate:
    return next(one for one in place.catalog.find(Candidate, "small") if one.family == "popularity")


def alias(place: Place) -> str:
    return pseudonym(NAME, place.settings.pseudonym_key)


def test_versions_in_a_remote_named_by_its_address_are_forgotten_too(place: Place, tmp_path: Path) -> None:
    push(place)
    [dataset] = place.catalog.find(Dataset, "small")
    people = place.store.files(dataset.address)["people.parquet"]
    far = tmp_path / "far" / "files" / "md5" / people.parent.name / people.name
    assert far.is_file()
    forget(place, NAME, "tester", tmp_path / "certificate.json")
    assert not far.is_file()
    with pytest.raises(UnknownError, match="was erased"):
        place.opened(dataset.address, dataset.sha256)
    assert verify(place)["faults"] == []


def test_half_fetched_receipts_are_forgotten_too(place: Place, tmp_path: Path) -> None:
    stub = answered(place, OLD, alias(place))
    sealing.seal(place, quiet_seconds=0)
    [path] = place.receipts.sealed_segments()
    half = path.with_name(f"{path.name}.fetching")
    left = place.folder("remote", path.name)
    shutil.copy(path, half)
    shutil.copy(path, left)
    forget(place, NAME, "tester", tmp_path / "certificate.json")
    assert not half.exists() and not left.exists(), stub.id


def test_receipts_that_left_are_asked_of_all_the_same(place: Place) -> None:
    stub = answered(place, OLD, alias(place))
    sealing.seal(place, quiet_seconds=0)
    assert push(place)["let_go"] == 1
    known = landed(place)
    reached = blast.reached(place, Subject(kind="noun", values=(stub.release,)), known)
    assert reached.answers.answers == 1
    assert push(place)["let_go"] == 1
    assert prov.document(place, stub.id)
    assert push(place)["let_go"] == 1
    assert why._sound(place, stub.id) == stub


def test_a_damaged_segment_replaces_no_sound_one_in_the_remote(place: Place, tmp_path: Path) -> None:
    answered(place, OLD, alias(place))
    sealing.seal(place, quiet_seconds=0)
    push(place_of(Settings(home=place.settings.home, remote=place.settings.remote)))  # lets nothing go
    [path] = place.receipts.sealed_segments()
    [far] = (tmp_path / "far").rglob(path.name)
    sound = far.read_bytes()
    path.write_bytes(sound[: len(sound) // 2])
    with pytest.raises(IntegrityError, match="altered"):
        push(place)
    assert far.read_bytes() == sound


def test_the_journal_of_events_is_read_on_where_it_was_after_somebody_was_forgotten(
    place: Place, tmp_path: Path
) -> None:
    journal = openlineage.line_of(place.settings).journal
    journal.append([{"eventType": "COMPLETE", "run": {"runId": "1"}, "said": alias(place)}])
    end = journal.end()
    journal.move("carried-test", end)
    forget(place, NAME, "tester", tmp_path / "certificate.json")
    journal.append([{"eventType": "COMPLETE", "run": {"runId": "2"}}])
    text = journal.files()[-1].read_bytes()
    assert alias(place).encode() not in text
    new = [event["run"]["runId"] for _, _, event in journal.read(journal.position("carried-test"))]
    every = [event["run"]["runId"] for _, _, event in journal.read(Position())]
    assert new == every[every.index("1") + 1 :] and new[-1] == "2"


def test_what_learned_from_somebody_forgotten_is_replaced_by_hand_and_never_serves_again(
    place: Place, tmp_path: Path
) -> None:
    first = place.catalog.champion("small")
    assert first is not None
    forget(place, NAME, "tester", tmp_path / "certificate.json")
    known = len(list(place.catalog.rows()))
    with pytest.raises(GateError, match="forgotten"):
        steer.promote(place, loser(place).id, "Ada", "it is better")
    assert len(list(place.catalog.rows())) == known
    assert place.catalog.champion("small") == first


def test_two_rollbacks_go_two_releases_back(place: Place) -> None:
    first = place.catalog.champion("small")
    assert first is not None
    steer.promote(place, loser(place).id, "Ada", "one")
    back = steer.rollback(place, "small", "Ada", "one was bad")
    known = len(list(place.catalog.rows()))
    with pytest.raises(UnknownError, match="nothing to go back to"):
        steer.rollback(place, "small", "Ada", "worse")
    with pytest.raises(GateError, match="one was bad"):
        steer.rollback(place, "small", "Ada", "worse", to=place.catalog.releases("small")[1]["id"])
    assert len(list(place.catalog.rows())) == known, back


def test_a_model_that_was_packaged_anew_is_rolled_back_to_its_bento_of_before(place: Place) -> None:
    first = place.catalog.champion("small")
    assert first is not None
    bento = place.catalog.get(first.bento)
    assert isinstance(bento, Bento)
    _repackaged(place, bento, first.decision)
    now = place.catalog.champion("small")
    assert now is not None and now.bento != first.bento
    steer.rollback(place, "small", "Ada", "the new code is bad")
    again = place.catalog.champion("small")
    assert again is not None and again.bento == first.bento
    assert verify(place)["faults"] == []


def _repackaged(place: Place, bento: Bento, decision: str) -> None:
    """Release the same model in another bento, as a turn after an update of the code does."""
    tag = bento.tag.partition(":")[0] + ":anew"
    shutil.copytree(bento_folder(place, bento.tag), bento_folder(place, tag))
    sha256 = open_bundle(bento_folder(place, tag)).sha256
    made = replace(bento, tag=tag, sha256=sha256, code_version="source:other")

    def package(dataset: Noun, candidate: Noun, decision: Noun, code: str) -> Made:
        return Made(nouns=(made,))

    get = place.catalog.get
    anew = recorder(place).wrap(package)(get(bento.dataset), get(bento.candidate), get(decision), "other")
    steps(place, recorder(place)).release(CASE, place.catalog.get(decision), anew)


def test_who_serves_and_learned_from_somebody_forgotten_is_replaced_by_hand(place: Place) -> None:
    first = place.catalog.champion("small")
    assert first is not None
    winner = place.catalog.get(first.decision).winner  # type: ignore[attr-defined]
    _forgotten(place, winner)
    told = steer.promote(place, loser(place).id, "Ada", "it never saw them")
    now = place.catalog.champion("small")
    assert now is not None and now.id == told["release"]
    with pytest.raises(UnknownError, match="nothing to go back to"):
        steer.rollback(place, "small", "Ada", "back to who learned from them")
    with pytest.raises(GateError, match="forgotten"):
        steer.rollback(place, "small", "Ada", "back to who learned from them", to=first.id)
    assert place.catalog.champion("small") == now


def _forgotten(place: Place, candidate: str) -> None:
    """Record that somebody was forgotten from whom one candidate alone learned."""
    noun = Erasure(
        person="c" * 64, at=OLD, by="tester", removed={}, stored=(), learned=(candidate,), remains=(), sha256="d" * 64,
        segments={}, bentos=(),
    )  # fmt: skip

    def erase(person: str) -> Made:
        return Made(nouns=(noun,))

    recorder(place).wrap(erase)(noun.person)


def test_who_gave_the_last_word_may_ask_again_when_the_release_failed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = small_case(gate=Gate(primary="ndcg@10", margin=0.002, min_units=50, noise_seeds=(1,), approvals=1))
    monkeypatch.setattr(steer, "use_case", lambda name: {"small": one}[name])
    advanced, _ = turn(place, one, END)
    released = steer._release

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(steer, "_release", killed)
    with pytest.raises(KeyboardInterrupt):
        steer.approve(place, advanced.decision.id, "Ada")
    monkeypatch.setattr(steer, "_release", released)
    assert steer.approve(place, advanced.decision.id, "Ada")["release"]
    with pytest.raises(ConflictError, match="Ada has approved"):
        steer.approve(place, advanced.decision.id, "Ada")


def test_a_dataset_is_held_against_who_served_before_it_whatever_was_steered_since(place: Place) -> None:
    turn(place, CASE, END)
    steer.promote(place, loser(place).id, "Ada", "one")
    _, outcomes = turn(place, CASE, END)
    assert "inspect" not in ran(outcomes)


def test_a_remote_that_is_down_is_named_and_the_rest_is_verified(place: Place, tmp_path: Path) -> None:
    answered(place, OLD, alias(place))
    sealing.seal(place, quiet_seconds=0)
    assert push(place)["let_go"] == 1
    heads = tmp_path / "far" / "counterfoil" / "heads"
    (heads / "000000000001-00000000.json").symlink_to("nowhere")  # it is listed, and cannot be read
    found = verify(place)
    assert len(found["faults"]) == 1 and "the checkpoints in the remote" in found["faults"][0]
    assert found["checked"]["nouns"] and found["checked"]["entries"]


def test_nobody_is_certified_as_forgotten_while_the_remote_is_not_there(place: Place, tmp_path: Path) -> None:
    answered(place, OLD, alias(place))
    sealing.seal(place, quiet_seconds=0)
    assert push(place)["let_go"] == 1
    (tmp_path / "far").rename(tmp_path / "unmounted")
    with pytest.raises(UnavailableError, match="neither here nor in the remote"):
        forget(place, NAME, "tester", tmp_path / "certificate.json")
    assert not (tmp_path / "certificate.json").exists() and not place.catalog.find(Erasure)
    shutil.rmtree(tmp_path / "far", ignore_errors=True)
    (tmp_path / "unmounted").rename(tmp_path / "far")
    told = forget(place, NAME, "tester", tmp_path / "certificate.json")
    assert told["removed"]["receipts"] == 1
    [far] = (tmp_path / "far").rglob("*.parquet")
    assert alias(place).encode() not in far.read_bytes() and sealed.left(far) == 0


def test_one_person_cannot_promote_what_two_must_approve(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = small_case(gate=Gate(primary="ndcg@10", margin=0.002, min_units=50, noise_seeds=(1,), approvals=2))
    monkeypatch.setattr(steer, "use_case", lambda name: {"small": two}[name])
    first = place.catalog.champion("small")
    told = steer.promote(place, loser(place).id, "Ada", "I say so")
    assert told["release"] is None and told["waits_for"] == 1 and place.catalog.champion("small") == first
    with pytest.raises(ConflictError, match="Ada has approved"):
        steer.approve(place, told["decision"], "Ada")
    assert steer.approve(place, told["decision"], "Grace")["release"]


def test_a_remote_that_is_down_stands_in_no_ones_way_back(place: Place) -> None:
    first = place.catalog.champion("small")
    assert first is not None
    steer.promote(place, loser(place).id, "Ada", "one")
    place.catalog.checkpoint()
    down = place_of(Settings(home=place.settings.home, remote="http://127.0.0.1:1/nobody"))
    settle(down.settings, place.catalog, place.store)  # another remote is another setting, told before
    with pytest.raises(UnavailableError, match="ledger checkpoint"):
        steer.rollback(down, "small", "Ada", "one was bad")
    now = place.catalog.champion("small")
    assert now is not None and now.bento == first.bento
    assert [one.reason for one in in_force(place)] == ["rolled back by Ada: one was bad"]
    place.catalog.checkpoint()
    assert verify(place)["faults"] == [] and not any("not signed" in note for note in verify(place)["notes"])


def test_events_that_a_quarantine_names_are_told_as_what_remains(place: Place, tmp_path: Path) -> None:
    found = rows_of(place.settings, alias(place), ())
    [event, *_] = [row["id"] for kind, row in found if kind == "events"]
    impose(place, f"event:{event}", [], {}, "a test sale", "Ada")
    told = forget(place, NAME, "tester", tmp_path / "certificate.json")
    assert any("1 ids of their events" in said and "quarantines" in said for said in told["remains"])
