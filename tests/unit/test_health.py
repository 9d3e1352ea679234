"""What is made of what processes say of themselves: one server stands for them here, tests/e2e/test_health.py has real ones."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from bentos.release import FILE
from counterfoil.processes import Processes, Running
from flows import doctor
from flows.health import BEHIND_SECONDS, Health, health
from flows.place import Place
from flows.supervisor.keeper import PULSE
from tests.loop_shop import place_of

SAYS: dict[str, Any] = {}


class Stand(BaseHTTPRequestHandler):
    """Says what `SAYS` has under its path, as JSON; 404 for the rest."""

    def do_GET(self) -> None:
        told = SAYS.get(self.path)
        body = json.dumps(told if told is not None else {"error": {"message": "nothing there"}}).encode()
        self.send_response(404 if told is None else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Place]:
    SAYS.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stand)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place, this = place_of(tmp_path), psutil.Process(os.getpid())
    place.settings.run.mkdir()
    (place.settings.run / PULSE).touch()
    urls = dict.fromkeys(
        ("gateway", "collector", "service-01234567"), f"http://127.0.0.1:{server.server_port}"
    )
    urls["supervisor"] = "http://127.0.0.1"
    Processes(place.settings.home)._write(
        {
            name: Running(name=name, pid=this.pid, created=this.create_time(), url=url, detail="x", log="")
            for name, url in urls.items()
        }
    )
    yield place
    server.shutdown()
    server.server_close()
    place.catalog.engine.dispose()


def of(place: Place) -> dict[str, Health]:
    return {one.name: one for one in health(place)}


def pointed(place: Place, release: str) -> None:
    pointer = place.settings.run / "service-01234567" / FILE
    pointer.parent.mkdir(exist_ok=True)
    pointer.write_bytes(orjson.dumps({"release": release, "epoch": 1, "bento": "small:0123456789abcdef"}))


def test_how_far_answers_lie_behind_what_happens_is_told(served: Place) -> None:
    pointed(served, "release-1")
    SAYS["/readyz"] = {"ready": True, "behind_seconds": 0.25, "pending_bytes": 7, "release": "release-1"}
    state, said = doctor.CHECKS["serving"](served)
    assert state == "ok" and said.endswith("visible to answers but for the last 0.25 s")
    assert of(served)["collector"].told["pending_bytes"] == 7
    SAYS["/readyz"]["behind_seconds"] = BEHIND_SECONDS + 32
    assert of(served)["collector"].state == "unready"
    state, said = doctor.CHECKS["serving"](served)
    assert state == "wrong" and "visible to answers only after 42 s" in said


def test_a_service_that_answers_as_another_release_is_not_ready(served: Place) -> None:
    SAYS["/readyz"] = {"ready": True, "release": "release-1", "items": 40}
    pointed(served, "release-2")
    service = of(served)["service-01234567"]
    assert service.state == "unready" and service.told == {"release": "release-1", "items": 40}
    assert service.says == "The service answers as release-1, and is pointed at release-2."
    pointed(served, "release-1")
    assert of(served)["service-01234567"].state == "ready"


def test_who_says_that_it_is_not_ready_is_heard(served: Place) -> None:
    pointed(served, "release-1")
    found = of(served)
    assert {found[name].state for name in ("gateway", "collector", "service-01234567")} == {"unready"}
    assert found["gateway"].says == "The gateway is not ready: nothing there."
    SAYS["/readyz"] = ["no object"]
    found = of(served)
    assert found["supervisor"].state == "ready"
    assert {found[name].state for name in ("collector", "service-01234567")} == {"unready"}
