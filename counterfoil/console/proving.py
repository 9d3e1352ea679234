"""Verifying everything from a page: beside it, one at a time, telling how far it is."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from counterfoil.errors import CounterfoilError
from flows.place import Place


@dataclass(frozen=True, kw_only=True)
class State:
    """How far it is: counts by kind while it runs, what was found once it is over, what broke if it did."""

    by: str
    began: float
    running: bool = True
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    found: dict[str, Any] | None = None
    broke: str | None = None


class Proving:
    """The verifying of one installation."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._lock = threading.Lock()
        self._state: State | None = None

    @property
    def state(self) -> State | None:
        """What is going on, or came of the last one; None when there was none yet."""
        return self._state

    def begin(self, by: str) -> bool:
        """Begin, unless it runs already; say whether it began."""
        with self._lock:
            if self._state is not None and self._state.running:
                return False
            self._state = State(by=by, began=time.time())
        threading.Thread(target=self._run, args=(self._state,), name="verify", daemon=True).start()
        return True

    def _run(self, begun: State) -> None:
        from flows.verify import verify

        def progress(kind: str, count: int) -> None:
            begun.counts[kind] = count

        ended: dict[str, Any]
        try:
            ended = {"found": verify(self.place, progress)}
        except CounterfoilError as fault:
            ended = {"broke": str(fault)}
        except Exception as fault:  # whatever it is, the page must say so instead of waiting for ever
            ended = {"broke": f"verifying broke ({type(fault).__name__}: {fault}); run `counterfoil verify`"}
        self._state = State(
            by=begun.by, began=begun.began, running=False, seconds=time.time() - begun.began,
            counts=begun.counts, **ended,
        )  # fmt: skip
