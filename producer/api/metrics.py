"""The API's metrics, and those of the whole fleet by the ledger, for Prometheus."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import Scope

from config.webhook_endpoints import ReceiverKind, kind_of
from jobs.breakers import Breaker
from jobs.errors import LedgerUnavailable
from jobs.fleet import OTHERS, Fleet
from jobs.job import ACCOUNT, Hold
from jobs.states import State
from producer.api.event_stream import EventStream
from producer.service import Service

_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ELSEWHERE: Final = "elsewhere"
_IN_FLIGHT: Final = {
    "rushes_in_flight": "Generations that run upstream.",
    "rushes_in_flight_limit": "How many generations may run upstream.",
    "rushes_in_flight_learnt": "How many generations may run upstream, as 429s taught.",
}

disable_created_metrics()  # type: ignore[no-untyped-call]  # series that nothing here reads


class Metrics:
    """Counts requests. The label is the route's pattern, so that ids make no series of their own."""

    def __init__(self, service: Service, event_stream: EventStream, *, seen_within_s: float) -> None:
        """A worker counts if it was seen within these seconds."""
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
        self._registry.register(_Gauges(service, event_stream, seen_within_s=seen_within_s))

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

    def __init__(self, service: Service, event_stream: EventStream, *, seen_within_s: float) -> None:
        self._service = service
        self._event_stream = event_stream
        self._seen_within_s = seen_within_s

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering reads nothing."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Read the gauges; without Redis, leave out what it would say."""
        yield _gauge("rushes_api_subscribers", "Open event streams, waits and pages.", self._event_stream.subscribers)
        try:
            fleet = self._service.fleet(seen_within_s=self._seen_within_s)
        except LedgerUnavailable:
            yield _gauge("rushes_redis_up", "1 if Redis replied, else 0.", 0)
            return
        yield _gauge("rushes_redis_up", "1 if Redis replied, else 0.", 1)
        yield _gauge("rushes_unreadable", "Parts of the following that could not be read.", fleet.unreadable)
        yield from _of_jobs(fleet)
        yield from _of_the_upstream(fleet)
        yield from _of_receivers(fleet)
        yield from _of_redis(fleet)


def _of_jobs(fleet: Fleet) -> Iterable[Metric]:
    yield _gauge("rushes_workers", "Workers with a recent sign of life.", fleet.workers)
    yield _gauges(
        "rushes_jobs", "Stored jobs by state.", ("state",), {(state.value,): n for state, n in fleet.jobs.items()}
    )
    yield _gauges("rushes_jobs_waiting", "Queued jobs by why they wait.", ("reason",), _waiting(fleet))
    yield _gauges(
        "rushes_overdue_seconds",
        "How late the first item of a queue is.",
        ("queue",),
        {(queue,): seconds for queue, seconds in fleet.overdue_s.items()},
    )
    yield _gauge("rushes_oldest_doubt_seconds", "How long the oldest job in doubt has been so.", fleet.oldest_doubt_s)


def _waiting(fleet: Fleet) -> Mapping[tuple[str, ...], float]:
    """Tell why queued jobs wait. A pause holds them all, and so does an open breaker."""
    queued, found = fleet.jobs[State.QUEUED], dict.fromkeys(("paused", "breaker", "held", "limit", "ready"), 0)
    admission = fleet.admission
    if fleet.is_paused:
        found["paused"] = queued
    elif Breaker.SUBMIT in fleet.breakers:
        found["breaker"] = queued
    else:
        found["held"] = max(queued - admission.ready, 0)
        found["limit" if admission.is_full else "ready"] = admission.ready
    return {(reason,): count for reason, count in found.items()}


def _of_the_upstream(fleet: Fleet) -> Iterable[Metric]:
    yield _gauge("rushes_paused", "1 while buying is paused.", int(fleet.is_paused))
    open_for = {breaker: found.hold for breaker, found in fleet.breakers.items()}
    yield _gauges(
        "rushes_breaker_open",
        "1 for the reason why a circuit breaker of the upstream is open.",
        ("account", "kind", "reason"),
        {(ACCOUNT, kind.value, hold.value): int(open_for.get(kind) is hold) for kind in Breaker for hold in Hold},
    )
    admission = fleet.admission
    values = (admission.in_flight, admission.most_in_flight, admission.learnt)
    for (name, documentation), value in zip(_IN_FLIGHT.items(), values, strict=True):
        yield _gauges(name, documentation, ("account",), {} if value is None else {(ACCOUNT,): value})


def _of_receivers(fleet: Fleet) -> Iterable[Metric]:
    labels = {name: (_kind(name), name) for name in fleet.receivers}
    yield _gauges(
        "rushes_deliveries_waiting",
        "Jobs of whose events a receiver still has to be told.",
        ("kind", "receiver"),
        {labels[name]: backlog.waiting for name, backlog in fleet.receivers.items()},
    )
    yield _gauges(
        "rushes_receiver_failing_seconds",
        "For how long a receiver has been failing without a success.",
        ("kind", "receiver"),
        {labels[name]: backlog.failing_s for name, backlog in fleet.receivers.items()},
    )


def _kind(receiver: str) -> str:
    return ReceiverKind.WEBHOOK if receiver == OTHERS else kind_of(receiver)


def _of_redis(fleet: Fleet) -> Iterable[Metric]:
    yield _gauge("rushes_redis_memory_bytes", "Memory that Redis uses.", fleet.memory_bytes)
    yield _gauge("rushes_redis_memory_limit_bytes", "Redis's maxmemory, 0 if it has none.", fleet.memory_limit_bytes)
    yield _gauge(
        "rushes_clock_set_back_timestamp_seconds", "When Redis's clock was last set back, or 0.", fleet.set_back_at
    )


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value)


def _gauges(name: str, documentation: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(name, documentation, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family
