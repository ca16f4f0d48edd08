"""A newer version's rows in the ledger: the fleet goes on, its rescuers live, lists are answered."""

import logging
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from config.settings import RescueSettings, Settings
from jobs.errors import LedgerUnavailable
from jobs.job import Charged, Job, Reason, Video
from jobs.ledger import Ledger
from jobs.states import State
from tests import steps
from tests.stage import Stage, a_request, eventually
from worker.rescue import BackgroundStep


def _strange_rows(stage: Stage) -> dict[str, Any]:
    """Overdue jobs in each state, and an ended one with its follow-ups, none of which this version can read."""
    ledger, client = stage.ledger, stage.client
    made = [job for _ in range(2) for job in _one_in_each_state(ledger)]
    *_, ended, _ = _one_in_each_state(ledger)
    steps.end(ledger, ended, steps.ended(State.EXPIRED, Reason.DEADLINE_PASSED, "late", Charged.YES, late_fetch_in_s=0))
    for job in made:
        client.zadd(f"rushes:due:{job.state}", {job.id: ledger.now() - 100})
    for job in made[:5]:
        client.hset(f"rushes:job:{job.id}", "state", f"composing-{job.state}")
    for job in made[5:]:
        client.rename(f"rushes:job:{job.id}", f"rushes:kept:{job.id}")
        client.set(f"rushes:job:{job.id}", "a row of a later time")
    client.hset(f"rushes:job:{ended.id}", "reason", "bored")
    return {job.id: _held(stage, job.id) for job in (*made, ended)}


def _one_in_each_state(ledger: Ledger) -> tuple[Job, ...]:
    """A queued, a submitting, a doubtful, a rendering and a storing job."""
    queued, submitting, in_doubt, rendering, storing = (ledger.get(ledger.accept(a_request()).job_id) for _ in range(5))
    submitting, in_doubt, rendering, storing = (
        steps.submitting(ledger, job) for job in (submitting, in_doubt, rendering, storing)
    )
    steps.in_doubt(ledger, in_doubt, "no reply")
    for job in (rendering, storing):
        steps.submitted(ledger, job, "gen_1")
    steps.rendered(ledger, ledger.get(storing.id), Video("https://cdn.example/v.mp4"))
    return tuple(ledger.get(job.id) for job in (queued, submitting, in_doubt, rendering, storing))


@pytest.mark.long
def test_the_rescuer_lives_with_rows_that_it_cannot_read(stage: Stage) -> None:
    """Else its worker would look dead, and what others lose would be found by nobody."""
    before = _strange_rows(stage)
    with stage.worker(name="target") as worker:
        first = stage.service.submit(a_request()).job_id
        assert stage.ended(first).state is State.COMPLETED
        seen = _seen_at(stage)
        eventually(lambda: _seen_at(stage) > seen, what="a sign of life")
        for queue in ("submit", "poll", "transfer", "notify"):
            stage.client.delete(f"rushes:celery:{queue}")
        assert stage.ended(stage.service.submit(a_request()).job_id).state is State.COMPLETED
        listed = stage.rushes("list", "--json")

        assert listed.returncode == 0, listed.stderr
        assert first in listed.stdout
        assert worker.process.poll() is None
        said = worker.said()
        assert "Traceback" not in said
        assert "row.unreadable" in said
    for job_id, row in before.items():
        assert _held(stage, job_id) == row
    stage.client.delete(*(f"rushes:kept:{job_id}" for job_id in before))


def _held(stage: Stage, job_id: str) -> Any:
    """The row, but for its turn, which each claim moves; or what stands in its place."""
    key = f"rushes:job:{job_id}"
    if stage.client.type(key) != "hash":
        return stage.client.get(key)
    return {name: value for name, value in stage.client.hgetall(key).items() if name != "turn"}


def _seen_at(stage: Stage) -> float:
    """When the worker last gave a sign of life."""
    (seen,) = (seen for seen in stage.ledger.workers_seen(within_s=3600) if seen.name.startswith("target@"))
    return seen.seen_at


@pytest.mark.parametrize("error", [ZeroDivisionError("unforeseen"), RecursionError(), LedgerUnavailable("away")])
def test_nothing_ends_the_rescuers_thread(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a step raises, the next one is made; what nobody foresaw is logged with its traceback."""
    again, calls = threading.Event(), 0

    def fail() -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            again.set()
        raise error

    settings = Settings(_env_file=None, rescue=RescueSettings(every_s=0.01))
    still = SimpleNamespace(run=lambda: None)
    runtime = SimpleNamespace(rescuer=SimpleNamespace(round=fail), leases=still, inputs=still)
    step = BackgroundStep(SimpleNamespace(app=SimpleNamespace(runtime=runtime, settings=settings)))
    with caplog.at_level(logging.WARNING, "rushes.rescue"):
        step.start(None)
        assert again.wait(10)
        step.stop(None)

    tracebacks = [record for record in caplog.records if record.exc_info]
    assert bool(tracebacks) is not isinstance(error, LedgerUnavailable)
