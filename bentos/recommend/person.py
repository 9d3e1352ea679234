"""The person side of a request: one wide view from the online store, within a deadline, or word that there is none.

Whatever goes wrong out there is an answer without history here, never a failed request.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import numpy as np

from counterfoil.errors import UnavailableError

log = logging.getLogger(__name__)
DEADLINE_SECONDS = 0.25
PAUSE_SECONDS = 2.0
GONE = "the online store does not answer: answered without this person's history"
EXPIRED = "what is stored of this person is older than it may be: answered as for somebody unknown"
YOUNGER = "what is stored of this person is younger than the time asked for: answered as for somebody unknown"


class Happened(Protocol):
    """Events after a person's row, oldest first, N of them in parallel."""

    @property
    def item_ids(self) -> Sequence[str]:
        """Ids of the items."""

    @property
    def kinds(self) -> Sequence[str]:
        """What was done."""

    @property
    def times_us(self) -> Any:
        """When, int64 [N]."""

    @property
    def quantities(self) -> Any:
        """How many of each, float32 [N]."""

    @property
    def here(self) -> Any:
        """Which happened in the session that asks, bool [N]."""


class View(Protocol):
    """What the online store says of a person: features, and the latest history, oldest first; empty for somebody unknown.

    A row that may not be used is an empty view whose `event_time` tells which row that is.
    """

    @property
    def features(self) -> Mapping[str, float]:
        """Features by name, NaN where absent."""

    @property
    def history_items(self) -> Sequence[str]:
        """Ids of the items, N of them."""

    @property
    def history_times_us(self) -> Any:
        """When they were taken, int64 [N]."""

    @property
    def history_quantities(self) -> Any:
        """How many of each, float32 [N]."""

    @property
    def category_affinity(self) -> Mapping[str, float]:
        """Shares of the person's favourite shelves, the largest first."""

    @property
    def event_time(self) -> datetime | None:
        """Moment of the row; None for somebody unknown."""

    @property
    def expired(self) -> bool:
        """Whether the row outlived its time to live."""

    @property
    def recent(self) -> Happened:
        """What happened since, of the person and in the session that asks."""


class Online(Protocol):
    """The online store's one question."""

    def person(self, person_id: str | None, now: datetime, session: str | None = None, /) -> View:
        """Return the view of a pseudonym as it may be used at `now`, with what happened since, also in the session `session`.

        Of nobody (None) nothing is read but the session.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Recent:
    """What somebody did since the features were built, the latest last: N events with their kinds, moments, quantities.

    `here_N` says which happened in the session that asks. Of a session of nobody known it is all that there is.
    """

    item_ids: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    time_us_N: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    quantity_N: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    here_N: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Who asks, as far as it is known, and what is wrong with that."""

    features: Mapping[str, float] = field(default_factory=dict)
    item_ids: tuple[str, ...] = ()
    time_us_N: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    quantity_N: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    affinity: Mapping[str, float] = field(default_factory=dict)
    event_time: datetime | None = None
    degraded: tuple[str, ...] = ()
    recent: Recent = field(default_factory=Recent)


class People:
    """Look people up; after a failure or a late answer, leave the store alone for two seconds.

    `connect` makes the store's client: at the start when the store is there, else on a later request, in the background.
    """

    def __init__(
        self,
        connect: Callable[[], Online],
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._connect, self._deadline_seconds, self._pause_seconds = connect, deadline_seconds, pause_seconds
        self._online: Online | None = None
        self._connecting = threading.Lock()
        self._asking = ThreadPoolExecutor(4, thread_name_prefix="online-store")
        self._paused_until = 0.0

    def warm(self) -> None:
        """Make the client now; a store that is not there yet is not waited for."""
        try:
            self._client()
        except UnavailableError as fault:
            log.warning("answers degrade until the online store is there: %s", fault)

    def again(self) -> None:
        """Forget the client, and make another one: what a process has forked is not to use the connections of the other."""
        self._online, self._connecting = None, threading.Lock()
        self._asking = ThreadPoolExecutor(4, thread_name_prefix="online-store")
        self.warm()

    def find(self, pseudonym: str | None, now: datetime, session: str | None = None) -> Person:
        """Return what is known of a pseudonym at `now`, and what happened since, also in a session (by its pseudonym).

        Nobody (None) and unknown people have no history; of nobody nothing keyed by a person is read.
        """
        if pseudonym is None and session is None:
            return Person()
        if time.monotonic() < self._paused_until:
            return Person(degraded=(GONE,))
        try:
            return known(self._read(pseudonym, now, session), now)
        except Late:
            log.warning("the online store took longer than %g s", self._deadline_seconds)
        except UnavailableError as fault:
            log.warning("an answer degrades: %s", fault)
        except Exception:  # whatever else a store's client may raise: the answer degrades and says so
            log.exception("the online store failed")
        self._paused_until = time.monotonic() + self._pause_seconds
        return Person(degraded=(GONE,))

    def _read(self, pseudonym: str | None, now: datetime, session: str | None) -> View:
        """Ask within the deadline: in a thread that may be left alone, or here where a file bounds its own waits."""
        online = self._online
        if online is not None and getattr(
            online, "local", False
        ):  # waking a thread takes longer than the read
            return online.person(pseudonym, now, session)
        return self._asking.submit(self._ask, pseudonym, now, session).result(self._deadline_seconds)

    def _ask(self, pseudonym: str | None, now: datetime, session: str | None) -> View:
        return self._client().person(pseudonym, now, session)

    def _client(self) -> Online:
        with self._connecting:
            if self._online is None:
                self._online = self._connect()
            return self._online


def known(view: View, now: datetime) -> Person:
    """Return a view as it may be used at `now`; a row that is too old or too young says so."""
    younger = view.event_time is not None and view.event_time > now
    return Person(
        features=view.features,
        item_ids=tuple(view.history_items),
        time_us_N=np.asarray(view.history_times_us, np.int64),
        quantity_N=np.asarray(view.history_quantities, np.float32),
        affinity=view.category_affinity,
        event_time=view.event_time,
        degraded=(EXPIRED,) if view.expired else (YOUNGER,) if younger else (),
        recent=happened(view.recent),
    )


def happened(found: Happened) -> Recent:
    """Return what happened since the features were built."""
    return Recent(
        item_ids=tuple(found.item_ids),
        kinds=tuple(found.kinds),
        time_us_N=np.asarray(found.times_us, np.int64),
        quantity_N=np.asarray(found.quantities, np.float32),
        here_N=np.asarray(found.here, bool),
    )


def digest(person: Person) -> str | None:
    """Return 16 hex digits over the history as it came (items, times, quantities); None where there is none.

    Receipts keep it, so it stays as it is for as long as receipts are kept: SHA-256 of the ids in UTF-8, each with a zero byte
    behind, then times as int64 and quantities as float32, little-endian.
    """
    if not len(person.item_ids):
        return None
    told = hashlib.sha256(("\0".join(person.item_ids) + "\0").encode())
    told.update(person.time_us_N.astype("<i8").tobytes())
    told.update(person.quantity_N.astype("<f4").tobytes())
    return told.hexdigest()[:16]
