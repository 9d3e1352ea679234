"""How often somebody may try: so many failures in a while, then a wait. Kept in memory, of bounded size."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

NAMES = 10_000


class Attempts:
    """Failures by who failed, within a window of seconds."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.most, self.seconds, self.clock = most, seconds, clock
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, who: str) -> float:
        """Return how many seconds somebody has to wait before the next try; 0 when not at all."""
        with self._lock:
            failed = self._failed.get(who)
            if failed is None:
                return 0.0
            now = self.clock()
            while failed and failed[0] <= now - self.seconds:
                failed.popleft()
            return failed[0] + self.seconds - now if len(failed) >= self.most else 0.0

    def failed(self, who: str) -> None:
        """Count a failure; the oldest names are let go when there are too many."""
        with self._lock:
            self._failed.setdefault(who, deque(maxlen=self.most)).append(self.clock())
            self._failed.move_to_end(who)
            while len(self._failed) > NAMES:
                self._failed.popitem(last=False)

    def forget(self, who: str) -> None:
        """Count from nothing again."""
        with self._lock:
            self._failed.pop(who, None)
