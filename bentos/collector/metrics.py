"""What the collector counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
VISIBLE_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 2.0, 5.0)


class Metrics:
    """The metrics of one collector, in a registry of their own."""

    def __init__(self) -> None:
        # One process counts here, in memory. Whoever started it may have left the folder in the environment in which BentoML's
        # processes share their counts as files; such files could not be written where the disk is full.
        values.ValueClass = values.MutexValue
        self.registry = CollectorRegistry()
        self.events = Counter(
            "counterfoil_events", "Events by what became of them", ["outcome"], registry=self.registry
        )
        self.requests = Counter(
            "counterfoil_collector_requests", "Requests by status", ["status"], registry=self.registry
        )
        self.durable = Histogram(
            "counterfoil_events_durable_seconds",
            "From a body's arrival until it is on the disk",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.visible = Histogram(
            "counterfoil_events_visible_seconds",
            "From the disk until answers know, of events that were written together",
            buckets=VISIBLE_SECONDS,
            registry=self.registry,
        )
        self.pending = Gauge(
            "counterfoil_events_pending_bytes", "Waiting for the disk", registry=self.registry
        )
        self.behind = Gauge(
            "counterfoil_events_behind_seconds",
            "How far what answers see lies behind the log",
            registry=self.registry,
        )
