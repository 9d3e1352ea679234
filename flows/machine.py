"""What `up` starts on this machine: Prefect server and worker, the supervisor of all that answers, the console."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import psutil
from filelock import FileLock, Timeout

from bentos import inner
from bentos import routes as routes_file
from bentos.release import FILE, read
from bentos.routes import Routes
from counterfoil import settings
from counterfoil.errors import ConflictError, CounterfoilError, UnavailableError
from counterfoil.files import write_durably
from counterfoil.processes import Processes, Running
from counterfoil.terminal import Stages
from counterfoil.types import Release
from flows.place import Place

POOL = "counterfoil"
NIGHTLY = "advance/nightly"
SERVER_SECONDS = 120.0
SERVICE_SECONDS = 120.0
CONSOLE_SECONDS = 60.0
USE_CASE = "recommendation"
PREFIX = "service-"
SUPERVISOR = "supervisor"
LOCK = "service.lock"
ON_CLUSTER = (
    "cluster"  # says the use case that a cluster follows (flows/cluster/), and is touched in each pass
)
PASS_SECONDS = 180.0  # after which there is no such one: a pass may wait for the cluster
CLUSTER_SECONDS = 300.0  # in which pods come up and gateways have new routes
# In the order in which they are stopped: services after all that asks them, and that starts them again.
BEFORE = ("console", SUPERVISOR, "gateway", "collector")
AFTER = ("prefect-worker", "prefect-server")


def up(place: Place, stages: Stages) -> dict[str, Any]:
    """Start what is not running, and wait until the champion answers through all that stands in front of it."""
    processes = Processes(place.settings.home)
    with stages.stage("prefect", "server"):
        server = processes.running().get("prefect-server") or _server(place, processes)
    settings.use_prefect(server.url + "/api")
    if "prefect-worker" not in processes.running():
        with stages.stage("prefect", "deployments"):
            schedule(place)
        with stages.stage("prefect", "worker"):
            _worker(place, processes)
    supervise(place)
    champion = place.catalog.champion(USE_CASE)
    if champion is not None:
        with stages.stage("service", champion.tag):
            await_routes(place, USE_CASE)
    if "console" not in processes.running():
        with stages.stage("console"):
            _console(place, processes)
    return status(place)


def supervise(place: Place, use_case: str = USE_CASE) -> Running:
    """Start the supervisor, or return the one that runs."""
    processes = Processes(place.settings.home)
    running = processes.running().get(SUPERVISOR)
    if running is not None:
        return running
    command = [sys.executable, "-m", "flows.supervisor", "--use-case", use_case]
    env = settings.of_children(place.settings)
    return processes.start(SUPERVISOR, command, url="http://127.0.0.1", detail=use_case, env=env)


def await_routes(place: Place, use_case: str, seconds: float = SERVICE_SECONDS) -> Routes:
    """Wait until champion and challenger of the release table answer. UnavailableError when that takes too long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        routes = routed(place)
        if routes is not None and _whole(place, use_case, routes):
            return routes
        if SUPERVISOR not in Processes(place.settings.home).running():
            break
        time.sleep(0.1)
    raise UnavailableError(
        f"the releases of {use_case} do not answer yet: {_ends(place)}; mend that, or go back with `counterfoil rollback`"
    )


def routed(place: Place) -> Routes | None:
    """Return who answers now, by the routes that the supervisor wrote; None without any."""
    return routes_file.held(place.settings.run / routes_file.FILE)


def trouble(place: Place) -> dict[str, str]:
    """Return what does not come up, by bento or by the name of a process, as the supervisor said it last."""
    from flows.supervisor.keeper import TROUBLE

    try:
        told: dict[str, str] = orjson.loads((place.settings.run / TROUBLE).read_bytes())
    except (OSError, ValueError):
        return {}
    return told


def _whole(place: Place, use_case: str, routes: Routes) -> bool:
    """Say whether the routes are those of the release table, the gateway here has taken them, and whom they name answers.

    Routes outlive `down`: they may name who does not run yet.
    """
    from flows.supervisor.making import keeper_of

    if not _as_released(place, use_case, routes):
        return False
    keeper = keeper_of(place)
    named = [route for route in (routes.champion, routes.challenger) if route is not None]
    told = [keeper.world.ask(route.url, "/readyz") or {} for route in named]
    return all(
        one.get("release") == route.release for one, route in zip(told, named, strict=True)
    ) and keeper.taken(routes)


