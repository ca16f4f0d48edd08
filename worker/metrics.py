"""A worker's metrics for Prometheus, counted where things happen and served on an address of their own.

docs/reference/metrics.md says what each means.
"""

import functools
import logging
import shutil
import threading
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from time import monotonic
from typing import Final, ParamSpec, TypeVar
from urllib.parse import urlsplit

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from config.wake_ups import SendWakeUp
from config.webhook_endpoints import ReceiverKind, kind_of
from jobs.events import EVENTS, Event
from jobs.facts import (
    Accepted,
    ArchiveUnavailable,
    Download,
    Fetched,
    Finished,
    GenerationFailed,
    Gone,
    Inconclusive,
    NoResult,
    NotBought,
    NotFetched,
    Pending,
    PollResult,
    Receipt,
    Rejected,
    Unknown,
)
from jobs.job import ACCOUNT, Hold
from jobs.queues import JOB_QUEUES, TaskName, task_of
from jobs.scripts import WakeUp
from jobs.states import State
from jobs.work_items import Claimed
from worker import metrics_server
from worker.histogram import BatchHistogram
from worker.upstream.wire import LogPage

log = logging.getLogger("rushes.metrics")

disable_created_metrics()  # type: ignore[no-untyped-call]  # a quarter of all series, which nothing here reads
REGISTRY: Final = CollectorRegistry()

BIND_AGAIN_S: Final = 5.0
"""While a restarted worker's predecessor still holds the port, it is tried again in this many seconds."""

_REQUEST_S: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LATE_S: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
_WHOLE_S: Final = (5, 15, 30, 60, 90, 120, 150, 180, 240, 300, 600, 1200, 3600, 14_400, 86_400)
_REDIS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)

_EVENTS = Counter("rushes_events", "Events that this worker wrote.", ("event",), registry=REGISTRY)
_ENDED = Counter("rushes_jobs_ended", "Jobs that ended, by how and why.", ("state", "reason"), registry=REGISTRY)
_WHOLE = Histogram(
    "rushes_accept_to_stored_seconds", "From a job's acceptance to its video.", buckets=_WHOLE_S, registry=REGISTRY
)
_BOUGHT = Counter("rushes_bought_usd", "What the upstream says that purchases cost, in dollars.", registry=REGISTRY)
_REQUESTS = Counter(
    "rushes_upstream_requests",
    "Requests to the upstream, by what came of them.",
    ("account", "kind", "outcome"),
    registry=REGISTRY,
)
_REQUEST = BatchHistogram(
    "rushes_upstream_request_seconds",
    "From a request to the end of the upstream's reply.",
    ("account", "kind"),
    [(ACCOUNT, kind) for kind in ("submit", "poll", "log")],
    buckets=_REQUEST_S,
    registry=REGISTRY,
)
_LATE = BatchHistogram(
    "rushes_lateness_seconds",
    "From when a job's step was due to its claim.",
    ("queue",),
    [(queue,) for queue in JOB_QUEUES],
    buckets=_LATE_S,
    registry=REGISTRY,
)
_FOUND_LATE = Histogram(
    "rushes_finding_lateness_seconds",
    "About how long a generation had been done when a poll found it.",
    buckets=_LATE_S,
    registry=REGISTRY,
)
_DOWNLOADS = Counter("rushes_downloads", "Downloads, by what came of them.", ("outcome",), registry=REGISTRY)
_DOWNLOAD = Histogram(
    "rushes_download_seconds", "How long a download took.", buckets=(*_REQUEST_S, 600), registry=REGISTRY
)
_BYTES = Counter("rushes_download_bytes", "Bytes of stored videos.", registry=REGISTRY)
_DELIVERIES = Counter(
    "rushes_deliveries", "Deliveries to receivers, by what came of them.", ("kind", "outcome"), registry=REGISTRY
)
_SENT = Counter("rushes_wake_ups_sent", "Wake-ups that the broker accepted.", ("task",), registry=REGISTRY)
_RESCUED = Counter("rushes_wake_ups_rescued", "Lost wake-ups that were sent again.", ("task",), registry=REGISTRY)
_TASKS = Counter("rushes_tasks", "Tasks that ran, by what came of them.", ("task", "outcome"), registry=REGISTRY)
_THREADS = Gauge("rushes_threads", "Threads of this worker.", registry=REGISTRY)
_BUSY = Gauge("rushes_threads_busy", "Threads that run a task now.", ("task",), registry=REGISTRY)
_RESCUE = Gauge(
    "rushes_rescue_timestamp_seconds",
    "When the rescuer last completed a round, by this host's clock.",
    registry=REGISTRY,
)
_REDIS = Histogram(
    "rushes_redis_seconds", "Round trips of the ledger's scripts.", ("script",), buckets=_REDIS_S, registry=REGISTRY
)
_FREE = Gauge("rushes_archive_free_bytes", "Free bytes in the folder of archive and downloads.", registry=REGISTRY)
ProcessCollector(registry=REGISTRY)

