"""The gateway's process: `python -m bentos.gateway`. It ends on SIGTERM, once what it has taken is answered."""

import asyncio
import contextlib
import logging
import resource
import signal
import sys

from bentos import inner, logs
from bentos.gateway.app import Gateway
from bentos.gateway.door import Doors, Limits
from counterfoil import settings
from counterfoil.errors import CounterfoilError, UnavailableError
from counterfoil.settings import Settings

log = logging.getLogger(__name__)
BACKLOG = 1024
FILES = 4096  # connections of callers, to services, and what else is open


async def serve(current: Settings) -> None:
    """Serve until SIGTERM or SIGINT. ConfigError or UnavailableError when that cannot begin."""
    gateway = Gateway(current, inner.read_token(current.run))
    gateway.admission.require_some()
    gateway.look()
    doors = Doors(gateway.handle, Limits(), gateway.wanted)
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, ended.set)
    try:
        server = await loop.create_server(
            doors.door, current.gateway_host, current.gateway_port, backlog=BACKLOG
        )
    except OSError as fault:
        raise UnavailableError(
            f"the gateway cannot listen on {current.gateway_host}:{current.gateway_port} ({fault.strerror or fault});"
            " end what does, or set COUNTERFOIL_GATEWAY_PORT"
        ) from fault
    tasks = [
        loop.create_task(work)
        for work in (doors.sweep(), gateway.watch(), gateway.copies.run(), gateway.last_good.run())
    ]
    await ended.wait()
    gateway.draining = True
    server.close()
    await doors.drain(current.gateway_drain_seconds)
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    gateway.close()


def main() -> None:
    """Read the settings and serve; exit with the error's code and its sentence when that cannot be."""
    logs.begin(logging.INFO)
    try:
        current = settings.load()
        allow_files()
        _run(current)
    except CounterfoilError as fault:
        sys.stderr.write(f"{fault}\n")
        sys.exit(fault.exit_code)


def allow_files() -> None:
    """Let this process hold more files than the 1,024 of many systems: else accepting fails before the door is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _run(current: Settings) -> None:
    try:
        import uvloop
    except ImportError:  # not on every platform
        asyncio.run(serve(current))
    else:
        uvloop.run(serve(current))


if __name__ == "__main__":
    main()