def _as_released(place: Place, use_case: str, routes: Routes) -> bool:
    """Say whether routes name the champion and the challenger of the release table."""
    champion, challenger = place.catalog.champion(use_case), place.catalog.challenger(use_case)
    named = None if routes.challenger is None else routes.challenger.release
    wanted = None if challenger is None else challenger.id
    return champion is not None and routes.champion.release == champion.id and named == wanted


def _ends(place: Place) -> str:
    """Return the last lines of the logs of what should answer, as one sentence."""
    folder = place.settings.home / "logs"
    logs = sorted(folder.glob("service-*.log"), key=lambda path: path.stat().st_mtime, reverse=True)
    said = []
    for path in (*logs[:1], folder / f"{SUPERVISOR}.log"):
        if path.is_file():
            said += [
                f"{path.name} ends with: {line}"
                for line in path.read_text(errors="replace").splitlines()[-1:]
            ]
    return " / ".join(said) or "nothing was logged"


def serve(place: Place, release: Release, port: int | None = None) -> Running:
    """Have the service of a release, without a gateway and beside whatever else runs; returns it when it is ready.

    UnavailableError when it does not come up; it says why.
    """
    from flows.supervisor.making import services_of
    from flows.supervisor.world import world_of

    services = services_of(place, world_of(place.settings), port)
    until = time.monotonic() + SERVICE_SECONDS
    with still(place):
        while time.monotonic() < until:
            process = services.ready(release)
            if process is not None:
                return process
            trouble = services.failed(release)
            if trouble is not None and trouble.times and not services.processes_of(release):
                break
            time.sleep(0.1)
    for name in services.processes_of(release):
        Processes(place.settings.home).stop(name)
    raise UnavailableError(f"{release.id} does not come up: {_ends(place)}; mend that, then run this again")


def services(place: Place) -> list[tuple[Running, Release]]:
    """Return the services that run here, each with the release that it answers as."""
    found = []
    for name, process in Processes(place.settings.home).running().items():
        pointer = place.settings.run / name / FILE
        if name.startswith(PREFIX) and pointer.is_file():
            release = place.catalog.get(read(pointer).release)
            assert isinstance(release, Release)
            found.append((process, release))
    return found


def answerers(process: Running) -> int:
    """Return how many processes answer in a service, but for the one that has the processor when nobody wants it."""
    try:
        service = psutil.Process(process.pid)
        # forked, not begun anew: what they were called with is what it was
        forked = [one for one in service.children() if one.cmdline() == service.cmdline()]
    except (psutil.Error, OSError):
        return 0
    return sum(not _idle(one.pid) for one in forked)


def _idle(pid: int) -> bool:
    try:
        # where that policy is not allowed it is as nice as can be (bentos/answerers.py)
        return os.sched_getscheduler(pid) == os.SCHED_IDLE or os.getpriority(os.PRIO_PROCESS, pid) == 19
    except (AttributeError, OSError):  # not on this platform, or it has ended
        return False


def inside(place: Place) -> dict[str, str]:
    """Return the header by which a service lets in who does not come through the gateway."""
    return {inner.TOKEN: inner.make_token(place.settings.run)}


def behind(place: Place, use_case: str) -> Release | None:
    """Return the champion of a use case that should answer here, but does not yet; None when all is well, or nothing runs."""
    champion = place.catalog.champion(use_case)
    if champion is None or not (_supervised(place, use_case) or on_cluster(place, use_case)):
        return None
    routes = routed(place)
    return None if routes is not None and routes.champion.release == champion.id else champion


def follow(place: Place, use_case: str = USE_CASE) -> str | None:
    """Wait until what runs here answers as the release table says; returns the champion's release, None when nothing runs.

    UnavailableError when it does not within two minutes, on a cluster five: what answered before goes on meanwhile.
    """
    if place.catalog.champion(use_case) is None:
        return None
    if on_cluster(place, use_case):
        return _await_cluster(place, use_case)
    return await_routes(place, use_case).champion.release if _supervised(place, use_case) else None


def _supervised(place: Place, use_case: str) -> bool:
    running = Processes(place.settings.home).running().get(SUPERVISOR)
    return running is not None and running.detail == use_case