_WORDS: Final[dict[type, str]] = {
    Accepted: "accepted",
    Rejected: "rejected",
    Unknown: "unknown",
    Pending: "pending",
    Finished: "finished",
    GenerationFailed: "failed",
    Inconclusive: "inconclusive",
    LogPage: "read",
    Fetched: "stored",
    Gone: "gone",
    NotFetched: "not_fetched",
    ArchiveUnavailable: "archive_unavailable",
}
_TIMED_OUT: Final = "timed_out"
_WORDS_OF_A_KIND: Final = {
    "submit": [_WORDS[fact] for fact in (Accepted, Rejected, Unknown)],
    "poll": [_TIMED_OUT, *(_WORDS[fact] for fact in (Pending, Finished, GenerationFailed, Inconclusive))],
    "log": [_WORDS[LogPage]],
}
Answer = Receipt | PollResult | LogPage
"""What came of a request to the upstream."""

P = ParamSpec("P")
A = TypeVar("A", bound=Answer)


@functools.cache
def _counter(metric: Counter, *labels: str) -> Counter:
    """Return one series of a counter; prometheus_client takes longer to look it up than to count."""
    return metric.labels(*labels)


@functools.cache
def _busy(task: str) -> Gauge:
    return _BUSY.labels(task)


@functools.cache
def _timer(script: str) -> Histogram:
    return _REDIS.labels(script)


def word_of(fact: Answer | Download) -> str:
    """Return the label of a fact; a request without a result has that of its hold."""
    if isinstance(fact, NoResult) and fact.timed_out:
        return _TIMED_OUT
    return str(fact.hold) if isinstance(fact, NotBought | NoResult) else _WORDS[type(fact)]


def count_event(event: Event) -> None:
    """Count an event of the ledger."""
    _counter(_EVENTS, event.name).inc()
    also = _ALSO.get(event.name)
    if also is not None:
        also(event)


def answered(kind: str, seconds: Sequence[float], answers: Iterable[Answer]) -> None:
    """Count requests to the upstream that ended together, and how long each took."""
    for word, count in Tally(map(word_of, answers)).items():
        _counter(_REQUESTS, ACCOUNT, kind, word).inc(count)
    _REQUEST.observe((ACCOUNT, kind), seconds)


def request(kind: str) -> Callable[[Callable[P, A]], Callable[P, A]]:
    """Count each call of a method that asks the upstream."""

    def counted(method: Callable[P, A]) -> Callable[P, A]:
        @functools.wraps(method)
        def asked(*args: P.args, **kwargs: P.kwargs) -> A:
            began = monotonic()
            answer = method(*args, **kwargs)
            answered(kind, [monotonic() - began], [answer])
            return answer

        return asked

    return counted


def download(method: Callable[P, Download]) -> Callable[P, Download]:
    """Count each call of a method that downloads a video."""

    @functools.wraps(method)
    def fetched(*args: P.args, **kwargs: P.kwargs) -> Download:
        with _DOWNLOAD.time():
            outcome = method(*args, **kwargs)
        _counter(_DOWNLOADS, word_of(outcome)).inc()
        if isinstance(outcome, Fetched):
            _BYTES.inc(outcome.stored.size_bytes)
        return outcome

    return fetched


