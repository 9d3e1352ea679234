"""What people change by pages, for real, on a copy of a small shop: quarantine, approve, promote, roll back, export, forget."""

import io
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from counterfoil.console.routes import people
from counterfoil.console.words import percent
from counterfoil.types import Candidate, Dataset, Decision, Quarantine
from flows import steer
from tests.console_shop import Console, console_of, token
from tests.loop_shop import small_case


@pytest.fixture
def console(turned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Console]:
    monkeypatch.setattr(steer, "use_case", lambda name: {"small": small_case()}[name])
    made = console_of(turned, tmp_path)
    yield made
    made.place.catalog.engine.dispose()


def test_a_model_is_promoted_and_taken_back_under_the_name_of_who_did_it(console: Console) -> None:
    catalog = console.place.catalog
    before = catalog.champion("small")
    loser = next(one for one in catalog.find(Candidate, "small") if one.family == "popularity")
    person = console.person("approver")
    page = person.get("/contenders")
    assert f"/candidates/{loser.id}/promote" in page.text
    sent = {"csrf": token(page), "reason": "the shelf is empty", "by": "somebody else"}
    done = person.post(f"/candidates/{loser.id}/promote", data=sent)
    assert done.status_code == 200 and "approver promoted" in done.text
    after = catalog.champion("small")
    assert before is not None and after is not None and after.id != before.id
    decision = catalog.get(after.decision)
    assert isinstance(decision, Decision)
    assert decision.approved_by == "approver" and "the shelf is empty" in decision.sentences[0]
    assert after.id in person.get("/now", headers={"accept": "application/json"}).text
    now = person.get("/now", headers={"accept": "text/html"}).text
    assert re.search(r'class="lead">.*?<strong>[^<]*approver promotes popularity', now, re.DOTALL)
    by_hand = person.get(f"/contenders/{decision.id}", headers={"accept": "text/html"})
    assert by_hand.status_code == 200 and "decided by hand" in by_hand.text
    compared = person.get("/contenders", headers={"accept": "text/html"}).text
    assert f"/candidates/{loser.id}/promote" not in compared  # it serves
    back = person.post("/use-cases/small/rollback", data={"csrf": token(page), "reason": "a mistake"})
    assert back.status_code == 200
    again = catalog.champion("small")
    assert again is not None and again.bento == before.bento
    told = console.machine("viewer").get("/time.json").json()
    assert [one["epoch"] for one in told["changes"]] == [3, 2, 1]
    assert told["serving"][0]["approved_by"] == "approver"


def test_a_challenger_is_shown_steered_and_taken_back(console: Console) -> None:
    catalog = console.place.catalog
    loser = next(one for one in catalog.find(Candidate, "small") if one.family == "popularity")
    person = console.person("approver")
    page = person.get("/contenders")
    sent = {"csrf": token(page), "reason": "to see"}
    for wrong in (
        {"stage": "retired"},
        {"stage": "canary", "share": "much"},
        {"stage": "canary", "share": "1"},
        {"share": "nan"},
    ):
        refused = person.post(f"/candidates/{loser.id}/promote", data={**sent, **wrong})
        assert refused.status_code == 400, wrong
    assert catalog.epoch("small") == 1
    done = person.post(f"/candidates/{loser.id}/promote", data={**sent, "stage": "canary", "share": "0.2"})
    assert done.status_code == 200, done.text
    challenger = catalog.challenger("small")
    assert challenger is not None and (challenger.stage, challenger.share) == ("canary", 0.2)
    console.place.settings.run.mkdir(exist_ok=True)
    said = {
        "release": challenger.id,
        "stage": "canary",
        "share": 0.2,
        "course": "go on",
        "sentences": ["Ten of <i>."],
    }
    (console.place.settings.run / "ruling.json").write_text(json.dumps(said))
    now = person.get("/now", headers={"accept": "text/html"}).text
    assert percent(0.2) in now and "Ten of &lt;i&gt;." in now and "/use-cases/small/withdraw" in now
    [told] = console.machine("viewer").get("/now.json").json()["use_cases"]
    assert {one["stage"] for one in told["serving"]} == {"champion", "canary"} and told["ruling"][
        "course"
    ] == "go on"
    viewer = console.machine("viewer").post("/use-cases/small/withdraw", data={"reason": "no"})
    assert viewer.status_code == 403
    back = person.post("/use-cases/small/withdraw", data={"csrf": token(page), "reason": "seen"})
    assert back.status_code == 200 and catalog.challenger("small") is None
    assert "/use-cases/small/withdraw" not in person.get("/now", headers={"accept": "text/html"}).text
    assert (
        person.post("/use-cases/small/withdraw", data={"csrf": token(page), "reason": "x"}).status_code == 404
    )