def on_cluster(place: Place, use_case: str | None = None) -> bool:
    """Say whether a cluster follows the release table of this home, of this use case: somebody makes passes for it."""
    path = place.settings.run / ON_CLUSTER
    try:
        followed = time.time() - path.stat().st_mtime < PASS_SECONDS
        return followed and (use_case is None or path.read_text() == use_case)
    except OSError:
        return False


def mark_cluster(place: Place, use_case: str) -> None:
    """Leave a mark that a cluster follows a use case, by this machine's clock."""
    path, now = place.settings.run / ON_CLUSTER, time.time()
    if not path.is_file() or path.read_text() != use_case:
        write_durably(path, use_case.encode())
    os.utime(path, (now, now))


def _await_cluster(place: Place, use_case: str) -> str:
    until = time.monotonic() + CLUSTER_SECONDS
    while time.monotonic() < until:
        routes = routed(place)  # as every gateway has them
        if routes is not None and _as_released(place, use_case, routes):
            return routes.champion.release
        time.sleep(0.5)
    said = "; ".join(trouble(place).values()) or "look at `kubectl get pods -n counterfoil`"
    raise UnavailableError(f"the cluster does not answer as released yet: {said}")


def answering(place: Place) -> bool:
    """Say whether a gateway runs here."""
    return "gateway" in Processes(place.settings.home).running()


@contextmanager
def still(place: Place) -> Iterator[None]:
    """Let nobody else start or stop services meanwhile. ConflictError when somebody else does and does not end."""
    try:
        with FileLock(place.settings.home / LOCK, timeout=2 * SERVICE_SECONDS):
            yield
    except Timeout as fault:
        raise ConflictError(
            "another process holds the services and does not end; look at `counterfoil status`"
        ) from fault


def down(place: Place) -> dict[str, bool]:
    """Stop exactly what `up` started; returns what was running."""
    processes = Processes(place.settings.home)
    stopped = {name: processes.stop(name) for name in BEFORE}
    services = {name: processes.stop(name) for name in sorted(processes.running()) if name.startswith(PREFIX)}
    return {**stopped, **services, **{name: processes.stop(name) for name in AFTER}}


def status(place: Place) -> dict[str, Any]:
    """Return what runs here and where, who is champion, and who challenges."""
    from flows.supervisor.judging import last_ruling

    running = Processes(place.settings.home).running()
    champion, challenger = place.catalog.champion(USE_CASE), place.catalog.challenger(USE_CASE)
    routes = routed(place)
    urls = {one.url for one in running.values()}
    here = routes is not None and (routes.champion.url in urls or on_cluster(place))
    ruling = last_ruling(place.settings.run)
    judged = {one.id for one in (champion, challenger) if one is not None}
    return {
        "processes": [_process(place, one) for one in running.values()],
        "trouble": trouble(place),
        "ruling": None if ruling is None or ruling.get("release") not in judged else ruling,
        "champion": None if champion is None else _told(champion),
        "challenger": None if challenger is None else _told(challenger),
        "answers": None
        if routes is None or not here
        else {
            "epoch": routes.epoch,
            "champion": routes.champion.release,
            "challenger": None if routes.challenger is None else routes.challenger.release,
        },
        "gateway": {"url": running["gateway"].url if "gateway" in running else None},
        "collector": {"url": running["collector"].url if "collector" in running else None},
        "service": {"url": routes.champion.url if routes is not None and here else None},
        "console": {"url": running["console"].url if "console" in running else None},
    }


def _process(place: Place, one: Running) -> dict[str, Any]:
    """Return what there is to say of a process; of a service also as which release it answers, and by how many processes."""
    told = {"name": one.name, "pid": one.pid, "url": one.url, "serves": one.detail, "log": one.log}
    if not one.name.startswith(PREFIX):
        return told
    try:
        release: str | None = read(place.settings.run / one.name / FILE).release
    except CounterfoilError:
        release = None
    return {**told, "release": release, "answerers": answerers(one)}


def _told(release: Release) -> dict[str, Any]:
    return {
        "release": release.id,
        "epoch": release.epoch,
        "bento": release.tag,
        "stage": release.stage,
        "share": release.share,
        "since": release.valid_from,
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
