"""Collect events: `python -m bentos.collector --port N`."""

import argparse
from collections.abc import Sequence
from contextlib import closing

import uvicorn

from bentos import inner, logs
from bentos.collector.apart import Apart
from bentos.collector.app import Collector, create
from counterfoil import settings

KEEP_ALIVE_SECONDS = 620  # longer than who is in front keeps a connection: what is under way is not cut off


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and serve until told to end."""
    parser = argparse.ArgumentParser(prog="bentos.collector", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args(arguments)
    logs.begin()
    current = settings.load()
    with closing(Apart()) as writer:
        uvicorn.run(
            create(lambda: (Collector(current, writer.connect), inner.make_token(current.run))),
            host=options.host,
            port=options.port,
            http="httptools",
            loop="uvloop",
            access_log=False,
            log_level="warning",
            server_header=False,
            date_header=False,
            lifespan="on",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=10,
        )


if __name__ == "__main__":
    main()
