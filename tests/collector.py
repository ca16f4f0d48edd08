"""A collector of traces: takes OTLP over HTTP as the OpenTelemetry Collector does, and keeps the spans."""

import gzip
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.post_server import post_server


@dataclass(frozen=True)
class Received:
    """One span, as it came over the wire; times are nanoseconds."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    failed: bool
    attributes: dict[str, Any]
    moments: list[tuple[str, int, dict[str, Any]]]


@dataclass
class Collector:
    """Keeps what it gets while `status` is 200; `raw` is every byte of it."""

    url: str = ""
    status: int = 200
    spans: list[Received] = field(default_factory=list)
    raw: bytes = b""
    calls: int = 0
    go_on: threading.Event = field(default_factory=threading.Event)

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[Self]:
        """Listen on a free port."""
        collector = cls()
        collector.go_on.set()

        with post_server(collector._answer) as collector.url:
            try:
                yield collector
            finally:
                collector.go_on.set()

    def of(self, job_id: str) -> dict[str, list[Received]]:
        """Return the spans of the trace that has this job's span, by name; none until that has come."""
        traces = {span.trace_id for span in self.spans if span.attributes.get("rushes.job_id") == job_id}
        found: dict[str, list[Received]] = {}
        for span in sorted(self.spans, key=lambda span: span.start):
            if span.trace_id in traces:
                found.setdefault(span.name, []).append(span)
        return found

    def _answer(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        self.calls += 1
        self.go_on.wait(60)
        if self.status == 200 and path == "/v1/traces":
            self._take(gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body)
        return self.status

    def _take(self, body: bytes) -> None:
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = _plain(resource.resource.attributes)["service.name"]
            self.spans += [_received(service, span) for scope in resource.scope_spans for span in scope.spans]


def _received(service: str, span: Any) -> Received:
    return Received(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == span.status.STATUS_CODE_ERROR,
        _plain(span.attributes),
        [(event.name, event.time_unix_nano, _plain(event.attributes)) for event in span.events],
    )


def _plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
