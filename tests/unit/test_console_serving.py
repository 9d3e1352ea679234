"""What the page Now says of who answers: the gateway's figures by release, its routes, and what the judge took back."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from bentos import routes
from bentos.routes import Route, Routes
from counterfoil.console.read import now, outside
from counterfoil.processes import Processes, Running
from counterfoil.types import Candidate, Release
from flows import rollout, steer
from flows.place import Place
from flows.quarantine import end, in_force
from flows.supervisor.judging import RULING
from tests.console_shop import Console, console_of
from tests.loop_shop import challenger_of, champion_of, small_case

CASE = small_case()


@pytest.fixture
def console(turned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Console]:
    monkeypatch.setattr(steer, "use_case", lambda name: CASE)
    made = console_of(turned, tmp_path)
    made.place.settings.run.mkdir(exist_ok=True)
    yield made
    made.place.catalog.engine.dispose()


def challenged(place: Place, stage: str, share: float | None = None) -> Release:
    loser = next(one for one in place.catalog.find(Candidate, "small") if one.family == "popularity")
    steer.promote(place, loser.id, "Ada", "see it", stage, share)
    return challenger_of(place) if stage != "champion" else champion_of(place)


def judged(place: Place, release: Release, course: str) -> None:
    told = {"release": release.id, "stage": release.stage, "share": release.share, "course": course,
            "sentences": ["It answers too slowly."]}  # fmt: skip
    (place.settings.run / RULING).write_bytes(orjson.dumps(told))


def case(place: Place) -> dict[str, Any]:
    [told] = now.now(place, datetime.now(UTC))["use_cases"]
    assert isinstance(told, dict)
    return told


def shown(console: Console) -> str:
    page = console.machine("viewer").get("/now", headers={"accept": "text/html"})
    assert page.status_code == 200
    return page.text


def test_a_challenger_that_was_taken_back_is_shown_until_something_else_is_released(console: Console) -> None:
    place = console.place
    challenger = challenged(place, "canary", 0.25)
    judged(place, challenger, "go on")
    assert case(place)["ruling"]["answers"] is True and "answers nobody any more" not in shown(console)
    judged(place, challenger, "take back")
    rollout.take_back(place, CASE, challenger, ("It answers too slowly.",))
    assert case(place)["ruling"] == {
        "release": challenger.id, "stage": "canary", "share": 0.25, "course": "take back",
        "sentences": ["It answers too slowly."], "answers": False,
    }  # fmt: skip
    assert "answers nobody any more" in shown(console)
    [kept] = in_force(place)
    end(place, kept.id, "mended", "Ada")
    challenged(place, "shadow")
    assert case(place)["ruling"] is None, "that was of another one"


def test_a_champion_that_was_taken_back_is_shown(console: Console) -> None:
    place = console.place
    before = champion_of(place)
    fresh = challenged(place, "champion")
    judged(place, fresh, "take back")
    rollout.roll_back(place, CASE, fresh, before, ("It answers too slowly.",))
    ruling = case(place)["ruling"]
    assert (ruling["release"], ruling["course"], ruling["answers"]) == (fresh.id, "take back", False)
    assert champion_of(place).bento == before.bento


def test_a_ruling_of_what_somebody_else_ended_is_not_shown(console: Console) -> None:
    challenger = challenged(console.place, "shadow")
    judged(console.place, challenger, "go on")
    steer.withdraw(console.place, "small", "Ada", "not now")
    assert case(console.place)["ruling"] is None


def test_what_the_gateway_counted_stands_beside_its_release(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures come from a gateway's answer as tests/e2e/test_health.py gets one: here it is a value."""
    place = console.place
    champion, challenger = champion_of(place), challenged(place, "canary", 0.25)
    counted = {"release": challenger.id, "a_second": 3.25, "requests": 195, "errors": 2, "p95_ms": 17.1}
    gateway = {
        "name": "gateway", "state": "ready", "says": "The gateway answers.", "url": "http://127.0.0.1:3000", "port": 3000,
        "serves": "public door", "answerers": None, "told": {"in_flight": 1, "releases": [counted]},
    }  # fmt: skip
    monkeypatch.setattr(outside, "processes", lambda _: [gateway])
    told = {one["release"]: one["asked"] for one in case(place)["serving"]}
    assert told == {champion.id: None, challenger.id: counted}
    assert '<td class="n">3.25</td><td class="n">2</td><td class="n">17.1</td>' in shown(console)
    assert '<td class="n">–</td><td class="n">–</td><td class="n">–</td>' in shown(console)


@pytest.mark.parametrize(
    ("stage", "share", "said"),
    [("canary", 0.25, "but for 25% of the people"), ("shadow", 0.0, "50% of the questions")],
)
def test_the_routes_say_who_answers_whom(console: Console, stage: Any, share: float, said: str) -> None:
    place = console.place
    champion = champion_of(place)
    to = Route(release=champion.id, bento=champion.tag, epoch=1, url="http://127.0.0.1:9", stage="champion")
    beside = Route(
        release="release-2", bento="small:2", epoch=2, url="http://127.0.0.1:9", stage=stage, share=share, mirror=0.5
    )  # fmt: skip
    table = Routes(use_case="small", epoch=2, champion=to, challenger=beside)
    routes.write(table, place.settings.run / routes.FILE)
    assert now.now(place, datetime.now(UTC))["answers"] is None, "no gateway runs that would go by them"
    this = psutil.Process(os.getpid())
    running = Running(
        name="gateway", pid=this.pid, created=this.create_time(), url="http://127.0.0.1:9", detail="", log=""
    )
    Processes(place.settings.home)._write({"gateway": running})
    told = now.now(place, datetime.now(UTC))
    assert told["answers"]["challenger"] == {
        "release": "release-2",
        "stage": stage,
        "share": share,
        "mirror": 0.5,
    }
    assert [(one["name"], one["state"]) for one in told["processes"]] == [
        ("supervisor", "missing"),
        ("gateway", "silent"),
    ]
    assert said in shown(console)
