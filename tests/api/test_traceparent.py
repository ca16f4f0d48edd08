"""Whose trace a job belongs to: what each producer's face keeps of it."""

from typing import Final

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from jobs.job import Terms
from jobs.ledger import Ledger
from jobs.trace_context import TraceContext
from producer.client import Rushes
from tests.api.conftest import Api
from tests.stage import Stage, a_request

GOOD: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
RUNNING: Final = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
BODY: Final = {"prompt": "a boat"}


def running() -> NonRecordingSpan:
    """The application's own span."""
    context = TraceContext.parse(RUNNING)
    assert context is not None
    return NonRecordingSpan(
        SpanContext(context.trace_id, context.span_id, is_remote=False, trace_flags=TraceFlags(context.flags))
    )


def test_the_requests_context_is_kept_in_the_jobs_row(api: Api, real_ledger: Ledger) -> None:
    """It is ours only: no view shows it."""
    job = api.post("/v1/videos", BODY, traceparent=GOOD).json()
    batch = api.post("/v1/videos/batch", {"requests": [BODY]}, traceparent=GOOD).json()
    upstream = api.post("/v2/video/generations", {"model": "google/veo3", **BODY}, traceparent=GOOD).json()
    ids = [job["id"], batch["data"][0]["video"]["id"], upstream["id"]]
    assert [real_ledger.get(job_id).traceparent for job_id in ids] == [GOOD] * 3
    assert "traceparent" not in job


@pytest.mark.parametrize("text", ["", "00-abc-def-01", GOOD.upper(), f"{GOOD}-{'0' * 20_000}"])
def test_a_malformed_context_is_ignored(api: Api, real_ledger: Ledger, text: str) -> None:
    """A caller's mistake must not cost it the video."""
    answer = api.post("/v1/videos", BODY, traceparent=text)
    assert answer.status_code == 202
    assert real_ledger.get(answer.json()["id"]).traceparent is None


def test_a_request_without_a_trace_has_none(api: Api, real_ledger: Ledger) -> None:
    """And costs no byte in its row."""
    job_id = api.submit()["id"]
    assert real_ledger.get(job_id).traceparent is None
    assert not real_ledger._redis.hexists(f"rushes:job:{job_id}", "traceparent")


def test_an_applications_running_span_is_kept(api: Api, stage: Stage, real_ledger: Ledger) -> None:
    """In its own process, and over the client library; a retry belongs to the same trace."""
    with trace.use_span(running()):
        in_process = stage.service.submit(a_request()).job_id
        with Rushes(api.url) as rushes:
            over_http = rushes.submit("a boat").id
    outside = stage.service.submit(a_request(), Terms(traceparent="malformed\r\n")).job_id
    assert [real_ledger.get(job_id).traceparent for job_id in (in_process, over_http, outside)] == [
        RUNNING,
        RUNNING,
        None,
    ]
    stage.service.cancel(in_process)
    retried = stage.service.retry(in_process, pay_again=True).job_id
    assert retried is not None
    assert real_ledger.get(retried).traceparent == RUNNING
