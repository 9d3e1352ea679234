"""What a service counts of its answers, in Prometheus' text format: times per stage and route, answers, errors, what fell short.

Counted in plain lists (an answer's dozen numbers take a few microseconds) and made into Prometheus' families when asked for.
All of it is counted in one thread, the event loop's.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

BOUNDS_MS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 25.0, 50.0, 100.0, 250.0, 1000.0)
BUCKETS = (*(f"{bound / 1e3:g}" for bound in BOUNDS_MS), "+Inf")
KIND = "text/plain; version=0.0.4; charset=utf-8"
WHOLE = "answer"  # the stage that is the whole of it, the receipt included


class Meter(Collector):
    """Count answers; `text` is what GET /metrics gives."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, str], list[float]] = {}
        self._answers: Counter[tuple[str, str]] = Counter()
        self._short: Counter[tuple[str, str]] = Counter()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def answered(
        self, route: str, stages_ms: Mapping[str, float], whole_ms: float, *, items: int, degraded: int
    ) -> None:
        """Count an answer: milliseconds per stage and in all, how many items, in how many ways it fell short."""
        for stage, took_ms in stages_ms.items():
            self._observe(route, stage, took_ms)
        self._observe(route, WHOLE, whole_ms)
        self._answers[route, "200"] += 1
        if not items:
            self._short[route, "empty"] += 1
        if degraded:
            self._short[route, "degraded"] += 1

    def failed(self, route: str, kind: str) -> None:
        """Count a request that had no answer, by the kind of its error."""
        self._answers[route, kind] += 1

    def text(self) -> bytes:
        """Return all counts in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> "Iterator[HistogramMetricFamily | CounterMetricFamily]":
        """Yield the families, as prometheus_client asks for them."""
        times = HistogramMetricFamily(
            "counterfoil_stage_seconds", "Time per stage of an answer.", labels=("route", "stage")
        )
        for (route, stage), held in sorted(self._times.items()):
            sums = [sum(held[: at + 1]) for at in range(len(BUCKETS))]
            times.add_metric((route, stage), list(zip(BUCKETS, sums, strict=True)), held[-1] / 1e3)
        yield times
        answers = CounterMetricFamily(
            "counterfoil_answers", "Requests, by how they ended.", labels=("route", "result")
        )
        short = CounterMetricFamily(
            "counterfoil_short", "Answers that are empty or degraded.", labels=("route", "what")
        )
        for family, counts in ((answers, self._answers), (short, self._short)):
            for labels, count in sorted(counts.items()):
                family.add_metric(labels, count)
            yield family

    def _observe(self, route: str, stage: str, took_ms: float) -> None:
        held = self._times.get((route, stage))
        if held is None:
            held = self._times[route, stage] = [0.0] * (len(BUCKETS) + 1)  # the last one is the sum
        held[bisect_left(BOUNDS_MS, took_ms)] += 1
        held[-1] += took_ms