def test_a_decision_is_approved_once_by_each(console: Console) -> None:
    [decision] = console.place.catalog.find(Decision)
    machine = console.machine("approver").post(
        f"/decisions/{decision.id}/approve", data={"note": "looks good"}
    )
    assert machine.status_code == 403 and "waits for people" in machine.text
    person = console.person("approver")
    sent = {"csrf": token(person.get("/now")), "note": "I looked at the slices"}
    done = person.post(f"/decisions/{decision.id}/approve", data=sent)
    assert done.status_code == 200, done.text
    assert console.machine("viewer").get("/contenders.json").json()["decision"]["approvers"] == ["approver"]
    assert person.post(f"/decisions/{decision.id}/approve", data=sent).status_code == 409


def test_what_is_quarantined_is_shown_wherever_it_stands(console: Console) -> None:
    [dataset] = console.place.catalog.find(Dataset)
    person = console.person("engineer")
    page = person.get(f"/lineage/{dataset.id}")
    sent = {"csrf": token(page), "subject": dataset.id, "reason": "prices were in cents"}
    done = person.post("/quarantines", data=sent)
    assert done.status_code == 200, done.text
    [held] = console.place.catalog.find(Quarantine)
    assert (held.by, held.reason) == ("engineer", "prices were in cents") and held.nouns
    now = console.machine("viewer").get("/now.json").json()
    assert [one["id"] for one in now["quarantines"]] == [held.id]
    contenders = console.machine("viewer").get("/contenders.json").json()["decision"]["contenders"]
    assert all(one["quarantined"] for one in contenders)
    unknown = person.post("/quarantines", data={**sent, "subject": "dataset-0000000000000000"})
    assert unknown.status_code in (400, 404)


def test_what_is_held_about_a_person_is_handed_out_and_nothing_kept(console: Console) -> None:
    person = console.person("auditor")
    sent = {"csrf": token(person.get("/people")), "person": "person 1"}
    done = person.post("/people/export", data=sent)
    assert done.status_code == 200 and done.headers["content-type"] == "application/zip"
    assert done.headers["cache-control"] == "no-store"
    with zipfile.ZipFile(io.BytesIO(done.content)) as file:
        names = file.namelist()
        assert any(name.endswith(".html") for name in names), names
        assert any(b"i0" in file.read(name) for name in names)
    visits = console.place.settings.console / "visits.jsonl"
    last = json.loads(visits.read_text().splitlines()[-1])
    assert (last["did"], last["by"]) == ("export asked for", "auditor")
    assert "person 1" not in visits.read_text() and visits.stat().st_mode & 0o077 == 0


def test_what_a_killed_console_left_of_an_export_goes_at_the_next_start(
    console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(people.shutil, "rmtree", lambda *_, **__: None)  # killed before it cleans up
    person = console.person("auditor")
    sent = {"csrf": token(person.get("/people")), "person": "person 1"}
    assert person.post("/people/export", data=sent).status_code == 200
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    [left] = tmp_path.glob("counterfoil-*")
    other = tmp_path / "counterfoil-of-another-home"
    other.mkdir()
    people.sweep(console.place)
    assert left.is_dir()  # a console beside this one may be handing it out
    for folder in (left, other):
        os.utime(folder, (0, 0))
    people.sweep(console.place)
    assert not left.exists() and other.is_dir()


def test_a_person_is_forgotten_by_an_approver_who_says_it_twice(console: Console) -> None:
    person = console.person("approver")
    page = person.get("/people")
    sent = {"csrf": token(page), "person": "person 2"}
    assert person.post("/people/forget", data={**sent, "again": "person 3"}).status_code == 400
    done = person.post("/people/forget", data={**sent, "again": "person 2"})
    assert done.status_code == 200, done.text
    with zipfile.ZipFile(io.BytesIO(done.content)) as file:
        assert sorted(file.namelist()) == ["certificate.json", "certificate.txt"]
    shown = person.get("/people", headers={"accept": "application/json"}).json()["erasures"]
    assert len(shown) == 1 and shown[0]["by"] == "approver" and shown[0]["removed"] > 0
    assert "person 2" not in person.get("/people").text
