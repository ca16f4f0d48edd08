"""Whether traces are sent, and that sending them never stands in a job's way."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from typing import Final

import pytest
import redis
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from config import span_export as exports
from config.connection import connect
from config.settings import RedisSettings
from config.span_export import WAITING, ChosenIds, Seldom, SpanExport
from config.traces import span_export
from jobs.events import Event
from jobs.job import Charged, Reason
from jobs.job_log import JobLog
from jobs.ledger import Ledger
from jobs.scripts import Retention, Scripts
from jobs.states import State
from jobs.test_deliveries import made_up, new_test_delivery_id
from jobs.trace_context import TraceContext
from tests import steps
from tests.stage import ROOT, Clock, Stage

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
DELIVERED: Final = {"receiver": "wh_1", "of": "job.completed", "try": 1, "began_at": 1.8e9, "took_s": 0.1}


def job_log(client: "redis.Redis") -> JobLog:
    """The job logs."""
    return JobLog(Scripts(client, retention=Retention(), clock=None, subscribers=()))


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


# -- on and off -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {ENDPOINT: " "},
        {ENDPOINT: "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "True"},
        {ENDPOINT: "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none"},
        {ENDPOINT: "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "console, zipkin"},
    ],
)
def test_traces_are_off_without_an_endpoint_or_by_the_standard_switches(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    client: "redis.Redis",
) -> None:
    """Silently: nobody asked for them."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert span_export("rushes-worker", lambda: job_log(client)) is None
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-1", "max_export_batch_size"),
    ],
)
def test_what_cannot_be_is_said_once_and_stops_nothing(
    name: str,
    value: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    client: "redis.Redis",
) -> None:
    """A video is worth more than its trace."""
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4318")
    monkeypatch.setenv(name, value)
    assert span_export("rushes-worker", lambda: job_log(client)) is None
    (record,) = [record for record in caplog.records if record.name == "rushes.traces"]
    assert record.levelno == logging.WARNING
    assert said in record.getMessage()


@pytest.mark.parametrize("missing", ["opentelemetry.sdk", "opentelemetry.exporter"])
def test_without_the_extra_a_line_says_what_to_install(
    missing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, client: "redis.Redis"
) -> None:
    """Who sets the variable waits for traces."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4318/v1/traces")
    for name in [name for name in sys.modules if name.startswith((f"{missing}.", "config.span_export"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert span_export("rushes-worker", lambda: job_log(client)) is None
    assert [record.getMessage() for record in caplog.records] == [
        "no traces are sent: OpenTelemetry is not installed: pip install 'rushes[traces]'"
    ]


STARTED: Final = """
import json, sys
from config.settings import load
if sys.argv[1] == "worker":
    import worker.app
    from worker.runtime import build_runtime
    build_runtime(worker.app.app, "test")
