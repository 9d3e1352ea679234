"""Quarantine: what is reached is not released, nor what is made of it later; what is free goes on; lifting ends it."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from counterfoil import cli
from counterfoil.errors import GateError
from counterfoil.types import Quarantine
from flows import quarantine
from flows.blast import radius
from flows.place import Place
from flows.radius import told
from flows.verify import verify
from tests.loop_shop import place_of
from tests.planted import END, NEXT, History, case_of, day_of, event, live_until

Command = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """A home whose second release learned from late lines, its first did not."""
    made = live_until("late", tmp_path_factory.mktemp("twice"))
    yield made
    made.place.catalog.engine.dispose()


@pytest.fixture
def lived(twice: History, home: Path) -> Iterator[History]:
    """A copy of that home, which the settings name."""
    shutil.copytree(twice.place.settings.home, home, dirs_exist_ok=True)
    made = twice.copy(place_of(home))
    yield made
    made.place.catalog.engine.dispose()


@pytest.fixture
def counterfoil(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command in this process; return the object that it printed, with its exit code as `code`."""

    def run(*arguments: str) -> dict[str, Any]:
        monkeypatch.setattr("sys.argv", ["counterfoil", *arguments, "--json"])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return {**json.loads(capsys.readouterr().out), "code": code}

    return run


def impose(place: Place, *words: str) -> Quarantine:
    found = radius(place, words)
    return quarantine.impose(
        place, found.subject.text, found.reach.made, found.sources, "bad lines", "tester"
    )


def test_a_batch_is_put_into_quarantine_with_all_that_it_reached(
    lived: History, counterfoil: Command
) -> None:
    first, second = (turn.made for turn in lived.turns)
    batch = lived.batches["late"]
    said = counterfoil("blast-radius", batch, "--quarantine", "--reason", "wrong prices", "--by", "ann")
    assert said["code"] == 0 and [one["serves"] for one in said["releases"]] == [True]
    [todo] = said["todo"]
    assert todo == {
        "use_case": "small",
        "serves": second.release.id,
        "back_to": first.release.id,
        "command": "counterfoil rollback small",
    }
    [listed] = counterfoil("quarantine", "list")["quarantines"]
    assert (listed["reason"], listed["by"], listed["in_force"]) == ("wrong prices", "ann", True)
    held = lived.place.catalog.get(said["quarantine"]["id"])
    assert isinstance(held, Quarantine) and held.subject == f"batch:{batch}"
    assert {second.dataset.id, second.release.id, second.release.bento} <= set(held.nouns)
    assert {first.dataset.id, first.release.id}.isdisjoint(held.nouns)
    late = {one.id for one in second.verdicts if one.subject in (f"day:{day_of(5)}", f"day:{day_of(7)}")}
    assert {name for name in held.nouns if name.startswith("verdict-")} == late
    found = verify(lived.place)
    assert found["faults"] == []


def test_what_is_made_later_of_the_same_lines_is_refused_and_the_champion_serves_on(lived: History) -> None:
    impose(lived.place, lived.batches["late"])
    # Another good line makes another file of the day, of which no verdict was known: the bad lines are in it all the same.
    lived.land("more", lived.write("more", [event("more-1", 5, "person 9", "i004")]))
    with pytest.raises(GateError, match="bad lines") as refused:
        lived.turn(case_of(), END)
    assert "quarantine lift" in str(refused.value)
    champion = lived.place.catalog.champion("small")
    assert champion is not None and champion.id == lived.turns[1].made.release.id


def test_what_is_made_of_mended_data_is_released_though_the_champion_is_in_quarantine(lived: History) -> None:
    impose(lived.place, lived.batches["late"])
    shutil.rmtree(lived.place.settings.landing)
    for name in ("base", "tomorrow"):
        lived.land_again(name)
    made = lived.turn(case_of(), NEXT).made
    assert made.release is not None and made.decision.champion == lived.turns[1].made.decision.winner
    assert verify(lived.place)["faults"] == []
    # The decision weighed the champion; going back to it is refused, for it holds the late lines.
    bento = lived.place.catalog.get(lived.turns[1].made.release.bento)
    with pytest.raises(GateError):
        quarantine.require_free(lived.place, bento)  # type: ignore[arg-type]


def test_a_batch_that_nothing_was_made_of_yet_is_kept_from_what_will_be(lived: History) -> None:
    lived.land_again("tomorrow")
    held = impose(lived.place, lived.batches["tomorrow"])
    assert held.nouns == ()
    with pytest.raises(GateError, match=held.id):
        lived.turn(case_of(), NEXT)


