"""What `up` starts on this machine: the Prefect server, a worker with the schedules, and the champion's service."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson

from counterfoil import settings
from counterfoil.errors import UnavailableError
from counterfoil.processes import Processes, Running
from counterfoil.terminal import Stages
from counterfoil.types import Release
from flows.place import Place
from flows.verbs import bento_folder

POOL = "counterfoil"
SERVER_SECONDS = 120.0
SERVICE_SECONDS = 120.0
USE_CASE = "recommendation"


def up(place: Place, stages: Stages) -> dict[str, Any]:
    """Start what is not running; a service whose release is no longer the champion is replaced."""
    processes = Processes(place.settings.home)
    with stages.stage("prefect", "server"):
        server = processes.running().get("prefect-server") or _server(place, processes)
    settings.use_prefect(server.url + "/api")
    if "prefect-worker" not in processes.running():
        with stages.stage("prefect", "deployments"):
            schedule(place)
        with stages.stage("prefect", "worker"):
            _worker(processes)
    champion = place.catalog.champion(USE_CASE)
    if champion is not None:
        with stages.stage("service", champion.tag):
            serve(place, champion)
    return status(place)


def serve(place: Place, release: Release, port: int | None = None) -> Running:
    """Start the service of a release, or return the one that runs. UnavailableError when it does not come up."""
    processes = Processes(place.settings.home)
    current = processes.running().get("service")
    if current is not None and current.detail == release.id:
        return current
    processes.stop("service")
    pointer = place.settings.home / "release.json"
    pointer.write_bytes(orjson.dumps({"release": release.id, "epoch": release.epoch, "bento": release.tag}))
    port = port or place.settings.service_port
    url = f"http://127.0.0.1:{port}"
    arguments = [
        "--bento",
        str(bento_folder(place, release.tag)),
        "--release-file",
        str(pointer),
        "--port",
        str(port),
    ]
    started = processes.start(
        "service", [sys.executable, "-m", "bentos.serve", *arguments], url=url, detail=release.id
    )
    processes.await_answer(started, "/readyz", SERVICE_SECONDS, lambda answer: answer.status_code == 200)
    return started


def down(place: Place) -> dict[str, bool]:
    """Stop exactly what `up` started; returns what was running."""
    processes = Processes(place.settings.home)
    return {name: processes.stop(name) for name in ("service", "prefect-worker", "prefect-server")}


def status(place: Place) -> dict[str, Any]:
    """Return what runs here and where, and who is champion."""
    running = Processes(place.settings.home).running()
    champion = place.catalog.champion(USE_CASE)
    return {
        "processes": [
            {"name": p.name, "pid": p.pid, "url": p.url, "serves": p.detail, "log": p.log}
            for p in running.values()
        ],
        "champion": None
        if champion is None
        else {"release": champion.id, "epoch": champion.epoch, "bento": champion.tag},
        "service": {"url": running["service"].url if "service" in running else None},
    }


def schedule(place: Place) -> str:
    """Register the deployments of prefect.yaml with the Prefect server; returns what Prefect said."""
    _prefect("work-pool", "create", POOL, "--type", "process", "--overwrite")
    return _prefect("--no-prompt", "deploy", "--all", cwd=place.settings.project)


def _server(place: Place, processes: Processes) -> Running:
    port = place.settings.prefect_port
    command = [_bin("prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    started = processes.start("prefect-server", command, url=f"http://127.0.0.1:{port}")
    processes.await_answer(started, "/api/health", SERVER_SECONDS, lambda answer: answer.status_code == 200)
    return started


def _worker(processes: Processes) -> Running:
    command = [_bin("prefect"), "worker", "start", "--pool", POOL, "--name", "counterfoil-local"]
    return processes.start("prefect-worker", command, url="http://127.0.0.1", detail=POOL)


def _prefect(*arguments: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [_bin("prefect"), *arguments], cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise UnavailableError(
            f"`prefect {' '.join(arguments)}` failed: {(done.stderr or done.stdout).strip()[-500:]}; is the server up?"
            " start it with `counterfoil up`"
        )
    return done.stdout.strip()


def _bin(name: str) -> str:
    return str(Path(sys.executable).parent / name)
