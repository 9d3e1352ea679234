"""What `doctor`, `status` and the console know of what serves: a real supervisor with real gateway and collector."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import orjson
import psutil
import pytest

from bentos import inner
from counterfoil import collected
from counterfoil.console.app import create
from counterfoil.console.desk import desk_of
from counterfoil.processes import Processes, Running
from counterfoil.pseudonym import fingerprint
from counterfoil.settings import Settings
from flows import doctor, machine
from flows.health import Health, health
from flows.place import Place, place_of
from flows.supervisor.keeper import PULSE, TROUBLE
from tests.console_shop import Console
from tests.gateway_shop import shop
from tests.unit.test_processes import free_port

SECONDS = 40.0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """An installation whose supervisor has started gateway and collector; nothing was released yet."""
    ports = {f"COUNTERFOIL_{name}_PORT": str(free_port()) for name in ("GATEWAY", "SERVICE")}
    with pytest.MonkeyPatch.context() as patch:
        for name, port in ports.items():
            patch.setenv(name, port)
        place = place_of(Settings(home=tmp_path_factory.mktemp("served")))
        machine.supervise(place)
        yield place
        machine.down(place)
    place.catalog.engine.dispose()


def of(place: Place) -> dict[str, Health]:
    return {one.name: one for one in health(place)}


def until(place: Place, holds: Callable[[dict[str, Health]], bool]) -> dict[str, Health]:
    end = time.monotonic() + SECONDS
    while not holds(found := of(place)):
        assert time.monotonic() < end, found
        time.sleep(0.2)
    return found


def says(place: Place, check: str) -> tuple[str, str]:
    return doctor.CHECKS[check](place)


def ready(found: dict[str, Health]) -> bool:
    return found["collector"].state == "ready" and found["gateway"].state == "unready"


def test_who_answers_and_who_does_not_is_told(served: Place) -> None:
    found = until(served, ready)
    assert list(found) == ["supervisor", "gateway", "collector"]
    assert found["supervisor"].state == "ready" and found["supervisor"].url is None
    assert "no routes are known yet" in found["gateway"].says
    state, said = says(served, "serving")
    assert state == "note" and "no routes" in said, "nothing was released yet: that is no fault"
    assert machine.status(served)["gateway"]["url"] == found["gateway"].url


def test_events_that_came_in_are_counted(served: Place) -> None:
    url = until(served, ready)["collector"].url
    moment = datetime.now(UTC).isoformat()
    event = {"id": "e1", "time": moment, "person": "somebody", "kind": "click", "item": "i1"}
    headers = {inner.TOKEN: inner.read_token(served.settings.run)}
    assert httpx.post(f"{url}/events", json=event, headers=headers).json()["accepted"] == 1
    found = until(served, lambda found: found["collector"].told.get("behind_seconds") == 0.0)
    assert found["collector"].told["events"] == 1 and found["collector"].told["a_second"] > 0


def test_the_console_shows_what_runs(served: Place) -> None:
    found = until(served, ready)
    desk = desk_of(served)
    console = Console(desk, create(desk), {"viewer": desk.accounts.add_key("viewer", "viewer")})
    told = {one["name"]: one for one in console.machine("viewer").get("/now.json").json()["processes"]}
    assert list(told) == list(found)
    assert told["collector"]["port"] == httpx.URL(found["collector"].url or "").port
    assert (told["supervisor"]["port"], told["gateway"]["state"]) == (None, "unready")
    page = console.machine("viewer").get("/now", headers={"accept": "text/html"}).text
    section = page[page.index('id="processes"') :]
    assert section.count('<span class="dot good"></span>ready') == 2
    assert section.count('<span class="dot bad"></span>unready') == 1 and "no routes are known yet" in section
    assert f'<td class="n">{told["collector"]["port"]}</td>' in section
    assert "1 event came in since it began" in section


@pytest.mark.parametrize("name", ["collector", "gateway"])
def test_a_process_that_hangs_is_silent_and_holds_nobody_up(served: Place, name: str) -> None:
    pid = until(served, ready)[name].pid
    os.kill(pid or 0, signal.SIGSTOP)
    try:
        began = time.monotonic()
        found = of(served)
        assert found[name].state == "silent" and time.monotonic() - began < 5
        state, said = says(served, "serving")
        assert state == "wrong" and f"{name} is silent: The {name} does not answer" in said
    finally:
        os.kill(pid or 0, signal.SIGCONT)
    until(served, ready)


def test_what_does_not_come_up_is_told_while_somebody_tries(served: Place) -> None:
    until(served, ready)
    assert says(served, "releases")[0] == "ok"
    (served.settings.run / TROUBLE).write_bytes(orjson.dumps({"release-1": "it did not come up"}))
    assert says(served, "releases") == ("wrong", "release-1: it did not come up")
    (served.settings.run / TROUBLE).unlink()


def test_a_supervisor_that_makes_no_passes_is_silent_and_what_it_should_keep_up_is_missing(
    served: Place,
) -> None:
    found = until(served, ready)
    pid, gateway = found["supervisor"].pid or 0, found["gateway"].pid or 0
    os.kill(pid, signal.SIGSTOP)
    try:
        os.utime(served.settings.run / PULSE, (time.time() - 90,) * 2)
        psutil.Process(gateway).kill()
        found = until(served, lambda found: found["gateway"].state == "missing")
        assert found["supervisor"].state == "silent" and " 90 s ago" in found["supervisor"].says
        assert says(served, "serving")[0] == "wrong"
    finally:
        os.kill(pid, signal.SIGCONT)
    found = until(served, ready)
    assert found["supervisor"].state == "ready" and found["gateway"].pid != gateway


def test_what_a_gateway_counted_of_each_release_is_told_by_the_second(tmp_path: Path) -> None:
    with shop(tmp_path / "home") as made:
        made.service("old")
        made.service("new")
        made.release(2, made.route("old"), made.route("new", "canary", epoch=2, share=0.5))
        made.gateway()
        made.behave("new", status=500)
        for number in range(60):
            httpx.post(f"{made.url}/recommend", json={"person": f"person {number}", "n": 2})
        process = made.processes["gateway"]
        place = place_of(Settings(home=made.home))
        running = Running(name="gateway", pid=process.pid, created=psutil.Process(process.pid).create_time(),
                          url=made.url, detail="public door", log="")  # fmt: skip
        Processes(made.home)._write({"gateway": running})
        gateway = of(place)["gateway"]
    assert gateway.state == "ready"
    told = {one["release"]: one for one in gateway.told["releases"]}
    old, new = told["release-old"], told["release-new"]
    assert (old["stage"], new["stage"]) == ("champion", "canary")
    # what the challenger fails at, the champion answers: both have seen it
    assert new["requests"] == new["errors"] > 10 and old["requests"] >= 60 - new["requests"]
    assert old["errors"] == 0 and old["p95_ms"] > 0
    assert old["a_second"] * 60 + new["a_second"] * 60 >= 60


def test_events_that_wait_for_longer_than_a_day_are_told(tmp_path: Path) -> None:
    place = place_of(Settings(home=tmp_path))
    assert says(place, "events") == ("ok", "0 segments (0 bytes) of events wait to land")
    for hours, state in ((23, "ok"), (25, "wrong")):
        key, begun = fingerprint(place.settings.pseudonym_key), datetime.now(UTC) - timedelta(hours=hours)
        os.close(collected.begin(place.settings.events, key, begun)[1])
        found, said = says(place, "events")
        assert found == state
    assert "1 segments of events wait to land for longer than a day" in said
    assert f"since {begun:%Y-%m-%d %H:%M} UTC" in said


@pytest.mark.parametrize(("name", "mode", "right"), [("token", 0o644, 0o600), (".", 0o755, 0o700)])
def test_a_token_that_others_can_read_is_told(tmp_path: Path, name: str, mode: int, right: int) -> None:
    place = place_of(Settings(home=tmp_path))
    assert says(place, "secrets") == ("ok", "no token was made yet")
    inner.make_token(place.settings.run)
    assert says(place, "secrets")[0] == "ok"
    (place.settings.run / name).chmod(mode)
    state, said = says(place, "secrets")
    assert state == "wrong" and f"`chmod {right:o} " in said
    (place.settings.run / name).chmod(right)


def test_where_nothing_runs_nothing_is_wrong_with_it(tmp_path: Path) -> None:
    place = place_of(Settings(home=tmp_path))
    assert health(place) == ()
    assert says(place, "serving") == ("ok", "nothing serves here")
    assert says(place, "releases") == ("ok", "no supervisor runs here")
