"""One answer, whole: all that it rests on by its id alone, and what the person did next."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from counterfoil.console.read.answers import answer
from counterfoil.errors import UnavailableError
from counterfoil.pseudonym import pseudonym
from counterfoil.receipts import Receipts
from counterfoil.terminal import stages
from counterfoil.types import OnlineRows, Receipt, ReceiptItem
from flows.answer import acts, resolve, show
from flows.place import Place
from flows.why import why
from tests.loop_shop import DAYS, END, place_of


@pytest.fixture
def place(turned: Path, tmp_path: Path) -> Iterator[Place]:
    copied = place_of(shutil.copytree(turned, tmp_path / "home"))
    yield copied
    copied.catalog.engine.dispose()


def answered(place: Place, days_before: int, items: tuple[str, ...], **more: Any) -> Receipt:
    """Write the receipt of an answer that was given to a person so many days before the end of what landed."""
    release = place.catalog.champion("small")
    assert release is not None
    receipts = Receipts(place.settings.receipts)
    moment = END - timedelta(days=days_before)
    stub = Receipt(
        id=receipts.new_id(moment),
        time=END + timedelta(days=1),
        use_case="small",
        release=release.id,
        bento=release.tag,
        epoch=release.epoch,
        person=pseudonym("person 0", place.settings.pseudonym_key),
        request={"n": 2, "context": {"time": moment.isoformat()}},
        items=tuple(ReceiptItem(item=item, score=1.0, sources=("s",), reasons=("r",)) for item in items),
        rules=(),
        degraded=(),
        **{"features": {}, "feature_time": END, **more},
    )
    receipts.write(stub)
    receipts.close()
    return stub


def test_an_answer_resolves_by_its_id_alone(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    stub = answered(place, 0, ("i000",))
    whole = resolve(place, stub.id)
    assert whole["receipt"] == stub
    assert whole["release"].id == stub.release and whole["release"].bento == whole["bento"].id
    assert whole["decision"].winner == whole["candidate"].id == whole["evaluation"].candidate
    assert whole["dataset"].id == whole["candidate"].dataset
    assert len(whole["verdicts"]) == DAYS and all(one["checks"] for one in whole["verdicts"])
    assert whole["features"]["person"] == place.catalog.find(OnlineRows)[0]
    assert "times_bought" in whole["features"]["views"]["pair"]
    assert whole["next"] == []
    show(whole)
    said = capsys.readouterr().out
    for word in (
        stub.release,
        "approved by gate",
        f"{DAYS} of {DAYS} verdicts",
        whole["candidate"].code_version,
    ):
        assert word in said


def test_what_the_person_did_next_is_found_and_nothing_else(place: Place) -> None:
    import duckdb

    name = pseudonym("person 0", place.settings.pseudonym_key)
    events = place.settings.landing / "events" / "*" / "events.parquet"
    since = END - timedelta(days=9)
    taken = duckdb.execute(
        f"SELECT item, time, person FROM read_parquet('{events}') WHERE time >= ? AND time < ?",
        [since, since + timedelta(days=7)],
    ).fetchall()
    mine = sorted((time, item) for item, time, person in taken if person == name)
    shown, others = mine[0][1], {item for item, _, person in taken if person != name}
    assert shown in others  # somebody else took it too, which is not this person's answer to it
    stub = answered(place, 9, (shown, "i039"))
    found = acts(place, stub)
    assert [(one["time"], one["item"]) for one in found] == [
        pair for pair in mine if pair[1] in (shown, "i039")
    ]
    assert {one["because"] for one in found} == {"the item was shown"}
    unseen = answered(place, 9, (shown, "i039"), arm="shadow")
    beside = acts(place, unseen)
    assert [one["event"] for one in beside] == [one["event"] for one in found]
    assert {one["because"] for one in beside} == {"the item is on this list, which nobody saw"}


def test_of_a_shadow_s_answer_it_is_said_that_nobody_saw_it(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    stub = answered(place, 0, ("i000",), arm="shadow")
    show(resolve(place, stub.id))
    assert "nobody saw this answer" in capsys.readouterr().out
    assert answer(place, stub.id)["served"].startswith("Nobody saw this answer")
    seen = answered(place, 0, ("i000",))
    show(resolve(place, seen.id))
    assert "nobody saw" not in capsys.readouterr().out


def test_nobody_says_why_of_an_answer_that_no_model_made(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = answered(place, 0, ("i000",))
    copy = answered(place, 0, ("i000",), features={"last_good": {"receipt": origin.id}})
    monkeypatch.setattr("flows.why.open_place", lambda: place)
    with stages() as told, pytest.raises(UnavailableError, match=f"{copy.id} was copied from {origin.id}"):
        why(copy.id, None, told)
