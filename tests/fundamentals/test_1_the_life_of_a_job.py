"""A job's life, step by step, without a worker: the ledger and the pure functions are enough to live it.

The ledger holds the truth; a message of the broker only wakes a task up. Everything that waits is a work item in a
queue, with a due time and a turn. The task claims what is due in its queue, each item on a lease, and asks the
upstream. For each item a pure function turns the answer into a move, and the ledger applies the move if the item's turn
is still the one that was claimed. Scripts say when the next wake-up must ring; a task sends it by
`self.retry(countdown=...)`, so that no thread waits.
"""

import pytest
import redis

from jobs.delivery import Delivered, Delivery
from jobs.errors import StaleTurn
from jobs.facts import Accepted, Fetched, Finished, Pending, Unknown
from jobs.job import Charged, Stored, Terms, Video
from jobs.ledger import Ledger, new_job_id
from jobs.moves.delivery import RetryTerms, after_delivery
from jobs.moves.download import after_download
from jobs.moves.move import Policy
from jobs.moves.poll import after_poll
from jobs.moves.purchase import after_submit, before_submit, in_doubt, submitting
from jobs.pacing import FixedPacing
from jobs.queues import delivery_queue
from jobs.scripts import LOST_AFTER_S, WakeUp
from jobs.states import State, Status
from jobs.work_items import LEASE_S, Claim, Leased
from tests.stage import Clock, a_request, outbox_of

POLICY = Policy(
    pacing=FixedPacing(first_s=30, interval_s=10),
    hold_first_s=5,
    hold_longest_s=120,
    download_first_s=2,
    download_longest_s=300,
    download_patience_s=86400,
)

# What each task claims. A fenced claim gives the item a new turn, for steps that two workers must not both do.
# A poll may be done twice, so many are claimed at once and none is fenced: the first write wins.
TO_BUY = Claim(queue=State.QUEUED, wants_request=True)
TO_POLL = Claim(queue=State.RENDERING, limit=100, fence=False)
TO_FETCH = Claim(queue=State.STORING, event="job.storing")
TO_DELIVER = Claim(queue=delivery_queue("shop:notify"), slot="one", wants_request=True)


@pytest.fixture
def sent() -> list[WakeUp]:
    """The wake-ups that the broker would carry."""
    return []


@pytest.fixture
def ledger(client: "redis.Redis", clock: Clock, sent: list[WakeUp]) -> Ledger:
    """A ledger that goes by the test's clock, and one receiver that wants to know of completed jobs."""
    outbox_of(client, clock=clock).register({"shop:notify": ["job.completed"]})
    return Ledger(client, clock=clock, send_wake_up=sent.append)


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
    assert (move.event, move.to, move.due_in_s) == ("job.submitted", State.RENDERING, 30)
    turn = ledger.move(job, move)

    # No thread waits: a wake-up rings when the first poll is due. Not done yet: poll again in 10 s.
    assert sent.pop() == WakeUp(State.RENDERING, job_id, seconds=30)
    clock.advance(30)
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
    ledger.move(item, after_delivery(delivery, Delivered(), RetryTerms(()), spread=0.5))

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


def test_one_wake_up_serves_a_crowd(ledger: Ledger, sent: list[WakeUp]) -> None:
    """While a queue's wake-up is on its way no other is sent; a task that leaves something due wakes up another."""
    ids = [ledger.accept(a_request(f"clip {n}"), Terms(deadline_s=1000)).job_id for n in range(3)]
    assert sent == [WakeUp(State.QUEUED, ids[0], seconds=0)]

    claimed = ledger.items.claim(TO_BUY)

    assert ([one.job.id for one in claimed.jobs], claimed.left) == (ids[:1], True)
    assert sent[1:] == [WakeUp(State.QUEUED, ids[1], seconds=0)]  # another thread, or machine, goes on with the rest


def test_a_doubled_message_moves_the_job_once(ledger: Ledger) -> None:
    """A broker may deliver twice: the second task wakes up too, and finds nothing that it may claim."""
    ledger.accept(a_request(), Terms(deadline_s=1000))

    first_delivery, second_delivery = (ledger.items.claim(TO_BUY) for _ in range(2))

    assert (len(first_delivery.jobs), len(second_delivery.jobs)) == (1, 0)


