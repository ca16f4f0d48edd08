"""A job's life, step by step, without a worker: the ledger and the pure functions are enough to live it.

The broker carries reminders; the ledger holds the truth. A message only wakes a task up. The task claims all jobs that
are due, each on a lease, and asks the upstream. For each job a pure function turns the answer into a move, and the
ledger applies the move if the job's turn is still the one that was claimed. The task then reschedules itself by
`self.retry(countdown=...)` for the next due time, so that no thread waits.
"""

import pytest

from jobs.errors import StaleTurn
from jobs.facts import Accepted, Fetched, Finished, Pending, Unknown
from jobs.job import Charged, Stored, Terms, Video
from jobs.ledger import Ledger, new_job_id
from jobs.moves.download import after_download, storing
from jobs.moves.move import Policy
from jobs.moves.poll import after_poll
from jobs.moves.purchase import after_submit, before_submit, submitting
from jobs.pacing import FixedPacing
from jobs.states import State, Status
from jobs.wakes import Alarm
from tests.stage import Clock, a_request

POLICY = Policy(
    pacing=FixedPacing(first_s=30, interval_s=10),
    hold_first_s=5,
    hold_longest_s=120,
    download_first_s=2,
    download_longest_s=300,
    download_patience_s=86400,
)


def test_a_prompt_becomes_a_stored_video(ledger: Ledger, clock: Clock) -> None:
    """The whole way through, as the workers' tasks walk it."""
    # A producer puts the job into the ledger: from here on it ends exactly once. The alarm is the message to send.
    job_id = new_job_id()
    alarm = ledger.accept(a_request("a dragon"), Terms(job_id=job_id, deadline_s=1000)).alarm
    assert alarm == Alarm(State.QUEUED, job_id, turn=1, seconds=0)

    # The message wakes a task, which claims all queued jobs that are due. It writes the intent to buy, and then buys.
    (job,) = ledger.wakes.take(State.QUEUED, limit=100).jobs
    assert (job.id, job.state) == (job_id, State.QUEUED)
    assert before_submit(job, now=clock.now) is None
    job = ledger.intend(job, submitting(job, lease_s=60, worker="one", suffix="7f3a"))
    assert job.request_id == f"{job_id}.1-7f3a"  # what the upstream will know this purchase by

    # The upstream's receipt is a fact; a pure function turns it into a move; the ledger applies the move.
    move = after_submit(job, Accepted("gen-7", cost_usd=3.36), policy=POLICY)
    assert (move.event, move.to, move.due_in_s) == ("job.submitted", State.RENDERING, 30)
    turn = ledger.move(job, move).turn

    # No thread waits. When the first poll is due, a task wakes and claims the job. Not done yet: poll again in 10 s.
    clock.advance(30)
    (job,) = ledger.wakes.take(State.RENDERING, limit=100).jobs
    assert job.turn == turn
    assert job.state.status is Status.IN_PROGRESS
    move = after_poll(job, Pending("generating"), now=clock.now, policy=POLICY)
    assert (move.event, move.due_in_s) == ("job.polled", 10)
    (alarm,) = ledger.move(job, move).alarms  # the task sets it by `self.retry(countdown=10)`

    # Done. The ledger keeps the video's URL before a byte is fetched, because the video is paid for.
    clock.advance(alarm.seconds)
    (job,) = ledger.wakes.take(State.RENDERING, limit=100).jobs
    video = Video("https://cdn.example/clip.mp4")
    turn = ledger.move(job, after_poll(job, Finished(video), now=clock.now, policy=POLICY)).turn

    # A task of another queue claims the download, fetches the bytes, and completes the job at the receipt's cost.
    (job,) = ledger.wakes.take(State.STORING, limit=100).jobs
    assert job.turn == turn
    job = ledger.begin(job, storing(lease_s=600, worker="one"))
    fetched = Fetched(Stored("2027/01/15/clip.mp4", 3_716_781, "ab12", "video/mp4"))
    ledger.move(job, after_download(job, fetched, now=clock.now, policy=POLICY))
    job = ledger.get(job_id)
    assert (job.state, job.polls, job.cost_usd, job.charged) == (State.COMPLETED, 2, 3.36, Charged.YES)

    # The job log holds every step.
    assert [entry.event for entry in ledger.job_log.of(job_id)] == [
        "job.accepted",
        "job.submitting",
        "job.submitted",
        "job.polled",
        "job.rendered",
        "job.storing",
        "job.completed",
    ]


def test_a_doubled_message_moves_the_job_once(ledger: Ledger) -> None:
    """A broker may deliver twice: the second task wakes up too, and finds nothing that it may claim."""
    ledger.accept(a_request(), Terms(job_id=new_job_id(), deadline_s=1000))

    first_delivery, second_delivery = (ledger.wakes.take(State.QUEUED, limit=100) for _ in range(2))

    assert (len(first_delivery.jobs), len(second_delivery.jobs)) == (1, 0)


def test_two_claims_of_a_job_move_it_once(ledger: Ledger, clock: Clock) -> None:
    """A worker that froze past its lease acts on a stale turn, once another worker has moved the job."""
    ledger.accept(a_request(), Terms(job_id=new_job_id(), deadline_s=1000))
    (frozen,) = ledger.wakes.take(State.QUEUED, limit=100, lease_s=10).jobs
    clock.advance(11)
    (job,) = ledger.wakes.take(State.QUEUED, limit=100, lease_s=10).jobs

    ledger.intend(job, submitting(job, lease_s=60, worker="two", suffix="2"))

    with pytest.raises(StaleTurn):
        ledger.intend(frozen, submitting(frozen, lease_s=60, worker="one", suffix="1"))


def test_a_lost_message_is_found_by_its_due_time(ledger: Ledger, clock: Clock) -> None:
    """A broker may lose messages, so every unfinished job has a due time: the rescuer finds those overdue."""
    job_id = new_job_id()
    ledger.accept(a_request(), Terms(job_id=job_id, deadline_s=1000))

    clock.advance(60)
    alarm = ledger.wakes.overdue(State.QUEUED, grace_s=5)

    assert alarm == Alarm(
        State.QUEUED, job_id, turn=1, seconds=0
    )  # one message: the task that it wakes claims all due jobs


def test_a_purchase_whose_reply_is_lost_is_never_repeated(ledger: Ledger) -> None:
    """The upstream has no idempotency key: a second POST would be a second purchase, so the doubt is a state."""
    job_id = new_job_id()
    ledger.accept(a_request(), Terms(job_id=job_id, deadline_s=1000))
    (job,) = ledger.wakes.take(State.QUEUED, limit=100).jobs
    job = ledger.intend(job, submitting(job, lease_s=60, worker="one", suffix="1"))

    ledger.move(job, after_submit(job, Unknown("the reply was lost"), policy=POLICY))

    doubtful = ledger.get(job_id)
    assert (doubtful.state, doubtful.charged) == (State.IN_DOUBT, Charged.UNKNOWN)
    assert ledger.wakes.take(State.QUEUED, limit=100).jobs == []
