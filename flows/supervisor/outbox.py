"""What was laid into the outbox with a release is told to webhooks: at least once each, in order, by an idempotency key.

A place that refuses gets the same again later, and nothing newer before it. The key is the release's id.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
from sqlalchemy import select, update

from counterfoil import canonical
from counterfoil.catalog import Catalog, tables
from counterfoil.errors import CounterfoilError

log = logging.getLogger(__name__)
POST_SECONDS = 5.0
EVERY_SECONDS = 1.0
MOST_WAIT_SECONDS = 60.0
AT_ONCE = 100
Post = Callable[[str, bytes, str], str | None]


def post(url: str, body: bytes, key: str) -> str | None:
    """Send a body; returns what went wrong, None when it was taken (2xx). The key goes as the header Idempotency-Key."""
    headers = {"content-type": "application/json", "idempotency-key": key}
    try:
        reply = httpx.post(url, content=body, headers=headers, timeout=POST_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        return f"{type(fault).__name__}: {fault}"
    return None if reply.is_success else f"it answered {reply.status_code}"


@dataclass(kw_only=True)
class Outbox:
    """Delivers. `places` are URLs; what each has taken is remembered by a digest of its address, for that may hold a password."""

    catalog: Catalog
    places: tuple[str, ...]
    send: Post = post
    waits: dict[str, int] = field(default_factory=dict)
    passes: int = 0

    def deliver(self) -> int:
        """Make one pass; returns how many entries are done with since."""
        self.passes += 1
        names = {canonical.sha256(place)[:16]: place for place in self.places}
        silent: set[str] = {name for name in names if self.waits.get(name, 0) > self.passes}
        done = 0
        for entry in self._waiting(names.keys() - silent):
            taken = set(orjson.loads(entry.taken))
            said = None
            for name in sorted(names.keys() - taken - silent):
                fault = self.send(names[name], entry.body.encode(), entry.release)
                if fault is None:
                    taken.add(name)
                    continue
                said = fault
                silent.add(name)
                wait = min(MOST_WAIT_SECONDS, 2.0 ** min(entry.attempts, 10)) / EVERY_SECONDS
                self.waits[name] = self.passes + int(wait)
                log.warning("a webhook did not take %s: %s", entry.release, fault)
            whole = names.keys() <= taken
            self._note(entry, taken, said, whole)
            done += whole
        return done

    def run(self, over: threading.Event) -> None:
        """Deliver again and again until it is over; a catalog that is down is asked again."""
        while not over.wait(EVERY_SECONDS):
            try:
                self.deliver()
            except CounterfoilError as fault:
                log.warning("the outbox waits: %s", fault)

    def _waiting(self, names: set[str]) -> list[Any]:
        """Return the first entries that each of these places has yet to take: one that is down holds up nobody else."""
        table = tables.OUTBOX
        query = select(table).where(table.c.delivered_at.is_(None)).order_by(table.c.use_case, table.c.epoch)
        found: dict[str, Any] = {}
        with self.catalog.reader.connect() as connection:
            for name in sorted(names):
                lacking = table.c.taken.not_like(f'%"{name}"%')
                found.update(
                    (one.release, one) for one in connection.execute(query.where(lacking).limit(AT_ONCE))
                )
            if not self.places or not found:  # nobody is to be told, or all places that there are know it
                found.update((one.release, one) for one in connection.execute(query.limit(AT_ONCE)))
        return sorted(found.values(), key=lambda one: (one.use_case, one.epoch))

    def _note(self, entry: Any, taken: set[str], said: str | None, whole: bool) -> None:
        """Remember what became of an entry, unless nothing did."""
        before = set(orjson.loads(entry.taken))
        if taken == before and said is None and not whole:
            return
        values = {
            "taken": orjson.dumps(sorted(taken)).decode(),
            "attempts": entry.attempts + (said is not None),
            "said": said,
            "delivered_at": datetime.now(UTC) if whole else None,
        }
        table = tables.OUTBOX
        with self.catalog.engine.begin() as connection:
            connection.execute(update(table).where(table.c.release == entry.release).values(values))
