"""The serving process: the application of a bento, run with the code in that bento, under uvicorn."""

import argparse
import gc
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import orjson

import bentos
from bentos import logs, release
from bentos.answerers import Answerers, can_fork
from bentos.front import Answering, InThread
from bentos.recommend.app import Serving, begin, create
from bentos.recommend.person import People
from bentos.seam import Seam
from bentos.startup import settle
from counterfoil import settings
from counterfoil.errors import CounterfoilError, IntegrityError
from models.blas import one_thread_from_now_on


def main(arguments: Sequence[str]) -> None:
    """Serve until SIGTERM or SIGINT; exit with the error's code when the bento may not be served."""
    parser = argparse.ArgumentParser(prog="bentos.worker")
    parser.add_argument("--bento", type=Path, required=True)
    parser.add_argument("--release", type=orjson.loads, required=True)
    parser.add_argument("--release-file", type=Path, help="read anew when it changes")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(arguments)
    gc.disable()  # until `settle`: what is imported and compiled now stays
    logs.begin()
    try:
        serving = start(options.bento, release.pointer(options.release), options.release_file)
    except CounterfoilError as fault:
        sys.stderr.write(f"{fault}\n")
        sys.exit(fault.exit_code)
    run(serving, options.host, options.port)


def start(bento: Path, released: release.Released, release_file: Path | None = None) -> Serving:
    """Begin to serve the bento. IntegrityError when this code is not the bento's own."""
    from feature_repo.online import OnlineFeatures

    ours = Path(bentos.__file__).resolve().parent.parent
    if ours != (bento / "src").resolve():
        raise IntegrityError(f"the code that runs lies in {ours}, not in {bento}; start it by `bentos.serve`")
    current = settings.load()
    people = People(lambda: OnlineFeatures(current))
    return begin(
        bento,
        released,
        current,
        people,
        release_file=release_file,
        answering=lambda seam, flow: answering(seam, flow.people, current.answerers),
    )


def answering(seam: Seam, people: People, processes: int) -> Answering:
    """Return who computes the answers: so many processes, or (0, and where none can be forked) a thread of this one."""
    settle()
    if not processes or not can_fork():
        return InThread(seam)

    def first() -> None:
        seam.flows["recommend"](b'{"n": 10}', datetime.now(UTC))

    def begun() -> None:
        one_thread_from_now_on()
        people.again()
        first()

    first()  # here too: what the first answer makes is shared by all
    return Answerers(seam.make, processes, begun, seam.receipts.settle, seam.receipts.close)


def run(serving: Serving, host: str, port: int) -> None:
    """Run uvicorn in the foreground."""
    import uvicorn

    uvicorn.run(
        create(lambda: serving),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody stands in front of it but the gateway
        limit_concurrency=512,
        timeout_graceful_shutdown=10,
    )
