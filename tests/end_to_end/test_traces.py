"""Traces from end to end: a real API, a real worker, and a collector that decodes what they send."""

import itertools
from collections.abc import Iterator
from typing import Final

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from config.span_export import FLUSH_S
from jobs.job import Terms
from jobs.states import State
from jobs.trace_context import TraceContext, span_id_of, trace_id_of
from producer.webhooks import make_webhooks
from tests.api.conftest import Api
from tests.collector import Collector, Received
from tests.receivers import WebhookServer
from tests.stage import Stage, a_request, eventually

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
CALLER: Final = f"00-{TRACE}-b7ad6b7169203331-01"
NOT_SAMPLED: Final = f"00-{TRACE}-b7ad6b7169203331-00"
PROMPT: Final = "a boat that nobody else may read of"
CLOCKS: Final = 20_000_000
"""Nanoseconds by which the API's clock and Redis's, of one host, may differ."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Where the traces go."""
    with Collector.started() as started:
        yield started


@pytest.fixture
def receiver() -> Iterator[WebhookServer]:
    """A customer's server."""
    with WebhookServer.started() as started:
        yield started


@pytest.fixture(autouse=True)
def _tracing(stage: Stage, collector: Collector) -> None:
    stage.environment |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "RUSHES_API__AUTH": "off",
        "RUSHES_WEBHOOKS__KEYS": "k" * 32,
        "RUSHES_WEBHOOKS__ALLOW_PRIVATE": "true",
        "RUSHES_WEBHOOKS__RETRY_S": "0.2,0.2,0.2",
    }


def only(spans: dict[str, list[Received]], name: str) -> Received:
    """Return the one span of this name."""
    (span,) = spans[name]
    return span


def test_one_trace_leads_from_the_request_to_the_webhook(
    stage: Stage, collector: Collector, receiver: WebhookServer
) -> None:
    """Who asks why a video took so long sees it in one picture: the caller's own span is its beginning."""
    webhooks = make_webhooks(stage.settings)
    receiver.secret = webhooks.secrets(webhooks.add(receiver.url).id).current
    receiver.status = 500
    with (
        Api.started(stage.folder, stage.environment) as api,
        stage.worker(RUSHES_DESCRIBE__MANIFEST="true"),
    ):
        job_id = api.post("/v1/videos", {"prompt": PROMPT}, traceparent=CALLER).json()["id"]
        eventually(lambda: receiver.calls, what="the first try")
        receiver.status = 200
        eventually(lambda: receiver.messages and len(collector.of(job_id).get("deliver", [])) > 1, what="deliveries")
        eventually(lambda: {"describe", "POST /v1/videos"} <= collector.of(job_id).keys(), what="the last spans")

    spans = collector.of(job_id)
    request, job = only(spans, "POST /v1/videos"), only(spans, "job")
    assert {span.trace_id for found in spans.values() for span in found} == {TRACE}
    assert (request.service, request.parent_id) == ("rushes-api", "b7ad6b7169203331")
    assert (job.service, job.parent_id, job.span_id) == (
        "rushes-worker",
        request.span_id,
        f"{span_id_of(job_id):016x}",
    )
    steps = [only(spans, name) for name in ("wait", "purchase", "generate", "download", "describe")]
    assert {span.parent_id for span in [*steps, *spans["deliver"]]} == {job.span_id}
    _are_in_order(request, job, steps, spans["deliver"])

    polls = [name for name, _, _ in only(spans, "generate").moments]
    assert set(polls) == {"job.polled"}
    row = stage.service.get(job_id).job
    assert len(polls) == row.polls - 1, "the last one found it rendered"
    assert job.attributes["rushes.state"] == "completed"
    assert job.attributes["rushes.generation_id"] == row.generation_id
    assert job.attributes["rushes.cost_usd"] == row.cost_usd
    assert [span.failed for span in spans["deliver"]] == [True] * (len(spans["deliver"]) - 1) + [False]
    assert not any(span.failed for span in [request, job, *steps])


def _are_in_order(request: Received, job: Received, steps: list[Received], deliveries: list[Received]) -> None:
    """Each step begins after the one before; the job's are within it, what comes after its end is not."""
    *within, describe = steps
    assert all(one.end <= other.start for one, other in itertools.pairwise(within))
    assert all(job.start <= span.start <= span.end <= job.end for span in within)
    assert all(span.end >= span.start >= job.end - CLOCKS for span in [describe, *deliveries])
    assert request.start - CLOCKS <= job.start <= request.end + CLOCKS


def test_a_webhook_names_the_jobs_span(stage: Stage, collector: Collector, receiver: WebhookServer) -> None:
    """What the receiver does is then a part of the trace; without a caller's, the job begins one of its own."""
    webhooks = make_webhooks(stage.settings)
    receiver.secret = webhooks.secrets(webhooks.add(receiver.url).id).current
    with stage.worker():
        job_id = stage.service.submit(a_request()).job_id
        eventually(lambda: receiver.messages and "deliver" in collector.of(job_id), what="the webhook")
    sent = TraceContext.parse(receiver.traceparents[0])
    assert sent is not None
    assert (sent.trace_id, sent.span_id, sent.is_sampled) == (trace_id_of(job_id, None), span_id_of(job_id), True)
    assert only(collector.of(job_id), "job").parent_id == ""


