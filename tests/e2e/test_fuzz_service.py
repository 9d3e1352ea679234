"""A service fuzzed by its own OpenAPI document, over HTTP: no 5xx, no hang, nothing answered that the document does not say."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from bentos import inner
from bentos.recommend.app import begin, create
from bentos.recommend.person import People
from bentos.release import Released
from tests import bento_shop, fuzzing
from tests.bento_shop import MemoryOnline

# Valid questions may be refused for what a schema cannot say: the lowest price above the highest, moments out of range.
NOT_HERE = "positive_data_acceptance"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Yield where a service listens, and the token that it asks for."""
    root = tmp_path_factory.mktemp("fuzzed")
    settings = bento_shop.settings_of(root / "home")
    packaged = bento_shop.make_bento(root, settings)
    released = Released(release="release-1", epoch=1, bento=packaged.tag)
    people = People(lambda: MemoryOnline(settings.pseudonym_key))
    serving = begin(packaged.path, released, settings, people)
    token = inner.make_token(settings.run)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create(lambda: serving, settings.run), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}", token
    server.should_exit = True
    thread.join()
    listening.close()


def fuzz(service: tuple[str, str], examples: int, folder: Path) -> None:
    url, token = service
    fuzzing.fuzz(url, examples, folder, NOT_HERE, headers={inner.TOKEN: token})


def test_nothing_valid_or_invalid_breaks_it(
    service: tuple[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fuzz(service, 5, tmp_path)
    assert not [line for line in caplog.records if line.levelname == "ERROR"]


@pytest.mark.slow
def test_nothing_breaks_it_for_long(service: tuple[str, str], tmp_path: Path) -> None:
    fuzz(service, 200, tmp_path)
