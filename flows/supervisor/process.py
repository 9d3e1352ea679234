"""What a process that makes something follow the release table is made of, on one machine and on a cluster."""

import logging
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial

from counterfoil.errors import CounterfoilError
from counterfoil.types import Rollout
from flows.place import Place
from flows.supervisor import sweeping
from flows.supervisor.judging import Judging
from flows.supervisor.outbox import Outbox
from flows.supervisor.wanted import Wanted, wanted

log = logging.getLogger(__name__)


def until_ended() -> threading.Event:
    """Log what matters to standard error; return what is set at SIGTERM and SIGINT."""
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    return over


def beside(place: Place, judging: Judging | None, over: threading.Event) -> None:
    """Judge, where there is somebody to, tell webhooks and sweep, each in a thread of its own, until it is over."""
    outbox = Outbox(catalog=place.catalog, places=place.settings.release_places)
    runs: list[Callable[[threading.Event], None]] = [outbox.run, partial(sweeping.run, place.settings)]
    for run in runs if judging is None else [*runs, judging.run]:
        threading.Thread(target=run, args=(over,), daemon=True).start()


def table_of(place: Place, use_case: str, rollout: Rollout | None, known: Wanted | None) -> Wanted | None:
    """Return what the release table wants; what was known last while the catalog is down."""
    try:
        return wanted(place, use_case, rollout, known=known) or known
    except CounterfoilError as fault:
        log.warning("the release table cannot be read: %s", fault)
        return known
