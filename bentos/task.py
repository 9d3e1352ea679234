"""A question on its way to whoever computes its answer, and what comes back.

Plain values, which cross the border of a process.
"""

from datetime import datetime

import msgspec

from bentos.guard import error_body


class Task(msgspec.Struct, frozen=True, array_like=True, gc=False, kw_only=True):
    """A body that came to a route at a moment, and what its receipt is to say of who answers it, and for whom.

    `until` is the moment (CLOCK_MONOTONIC, which all processes of a machine share) from which on nobody waits; None: nobody said.
    """

    route: str
    body: bytes
    time: datetime
    release: str
    epoch: int
    bento: str
    arm: str = "champion"
    propensity: float = 1.0
    until: float | None = None


class Made(msgspec.Struct, frozen=True, array_like=True, gc=False, kw_only=True):
    """What to send. Of an answer (status 200) also the id of its receipt, which is written, and what is to be counted of it.

    `waited_ms` is for how long nothing was done for it, which is no doing of the release; None: nobody knows.
    `begun` is the moment (as of `Task.until`) at which somebody began with it, where that is told.
    """

    status: int
    body: bytes
    receipt: str = ""
    items: int = 0
    degraded: int = 0
    stages_ms: dict[str, float] = {}
    waited_ms: float | None = None
    begun: float = 0.0


def refused(status: int, kind: str, message: str, fields: list[dict[str, str]] | None = None) -> Made:
    """Return an error in the one shape that errors have here."""
    return Made(status=status, body=error_body(kind, message, fields or ()))
