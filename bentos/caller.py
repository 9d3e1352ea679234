"""What the gateway says of a request beside its body: the arm it is for, with which chance, and how long somebody waits."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from bentos.inner import ARM, DEADLINE, PROPENSITY

ARMS = frozenset(("champion", "canary", "shadow"))
_ARM, _PROPENSITY, _DEADLINE = ARM.encode(), PROPENSITY.encode(), DEADLINE.encode()
_TRACED = b"traceparent"  # of W3C Trace Context


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who waits: `until` is a moment of the monotonic clock in seconds, None: nobody said; `traced`: it is part of a trace."""

    arm: str = "champion"
    propensity: float = 1.0
    until: float | None = None
    traced: bool = False

    def gone(self) -> bool:
        """Say whether nobody waits any more."""
        return self.until is not None and time.monotonic() > self.until

    def left(self, most: float) -> float:
        """Return how many seconds there are left, `most` at most and none below zero."""
        return most if self.until is None else max(0.0, min(most, self.until - time.monotonic()))


CHAMPION = Caller()


def caller_of(headers: Iterable[tuple[bytes, bytes]]) -> Caller:
    """Read the headers of a request, names in lower case as ASGI has them; what is malformed counts as not said.

    They are believed: without the token of this installation nothing comes as far as here.
    """
    arm, propensity, until, traced = "champion", 1.0, None, False
    for name, value in headers:
        if name == _ARM:
            arm = value.decode("ascii", "replace") if value.decode("ascii", "replace") in ARMS else arm
        elif name == _PROPENSITY:
            chance = _number(value)
            propensity = chance if chance is not None and 0 <= chance <= 1 else propensity
        elif name == _DEADLINE:
            left_ms = _number(value)
            until = None if left_ms is None else time.monotonic() + left_ms / 1e3
        elif name == _TRACED:
            traced = True
    return Caller(arm=arm, propensity=propensity, until=until, traced=traced)


def _number(value: bytes) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) < 1e12 else None  # leaves out NaN and infinity too
