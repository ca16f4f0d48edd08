"""A job's life, step by step, without a worker: the ledger and the pure functions are enough to live it.

The ledger holds the truth; a message of the broker only wakes a task up. Everything that waits is a work item in a
queue, with a due time and a turn. The task claims what is due in its queue, each item on a lease, and asks the
upstream. For each item a pure function turns the answer into a move, and the ledger applies the move if the item's turn
is still the one that was claimed. Scripts say when the next wake-up must ring; a task sends it by
`self.retry(countdown=...)`, so that no thread waits.
"""

import pytest

from jobs.delivery import Delivered, Delivery
from jobs.errors import WrongState
from jobs.facts import Accepted, Fetched, Finished, Pending
from jobs.job import Charged, Stored, Terms, Video
from jobs.ledger import Ledger, new_job_id
from jobs.moves.delivery import RetryTerms, Timed, after_delivery
from jobs.moves.download import after_download
from jobs.moves.move import Move
from jobs.moves.poll import after_poll
from jobs.moves.purchase import after_submit, before_submit, submitting
from jobs.moves.request import if_cancelled, on_cancel
from jobs.queues import delivery_queue
from jobs.scripts import WakeUp
from jobs.states import FollowUp, State, Status
from jobs.work_items import LEASE_S, Claim
from tests import steps
from tests.stage import Clock, a_request
from tests.steps import POLICY

# What each task claims. A fenced claim gives the item a new turn, for steps that two workers must not both do.
# A poll may be done twice: a hundred are claimed at once, and none is fenced. The first write wins.
TO_BUY = Claim(queue=State.QUEUED, wants_request=True)
TO_POLL = Claim(queue=State.RENDERING, limit=100, fence=False)
TO_FETCH = Claim(queue=State.STORING, event="job.storing")
TO_DELIVER = Claim(queue=delivery_queue("shop:notify"), slot="one", wants_request=True)


