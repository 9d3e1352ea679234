"""What `up` starts on this machine: the Prefect server, a worker with the schedules, the champion's service, the console."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
from filelock import FileLock, Timeout

from bentos.release import FILE
from counterfoil import settings
from counterfoil.errors import ConflictError, IntegrityError, UnavailableError
from counterfoil.files import write_durably
from counterfoil.processes import Processes, Running
from counterfoil.terminal import Stages
from counterfoil.types import Release
from flows.place import Place
from flows.verbs import bento_folder

POOL = "counterfoil"
NIGHTLY = "advance/nightly"
SERVER_SECONDS = 120.0
SERVICE_SECONDS = 120.0
CONSOLE_SECONDS = 60.0
USE_CASE = "recommendation"
NAMES = ("console", "service", "prefect-worker", "prefect-server")  # in the order in which they are stopped


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
            _worker(place, processes)
    champion = place.catalog.champion(USE_CASE)
    if champion is not None:
        with stages.stage("service", champion.tag):
            serve(place, champion)
    if "console" not in processes.running():
        with stages.stage("console"):
            _console(place, processes)
    return status(place)


def serve(place: Place, release: Release, port: int | None = None) -> Running:
    """Start the service of a release, or return the one that runs; another release's goes on until this one has proven itself.

    IntegrityError when the bento may not be served: nothing was touched then. UnavailableError when it does not come up: the
    release that served before serves again.
    """
    processes = Processes(place.settings.home)
    with _switching(place):
        current = processes.running().get("service")
        if current is not None and current.detail == release.id:
            return current
        if current is None:  # nothing to lose: the launcher proves the bento too
            return _start(place, release, port or place.settings.service_port)
        _prove(place, release)
        before = place.catalog.get(current.detail)
        assert isinstance(before, Release)
        processes.stop("service")
        return _replace(place, before, release, httpx.URL(current.url).port or port)


def behind(place: Place, use_case: str) -> Release | None:
    """Return the champion of a use case that a service here should answer as, but does not; None when all is well."""
    current = Processes(place.settings.home).running().get("service")
    if current is None:
        return None
    champion = place.catalog.champion(use_case)
    if champion is None or champion.id == current.detail:
        return None
    return champion if getattr(place.catalog.get(current.detail), "use_case", None) == use_case else None


def follow(place: Place, use_case: str = USE_CASE) -> str | None:
    """Switch the service that runs here to the champion; returns the release's id, None when there was nothing to switch."""
    champion = behind(place, use_case)
    if champion is None:
        return None
    serve(place, champion)
    return champion.id


@contextmanager
def _switching(place: Place) -> Iterator[None]:
    """Hold the one switch of services at a time. ConflictError when another does not end."""
    try:
        with FileLock(place.settings.home / "service.lock", timeout=2 * SERVICE_SECONDS):
            yield
    except Timeout as fault:
        raise ConflictError(
            "another process is switching the service and does not end; look at `counterfoil status`"
        ) from fault


def _prove(place: Place, release: Release) -> None:
    """Check the bento's bytes, and parse it and ask its golden rows in a child. IntegrityError when any of it fails."""
    from bentos.bundle import open_bundle
    from bentos.startup import await_probe, start_probe

    opened = open_bundle(bento_folder(place, release.tag))
    if opened.tag != release.tag:
        raise IntegrityError(
            f"{opened.path} is {opened.tag}, but {release.id} names {release.tag}; package the bento again"
        )
    await_probe(start_probe(opened), opened)


def _start(place: Place, release: Release, port: int) -> Running:
    """Point to a release and start its service; one that does not come up is stopped. UnavailableError then."""
    processes = Processes(place.settings.home)
    pointer = place.settings.home / FILE
    write_durably(
        pointer, orjson.dumps({"release": release.id, "epoch": release.epoch, "bento": release.tag})
    )
    command = [sys.executable, "-m", "bentos.serve", "--bento", str(bento_folder(place, release.tag))]
    started = processes.start(
        "service",
        [*command, "--release-file", str(pointer), "--port", str(port)],
        url=f"http://127.0.0.1:{port}",
        detail=release.id,
        env=settings.of_children(place.settings),
    )
    try:
        processes.await_answer(started, "/readyz", SERVICE_SECONDS, lambda answer: _is(answer, release))
    except UnavailableError:
        processes.stop("service")
        raise
    return started


def _is(answer: httpx.Response, release: Release) -> bool:
    return answer.status_code == 200 and answer.json()["release"] == release.id


def _replace(place: Place, before: Release, release: Release, port: int | None) -> Running:
    """Start a release where another one served until now, or that one again. UnavailableError in the latter case."""
    port = port or place.settings.service_port
    try:
        return _start(place, release, port)
    except (UnavailableError, ConflictError) as fault:
        reason = " / ".join(str(fault).splitlines())
    _start(place, before, port)
    raise UnavailableError(
        f"{release.id} does not come up, so {before.id} serves again ({reason}); mend that, then run `counterfoil up`"
    )


def down(place: Place) -> dict[str, bool]:
    """Stop exactly what `up` started; returns what was running."""
    processes = Processes(place.settings.home)
    return {name: processes.stop(name) for name in NAMES}


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
        "console": {"url": running["console"].url if "console" in running else None},
    }


def schedule(place: Place) -> str:
    """Register the deployments of prefect.yaml with the Prefect server; returns what Prefect said."""
    _prefect("work-pool", "create", POOL, "--type", "process", "--overwrite")
    return _prefect("--no-prompt", "deploy", "--all", cwd=place.settings.project)


def trigger(server: str) -> None:
    """Start a run of the nightly deployment now, on the Prefect server of that address. UnavailableError when it refuses."""
    settings.use_prefect(server + "/api")
    _prefect("deployment", "run", NIGHTLY)


def _server(place: Place, processes: Processes) -> Running:
    port = place.settings.prefect_port
    command = [_bin("prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    env = settings.of_children(place.settings)
    started = processes.start("prefect-server", command, url=f"http://127.0.0.1:{port}", env=env)
    processes.await_answer(started, "/api/health", SERVER_SECONDS, lambda answer: answer.status_code == 200)
    return started


def _worker(place: Place, processes: Processes) -> Running:
    command = [_bin("prefect"), "worker", "start", "--pool", POOL, "--name", "counterfoil-local"]
    env = settings.of_children(place.settings)
    return processes.start("prefect-worker", command, url="http://127.0.0.1", detail=POOL, env=env)


def _console(place: Place, processes: Processes) -> Running:
    """Start the console, a process that this room knows by its name alone. UnavailableError when it does not come up."""
    port = place.settings.console_port
    command = [sys.executable, "-m", "counterfoil.console", "--port", str(port)]
    env = settings.of_children(place.settings)
    started = processes.start("console", command, url=f"http://127.0.0.1:{port}", detail="pages", env=env)
    Path(started.log).chmod(0o600)  # it will hold the link of the first login
    try:
        processes.await_answer(started, "/healthz", CONSOLE_SECONDS, lambda answer: answer.status_code == 200)
    except UnavailableError:
        processes.stop("console")
        raise
    return started


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
