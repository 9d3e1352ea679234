"""The counts as Prometheus reads them: `GET /metrics`, of releases that were asked within the last minute, or answer now."""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from bentos.gateway.stats import BOUNDS_MS, Counts, Stats, Told

TYPE = b"text/plain; version=0.0.4; charset=utf-8"
EVERY = 5  # edges of the fine histogram that make one of the coarse: a factor of 1.6
EDGES = tuple((edge, f"{BOUNDS_MS[edge] / 1000:g}") for edge in range(0, len(BOUNDS_MS), EVERY))
LABELS = ("release", "epoch", "stage", "seen")  # seen: live or copy
KINDS = ("errors", "timeouts", "refused", "empty", "degraded")


class Reading:
    """A collector of one reading."""

    def __init__(self, stats: Stats) -> None:
        self.stats = stats

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield from _own(self.stats)
        # of those before, nothing moves any more: they cost every reading, and say nothing new
        yield from _of_releases([told for told in self.stats.releases if told.seconds or told.lots])


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
    held = [0] * (len(BOUNDS_MS) + 1)
    for place, count in dict(counts.latency).items():  # a copy: the loop goes on counting
        held[place] = count
    below = list(accumulate(held))
    told = [(name, float(below[edge])) for edge, name in EDGES]
    last = BOUNDS_MS[-1]
    total = sum(count * edge for count, edge in zip(held, (*BOUNDS_MS, last), strict=True)) / 1000
    return [*told, ("+Inf", float(below[-1]))], total
