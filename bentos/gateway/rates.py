"""How often a key may ask: a token bucket each (Turner 1986, leaky bucket as a meter). Pure: the clock is an argument."""

import math
from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """A bucket of `burst` tokens that fills at `rate` a second; a request takes one."""

    rate: float
    burst: float
    tokens: float
    at: float

    def take(self, now: float) -> float:
        """Take a token and return 0, or return the seconds after which there will be one."""
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self.at) * self.rate)
        self.at = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        return (1 - self.tokens) / self.rate


class Rates:
    """The buckets of all keys that have asked; at most one per key."""

    def __init__(self) -> None:
        self._held: dict[str, Bucket] = {}

    def wait(self, key: str, rate: float | None, now: float) -> int:
        """Return 0 when this key may ask now, else in how many whole seconds it may; `rate` None is no bound.

        A burst of one second's worth is let through, of one request at least.
        """
        if rate is None:
            return 0
        bucket = self._held.get(key)
        if bucket is None or bucket.rate != rate:
            burst = max(1.0, rate)
            bucket = self._held[key] = Bucket(rate, burst, burst, now)
        return math.ceil(bucket.take(now))

    def keep(self, keys: set[str]) -> None:
        """Forget the buckets of all other keys."""
        self._held = {key: bucket for key, bucket in self._held.items() if key in keys}
