"""What was shown and what was clicked: over the last hour by segment of receipts, and by lot, which a challenger is judged by.

An item of an answer counts once as shown and once as clicked, however often the events say so.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from itertools import islice
from typing import Any

from counterfoil.receipts.store import lot_of

HOUR = 3600
STEP = 60
PAIRS = 1_000_000
SEGMENTS, LOTS = 4096, 16_384  # in a minute, in all
OLDEST = 16  # that are looked at for one to let go of
COUNTED = {"impression": 0, "click": 1}


class Clicks:
    """Counts by minute of arrival. Beyond `pairs` of an answer and an item in an hour the oldest may count again.

    Pairs are kept as hashes of 64 bits: one in some billions is taken for another.
    """

    def __init__(self, clock: Callable[[], float] = time.time, pairs: int = PAIRS) -> None:
        self._clock, self._pairs = clock, pairs
        self._minutes: dict[int, dict[str, list[int]]] = {}
        self._new: set[int] = set()
        self._old: set[int] = set()
        self._turned = clock()
        self._lots: dict[str, list[int]] = {}

    def note(self, event: Any, at: float | None = None) -> None:
        """Count an event that was accepted now, or that happened at a moment within the last hour (seconds since 1970)."""
        place, receipt = COUNTED.get(event.kind), event.receipt
        if place is None or receipt is None or event.item is None or (lot := lot_of(receipt)) is None:
            return
        pair = hash((place, receipt, event.item))
        if pair in self._new or pair in self._old:
            return
        now = self._clock()
        if len(self._new) >= self._pairs // 2 or now - self._turned >= HOUR:
            self._old, self._new, self._turned = self._new, set(), now
        self._new.add(pair)
        number = int(now if at is None else min(at, now)) // STEP
        if number not in self._minutes:
            self._prune(now)
        _count(self._minutes.setdefault(number, {}), lot.rpartition("-")[0], place, SEGMENTS)
        _count(self._lots, lot, place, LOTS)

    def _prune(self, now: float) -> None:
        """Let go of the minutes that are no part of the last hour any more."""
        first = int(now) // STEP - HOUR // STEP
        for minute in [minute for minute in self._minutes if minute <= first]:
            del self._minutes[minute]

    def told(self) -> dict[str, Any]:
        """Return impressions and clicks: of the last hour by segment, and since this process began by lot, a pair for each."""
        self._prune(self._clock())
        total: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for counts in self._minutes.values():
            for segment, (shown, clicked) in counts.items():
                total[segment][0] += shown
                total[segment][1] += clicked
        return {
            "seconds": HOUR,
            "segments": {
                segment: {"impressions": shown, "clicks": clicked}
                for segment, (shown, clicked) in sorted(total.items())
            },
            "lots": dict(self._lots),
        }


def _count(held: dict[str, list[int]], name: str, place: int, most: int) -> None:
    """Count for a segment or a lot. Where there are too many, the first of the oldest few that has the least counts is let go of.

    Receipts may be made up, each of a segment of its own: those push each other out, not a segment that many events speak of.
    """
    counts = held.get(name)
    if counts is None:
        if len(held) >= most:
            _let_go(held)
        counts = held[name] = [0, 0]
    counts[place] += 1


def _let_go(held: dict[str, list[int]]) -> None:
    oldest = list(islice(held, OLDEST))
    least = min(oldest, key=lambda name: sum(held[name]))
    for name in oldest[: oldest.index(least)]:
        held[name] = held.pop(name)  # it is looked at again when all others were
    del held[least]
