"""Traces, through a collector that is not ours, read by OpenTelemetry's own messages."""

from __future__ import annotations

import gzip
import socket
import subprocess
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import setup
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from program import Airside, Airflow, Quiet, serve, token, url_of, wait

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Receiver(Quiet):
    """Where the collector sends what it collected."""

    requests: list[ExportTraceServiceRequest] = []

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            content = gzip.decompress(content)
        self.requests.append(ExportTraceServiceRequest.FromString(content))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()


def faults_of_traces(airside: Airside, home: Path) -> list[str]:
    receiver = serve(Receiver)
    ports = [free_port(), free_port()]
    collector = start_collector(ports, url_of(receiver), home)
    try:
        airside.set_collector(f"http://127.0.0.1:{ports[1]}")
        wait("the collector is in force", lambda: "in force" in airside.log.read_text())
        headers = {
            "Authorization": f"Bearer {token()}",
            "traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=1",
        }
        _, answer = airside.ask("/api/v2/dags?password=x", headers)
        received = Airflow.received[-1]
        wait("the spans have come", lambda: len(of_trace()) == 2)
        return list(compared(answer, received))
    finally:
        collector.terminate()
        collector.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def start_collector(ports: list[int], receiver: str, home: Path) -> subprocess.Popen[bytes]:
    """Rotel, a collector in Rust, as its package for Python carries it."""
    [program] = (setup.ROOT / "venv").glob("lib/python*/site-packages/rotel/rotel-agent")
    command = [
        program, "start", "--otlp-grpc-endpoint", f"127.0.0.1:{ports[0]}",
        "--otlp-http-endpoint", f"127.0.0.1:{ports[1]}", "--exporter", "otlp",
        "--otlp-exporter-protocol", "http", "--otlp-exporter-endpoint", receiver,
        "--batch-timeout", "200ms",
    ]
    with open(home / "collector.log", "wb") as log:
        collector = subprocess.Popen(command, stdout=log, stderr=log, cwd=home)

    def listens() -> bool:
        try:
            socket.create_connection(("127.0.0.1", ports[1]), 1).close()
            return True
        except OSError:
            return False

    wait("the collector listens", listens)
    return collector


def of_trace() -> list[Span]:
    return [
        span
        for request in Receiver.requests for resource in request.resource_spans
        for scope in resource.scope_spans for span in scope.spans if span.trace_id.hex() == TRACE
    ]


def compared(answer: dict[str, str], received: dict[str, str]):
    """What is not as it should be of the two spans, and of what Airflow was told."""
    server, client = sorted(of_trace(), key=lambda span: span.kind)
    told = {attribute.key: attribute.value for attribute in server.attributes}
    for what, found, expected in [
        ("kinds", (server.kind, client.kind), (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)),
        ("parent", server.parent_span_id.hex(), PARENT),
        ("child", client.parent_span_id, server.span_id),
        ("to Airflow", received["traceparent"], f"00-{TRACE}-{client.span_id.hex()}-01"),
        ("state", received["tracestate"], "a=1"),
        ("request id", told["airside.request_id"].string_value, answer["x-request-id"]),
        ("status", told["http.response.status_code"].int_value, 200),
        ("path", told["url.path"].string_value, "/api/v2/dags"),
    ]:
        if found != expected:
            yield f"{what}: {found} instead of {expected}"
    if not server.start_time_unix_nano <= client.start_time_unix_nano <= client.end_time_unix_nano <= server.end_time_unix_nano:
        yield f"times: {server} {client}"
