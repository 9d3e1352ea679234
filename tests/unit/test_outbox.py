"""The outbox: each release is told to every webhook at least once, in order, under its own key, however often one is down."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from counterfoil.catalog import Catalog
from flows.supervisor.outbox import Outbox
from tests.unit.test_releases import record, release, told


@dataclass
class Hook:
    """A webhook on this machine: what it took, as (key, body), and what it answers."""

    url: str = ""
    answers: int = 200
    taken: list[tuple[str, dict]] = field(default_factory=list)
    asked: int = 0


@pytest.fixture
def hooks() -> Iterator[list[Hook]]:
    made, servers = [], []
    for _ in range(2):
        hook = Hook()

        class Handler(BaseHTTPRequestHandler):
            hook_of = hook

            def do_POST(self) -> None:
                hook = self.hook_of
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                hook.asked += 1
                if hook.answers == 200:
                    hook.taken.append((self.headers["idempotency-key"], body))
                self.send_response(hook.answers)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hook.url = f"http://127.0.0.1:{server.server_port}/releases"
        made.append(hook)
        servers.append(server)
    yield made
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    yield opened
    opened.engine.dispose()


def outbox(catalog: Catalog, hooks: list[Hook]) -> Outbox:
    return Outbox(catalog=catalog, places=tuple(hook.url for hook in hooks))


def test_each_release_is_told_once_in_order_to_everybody(catalog: Catalog, hooks: list[Hook]) -> None:
    made = [record(catalog, release(epoch, stage)) for epoch, stage in ((1, "champion"), (2, "shadow"))]
    box = outbox(catalog, hooks)
    assert box.deliver() == 2 and box.deliver() == 0
    made.append(record(catalog, release(3, "champion")))
    assert outbox(catalog, hooks).deliver() == 1, "another process goes on where this one was"
    for hook in hooks:
        assert [key for key, _ in hook.taken] == [one.id for one in made]
        assert [body["stage"] for _, body in hook.taken] == ["champion", "shadow", "champion"]
    assert all(entry["delivered_at"] is not None for entry in told(catalog))


def test_one_that_is_down_gets_it_later_and_nothing_newer_before(catalog: Catalog, hooks: list[Hook]) -> None:
    down, well = hooks
    down.answers = 503
    made = [record(catalog, release(epoch, stage)) for epoch, stage in ((1, "champion"), (2, "shadow"))]
    box = outbox(catalog, hooks)
    for _ in range(10):
        assert box.deliver() == 0
    assert [key for key, _ in well.taken] == [one.id for one in made], (
        "the other one is told once, and at once"
    )
    assert down.taken == [] and 2 <= down.asked <= 5, "it is asked more and more rarely"
    entries = told(catalog)
    assert "503" in entries[0]["said"] and entries[0]["attempts"] == down.asked
    down.answers = 200
    while box.deliver() == 0:
        assert box.passes < 100
    assert [key for key, _ in down.taken] == [one.id for one in made] and len(well.taken) == 2


def test_where_nobody_is_to_be_told_nothing_is_kept_waiting(catalog: Catalog, hooks: list[Hook]) -> None:
    record(catalog, release(1, "champion"))
    assert outbox(catalog, []).deliver() == 1
    assert outbox(catalog, hooks).deliver() == 0 and hooks[0].asked == 0


def test_an_address_that_is_none_is_no_end_of_the_others(catalog: Catalog, hooks: list[Hook]) -> None:
    record(catalog, release(1, "champion"))
    box = Outbox(catalog=catalog, places=("http://[", hooks[0].url))
    assert box.deliver() == 0 and len(hooks[0].taken) == 1


def test_one_that_is_down_for_long_holds_up_nobody_else(catalog: Catalog) -> None:
    """More releases than are looked at in one pass."""
    for epoch in range(1, 131):
        record(catalog, release(epoch, "champion"))
    got: list[str] = []

    def send(url: str, body: bytes, key: str) -> str | None:
        return "no" if "down" in url else got.append(key)

    box = Outbox(catalog=catalog, places=("http://down", "http://up"), send=send)
    for _ in range(10):
        box.deliver()
    assert len(got) == len(set(got)) == 130
