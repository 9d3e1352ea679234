"""The counts as Prometheus reads them: `GET /metrics`, in its text format, from the same numbers as `GET /-/stats`."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from bentos.gateway.stats import BOUNDS_MS, Counts, Stats, Told

TYPE = b"text/plain; version=0.0.4; charset=utf-8"
EVERY = 5  # edges of the fine histogram that make one of the coarse: a factor of 1.6
EDGES = tuple(range(0, len(BOUNDS_MS), EVERY))
LABELS = ("release", "epoch", "stage", "seen")  # seen: live or copy
KINDS = ("errors", "timeouts", "refused", "empty", "degraded")


class Reading:
    """A collector of one reading."""

    def __init__(self, stats: Stats) -> None:
        self.stats = stats

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield from _own(self.stats)
        yield from _of_releases(self.stats.releases)


def text(stats: Stats) -> bytes:
    """Return the metrics in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Reading(stats))
    return generate_latest(registry)


def _own(stats: Stats) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "counterfoil_gateway_epoch", "Epoch of the routes that are taken", value=stats.epoch
    )
    yield GaugeMetricFamily("counterfoil_gateway_in_flight", "Requests being answered", value=stats.in_flight)
    for name, says in (
        ("shed", "Requests turned away for want of room"),
        ("last_good", "Answers from the last good list"),
        ("dropped", "Copies not made for want of room"),
        ("rescued", "Questions of a challenger answered by the champion"),
    ):
        yield CounterMetricFamily(f"counterfoil_gateway_{name}", says, value=getattr(stats, name))


def _of_releases(releases: list[Told]) -> Iterator[Metric]:
    requests = CounterMetricFamily("counterfoil_requests", "Requests by release", labels=LABELS)
    kinds = CounterMetricFamily("counterfoil_outcomes", "What came of requests", labels=(*LABELS, "kind"))
    took = HistogramMetricFamily("counterfoil_answer_seconds", "Time of answers by release", labels=LABELS)
    for told in releases:
        for seen, counts in (("live", told.live), ("copy", told.copies)):
            labels = (told.release, str(told.epoch), told.stage, seen)
            requests.add_metric(labels, counts.requests)
            for kind in KINDS:
                kinds.add_metric((*labels, kind), getattr(counts, kind))
            buckets, total = _buckets(counts)
            took.add_metric(labels, buckets=buckets, sum_value=total)
    yield from (requests, kinds, took)


def _buckets(counts: Counts) -> tuple[list[tuple[str, float]], float]:
    """Return cumulative counts by edge in seconds, and the sum of the times, each taken as the edge of its bucket."""
    last = len(BOUNDS_MS) - 1
    told = [
        (f"{BOUNDS_MS[edge] / 1000:g}", float(sum(n for place, n in counts.latency.items() if place <= edge)))
        for edge in EDGES
    ]
    total = sum(n * BOUNDS_MS[min(place, last)] for place, n in counts.latency.items()) / 1000
    return [*told, ("+Inf", float(sum(counts.latency.values())))], total
