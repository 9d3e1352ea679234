"""Serve one bento in the foreground: `python -m bentos.serve --bento PATH --release-file PATH --port N`.

This launcher checks the bento with the installed code, then becomes the worker, which runs the code in the bento.
"""

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import orjson

from bentos import release
from bentos.bundle import open_bundle
from bentos.startup import command
from counterfoil import settings
from counterfoil.errors import CounterfoilError, IntegrityError, UnavailableError


def serve(
    bento: Path,
    released: dict[str, Any],
    port: int,
    host: str = "127.0.0.1",
    *,
    release_file: Path | None = None,
) -> NoReturn:
    """Check the bento and the release pointer, then become the serving process; the process id stays.

    A worker that can (that of an older bento cannot) reads `release_file` anew when it changes. IntegrityError when a byte is not
    what was packaged, or the release names another bento.
    """
    bento = bento.resolve()
    pointed = release.pointer(released)
    opened = open_bundle(bento)
    if opened.tag != pointed.bento:
        raise IntegrityError(
            f"{bento} is {opened.tag}, but the release names {pointed.bento}; name the bento of the release"
        )
    environment = settings.of_children(settings.load())
    _require_free(host, port)
    arguments = ["--bento", str(bento), "--release", orjson.dumps(released).decode()]
    if release_file is not None and "--release-file" in (bento / "src" / "bentos" / "worker.py").read_text():
        arguments += [
            "--release-file",
            str(release_file.absolute()),
        ]  # a ConfigMap's link leads elsewhere later
    line = command(bento / "src", "worker", [*arguments, "--host", host, "--port", str(port)])
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(line[0], line, environment)


def _require_free(host: str, port: int) -> None:
    """See that the port can be listened on, before seconds are spent on the bento. UnavailableError when it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as fault:
            raise UnavailableError(
                f"port {port} of {host} cannot be listened on ({fault}); name another one"
            ) from fault


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and serve; exit with the error's code when the bento may not be served."""
    parser = argparse.ArgumentParser(prog="bentos.serve", description=__doc__)
    parser.add_argument("--bento", type=Path, required=True, help="folder of the bento")
    parser.add_argument("--release-file", type=Path, required=True, help="JSON with release, epoch and bento")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args(arguments)
    try:
        pointed = release.read(options.release_file)
        serve(
            options.bento,
            {"release": pointed.release, "epoch": pointed.epoch, "bento": pointed.bento},
            options.port,
            options.host,
            release_file=options.release_file,
        )
    except CounterfoilError as fault:
        sys.stderr.write(f"{fault}\n")
        sys.exit(fault.exit_code)


if __name__ == "__main__":
    main()