def test_a_prompt_becomes_a_stored_video(ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
    """The whole way through, as the workers' tasks walk it."""
    # A producer puts the job into the ledger: from here on it ends exactly once. A wake-up for its queue is sent.
    job_id = new_job_id()
    ledger.accept(a_request("a dragon"), Terms(job_id=job_id, deadline_s=1000))
    assert sent.pop() == WakeUp(State.QUEUED, job_id, seconds=0)

    # The message wakes a task, which claims a job that is due. It writes the intent to buy, and then buys.
    (claimed,) = ledger.items.claim(TO_BUY).jobs
    job = claimed.job
    assert (job.id, job.state, job.turn) == (job_id, State.QUEUED, 2)
    assert before_submit(job, now=clock.now) is None
    job = ledger.intend(job, submitting(job, lease_s=LEASE_S, worker="one", suffix="7f3a"))
    assert job.request_id == f"{job_id}.1-7f3a"  # what the upstream will know this purchase by

    # The upstream's receipt is a fact; a pure function turns it into a move; the ledger applies the move.
    move = after_submit(job, Accepted("gen-7", cost_usd=3.36), policy=POLICY)
    assert (move.event, move.to, move.due_in_s) == ("job.submitted", State.RENDERING, 20)
    turn = ledger.move(job, move)

    # No thread waits: a wake-up rings when the first poll is due. Not done yet: poll again in 10 s.
    assert sent.pop() == WakeUp(State.RENDERING, job_id, seconds=20)
    clock.advance(20)
    (claimed,) = ledger.items.claim(TO_POLL).jobs
    job = claimed.job
    assert job.turn == turn
    assert job.state.status is Status.IN_PROGRESS
    move = after_poll(job, Pending("generating"), now=clock.now, policy=POLICY)
    assert (move.event, move.due_in_s) == ("job.polled", 10)
    ledger.move(job, move)

    # Done. The ledger keeps the video's URL before a byte is fetched, because the video is paid for.
    clock.advance(sent.pop().seconds)
    (claimed,) = ledger.items.claim(TO_POLL).jobs
    video = Video("https://cdn.example/clip.mp4")
    ledger.move(claimed.job, after_poll(claimed.job, Finished(video), now=clock.now, policy=POLICY))

    # A task of another queue claims the download, which its log then shows, fetches the bytes, and completes the job.
    assert sent.pop().queue == State.STORING
    (claimed,) = ledger.items.claim(TO_FETCH).jobs
    fetched = Fetched(Stored("2027/01/15/clip.mp4", 3_716_781, "ab12", "video/mp4"))
    ledger.move(claimed.job, after_download(claimed.job, fetched, now=clock.now, policy=POLICY))
    job = ledger.get(job_id)
    assert (job.state, job.polls, job.cost_usd, job.charged) == (State.COMPLETED, 2, 3.36, Charged.YES)

    # The script that wrote the end has put it into the outbox of each receiver that wants it: a work item of its own.
    assert sent.pop().queue == delivery_queue("shop:notify")
    (item,) = ledger.items.claim(TO_DELIVER).items
    delivery = Delivery.of(item)
    assert (delivery.receiver, delivery.event, item.job) == ("shop:notify", "job.completed", job)
    ledger.move(item, after_delivery(delivery, Delivered(), RetryTerms(()), timed=Timed(ledger.now(), 0.1), spread=0.5))

    # The job log holds every step.
    assert [entry.event for entry in ledger.job_log.of(job_id)] == [
        "job.accepted",
        "job.submitting",
        "job.submitted",
        "job.polled",
        "job.rendered",
        "job.storing",
        "job.completed",
        "delivery.succeeded",
    ]


def test_a_state_leads_only_where_the_table_of_edges_says(ledger: Ledger) -> None:
    """One table beside the states says which may follow which; an ended job stays as it is."""
    job = steps.job_in(ledger, State.QUEUED)

    with pytest.raises(WrongState):
        ledger.move(job, Move(event="job.completed", to=State.COMPLETED))

    assert {state for state in State if state.is_final} == {
        State.COMPLETED,
        State.FAILED,
        State.CANCELLED,
        State.EXPIRED,
    }


def test_a_cancel_before_the_purchase_is_free(ledger: Ledger) -> None:
    """Nobody has bought anything: the job ends at once, and leaves its queue."""
    job = steps.job_in(ledger, State.QUEUED)
    move = on_cancel(job)
    assert move is not None

    ledger.move(job, move)

    ended = ledger.get(job.id)
    assert (ended.state, ended.charged) == (State.CANCELLED, Charged.NO)
    assert ledger.items.claim(TO_BUY).jobs == []


def test_a_cancel_during_the_purchase_waits_for_its_outcome(ledger: Ledger) -> None:
    """Money may be on its way: the request is kept, and the step after the receipt grants it, due at once."""
    job = steps.job_in(ledger, State.SUBMITTING)
    steps.cancel_requested(ledger, job)

    ledger.move(job, after_submit(job, Accepted("gen-7", cost_usd=3.36), policy=POLICY))
    (claimed,) = ledger.items.claim(TO_POLL).jobs

    move = if_cancelled(claimed.job, keep=False)
    assert move is not None
    ledger.move(claimed.job, move)
    ended = ledger.get(job.id)
    assert (ended.state, ended.charged) == (State.CANCELLED, Charged.YES)


def test_a_job_that_is_late_is_given_up_but_not_its_video(ledger: Ledger, clock: Clock) -> None:
    """The deadline ends the job. The generation is paid for, so a follow-up goes on polling for it."""
    job = steps.job_in(ledger, State.RENDERING)
    clock.advance(job.deadline_s)

    ledger.move(job, after_poll(job, Pending("generating"), now=clock.now, policy=POLICY))

    assert ledger.get(job.id).state is State.EXPIRED
    clock.advance(POLICY.late_fetch_first_s)
    (item,) = ledger.items.claim(Claim(queue=FollowUp.LATE_FETCH)).items
    assert item.id == job.id
