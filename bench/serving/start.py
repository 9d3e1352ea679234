"""How long a bento takes until it is ready: from its launch to the first `GET /readyz` that says so."""

import statistics
from typing import Any

from bench.serving import running
from bench.serving.home import Home

TIMES = 3


def measure(home: Home, times: int = TIMES) -> dict[str, Any]:
    """Return the seconds of each start, the median, and what the process holds then."""
    seconds, memory = [], []
    for _ in range(times):
        with running.bento(home) as service:
            seconds.append(round(service.ready_seconds, 3))
            memory.append(service.memory_bytes)
    return {
        "items": home.size.items,
        "seconds": seconds,
        "median": statistics.median(seconds),
        "memory_bytes": memory[-1],
    }
