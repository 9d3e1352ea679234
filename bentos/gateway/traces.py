"""Spans of requests by OpenTelemetry, sent by OTLP over HTTP: only where COUNTERFOIL_OTLP names a collector of them.

Without it a caller's W3C Trace Context is passed on as it came, and nothing of OpenTelemetry is loaded.
"""

from contextlib import suppress
from typing import Any

from bentos import inner
from bentos.gateway.forward import trace_headers
from bentos.gateway.http import Reply, Request
from counterfoil.errors import ConfigError

NAME = "counterfoil.gateway"
TOLD = {
    inner.RECEIPT.encode(): "counterfoil.receipt",
    inner.RELEASE.encode(): "counterfoil.release",
    inner.ITEMS.encode(): "counterfoil.items",
    inner.DEGRADED.encode(): "counterfoil.degraded",
    inner.WAITED.encode(): "counterfoil.waited_ms",
}  # what of an answer's headers a span keeps, and under which name
TIMING = inner.TIMING.encode()


class Span:
    """A span that runs."""

    def __init__(self, tracer: Any, span: Any) -> None:
        self._tracer, self._span = tracer, span

    def child(self, name: str, **attributes: str | float) -> "Span":
        """Begin a span within this one: of a request that the gateway sends itself."""
        from opentelemetry import trace

        within = trace.set_span_in_context(self._span)
        span = self._tracer.start_span(name, within, trace.SpanKind.CLIENT, attributes)
        return Span(self._tracer, span)

    def headers(self) -> bytes:
        """Return the lines of W3C Trace Context that make this span the parent of whatever is sent with them."""
        from opentelemetry.trace import set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, set_span_in_context(self._span))
        return b"".join(b"%b: %b\r\n" % (name.encode(), value.encode()) for name, value in carrier.items())

    def tell(self, reply: Reply) -> None:
        """Keep what a service says of its answer: receipt, release, how many items, and what each step took in milliseconds.

        A trace leads to the receipt so, and from there to the data.
        """
        for name, value in reply.headers:
            said = value.decode("latin-1")
            if name in TOLD:
                self._span.set_attribute(TOLD[name], said)
            elif name == TIMING:
                for part in said.split(", "):
                    stage, _, took = part.partition(";dur=")
                    with suppress(ValueError):
                        self._span.set_attribute(f"counterfoil.stage.{stage}_ms", float(took))

    def end(self, status: int | None) -> None:
        """End it; None: there was no answer."""
        from opentelemetry.trace import StatusCode

        if status is not None:
            self._span.set_attribute("http.response.status_code", status)
        if status is None or status >= 500:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


class Traces:
    """Where spans come from and go to. `endpoint` is an OTLP/HTTP collector, such as http://127.0.0.1:4318."""

    def __init__(self, endpoint: str) -> None:
        if not endpoint.startswith(("http://", "https://")):
            raise ConfigError(
                f"COUNTERFOIL_OTLP is {endpoint!r}, but it must be the URL of an OTLP/HTTP collector; set it anew, or unset it"
            )
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as fault:
            raise ConfigError(
                f"COUNTERFOIL_OTLP is set, but {fault.name} is not here; install counterfoil[otlp], or unset it"
            ) from fault
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": NAME}), shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces", timeout=5)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
        self._tracer = self._provider.get_tracer(NAME)

    def begin(self, request: Request, path: str, id: bytes) -> Span:
        """Begin the span of a request, within its caller's."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        lines = trace_headers(request).decode("latin-1").split("\r\n")
        carrier = dict(line.split(": ", 1) for line in lines if line)
        within = TraceContextTextMapPropagator().extract(carrier)
        attributes = {
            "http.request.method": request.method[:16],
            "http.route": path,
            "counterfoil.request": id.decode("latin-1"),
        }
        return Span(
            self._tracer,
            self._tracer.start_span(f"{request.method[:16]} {path}", within, SpanKind.SERVER, attributes),
        )

    def close(self) -> None:
        """Send what waits."""
        self._provider.shutdown()
