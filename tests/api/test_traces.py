"""Traces reach a collector that speaks OTLP, hang together, and hold no text."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from running_api import Caller, serving

from api import tracing

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"


@pytest.fixture
def collector():
    """A collector on loopback: its address, and the bodies that it was sent."""
    bodies = []

    class Collect(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collect)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", bodies
    server.shutdown()
    thread.join()


def spans_of(bodies):
    wire = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    for body in bodies:
        for resource in wire.ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                yield from scope.spans


def test_a_request_its_operation_resolvers_and_commands_are_one_trace(settings, collector):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra `telemetry` is not installed")
    endpoint, bodies = collector
    name = f"test_traces_{uuid.uuid4().hex[:8]}"
    with serving(replace(settings, mongodb_database=name, sweep_seconds=0, otlp_endpoint=endpoint)) as base:
        ada = Caller(base).sign_in("Somebody Secret")
        parent = f"00-{TRACE}-{CALLER}-01"
        document = "query Secretly { trees(first: 1) { nodes { id } } }"
        assert ada.post(document, traceparent=parent).json()["data"]["trees"]["nodes"] == []
    spans = [span for span in spans_of(bodies) if span.trace_id.hex() == TRACE]
    by_id = {span.span_id: span for span in spans}
    named = {span.name: span for span in spans}
    assert named["POST"].parent_span_id.hex() == CALLER

    def above(span):
        return [] if span is None else [span.name, *above(by_id.get(span.parent_span_id))]

    assert above(named["Query.trees"]) == ["Query.trees", "query trees", "POST"]
    assert above(named["find trees"]) == ["find trees", "Query.trees", "query trees", "POST"]
    assert above(named["find users"]) == ["find users", "POST"]
    assert all(b"ecret" not in body and ada.token.encode() not in body for body in bodies)


def test_without_an_address_nothing_is_traced():
    assert tracing.tracing_of(None) is None
