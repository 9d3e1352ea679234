"""Minutes under four fifths of the load that can be had: errors, and the memory of each process."""

import statistics
import threading
import time
from collections.abc import Container
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench.serving import whole
from bench.serving.answer import plan
from bench.serving.home import Home
from bench.serving.load import in_process, rates

SHARE, LAST_SECONDS, EVERY_SECONDS = 0.8, 600.0, 5.0
CONNECTIONS = 256


def measure(home: Home, minutes: float, probe_seconds: float = 10.0) -> dict[str, Any]:
    """Return errors, latency, and per process its memory over time and its growth over the last ten minutes (share)."""
    with whole.running(home) as held:
        whole.champion_first(held, home)
        service = held.service
        most_T = rates(plan(home, service, count=10_000_000, seconds=probe_seconds, connections=16))
        most = statistics.median(most_T)
        # what a process holds for each connection and each request at a time is no growth: it has all of them once before
        in_process(plan(home, service, count=10_000_000, seconds=probe_seconds, connections=CONNECTIONS))
        rate = SHARE * most
        over, seen = threading.Event(), {}  # type: ignore[var-annotated]
        watcher = threading.Thread(target=_watch, args=(held, seen, over), daemon=True)
        watcher.start()
        seconds = 60 * minutes
        told = in_process(
            plan(
                home,
                service,
                rate=rate,
                count=int(rate * seconds) + 1,
                seconds=seconds,
                connections=CONNECTIONS,
            )
        )
        over.set()
        watcher.join()
    return {
        "minutes": minutes,
        "most": most,
        "mosts": most_T,
        "asked_rate": round(rate, 1),
        "answers": told,
        "memory": seen,
        "growth": {name: growth(rows) for name, rows in seen.items()},
    }


def growth(rows: list[tuple[float, int]], last_seconds: float = LAST_SECONDS) -> float:
    """Return by which share memory grew over the last seconds, by a line through what was seen.

    `rows` are moments (seconds) and bytes; the first half minute is left out where there is more.
    """
    at_N, bytes_N = np.array(rows, float).T
    kept_N = (
        (at_N >= max(at_N[0] + 30.0, at_N[-1] - last_seconds)) if at_N[-1] - at_N[0] > 60 else at_N >= at_N[0]
    )
    at_N, bytes_N = at_N[kept_N], bytes_N[kept_N]
    if len(at_N) < 2:
        return 0.0
    slope, start = np.polyfit(at_N - at_N[0], bytes_N, 1)
    return round(float(slope * (at_N[-1] - at_N[0]) / start), 5)


def _watch(held: whole.Whole, seen: dict[str, list[tuple[float, int]]], over: threading.Event) -> None:
    began = time.monotonic()
    while not over.wait(EVERY_SECONDS):
        pids = held.pids
        for name, pid in pids.items():
            own = own_bytes(pid, {*pids.values()} - {pid})
            seen.setdefault(name, []).append((round(time.monotonic() - began, 1), own))


def own_bytes(pid: int, others: Container[int]) -> int:
    """Return what a process and its children wrote to memory, but for children that are named themselves.

    Pages that forks share are counted once. Pages of files are left out: a neighbour that ends leaves its part to those who stay.
    """
    size, left = 0, [pid]
    while left:
        one = left.pop()
        size += _written(one)
        with suppress(psutil.NoSuchProcess):
            left += [child.pid for child in psutil.Process(one).children() if child.pid not in others]
    return size


def _written(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it ended
        return 0
    return 1024 * int(text.partition("Pss_Anon:")[2].split(maxsplit=1)[0])