else:
    from producer.api.application import make_app
    make_app(load())
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("part", ["worker", "api"])
def test_a_part_without_an_endpoint_imports_no_tracer(stage: Stage, part: str) -> None:
    """FastAPI and redis-py import OpenTelemetry's API and its metrics by themselves; tracing adds nothing."""
    ran = subprocess.run(
        [sys.executable, "-c", STARTED, part],
        env={**os.environ, **stage.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        cwd=stage.folder,
    )
    assert ran.returncode == 0, ran.stderr
    tracers = (
        "config.span_export",
        "jobs.spans",
        "opentelemetry.sdk.trace",
        "opentelemetry.exporter",
        "google.protobuf",
    )
    assert not [name for name in json.loads(ran.stdout.splitlines()[-1]) if name.startswith(tracers)]


# -- on -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def kept() -> InMemorySpanExporter:
    """What was sent."""
    return InMemorySpanExporter()


@pytest.fixture
def export(client: "redis.Redis", kept: InMemorySpanExporter) -> SpanExport:
    """An export whose thread has not started."""
    provider = TracerProvider(id_generator=ChosenIds(), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    return SpanExport(provider, job_log(client))


def test_when_events_come_too_fast_the_newest_are_dropped_and_nobody_waits(
    export: SpanExport, kept: InMemorySpanExporter, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker must not grow, or wait, because its collector is slow."""
    job = steps.job_in(ledger, State.RENDERING)
    for _ in range(WAITING + 7):
        export.note(Event("delivery.succeeded", job.id, 1, DELIVERED, job))
    assert len({record.getMessage() for record in caplog.records}) == 1
    export.start()
    export.close()
    assert len(kept.get_finished_spans()) == WAITING


def test_a_ledger_that_is_away_costs_only_the_spans_that_need_it(
    kept: InMemorySpanExporter, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread goes on."""
    nowhere = connect(RedisSettings.model_validate({"url": "redis://127.0.0.1:1/0"}), name="test")
    provider = TracerProvider(id_generator=ChosenIds(), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    export, job = SpanExport(provider, job_log(nowhere)), steps.job_in(ledger, State.RENDERING)
    export.note(Event("job.failed", job.id, 1, {}, job))
    export.note(Event("delivery.succeeded", job.id, 1, DELIVERED | {"took_s": "what no version writes"}, job))
    export.note(Event("delivery.succeeded", job.id, 1, DELIVERED, job))
    export.start()
    export.close()
    assert [span.name for span in kept.get_finished_spans()] == ["deliver"]
    said = [record.getMessage() for record in caplog.records if record.name == "rushes.traces"]
    assert ["LedgerRefused" in said[0], "TypeError" in said[1], len(said)] == [True, True, 2]


def test_an_ending_process_waits_for_a_bounded_time(export: SpanExport, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that hangs must not hold up a deployment."""
    let_go = threading.Event()
    monkeypatch.setattr(exports, "FLUSH_S", 0.1)
    monkeypatch.setattr(export.provider, "shutdown", let_go.wait)
    export.start()
    began = time.monotonic()
    export.close()
    took_s = time.monotonic() - began
    let_go.set()
    assert 0.1 <= took_s < 2


def test_what_a_sampler_leaves_out_is_read_from_no_log(client: "redis.Redis", ledger: Ledger) -> None:
    """Every process decides by the trace's id, which derives from the job: half of the jobs are whole, half absent."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(TraceIdRatioBased(0.5), id_generator=ChosenIds(), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    export = SpanExport(provider, job_log(client))
    jobs = [steps.job_in(ledger, State.RENDERING) for _ in range(40)]
    for job in jobs:
        export.note(Event("delivery.succeeded", job.id, 1, DELIVERED, job))
        ledger.move(job, steps.ended(State.FAILED, Reason.GENERATION_FAILED, "no", Charged.NO))
        export.note(Event("job.failed", job.id, 1, {}, job))
    export.start()
    export.close()
    spans = kept.get_finished_spans()
    contexts = {
        span.attributes["rushes.job_id"]: span.context for span in spans if span.name == "job" and span.attributes
    }
    assert 5 < len(contexts) < 35
    for job in jobs:
        named = TraceContext.parse(export.traceparent(job))
        assert named is not None
        assert named.is_sampled == (job.id in contexts)
        if job.id in contexts:
            assert (named.trace_id, named.span_id) == (contexts[job.id].trace_id, contexts[job.id].span_id)
    assert sum(span.name == "deliver" for span in spans) == len(contexts)


def test_a_made_up_job_names_no_span(export: SpanExport) -> None:
    """A test delivery has no trace."""
    job, _ = made_up(new_test_delivery_id(), now=1.8e9)
    assert export.traceparent(job) is None


def test_the_exporters_log_is_a_warning_a_minute(clock: Clock) -> None:
    """It writes several lines for each batch, each with another number."""
    seldom = Seldom(clock)

    def passes() -> bool:
        record = logging.LogRecord("exporter", logging.ERROR, "", 0, "no answer", None, None)
        return seldom.filter(record) and record.levelno == logging.WARNING

    assert [passes(), passes()] == [True, False]
    clock.advance(60)
    assert passes()
