"""The same bento under BentoML's own server: `bentoml serve TAG`, here and where there is nothing but what the bento asks for."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest

from counterfoil.receipts import Receipts
from counterfoil.settings import QUIET
from feature_repo.online import apply
from tests import bento_shop

pytestmark = pytest.mark.slow
BENTOML_ROUTES = (
    "/livez",
    "/readyz",
    "/healthz",
    "/metrics",
    "/docs.json",
    "/schema.json",
    "/",
    "/recommend",
    "/about",
)


def elsewhere(requirements: Path, folder: Path) -> Path:
    """Return the programs of an environment that has what a bento asks for, as its container would, and nothing of ours."""
    uv = str(Path(sys.executable).parent / "uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    links = os.environ.get("PIP_FIND_LINKS")
    line = [uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python")]
    line += [*(["--find-links", links] if links else []), "-r", str(requirements)]
    subprocess.run(line, check=True)
    return folder / "bin"


@pytest.fixture(scope="module", params=["here", "elsewhere"])
def served(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[tuple[httpx.Client, Path, str]]:
    root = tmp_path_factory.mktemp("bentoml")
    settings = bento_shop.settings_of(root / "home")
    packaged = bento_shop.make_bento(root, settings)
    apply(settings)
    programs = Path(sys.executable).parent
    if request.param == "elsewhere":
        programs = elsewhere(packaged.path / "env" / "python" / "requirements.txt", root / "elsewhere")
        ours = [str(programs / "python"), "-c", "import counterfoil"]
        assert subprocess.run(ours, capture_output=True, cwd=root, check=False).returncode == 1
    pointer = {"release": "release-1", "epoch": 2, "bento": packaged.tag}
    (settings.home / "release.json").write_bytes(orjson.dumps(pointer))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        **QUIET,
        "COUNTERFOIL_HOME": str(settings.home),
        "BENTOML_HOME": str(settings.bentos),
    }
    line = [
        str(programs / "bentoml"),
        "serve",
        packaged.tag,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    popen = subprocess.Popen(line, env=environment, cwd=root)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        for _ in range(1200):
            try:
                if client.get("/about").status_code == 200:
                    break
            except httpx.TransportError:
                assert popen.poll() is None
            time.sleep(0.1)
        yield client, settings.receipts, packaged.tag
    popen.send_signal(signal.SIGTERM)
    popen.wait(30)


def test_bentoml_answers_and_records(served: tuple[httpx.Client, Path, str]) -> None:
    client, receipts, tag = served
    answer = client.post("/recommend", json={"n": 3, "context": {"time": "2026-03-01T00:00:00Z"}})
    assert answer.status_code == 200
    assert answer.json()["bento"] == tag
    known = client.post("/recommend", json={"person": "p01", "context": {"time": "2026-03-01T00:00:00Z"}})
    assert known.status_code == 200 and known.json()["degraded"] == []
    assert Receipts(receipts).find(answer.json()["receipt"]).release == "release-1"


def test_bentoml_refuses_pickles_on_every_route_of_its_own(served: tuple[httpx.Client, Path, str]) -> None:
    client, _, _ = served
    for path in BENTOML_ROUTES:
        for method in ("GET", "POST"):
            kind = {"content-type": "application/vnd.bentoml+pickle"}
            assert client.request(method, path, content=b"\x80\x04N.", headers=kind).status_code == 415, path


def test_bentomls_metrics_and_health_go_on_working(served: tuple[httpx.Client, Path, str]) -> None:
    client, _, _ = served
    assert [client.get(path).status_code for path in ("/livez", "/readyz", "/metrics", "/docs.json")] == [
        200
    ] * 4


def test_a_body_of_two_megabytes_is_refused(served: tuple[httpx.Client, Path, str]) -> None:
    client, _, _ = served
    kind = {"content-type": "application/json"}
    assert client.post("/recommend", content=b" " * 2_000_000, headers=kind).status_code == 413
