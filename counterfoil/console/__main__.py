"""`python -m counterfoil.console --port N`: the process that `counterfoil up` starts."""

import argparse
import sys

from counterfoil import terminal
from counterfoil.errors import CounterfoilError


def main() -> int:
    """Serve the console of the installation that the settings name; an error is one sentence and its exit code."""
    parser = argparse.ArgumentParser(prog="python -m counterfoil.console")
    parser.add_argument("--port", type=int, default=None)
    asked = parser.parse_args()
    try:
        from counterfoil.console.serve import serve, show
        from flows.place import open_place

        place = open_place()
        serve(place, asked.port or place.settings.console_port, show)
    except CounterfoilError as fault:
        return terminal.fail(fault, as_json=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
