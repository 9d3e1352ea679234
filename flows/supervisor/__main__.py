"""The supervisor's process: one pass every half second until SIGTERM or SIGINT. What it started goes on without it."""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence

from filelock import FileLock, Timeout

from counterfoil.errors import CounterfoilError
from counterfoil.types import Rollout, UseCase
from flows import machine
from flows.place import Place, open_place
from flows.supervisor import sweeping
from flows.supervisor.keeper import PULSE, Keeper
from flows.supervisor.making import case_of, judging_of, keeper_of
from flows.supervisor.outbox import Outbox
from flows.supervisor.wanted import Wanted, wanted

log = logging.getLogger(__name__)
EVERY_SECONDS = 0.5


def main(arguments: Sequence[str] | None = None) -> None:
    """Watch over one use case; exit with the error's code when that cannot begin."""
    parser = argparse.ArgumentParser(prog="flows.supervisor", description=__doc__)
    parser.add_argument("--use-case", default="recommendation")
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
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
        outbox = Outbox(catalog=place.catalog, places=place.settings.release_places)
        threading.Thread(target=outbox.run, args=(over,), daemon=True).start()
        threading.Thread(target=sweeping.run, args=(place.settings, over), daemon=True).start()
        case = case or case_of(use_case)
        rollout = None if case is None else case.rollout
        if case is not None:
            judging = judging_of(place, keeper, case)
            threading.Thread(target=judging.run, args=(over,), daemon=True).start()
        known: Wanted | None = None
        while not over.is_set():
            known = one_pass(place, keeper, use_case, rollout, known)
            (place.settings.run / PULSE).touch()
            over.wait(EVERY_SECONDS)


def one_pass(
    place: Place, keeper: Keeper, use_case: str, rollout: Rollout | None, known: Wanted | None
) -> Wanted | None:
    """Make one pass; whatever fails is said and tried again. While the catalog is down, what was known last is kept up."""
    try:
        known = wanted(place, use_case, rollout, known=known) or known
    except CounterfoilError as fault:
        log.warning("the release table cannot be read: %s", fault)
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
