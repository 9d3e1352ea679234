"""Acknowledged is durable: a collector that is killed, or whose disk is full, loses nothing that it said it had."""

import contextlib
import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest

from counterfoil import cli, collected
from counterfoil.pseudonym import pseudonym
from counterfoil.settings import Settings
from feature_repo import erase
from flows import collecting
from tests.collector_process import collector, event
from tests.landing_shop import landed_rows
from tests.loop_shop import place_of


def kept(home: Path) -> set[str]:
    return {row["id"] for path in collected.segments(home / "events") for row in collected.events(path)}


def test_killed_right_after_an_acknowledgement_nothing_is_lost(home: Path) -> None:
    acknowledged: set[str] = set()
    with collector(home) as running:

        def send(first: int) -> None:
            with httpx.Client(base_url=running.client.base_url, headers=running.client.headers) as client:
                for number in range(first, first + 100_000):
                    try:
                        answer = client.post("/events", json=event(number))
                    except httpx.HTTPError:
                        return
                    if answer.status_code == 200 and answer.json()["accepted"]:
                        acknowledged.add(f"e{number}")
                        if len(acknowledged) == 300:
                            running.kill()  # right after the acknowledgement, while others are under way

        senders = [threading.Thread(target=send, args=(worker * 100_000,)) for worker in range(4)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
    assert len(acknowledged) >= 300
    assert acknowledged <= kept(home)

    with collector(
        home
    ) as running:  # the same once more: what was acknowledged is known, after a restart too
        first = sorted(acknowledged, key=lambda id: int(id[1:]))[0]
        assert running.post(event(int(first[1:])))["duplicate"] == 1
        running.visible()
        running.post(event(900_001))
        place = place_of(home)
        done = collecting.collect(place)
        assert done.open == 0
        assert acknowledged | {"e900001"} <= {row["id"] for row in landed_rows(place.settings)}
        assert not collected.segments(home / "events")
        assert collecting.collect(place).landed == ()


def test_who_makes_events_visible_is_killed_time_and_again_and_all_becomes_visible(home: Path) -> None:
    sent, mark = 0, home / "events" / "visible.json"
    with collector(home) as running:
        own = psutil.Process(running.process.pid)

        def send() -> None:
            nonlocal sent
            events = [event(number) for number in range(sent, sent + 50)]
            answer = running.client.post("/events", json={"events": events})
            assert answer.status_code in (200, 429), answer.text
            sent += 50 * (answer.status_code == 200)

        def writer(others: list[int]) -> psutil.Process:
            until = time.monotonic() + 30
            while not (found := [one for one in own.children() if one.pid not in others]):
                assert time.monotonic() < until
                send()
            return found[0]

        killed: list[int] = []
        for _ in range(3):
            child = writer(killed)
            before, until = mark.read_bytes() if mark.exists() else b"", time.monotonic() + 30
            while not mark.exists() or mark.read_bytes() == before:  # it writes
                assert time.monotonic() < until
                send()
            for _ in range(3):
                send()
            killed.append(child.pid)
            child.kill()
        send()
        running.visible()
        child = writer(killed)
    _, alive = psutil.wait_procs([child], timeout=10)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE], "it outlived who asks it"
    settings = Settings(home=home)
    people = [pseudonym(f"person {number}", settings.pseudonym_key) for number in range(7)]
    seen = {row["id"] for row in erase.recent_rows(settings, people)}
    assert {f"e{number}" for number in range(sent - 200, sent)} <= seen, "the latest hundred of each"


def test_who_makes_events_visible_is_begun_again_though_nothing_comes(home: Path) -> None:
    with collector(home) as running:
        own = psutil.Process(running.process.pid)
        running.post(event(1))
        running.visible()
        [first] = own.children()
        first.kill()
        until = time.monotonic() + 30
        while not [one for one in own.children() if one.pid != first.pid]:
            assert time.monotonic() < until
            time.sleep(0.05)
        running.visible()
        running.post(event(2))
        running.visible()
        assert "is started again" in (home / "collector.log").read_text()
    settings = Settings(home=home)
    people = [pseudonym(f"person {number}", settings.pseudonym_key) for number in range(7)]
    assert {row["id"] for row in erase.recent_rows(settings, people)} == {"e1", "e2"}


def test_what_answers_do_not_know_yet_lands_once_they_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "VISIBLE_SECONDS", 0.5)
    with collector(home) as running:
        running.post(event(1))
        running.visible()
        place = place_of(home)
        assert len(collecting.collect(place).landed) == 1
        [writer] = psutil.Process(running.process.pid).children()
        writer.suspend()
        try:
            running.post(event(2))
            done = collecting.collect(place)
            assert (done.landed, done.hidden) == ((), 1)
        finally:
            writer.resume()
        monkeypatch.undo()
        running.visible()
        done = collecting.collect(place)
        assert len(done.landed) == 1 and not done.hidden
        assert {"e1", "e2"} == {row["id"] for row in landed_rows(place.settings)}


def test_a_full_disk_answers_503_and_acknowledges_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "counts").mkdir()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "counts"))  # as BentoML leaves it
    with collector(home, limit=40_000) as running:
        told = set()
        for number in range(0, 2000, 100):
            answer = running.client.post(
                "/events", json={"events": [event(one) for one in range(number, number + 100)]}
            )
            if answer.status_code == 503:
                assert answer.headers["retry-after"] == "1"
                assert answer.json()["error"]["kind"] == "unkept"
                break
            told |= {row["id"] for row in answer.json()["events"] if row["status"] == "accepted"}
        else:
            pytest.fail("the disk never filled")
        assert told and told <= kept(home)
        again = running.client.post("/events", json=event(3))
        assert again.json()["duplicate"] == 1  # kept before, and still known
        lost = running.client.post("/events", json=event(number + 1))
        assert lost.status_code in (200, 503)
        assert lost.status_code == 503 or lost.json()["accepted"] == 1  # never a duplicate of what was lost


def collect_until(home: Path, stage: str) -> None:
    """Land what was collected, and die by SIGKILL at a stage."""

    def progress(name: str, rows: int) -> None:
        if name == stage:
            os.kill(os.getpid(), signal.SIGKILL)

    collecting.collect(place_of(home), progress)


def test_a_landing_that_is_killed_is_finished_by_the_next_one(home: Path) -> None:
    with collector(home) as running:
        running.post(*(event(number) for number in range(50)))
    [path] = collected.segments(home / "events")
    for stage in ("read events", "committed", "manifest"):
        child = multiprocessing.get_context("spawn").Process(target=collect_until, args=(home, stage))
        child.start()
        child.join(60)
        assert child.exitcode == -signal.SIGKILL, stage
        assert (home / "events" / "landing" / path.name).is_file()
    [landed] = collecting.collect(place_of(home)).landed
    assert (landed.rows_in, landed.already) == (50, True)
    assert len(landed_rows(Settings(home=home))) == 50
    assert not collected.segments(home / "events")


def test_the_command_lands_what_was_collected(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with collector(home) as running:
        running.post(*(event(number) for number in range(20)))
        for landed in (1, 0):
            monkeypatch.setattr("sys.argv", ["counterfoil", "data", "collect", "--json"])
            with contextlib.suppress(SystemExit):
                cli.main()
            told = json.loads(capsys.readouterr().out)
            assert (len(told["landed"]), told["open"]) == (landed, 0)
        assert running.post(event(21))["accepted"] == 1