def test_a_day_is_kept_as_it_lay_there_and_free_when_it_is_mended(lived: History) -> None:
    impose(lived.place, day_of(5))
    bentos = [lived.place.catalog.get(turn.made.release.bento) for turn in lived.turns]
    assert all(quarantine.hold(lived.place, bento) for bento in bentos)  # type: ignore[arg-type]
    shutil.rmtree(lived.place.settings.landing)
    base = lived.mended_base(day=5)
    lived.land("mended base", base)
    lived.land_again("tomorrow")
    assert lived.turn(case_of(), NEXT).made.release is not None


def test_lifting_ends_it_once(lived: History, counterfoil: Command) -> None:
    held = impose(lived.place, lived.batches["late"])
    assert counterfoil("quarantine", "lift", held.id, "--reason", " ")["code"] == 2
    lifted = counterfoil("quarantine", "lift", held.id, "--reason", "prices were right", "--by", "ann")
    assert (lifted["code"], lifted["lifts"]) == (0, held.id)
    [listed] = counterfoil("quarantine", "list")["quarantines"]
    assert listed["in_force"] is False and listed["lifted"]["reason"] == "prices were right"
    assert quarantine.in_force(lived.place) == []
    for name in (held.id, lifted["id"]):
        again = counterfoil("quarantine", "lift", name, "--reason", "again")
        assert (again["code"], again["kind"]) == (2, "InputError")
    assert counterfoil("quarantine", "lift", "quarantine-0", "--reason", "x")["kind"] == "UnknownError"
    assert verify(lived.place)["faults"] == []


def test_a_quarantine_that_was_altered_is_named(lived: History) -> None:
    held = impose(lived.place, lived.batches["late"])
    with lived.place.catalog.engine.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM edge WHERE child = '{held.id}' AND parent LIKE 'bento-%'")
    faults = verify(lived.place)["faults"]
    assert any(held.id in fault and "bento-" in fault for fault in faults)


def test_a_person_is_not_named_in_it(lived: History) -> None:
    held = impose(lived.place, "person:person 7")
    assert lived.pseudonym("person 7") not in repr(held) and "person 7" not in repr(held)
    assert lived.turns[0].made.dataset.id in held.nouns


def test_a_person_reads_what_to_do(lived: History, capsys: pytest.CaptureFixture[str]) -> None:
    from flows.radius import show

    show({**told(lived.place, radius(lived.place, (lived.batches["late"],))), "quarantine": None})
    said = capsys.readouterr().out
    assert "serves now" in said and "`counterfoil rollback small` takes it back" in said
    assert lived.turns[0].made.release.id in said and "answers to" in said


WRONG = [
    (("nothing of that name",), "UnknownError", "person:NAME"),
    (("2024-13-01",), "InputError", "2024-13-01"),
    (("2030-01-01",), "UnknownError", "2030-01-01"),
    (("2024-01-05", "2024-01-02"), "InputError", "not after"),
    (("batch:nope",), "UnknownError", "nope"),
    (("event:nope",), "UnknownError", "nope"),
    (("view:nope",), "UnknownError", "person, item, pair"),
    (("item:nope",), "UnknownError", "nope"),
    (("person:nope",), "UnknownError", "nope"),
    (("code:nope",), "UnknownError", "nope"),
    (("file:no/such/file.csv",), "InputError", "no/such/file.csv"),
    (("0" * 64,), "UnknownError", "0000"),
    (("candidate-0000000000000000",), "UnknownError", "candidate-0000000000000000"),
    (("receipt-20260412T093401-7f3a9c1e-12",), "InputError", "counterfoil lineage"),
    (("i001", "i002"), "InputError", "more than one thing"),
    (("i001", "--quarantine"), "InputError", "--reason"),
    (("i001", "--reason", "x"), "InputError", "--quarantine"),
]


@pytest.mark.parametrize(("words", "kind", "names"), WRONG, ids=[" ".join(one[0])[:30] for one in WRONG])
def test_what_is_wrong_is_one_sentence(
    lived: History, counterfoil: Command, words: tuple[str, ...], kind: str, names: str
) -> None:
    said = counterfoil("blast-radius", *words)
    assert (said["code"], said["kind"]) == (2, kind)
    assert names in said["error"] and "\n" not in said["error"]
    assert counterfoil("quarantine", "list")["quarantines"] == []
