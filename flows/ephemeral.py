"""The Prefect server that a run at a terminal starts for itself: what a killed run left of it is ended and told so.

Prefect stops its own server when the run ends, but not when the run is killed: the server would stay for good, and the run
would be called running for ever. Not here: the server of `counterfoil up`, which is nobody's child.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil

from counterfoil.files import write_durably
from counterfoil.processes import end, lives

APP = "prefect.server.api.server:create_app"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ephemeral:
    """A run and its server, each by process id and moment of creation."""

    run: int
    run_created: float
    server: int
    server_created: float


def remember(home: Path) -> None:
    """Write down which server this process has started, if it has."""
    us = psutil.Process()
    servers = [child for child in us.children() if APP in " ".join(child.cmdline())]
    if servers:
        started = Ephemeral(
            run=us.pid,
            run_created=us.create_time(),
            server=servers[0].pid,
            server_created=servers[0].create_time(),
        )
        write_durably(_path(home), orjson.dumps(asdict(started)))


def end_orphan(home: Path) -> bool:
    """End the server of a run that was killed; True when there was one. A server whose run lives is left alone."""
    try:
        left = Ephemeral(**orjson.loads(_path(home).read_bytes()))
    except (OSError, ValueError, TypeError):
        return False
    if lives(left.run, left.run_created) or not lives(left.server, left.server_created):
        return False
    end(left.server)
    return True


def close_dead_runs(name: str) -> int:
    """Call crashed what is still called running among the runs of this flow whose names begin so; returns how many.

    To be called inside a flow run by whoever holds the one turn: nobody else can be running then. On a server of our own only;
    a server that others use has an automation for that.
    """
    from prefect.client.orchestration import ServerType, get_client
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType
    from prefect.runtime import flow_run
    from prefect.states import Crashed

    state = filters.FlowRunFilterStateType(any_=[StateType.RUNNING])
    running = filters.FlowRunFilter(
        state=filters.FlowRunFilterState(type=state), name=filters.FlowRunFilterName(like_=name)
    )
    ours = filters.FlowFilter(name=filters.FlowFilterName(any_=[str(flow_run.flow_name)]))
    with get_client(sync_client=True) as client:
        if client.server_type != ServerType.EPHEMERAL:
            return 0
        found = client.read_flow_runs(flow_filter=ours, flow_run_filter=running)
        dead = [run for run in found if str(run.id) != str(flow_run.id) and run.name.startswith(name)]
        for run in dead:
            crashed: Any = Crashed(message="Its process was killed; a later run went on.")
            client.set_flow_run_state(run.id, crashed, force=True)
    return len(dead)


def _path(home: Path) -> Path:
    return home / "prefect" / "ephemeral.json"
