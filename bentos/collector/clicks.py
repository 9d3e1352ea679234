"""What was shown and what was clicked, by segment of receipts, over the last hour: what a challenger is judged by.

An item of an answer counts once as shown and once as clicked, however often the events say so.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from counterfoil.receipts.store import ID

HOUR = 3600
STEP = 60
PAIRS = 1_000_000
SEGMENTS = 4096
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
        self._totals: dict[str, list[int]] = {}

    def note(self, event: Any, at: float | None = None) -> None:
        """Count an event that was accepted now, or that happened at a moment within the last hour (seconds since 1970)."""
        place, receipt = COUNTED.get(event.kind), event.receipt
        if place is None or receipt is None or event.item is None or (named := ID.fullmatch(receipt)) is None:
            return
        pair = hash((place, receipt, event.item))
        if pair in self._new or pair in self._old:
            return
        now = self._clock()
        if len(self._new) >= self._pairs // 2 or now - self._turned >= HOUR:
            self._old, self._new, self._turned = self._new, set(), now
        self._new.add(pair)
        minute = self._minutes.setdefault(
            int(now if at is None else min(at, now)) // STEP, defaultdict(lambda: [0, 0])
        )
        minute[named["segment"]][place] += 1
        total = self._totals.setdefault(named["segment"], [0, 0])
        total[place] += 1
        if len(self._totals) > SEGMENTS:
            del self._totals[next(iter(self._totals))]

    def told(self) -> dict[str, Any]:
        """Return impressions and clicks by segment: of the last hour, and (`totals`) since this process began."""
        first = int(self._clock()) // STEP - HOUR // STEP
        for minute in [minute for minute in self._minutes if minute <= first]:
            del self._minutes[minute]
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
            "totals": {
                segment: {"impressions": shown, "clicks": clicked}
                for segment, (shown, clicked) in sorted(self._totals.items())
            },
        }
