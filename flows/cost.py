"""What a piece of work costs: wall seconds and the growth of this process's memory, sampled while it runs."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

SAMPLE_SECONDS = 0.05


@dataclass(kw_only=True)
class Cost:
    """Filled in when the work is over: wall seconds, and the peak of resident bytes above the start."""

    seconds: float = 0.0
    peak_bytes: int = 0


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure what runs inside; the numbers are in the yielded `Cost` afterwards."""
    cost, process, over = Cost(), psutil.Process(), threading.Event()
    before = process.memory_info().rss

    def sample() -> None:
        while not over.wait(SAMPLE_SECONDS):
            cost.peak_bytes = max(cost.peak_bytes, process.memory_info().rss - before)

    watcher = threading.Thread(target=sample, daemon=True)
    watcher.start()
    started = time.perf_counter()
    try:
        yield cost
    finally:
        cost.seconds = round(time.perf_counter() - started, 3)
        over.set()
        watcher.join()
