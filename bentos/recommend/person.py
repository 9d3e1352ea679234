"""The person side of a request: one wide view from the online store, within a deadline, or word that there is none.

Whatever goes wrong out there is an answer without history here, never a failed request.
"""

import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np

log = logging.getLogger(__name__)
DEADLINE_SECONDS = 0.25
PAUSE_SECONDS = 2.0
GONE = "the online store does not answer: answered without this person's history"


class View(Protocol):
    """What the online store says of a person: features, and the latest history, oldest first."""

    features: Mapping[str, float | None]
    history_items: Any
    history_times_us: Any
    history_quantities: Any
    event_time: datetime | None
    expired: Any


class Online(Protocol):
    """The online store's one question."""

    def person(self, pseudonym: str, now: datetime) -> View | None:
        """Return the view of a pseudonym as it may be used at `now`; None for somebody unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Who asks, as far as it is known: index-free arrays, and what is wrong with them."""

    features: Mapping[str, float | None]
    item_ids: list[str]
    time_us_N: np.ndarray  # int64
    quantity_N: np.ndarray  # float32
    event_time: datetime | None
    degraded: tuple[str, ...] = ()


class People:
    """Look people up; after a failure or a late answer, leave the store alone for two seconds."""

    def __init__(self, online: Online, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self.online, self.deadline_seconds = online, deadline_seconds
        self._asking = ThreadPoolExecutor(4, thread_name_prefix="online-store")
        self._paused_until = 0.0

    def find(self, pseudonym: str | None, now: datetime) -> Person:
        """Return what is known of a pseudonym at `now`; nobody (None) and unknown people have no history."""
        if pseudonym is None:
            return nobody()
        if time.monotonic() < self._paused_until:
            return nobody(GONE)
        try:
            view = self._asking.submit(self.online.person, pseudonym, now).result(self.deadline_seconds)
        except Late:
            log.warning("the online store took longer than %g s", self.deadline_seconds)
        except Exception:  # whatever a store's client may raise: the answer degrades and says so
            log.exception("the online store failed")
        else:
            return nobody() if view is None else known(view)
        self._paused_until = time.monotonic() + PAUSE_SECONDS
        return nobody(GONE)


def nobody(*degraded: str) -> Person:
    """Return a person of whom nothing is known."""
    empty = np.zeros(0)
    return Person(
        features={},
        item_ids=[],
        time_us_N=empty.astype(np.int64),
        quantity_N=empty.astype(np.float32),
        event_time=None,
        degraded=degraded,
    )


def known(view: View) -> Person:
    """Return a view as plain arrays; features that outlived their time are said to be missing."""
    stale = ("this person's features are older than they may be: answered from the history alone",)
    return Person(
        features=view.features,
        item_ids=list(view.history_items),
        time_us_N=np.asarray(view.history_times_us, np.int64),
        quantity_N=np.asarray(view.history_quantities, np.float32),
        event_time=view.event_time,
        degraded=stale if view.expired else (),
    )