def test_a_worker_keeps_what_it_claimed_while_it_is_alive(ledger: Ledger, clock: Clock) -> None:
    """A thread renews every lease of its process. A lease that ends is the news of its death: the item is due again."""
    ledger.accept(a_request(), Terms(deadline_s=1000))
    (claimed,) = ledger.items.claim(TO_BUY).jobs
    for _ in range(3):
        clock.advance(LEASE_S - 1)
        ledger.items.renew([Leased(State.QUEUED, claimed.job.id, claimed.job.turn)])
    assert ledger.items.claim(TO_BUY).jobs == []

    clock.advance(LEASE_S)

    (again,) = ledger.items.claim(TO_BUY).jobs
    assert again.job.turn == claimed.job.turn + 1


def test_two_claims_of_a_job_move_it_once(ledger: Ledger, clock: Clock) -> None:
    """A worker that froze past its lease has a stale turn, once another worker has claimed the job."""
    ledger.accept(a_request(), Terms(deadline_s=1000))
    (frozen,) = ledger.items.claim(TO_BUY).jobs
    clock.advance(LEASE_S)
    (claimed,) = ledger.items.claim(TO_BUY).jobs

    with pytest.raises(StaleTurn):
        ledger.intend(frozen.job, submitting(frozen.job, lease_s=LEASE_S, worker="one", suffix="1"))

    ledger.intend(claimed.job, submitting(claimed.job, lease_s=LEASE_S, worker="two", suffix="2"))


def test_a_lost_message_is_found_by_its_due_time(ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
    """A broker may lose messages. Every unfinished job has a due time: the rescuer wakes up overdue queues."""
    job_id = ledger.accept(a_request(), Terms(deadline_s=1000)).job_id
    sent.clear()
    assert ledger.items.rescue() == []  # the wake-up may still be on its way

    clock.advance(LOST_AFTER_S)

    assert ledger.items.rescue() == sent == [WakeUp(State.QUEUED, job_id, seconds=0)]


def test_a_purchase_whose_reply_is_lost_is_never_repeated(ledger: Ledger) -> None:
    """The upstream has no idempotency key: a second POST would be a second purchase, so the doubt is a state."""
    job_id = ledger.accept(a_request(), Terms(deadline_s=1000)).job_id
    (claimed,) = ledger.items.claim(TO_BUY).jobs
    job = ledger.intend(claimed.job, submitting(claimed.job, lease_s=LEASE_S, worker="one", suffix="1"))

    ledger.move(job, after_submit(job, Unknown("the reply was lost"), policy=POLICY))

    doubtful = ledger.get(job_id)
    assert (doubtful.state, doubtful.charged) == (State.IN_DOUBT, Charged.UNKNOWN)
    assert ledger.items.claim(TO_BUY).jobs == []


def test_a_purchase_whose_worker_dies_is_put_in_doubt(ledger: Ledger, clock: Clock) -> None:
    """`submitting` is a queue as well: what is claimed from it has lost its buyer. A late receipt still counts."""
    ledger.accept(a_request(), Terms(deadline_s=1000))
    (claimed,) = ledger.items.claim(TO_BUY).jobs
    frozen = ledger.intend(claimed.job, submitting(claimed.job, lease_s=LEASE_S, worker="one", suffix="1"))
    clock.advance(LEASE_S)

    (orphan,) = ledger.items.claim(Claim(queue=State.SUBMITTING, limit=100, fence=False)).jobs
    ledger.move(orphan.job, in_doubt("the worker that was buying did not report back", policy=POLICY))
    assert ledger.get(frozen.id).state is State.IN_DOUBT

    # Neither state nor turn guards a receipt, but the request id of its purchase.
    ledger.move(frozen, after_submit(frozen, Accepted("gen-7", cost_usd=3.36), policy=POLICY))
    assert ledger.get(frozen.id).generation_id == "gen-7"
