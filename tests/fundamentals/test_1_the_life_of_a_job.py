"""A job's life, step by step, without a worker: the ledger and the decisions are enough to tell it.

The broker carries reminders; the ledger holds the truth. A reminder names a job and its turn. The worker that gets it
reads the job, touches the world once, and writes the next turn; a reminder of an earlier turn is out of date.
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
    """The whole way through, as a worker would walk it."""
    # A producer puts the job into the ledger. From here on it will end exactly once.
    job_id = new_job_id()
    ledger.accept(a_request("a dragon"), Terms(job_id=job_id, deadline_s=1000))
    job = ledger.held(job_id, turn=1)
    assert job.state is State.QUEUED

    # A worker is reminded. It writes down that it is about to buy, and only then buys.
    assert before_submit(job, now=clock.now) is None
    job = ledger.intend(job, submitting(job, lease_s=60, worker="one", suffix="7f3a"))
    assert job.request_id == f"{job_id}.1-7f3a"  # what the upstream will know this purchase by

    # The upstream's receipt is a fact; what follows from it is a move; the ledger applies it.
    move = after_submit(job, Accepted("gen-7", cost_usd=3.36), policy=POLICY)
    assert (move.event, move.to, move.due_in_s) == ("job.submitted", State.RENDERING, 30)
    turn = ledger.move(job, move).turn

    # Nobody waits. When the first poll is due, a worker that wakes takes it; not done yet: poll again in ten seconds.
    clock.advance(30)
    (job,) = ledger.wakes.take(State.RENDERING, limit=100).jobs
    assert job.turn == turn
    assert job.state.status is Status.IN_PROGRESS
    move = after_poll(job, Pending("generating"), now=clock.now, policy=POLICY)
    assert (move.event, move.due_in_s) == ("job.polled", 10)
    (alarm,) = ledger.move(job, move).alarms  # the alarm that somebody must set for it

    # Done. Where the video is, is written before a byte is fetched: it is paid for.
    clock.advance(alarm.seconds)
    (job,) = ledger.wakes.take(State.RENDERING, limit=100).jobs
    video = Video("https://cdn.example/clip.mp4")
    turn = ledger.move(job, after_poll(job, Finished(video), now=clock.now, policy=POLICY)).turn

    # The bytes are fetched; the job is completed, and has cost what the receipt said.
    job = ledger.begin(ledger.held(job_id, turn), storing(lease_s=600, worker="one"))
    fetched = Fetched(Stored("2027/01/15/clip.mp4", 3_716_781, "ab12", "video/mp4"))
    ledger.move(job, after_download(job, fetched, now=clock.now, policy=POLICY))
    job = ledger.get(job_id)
    assert (job.state, job.polls, job.cost_usd, job.charged) == (State.COMPLETED, 2, 3.36, Charged.YES)

    # The job log tells all of it.
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
    """A broker may deliver twice. The second delivery finds its turn taken, and ends quietly."""
    job_id = new_job_id()
    ledger.accept(a_request(), Terms(job_id=job_id, deadline_s=1000))
    first_delivery = ledger.held(job_id, turn=1)
    second_delivery = ledger.held(job_id, turn=1)

    ledger.intend(first_delivery, submitting(first_delivery, lease_s=60, worker="one", suffix="1"))

    with pytest.raises(StaleTurn):
        ledger.intend(second_delivery, submitting(second_delivery, lease_s=60, worker="two", suffix="2"))


def test_a_lost_message_is_found_by_its_due_time(ledger: Ledger, clock: Clock) -> None:
    """A broker may lose messages. Every unfinished job has a time by which something should have happened."""
    job_id = new_job_id()
    ledger.accept(a_request(), Terms(job_id=job_id, deadline_s=1000))

    clock.advance(60)
    alarm = ledger.wakes.overdue(State.QUEUED, grace_s=5)

    assert alarm == Alarm(State.QUEUED, job_id, turn=1, seconds=0)  # the task that it wakes takes all due jobs


def test_a_purchase_whose_reply_is_lost_is_never_repeated(ledger: Ledger) -> None:
    """The upstream has no idempotency key: a second POST would be a second purchase. So the doubt is a state."""
    job_id = new_job_id()
    ledger.accept(a_request(), Terms(job_id=job_id, deadline_s=1000))
    job = ledger.held(job_id, turn=1)
    job = ledger.intend(job, submitting(job, lease_s=60, worker="one", suffix="1"))

    ledger.move(job, after_submit(job, Unknown("the reply was lost"), policy=POLICY))

    doubtful = ledger.get(job_id)
    assert (doubtful.state, doubtful.charged) == (State.IN_DOUBT, Charged.UNKNOWN)
