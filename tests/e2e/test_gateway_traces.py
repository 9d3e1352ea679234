"""Spans of the gateway as an OTLP collector gets them over HTTP, and as services hear of them."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from bentos.gateway.traces import Traces
from counterfoil.errors import ConfigError
from tests.gateway_shop import shop, wait_for

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(BaseHTTPRequestHandler):
    """Takes what an OTLP exporter sends."""

    spans: list[Any] = []

    def do_POST(self) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        told = ExportTraceServiceRequest.FromString(body)
        for resource in told.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_a_request_is_one_trace_from_its_caller_to_the_service(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with shop(tmp_path / "home") as made:
            made.service("champ")
            made.release(1, made.route("champ"))
            made.gateway(COUNTERFOIL_OTLP=f"http://127.0.0.1:{server.server_port}")
            answer = httpx.post(
                f"{made.url}/recommend",
                json={"person": "ada-lovelace-1815"},
                headers={"traceparent": f"00-{TRACE}-{SPAN}-01", "x-request-id": "mine-7"},
            )
            assert answer.status_code == 200
            wait_for(lambda: sum(span.trace_id.hex() == TRACE for span in Collector.spans) == 2)
            heard = made.seen("champ")[-1]["headers"]["traceparent"]
        spans = [span for span in Collector.spans if span.trace_id.hex() == TRACE]
        inner, outer = sorted(spans, key=lambda span: span.parent_span_id.hex() == SPAN)
        assert (outer.name, inner.name) == ("POST /recommend", "champion /recommend")
        assert outer.parent_span_id.hex() == SPAN and inner.parent_span_id == outer.span_id
        assert heard == f"00-{TRACE}-{inner.span_id.hex()}-01"
        told = {pair.key: pair.value.string_value or pair.value.int_value for pair in outer.attributes}
        assert told["counterfoil.request"] == "mine-7" and told["http.response.status_code"] == 200
        assert (
            told["counterfoil.receipt"] == answer.json()["receipt"] == answer.headers["x-counterfoil-receipt"]
        )
        steps = {pair.key: pair.value.double_value for pair in inner.attributes if ".stage." in pair.key}
        assert steps == {"counterfoil.stage.person_ms": 0.912, "counterfoil.stage.receipt_ms": 0.3}
        assert "server-timing" not in answer.headers
        assert not [span for span in Collector.spans if "lovelace" in str(span)]
    finally:
        server.shutdown()


def test_without_a_collector_nothing_of_it_is_loaded(tmp_path: Path) -> None:
    with shop(tmp_path / "home") as made:
        made.service("champ")
        made.release(1, made.route("champ"))
        made.gateway()
        assert httpx.post(f"{made.url}/recommend", json={}).status_code == 200
        maps = Path(f"/proc/{made.processes['gateway'].pid}/maps").read_text()
        assert "orjson" in maps and "google/_upb" not in maps  # protobuf, which the exporter needs


def test_what_is_no_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="COUNTERFOIL_OTLP is 'ftp://x', but it must be the URL"):
        Traces("ftp://x")