def sending(send: SendWakeUp) -> SendWakeUp:
    """Return the sender that also counts what it sends."""

    def send_and_count(wake_up: WakeUp) -> bool:
        is_sent = send(wake_up)
        _counter(_SENT, task_of(wake_up.queue).value).inc(is_sent)
        return is_sent

    return send_and_count


def rescued(wake_up: WakeUp) -> None:
    """Count a lost wake-up that was sent again."""
    _counter(_RESCUED, task_of(wake_up.queue).value).inc()


def rescue_round() -> None:
    """Note that the rescuer has completed a round."""
    _RESCUE.set_to_current_time()


def claimed(queue: str, claim: Claimed) -> None:
    """Observe how late claimed jobs are."""
    if claim.jobs:
        _LATE.observe((queue,), [max(claim.at - (one.job.due_at or claim.at), 0.0) for one in claim.jobs])


def polls_were_late() -> float | None:
    """Return the most seconds by which a poll was late since the last call; None: nothing was polled."""
    return _LATE.take_highest((State.RENDERING,))


def round_trip(script: str) -> AbstractContextManager[object]:
    """Time a round trip to Redis."""
    return _timer(script).time()


def busy(task: str) -> AbstractContextManager[object]:
    """Count a thread as busy with a task while the block lasts."""
    return _busy(task).track_inprogress()


def ran(task: str, outcome: str) -> None:
    """Count a task that ran: `worked`, `idle` (nothing was due), `no_room`, `dropped` (an unreadable message)."""
    _counter(_TASKS, task, outcome).inc()


def serve(listen: str | None, *, threads: int, folder: Path) -> None:
    """Serve the metrics at `host:port`, if it is given, from a thread; `folder` is that of archive and downloads."""
    _THREADS.set(threads)
    _FREE.set_function(lambda: float(shutil.disk_usage(folder).free))
    if listen is not None:
        _serve(listen)


def _serve(listen: str, *, is_first: bool = True) -> None:
    """Bind the address; a worker that is finishing its tasks may still hold it."""
    address = urlsplit(f"//{listen}")
    try:
        metrics_server.serve(address.hostname or "", address.port or 0, REGISTRY)
    except OSError as error:
        if is_first:
            log.warning("metrics cannot be served at %s yet: %s", listen, error.strerror)
        again = threading.Timer(BIND_AGAIN_S, _serve, (listen,), {"is_first": False})
        again.daemon = True
        again.start()


def _ended(event: Event) -> None:
    _counter(_ENDED, event.name.removeprefix("job."), event.data.get("reason", "")).inc()


def _completed(event: Event) -> None:
    _ended(event)
    _WHOLE.observe(event.data["took_s"])


def _found(event: Event) -> None:
    if "late_s" in event.data:
        _FOUND_LATE.observe(event.data["late_s"])


def _bought(event: Event) -> None:
    _BOUGHT.inc(event.data.get("cost_usd") or 0)


def _delivery(event: Event) -> None:
    _counter(_DELIVERIES, kind_of(event.data["receiver"]), event.name.removeprefix("delivery.")).inc()


_ALSO: Final[Mapping[str, Callable[[Event], None]]] = {
    "job.rendered": _found,
    "job.completed": _completed,
    **dict.fromkeys(("job.failed", "job.cancelled", "job.expired"), _ended),
    **dict.fromkeys(("job.submitted", "job.adopted", "job.bought_late", "job.bought_twice"), _bought),
    **dict.fromkeys(("delivery.succeeded", "delivery.failed", "delivery.abandoned"), _delivery),
}


def _begin_at_zero() -> None:
    """Make the series of all known labels, so that a rate sees the first of each."""
    for event in EVENTS:
        _EVENTS.labels(event)
    for kind, words in _WORDS_OF_A_KIND.items():
        for word in (*words, *Hold):
            _REQUESTS.labels(ACCOUNT, kind, str(word))
    for fact in (Fetched, Gone, NotFetched, ArchiveUnavailable):
        _DOWNLOADS.labels(_WORDS[fact])
    for receiver in ReceiverKind:
        for outcome in ("succeeded", "failed", "abandoned"):
            _DELIVERIES.labels(receiver.value, outcome)
    for task in TaskName:
        for metric in (_SENT, _RESCUED, _BUSY):
            metric.labels(task.value)


_begin_at_zero()
