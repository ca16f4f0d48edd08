"""The API's metrics, and the number of jobs in each state, for Prometheus."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import Scope

from jobs.errors import LedgerUnavailable
from producer.api.event_stream import EventStream
from producer.service import Service

_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ELSEWHERE: Final = "elsewhere"


class Metrics:
    """Counts requests. The label is the route's pattern, so that ids make no series of their own."""

    def __init__(self, service: Service, event_stream: EventStream) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "rushes_api_requests", "Requests served.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "rushes_api_request_seconds",
            "Seconds from the request to the end of its reply.",
            ("route",),
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self._registry.register(_Gauges(service, event_stream))

    def served(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one request; status 0: the client had disconnected."""
        route = getattr(scope.get("route"), "path", _ELSEWHERE)
        method = scope["method"] if route != _ELSEWHERE else _ELSEWHERE
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in the text format."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    """Gauges that are read at each scrape."""

    def __init__(self, service: Service, event_stream: EventStream) -> None:
        self._service = service
        self._event_stream = event_stream

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering reads nothing."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Read the gauges; without Redis, leave out the number of jobs."""
        yield GaugeMetricFamily(
            "rushes_api_subscribers", "Open event streams, waits and pages.", self._event_stream.subscribers
        )
        up = GaugeMetricFamily("rushes_redis_up", "1 if Redis replied, else 0.")
        jobs = GaugeMetricFamily("rushes_jobs", "Stored jobs by state.", labels=("state",))
        try:
            for state, count in self._service.counts().items():
                jobs.add_metric((state.value,), count)
            up.add_metric((), 1)
        except LedgerUnavailable:
            up.add_metric((), 0)
        yield up
        yield jobs
