"""Sends the spans of jobs by OpenTelemetry, from a thread that no job waits for. Imported only if they are wanted."""

import atexit
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import Full, Queue
from typing import Final, Self

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode, TraceFlags, set_span_in_context

from config.repeats import EVERY_S
from config.version import installed_version
from jobs.events import Event, LogEntry
from jobs.job import Job
from jobs.job_log import JobLog
from jobs.spans import DELIVERY_ENDS, FOLLOW_UP_ENDS, JOB_ENDS, Span, delivery_span, follow_up_span, job_spans
from jobs.test_deliveries import is_test_delivery
from jobs.trace_context import RANDOM, SAMPLED, TraceContext, span_id_of, trace_id_of

log = logging.getLogger("rushes.traces")

WAITING: Final = 2000
"""At most this many events wait for the thread, about 10 MB; what comes when they are more is not traced."""

AT_ONCE: Final = 100
"""The logs of at most this many jobs are read in one round trip."""

FLUSH_S: Final = 5.0
"""How long an ending process waits for the collector."""

_TRACED: Final = frozenset({*JOB_ENDS, *FOLLOW_UP_ENDS, *DELIVERY_ENDS})
_JOB: Final = "job"


class SpanExport:
    """Makes spans of events: of a job and its steps when it ends, of deliveries and follow-ups as they are made."""

    def __init__(self, provider: TracerProvider, job_log: JobLog) -> None:
        """Use a provider whose ids are `ChosenIds`."""
        assert isinstance(provider.id_generator, ChosenIds)
        self.provider = provider
        self._ids = provider.id_generator
        self._tracer = provider.get_tracer("rushes", installed_version())
        self._job_log = job_log
        self._events: Queue[Event | None] = Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)

    @classmethod
    def started(cls, service: str, job_log: JobLog) -> Self:
        """Start to export by the standard variables; at the process's end `close` is called."""
        provider = TracerProvider(resource=_resource(service), id_generator=ChosenIds(), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        logging.getLogger(OTLPSpanExporter.__module__).addFilter(Seldom())
        export = cls(provider, job_log)
        export.start()
        atexit.register(export.close)
        return export

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def note(self, event: Event) -> None:
        """Take an event of the ledger, if it ends a span; this never waits."""
        if event.name not in _TRACED or event.job is None:
            return
        try:
            self._events.put_nowait(event)
        except Full:
            log.warning("spans are made too slowly: those of some jobs are left out")

    def traceparent(self, job: Job) -> str | None:
        """Return the context of the job's span; None of a made-up job, which has none."""
        return None if is_test_delivery(job.id) else str(self._context_of(job))

    def close(self) -> None:
        """Send what is left, for at most `FLUSH_S`, once; the thread ends with the process."""
        if not self._thread.is_alive():
            return
        until = time.monotonic() + FLUSH_S
        try:
            self._events.put(None, timeout=FLUSH_S)
        except Full:
            return
        self._thread.join(until - time.monotonic())

    def _run(self) -> None:
        is_last = False
        while not is_last:
            taken = self._taken()
            is_last = taken[-1] is None
            with _contained():
                self._export([event for event in taken if event is not None])
        self.provider.shutdown()

    def _taken(self) -> Sequence[Event | None]:
        """Wait for an event, and take what else is there; None comes last, when the process ends."""
        taken = [self._events.get()]
        while taken[-1] is not None and len(taken) < AT_ONCE and not self._events.empty():
            taken.append(self._events.get())
        return taken

    def _export(self, events: Sequence[Event]) -> None:
        sampled = [(event, event.job, self._context_of(event.job)) for event in events if event.job is not None]
        sampled = [one for one in sampled if one[2].is_sampled]
        logs = self._logs([job.id for event, job, _ in sampled if event.name not in DELIVERY_ENDS])
        for event, job, context in sampled:
            with _contained():
                self._export_one(event, job, context, logs.get(job.id))

    def _logs(self, job_ids: Sequence[str]) -> Mapping[str, Sequence[LogEntry]]:
        """Read the jobs' logs; none if the ledger is away."""
        logs: Mapping[str, Sequence[LogEntry]] = {}
        if job_ids:
            with _contained():
                logs = self._job_log.of_many(job_ids)
        return logs

    def _export_one(self, event: Event, job: Job, context: TraceContext, entries: Sequence[LogEntry] | None) -> None:
        if event.name in DELIVERY_ENDS:
            self._write(delivery_span(event), _within(context))
        elif entries and event.name in JOB_ENDS:
            whole, steps = job_spans(job, event, entries)
            self._write(whole, _within(TraceContext.parse(job.traceparent)), context)
            for step in steps:
                self._write(step, _within(context))
        elif entries and (span := follow_up_span(job, event, entries)):
            self._write(span, _within(context))

    def _write(self, span: Span, within: Context, chosen: TraceContext | None = None) -> None:
        with self._ids.chosen(chosen):
            opened = self._tracer.start_span(span.name, within, start_time=_nanoseconds(span.start))
        opened.set_attributes(span.attributes)
        for moment in span.moments:
            opened.add_event(moment.name, moment.attributes, _nanoseconds(moment.at))
        if span.failed:
            opened.set_status(StatusCode.ERROR, str(span.attributes.get("rushes.reason", "")))
        opened.end(_nanoseconds(span.end))

    def _context_of(self, job: Job) -> TraceContext:
        """Return the context of the job's span; every process decides alike whether it is sampled."""
        parent = TraceContext.parse(job.traceparent)
        trace_id = trace_id_of(job.id, parent)
        decision = self.provider.sampler.should_sample(_within(parent), trace_id, _JOB).decision
        flags = SAMPLED if decision is Decision.RECORD_AND_SAMPLE else 0
        flags |= parent.flags & RANDOM if parent else RANDOM
        return TraceContext(trace_id, span_id_of(job.id), flags)


class ChosenIds(RandomIdGenerator):
    """Gives the spans of jobs the ids that derive from them, and all others random ones."""

    def __init__(self) -> None:
        self._next = threading.local()

    @contextmanager
    def chosen(self, context: TraceContext | None) -> Iterator[None]:
        """Give the span that this thread starts in the block these ids; None: random ones."""
        self._next.context = context
        try:
            yield
        finally:
            self._next.context = None

    def generate_span_id(self) -> int:
        """Return the id of a new span."""
        context: TraceContext | None = getattr(self._next, "context", None)
        return context.span_id if context else super().generate_span_id()

    def generate_trace_id(self) -> int:
        """Return the id of a new trace."""
        context: TraceContext | None = getattr(self._next, "context", None)
        return context.trace_id if context else super().generate_trace_id()


class Seldom(logging.Filter):
    """Passes one line a minute of the exporter's, as a warning: while a collector is away, it writes five a batch."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._silent_until = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the last line that passed is a minute old."""
        now = self._clock()
        if now < self._silent_until:
            return False
        self._silent_until = now + EVERY_S
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


@contextmanager
def _contained() -> Iterator[None]:
    """Keep an error from the spans of other jobs: some may be missing, but the thread goes on."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 (whatever it is)
        log.warning("spans of some jobs are left out: %s: %s", type(error).__name__, error)


def _resource(service: str) -> Resource:
    """Describe this process; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come first."""
    found = Resource.create({SERVICE_VERSION: installed_version()})
    is_named = not str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service")
    return found if is_named else found.merge(Resource({SERVICE_NAME: service}))


def _within(parent: TraceContext | None) -> Context:
    """Return the context of a span with this parent; None: it has none."""
    if parent is None:
        return Context()
    flags = TraceFlags(parent.flags)
    remote = SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(remote), Context())


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1_000_000) * 1000
