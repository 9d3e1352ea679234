"""The supervisor's process: one pass every half second until SIGTERM or SIGINT. What it started goes on without it."""

import argparse
import logging
import sys
import threading
from collections.abc import Sequence

from filelock import FileLock, Timeout

from counterfoil.errors import CounterfoilError
from counterfoil.types import Rollout, UseCase
from flows import machine
from flows.place import Place, open_place
from flows.supervisor.keeper import PULSE, Keeper
from flows.supervisor.making import case_of, judging_of, keeper_of
from flows.supervisor.process import beside, table_of, until_ended
from flows.supervisor.wanted import Wanted

log = logging.getLogger(__name__)
EVERY_SECONDS = 0.5


def main(arguments: Sequence[str] | None = None) -> None:
    """Watch over one use case; exit with the error's code when that cannot begin."""
    parser = argparse.ArgumentParser(prog="flows.supervisor", description=__doc__)
    parser.add_argument("--use-case", default="recommendation")
    options = parser.parse_args(arguments)
    over = until_ended()
    try:
        watch(open_place(), options.use_case, over)
    except CounterfoilError as fault:
        sys.stderr.write(f"{fault}\n")
        sys.exit(fault.exit_code)
    except Timeout:
        sys.stderr.write("another supervisor watches over this home; look at `counterfoil status`\n")
        sys.exit(4)


def watch(place: Place, use_case: str, over: threading.Event, case: UseCase | None = None) -> None:
    """Make passes until it is over. `case` is the use case where it is none of those that are registered.

    Timeout when another supervisor watches over this home already.
    """
    place.settings.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(place.settings.run / PULSE, timeout=1):
        keeper = keeper_of(place)
        case = case or case_of(use_case)
        rollout = None if case is None else case.rollout
        beside(place, None if case is None else judging_of(place, keeper, case), over)
        known: Wanted | None = None
        while not over.is_set():
            known = one_pass(place, keeper, use_case, rollout, known)
            (place.settings.run / PULSE).touch()
            over.wait(EVERY_SECONDS)


def one_pass(
    place: Place, keeper: Keeper, use_case: str, rollout: Rollout | None, known: Wanted | None
) -> Wanted | None:
    """Make one pass; whatever fails is said and tried again. While the catalog is down, what was known last is kept up."""
    known = table_of(place, use_case, rollout, known)
    try:
        with FileLock(place.settings.home / machine.LOCK, timeout=0):
            keeper.keep(known)
    except Timeout:
        pass  # somebody holds what runs here still for a moment
    except (CounterfoilError, OSError) as fault:
        log.warning("a pass was cut off: %s", fault)
    return known


if __name__ == "__main__":
    main()
