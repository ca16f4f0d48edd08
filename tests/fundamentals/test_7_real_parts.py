"""The same life with real parts: a producer, a worker process, a Redis server, an upstream over HTTP.

A Celery message is a wake-up: it names a queue of work items, and the task that it starts works off whatever is due in
that queue. A message that is lost, doubled or late changes nothing but the moment.
"""

from jobs.job import Charged, Hold, Reason
from jobs.states import State
from tests.stage import Stage, a_request, eventually


def test_a_submitted_prompt_becomes_a_file(stage: Stage) -> None:
    """A producer makes one call; the worker's tasks do the rest."""
    with stage.worker():
        answer = stage.service.submit(a_request("a paper boat in the rain", duration=4))
        job = stage.ended(answer.job_id)

    assert job.state is State.COMPLETED
    assert job.stored is not None
    file = stage.settings.archive_dir / job.stored.path
    assert file.name == f"{job.id}.mp4"
    assert file.stat().st_size == job.stored.size_bytes
    assert stage.sandbox.purchases() == {job.id: 1}


def test_jobs_wait_for_workers_and_not_the_other_way_round(stage: Stage) -> None:
    """A producer needs no worker to accept jobs; whenever one starts, its tasks claim them."""
    job_ids = [stage.service.submit(a_request(f"clip {n}")).job_id for n in range(5)]
    assert stage.service.counts()[State.QUEUED] == 5

    with stage.worker():
        assert {stage.ended(job_id).state for job_id in job_ids} == {State.COMPLETED}


def test_waiting_for_the_upstream_is_not_failing(stage: Stage) -> None:
    """The upstream says three times to slow down: the job waits three times, and is bought once."""
    with stage.worker():
        job_id = stage.service.submit(a_request("patience [sandbox: submit=429 times=3]")).job_id
        job = stage.ended(job_id)

    assert job.state is State.COMPLETED
    assert job.holds >= 3
    held = {entry.data["hold"] for entry in stage.service.events(job_id) if entry.event == "job.held"}
    assert held == {Hold.THROTTLED}
    assert sum(stage.sandbox.purchases().values()) == 1


def test_a_refusal_ends_the_job_and_says_what_it_cost(stage: Stage) -> None:
    """The upstream does not charge for what it could not render."""
    with stage.worker():
        job = stage.ended(stage.service.submit(a_request("no face [sandbox: error=face]")).job_id)

    assert (job.state, job.reason, job.charged) == (State.FAILED, Reason.GENERATION_FAILED, Charged.NO)
    assert "face" in (job.message or "")


def test_a_cancelled_job_costs_nothing_if_it_was_not_bought(stage: Stage) -> None:
    """Nobody has claimed it, so cancelling ends it in the queue; the task that wakes up then finds nothing due."""
    job_id = stage.service.submit(a_request("no longer wanted")).job_id

    answer = stage.service.cancel(job_id)

    assert (answer.job.state, answer.job.charged) == (State.CANCELLED, Charged.NO)
    with stage.worker():
        wanted = stage.ended(stage.service.submit(a_request("still wanted")).job_id)
    assert stage.sandbox.purchases() == {wanted.id: 1}


def test_a_worker_that_dies_loses_nothing(stage: Stage) -> None:
    """Kill -9 destroys the messages that it held; its leases end, and the next worker claims what is due."""
    with stage.worker(name="first") as first:
        job_ids = [stage.service.submit(a_request(f"clip {n}")).job_id for n in range(10)]
        eventually(lambda: stage.service.counts()[State.RENDERING] > 3)
        first.kill()

    with stage.worker(name="second"):
        eventually(
            lambda: {job.state for job, _ in stage.service.get_many(job_ids)} <= {State.COMPLETED, State.IN_DOUBT},
            what="the end of all jobs",
            within_s=60,
        )

    # Jobs whose worker died in mid-purchase stay in doubt until the quiet window is over.
    assert stage.service.counts()[State.COMPLETED] >= len(job_ids) - 4
    assert all(count == 1 for count in stage.sandbox.purchases().values())
