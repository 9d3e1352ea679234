"""The command line: composition root. Every command is one call; what it prints is in counterfoil/terminal.py.

Heavy libraries are imported by the calls, not here, so that `counterfoil --help` is quick. A module per part of the work:
each adds its commands to the trunk when it is imported, and they are listed in that order.
"""

import atexit
import sys
from typing import Any

import typer

from counterfoil import settings, terminal
from counterfoil.cli import (
    cluster,
    data,
    keys,
    learn,
    ledger,
    loop,
    merchandise,
    pages,
    people,
    proof,
    reach,
    standards,
    steer,
)
from counterfoil.cli.app import app
from counterfoil.errors import CounterfoilError, InputError

__all__ = [
    "app",
    "cluster",
    "data",
    "keys",
    "learn",
    "ledger",
    "loop",
    "main",
    "merchandise",
    "pages",
    "people",
    "proof",
    "reach",
    "standards",
    "steer",
]


def main() -> None:
    """Run the command line; one sentence and the error's exit code when it fails, whatever was raised."""
    as_json = "--json" in sys.argv
    atexit.register(terminal.end_quietly)
    try:
        settings.load()
        ended = app(standalone_mode=False)
        terminal.flush()  # here, where it can still be said that there was no room for it
        if isinstance(
            ended, int
        ):  # what `typer.Exit` was raised with: outside standalone mode it is returned
            sys.exit(ended)
    except CounterfoilError as fault:
        sys.exit(terminal.fail(fault, as_json))
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except typer.Abort:
        sys.exit(130)
    except Exception as fault:
        if (
            isinstance(fault, BrokenPipeError) and terminal.unread()
        ):  # who read has seen enough, as `head` does
            terminal.end_silently()
            sys.exit(1)
        if type(fault).__module__.startswith(("click", "typer")) and hasattr(fault, "format_message"):
            sys.exit(_usage(fault, as_json))
        from counterfoil import unexpected

        sys.exit(unexpected.end(fault, as_json))


def _usage(fault: Any, as_json: bool) -> int:
    return terminal.fail(InputError(f"{fault.format_message()}; see `counterfoil --help`"), as_json)
