"""The child process that parses a bento before the serving process does, so that a crash or a hang costs nothing.

It ends by itself when it takes too long, also when nobody waits for it any more.
"""

import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bentos import startup
from bentos.bundle import open_bundle
from counterfoil.errors import CounterfoilError

# More than the parent waits (`startup.PARSE_SECONDS`, from a moment that may be seconds later): it ends the child and says why.
LIMIT_SECONDS = 90


def main(arguments: Sequence[str]) -> None:
    """Parse the bento of that path and check its golden rows; exit 0 only when all is well."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # by the kernel, also within a native parser
    signal.alarm(LIMIT_SECONDS)  # a parent that was killed ends nothing
    try:
        startup.parse(open_bundle(Path(arguments[0])), loops=False)
    except CounterfoilError as fault:
        sys.exit(f"{fault}")