def test_no_prompt_key_or_address_is_exported(stage: Stage, collector: Collector, receiver: WebhookServer) -> None:
    """Traces go to other readers than jobs do."""
    webhooks = make_webhooks(stage.settings)
    receiver.secret = webhooks.secrets(webhooks.add(receiver.url).id).current
    with Api.started(stage.folder, stage.environment) as api, stage.worker():
        done = api.submit(PROMPT)["id"]
        failed = api.submit(f"{PROMPT} [sandbox: error=face]")["id"]
        api.get(f"/v1/videos/{done}", traceparent=CALLER)
        eventually(lambda: all("deliver" in collector.of(job_id) for job_id in (done, failed)), what="both")
    assert only(collector.of(failed), "job").failed
    video = stage.service.get(done).job.video
    assert video is not None
    for secret in (PROMPT, "face", video.url, receiver.url, receiver.secret, "sandbox-key", "k" * 32):
        assert secret.encode() not in collector.raw, secret
    assert not [span for span in collector.spans if span.trace_id == TRACE], "reads are not traced"


def test_what_the_caller_does_not_sample_is_not_sent(
    stage: Stage, collector: Collector, receiver: WebhookServer
) -> None:
    """The caller's decision is kept through the webhook, as the standard sampler asks."""
    webhooks = make_webhooks(stage.settings)
    receiver.secret = webhooks.secrets(webhooks.add(receiver.url).id).current
    with stage.worker() as worker:
        hidden = stage.service.submit(a_request(), Terms(traceparent=NOT_SAMPLED)).job_id
        eventually(lambda: hidden in receiver.jobs(), what="its webhook")
        shown = stage.ended(stage.service.submit(a_request()).job_id).id
        assert worker.terminate() == 0
    assert collector.of(shown)
    assert not collector.of(hidden)
    assert receiver.traceparents[0] == f"00-{TRACE}-{span_id_of(hidden):016x}-00"


def test_a_worker_that_stops_sends_what_it_has(stage: Stage, collector: Collector) -> None:
    """A deployment must not tear holes."""
    with stage.worker(OTEL_BSP_SCHEDULE_DELAY="60000") as worker:
        job_id = stage.ended(stage.service.submit(a_request()).job_id).id
        assert worker.terminate() == 0
    assert {"job", "wait", "purchase", "generate", "download"} <= collector.of(job_id).keys()


def test_a_cancel_through_the_api_ends_the_trace(stage: Stage, collector: Collector) -> None:
    """The process that ends a job sends its span, the API too."""
    with Api.started(stage.folder, stage.environment) as api:
        job_id = api.submit()["id"]
        assert api.post(f"/v1/videos/{job_id}/cancel").status_code == 200
        eventually(lambda: "job" in collector.of(job_id), what="its span")
    job = only(collector.of(job_id), "job")
    assert (job.service, job.attributes["rushes.state"], job.failed) == ("rushes-api", "cancelled", False)


def test_an_api_that_stops_sends_what_it_has(stage: Stage, collector: Collector) -> None:
    """Its server ends it by the signal that stopped it, after which Python runs nothing more."""
    with Api.started(stage.folder, stage.environment | {"OTEL_BSP_SCHEDULE_DELAY": "60000"}) as api:
        api.post("/v1/videos", {"prompt": PROMPT}, traceparent=CALLER)
        assert api.process is not None
        api.process.terminate()
        api.process.wait(20)
    assert [span.name for span in collector.spans] == ["POST /v1/videos"]


@pytest.mark.long
@pytest.mark.parametrize("trouble", ["away", "refuses", "hangs"])
def test_a_collector_in_trouble_delays_no_job_and_no_exit(stage: Stage, collector: Collector, trouble: str) -> None:
    """Its absence is a line a minute in the log, and nothing else."""
    if trouble == "away":
        stage.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:1"
    collector.status = 503 if trouble == "refuses" else 200
    if trouble == "hangs":
        collector.go_on.clear()
    with stage.worker() as worker:
        for _ in range(3):
            assert stage.ended(stage.service.submit(a_request()).job_id).state is State.COMPLETED
        if trouble != "hangs":
            eventually(lambda: OTLPSpanExporter.__module__ in worker.said(), what="a line about it")
        assert worker.terminate(within_s=FLUSH_S + 10) == 0
        lines = [line for line in worker.said().splitlines() if OTLPSpanExporter.__module__ in line]
    assert len(lines) <= 1, lines
    assert all("WARNING" in line for line in lines)
    assert "Traceback" not in worker.said()


def test_the_standard_switch_turns_traces_off(stage: Stage, collector: Collector) -> None:
    """An endpoint may be set for other programs of the host."""
    stage.environment["OTEL_SDK_DISABLED"] = "true"
    with stage.worker() as worker:
        stage.ended(stage.service.submit(a_request()).job_id)
        assert worker.terminate() == 0
    assert collector.calls == 0
