"""The learned schedule with real processes, beside the fixed one: fewer polls, no later."""

import json
import random
from collections.abc import Iterator, Sequence
from statistics import mean, median
from typing import Final

import pytest

from jobs.job import Job
from jobs.states import State
from tests.stage import Sandbox, Stage, a_request, eventually

SCALE: Final = 20.0
"""Six seconds stand for two minutes: long beside what a poll costs on a loaded machine."""

JOBS: Final = 40
LOADED_S: Final = 0.5
"""How much later a loaded machine may make one run than the other."""

FIXED: Final = {
    "RUSHES_POLL__SCHEDULE": "fixed",
    "RUSHES_POLL__FIRST_S": "0.5",
    "RUSHES_POLL__INTERVAL_S": "0.5",
}
"""Fixed 10 s, twenty times faster."""

LEARNED: Final = {
    "RUSHES_POLL__SCHEDULE": "learned",
    "RUSHES_POLL__LATENESS_S": "0.225",
    "RUSHES_TIME_SCALE": "20",
}
"""The defaults, twenty times faster."""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox whose time runs less fast."""
    with Sandbox.started(tmp_path_factory.mktemp("sandbox"), "--time-scale", f"{SCALE:g}") as started:
        yield started


def run(stage: Stage, latencies_s: Sequence[float]) -> tuple[float, float]:
    """Polls a job, and median lateness in seconds, of one job for each latency."""
    took_s = {
        stage.service.submit(a_request(f"clip [sandbox: latency={latency_s:.2f}]")).job_id: latency_s / SCALE
        for latency_s in latencies_s
    }
    eventually(lambda: stage.service.counts()[State.COMPLETED] % JOBS == 0 and not pending(stage), within_s=90)
    jobs = [stage.service.get(job_id).job for job_id in took_s]
    late = [found_after_s(job) - took_s[job.id] for job in jobs]
    return mean(job.polls for job in jobs), median(late)


def pending(stage: Stage) -> int:
    """How many jobs have not ended."""
    return sum(count for state, count in stage.service.counts().items() if not state.is_final)


def found_after_s(job: Job) -> float:
    """Seconds from the receipt to the poll that found the job done."""
    assert job.rendered_at is not None
    assert job.submitted_at is not None
    return job.rendered_at - job.submitted_at


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_learned_schedule_polls_less_often_and_no_later_than_fixed_10_s(stage: Stage) -> None:
    """What one run has learnt, the next one goes by; the fixed run teaches as well."""
    dice = random.Random(7)
    latencies_s = [dice.lognormvariate(4.79, 0.25) for _ in range(JOBS)]

    with stage.worker(threads=16, name="fixed", **FIXED):
        fixed_polls, fixed_late_s = run(stage, latencies_s)
    kept = stage.client.llen("rushes:durations:google/veo3:8:720p")
    with stage.worker(threads=16, name="learned", **LEARNED):
        polls, late_s = run(stage, latencies_s)

    assert kept >= 0.8 * JOBS
    assert polls <= 0.8 * fixed_polls, (polls, fixed_polls)
    assert late_s <= fixed_late_s + LOADED_S, (late_s, fixed_late_s)


def test_a_job_under_way_has_an_eta(stage: Stage) -> None:
    """JSON and text show the median and the time that nine in ten keep."""
    with stage.worker(name="one", threads=4, **LEARNED):
        job_id = stage.service.submit(a_request("clip [sandbox: latency=300]")).job_id
        eventually(lambda: stage.service.get(job_id).job.state is State.RENDERING)
        card = stage.rushes("get", job_id).stdout
        view = json.loads(stage.rushes("get", job_id, "--json").stdout)

    assert "9 of 10 within" in card
    assert 0 < view["eta"]["p50_s"] <= view["eta"]["p90_s"] < 60
