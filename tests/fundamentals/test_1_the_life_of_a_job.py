"""A job's life, step by step, without a worker: the ledger and the decisions are enough to tell it.

The broker carries reminders; the ledger holds the truth. A reminder names a job and its turn. The worker that gets it
reads the job, touches the world once, and writes the next turn; a reminder of an earlier turn is out of date.
"""

import pytest

from jobs.errors import StaleTurn
from jobs.facts import Accepted, Finished, Pending, Unknown
from jobs.job import Charged, Stored, Video
from jobs.ledger import Ledger, new_job_id
from jobs.lifecycle import Await, Buy, Policy, PollAgain, PutInDoubt, StoreVideo
from jobs.lifecycle import after_poll as decide_after_poll
from jobs.lifecycle import after_submit as decide_after_submit
from jobs.lifecycle import before_submit as decide_before_submit
from jobs.pacing import FixedPacing
from jobs.polls import Poll
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
    ledger.accept(a_request("a dragon"), job_id=job_id, deadline_s=1000, due_in_s=0)
    job = ledger.held(job_id, turn=1)
    assert job.state is State.QUEUED

    # A worker is reminded. It writes down that it is about to buy, and only then buys.
    assert decide_before_submit(job, now=clock.now) == Buy()
    job = ledger.submitting(job, lease_s=60)
    assert job.request_id == f"{job_id}.1"  # what the upstream will know this purchase by

    # The upstream's receipt is a fact; what follows from it is a decision; the ledger writes it.
    decision = decide_after_submit(job, Accepted("gen-7", cost_usd=3.36), policy=POLICY)
    assert isinstance(decision, Await)
    turn = ledger.submitted(job, "gen-7", cost_usd=3.36, first_poll_s=decision.seconds).turn

    # Nobody waits. When the first poll is due, a worker that wakes takes it; not done yet: poll again in ten seconds.
    clock.advance(30)
    (job,) = ledger.wakes.take(State.RENDERING, limit=100).jobs
    assert job.turn == turn
    assert job.state.status is Status.IN_PROGRESS
    decision_2 = decide_after_poll(job, Pending("generating"), now=clock.now, policy=POLICY)
    assert decision_2 == PollAgain(10, "generating")
    (alarm,) = ledger.polls.again([Poll(job, "generating", 10)])  # the alarm that somebody must set for it

    # Done. Where the video is, is written before a byte is fetched: it is paid for.
    clock.advance(alarm.seconds)
    (job,) = ledger.wakes.take(State.RENDERING, limit=100).jobs
    video = Video("https://cdn.example/clip.mp4")
    assert decide_after_poll(job, Finished(video), now=clock.now, policy=POLICY) == StoreVideo(video)
    turn = ledger.rendered(job, video).turn

    # The bytes are fetched; the job is completed, and has cost what the receipt said.
    job = ledger.storing(ledger.held(job_id, turn), lease_s=600)
    ledger.completed(job, Stored("2027/01/15/clip.mp4", 3_716_781, "ab12", "video/mp4"))
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
    ledger.accept(a_request(), job_id=job_id, deadline_s=1000, due_in_s=0)
    first_delivery = ledger.held(job_id, turn=1)
    second_delivery = ledger.held(job_id, turn=1)

    ledger.submitting(first_delivery, lease_s=60)

    with pytest.raises(StaleTurn):
        ledger.submitting(second_delivery, lease_s=60)


def test_a_lost_message_is_found_by_its_due_time(ledger: Ledger, clock: Clock) -> None:
    """A broker may lose messages. Every unfinished job has a time by which something should have happened."""
    job_id = new_job_id()
    ledger.accept(a_request(), job_id=job_id, deadline_s=1000, due_in_s=0)

    clock.advance(60)
    alarm = ledger.wakes.overdue(State.QUEUED, grace_s=5)

    assert alarm == Alarm(State.QUEUED, job_id, turn=1, seconds=0)  # the task that it wakes takes all due jobs


def test_a_purchase_whose_reply_is_lost_is_never_repeated(ledger: Ledger) -> None:
    """The upstream has no idempotency key: a second POST would be a second purchase. So the doubt is a state."""
    job_id = new_job_id()
    ledger.accept(a_request(), job_id=job_id, deadline_s=1000, due_in_s=0)
    job = ledger.submitting(ledger.held(job_id, turn=1), lease_s=60)

    decision = decide_after_submit(job, Unknown("the reply was lost"), policy=POLICY)
    assert isinstance(decision, PutInDoubt)
    ledger.in_doubt(job, decision.message, ask_in_s=600)

    doubtful = ledger.get(job_id)
    assert (doubtful.state, doubtful.charged) == (State.IN_DOUBT, Charged.UNKNOWN)
