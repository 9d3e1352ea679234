"""The child process that parses a bento before the serving process does, so that a crash or a hang costs nothing."""

import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from bentos import startup
from bentos.bundle import open_bundle
from counterfoil.errors import CounterfoilError


def main(arguments: Sequence[str]) -> None:
    """Parse the bento of that path and check its golden rows; exit 0 only when all is well."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        startup.parse(open_bundle(Path(arguments[0])), loops=False)
    except CounterfoilError as fault:
        sys.exit(f"{fault}")
