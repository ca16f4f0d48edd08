"""Purchases in doubt: a reply was lost, and the upstream has no idempotency key.

Sending again would perhaps buy again. So the doubt is a state of its own, which only proof or a person ends: the
upstream's own request log shows each purchase under the request id that we gave it.
"""

from dataclasses import replace

import pytest

from jobs.errors import StaleTurn
from jobs.facts import Accepted, LogRow, NotBought, Unknown
from jobs.job import Charged, Hold, Job
from jobs.ledger import Ledger
from jobs.moves.purchase import after_submit, in_doubt
from jobs.moves.reconcile import after_reading
from jobs.states import State
from jobs.work_items import LEASE_S, Claim
from tests import steps
from tests.stage import Clock
from tests.steps import POLICY


@pytest.fixture
def doubtful(ledger: Ledger) -> Job:
    """A job whose purchase is in doubt."""
    return steps.job_in(ledger, State.IN_DOUBT)


def test_a_purchase_whose_reply_is_lost_is_never_repeated(ledger: Ledger) -> None:
    """Whether it was bought is not known, and the row says so."""
    job = steps.job_in(ledger, State.SUBMITTING)

    ledger.move(job, after_submit(job, Unknown("the reply was lost"), policy=POLICY))

    doubtful = ledger.get(job.id)
    assert (doubtful.state, doubtful.charged) == (State.IN_DOUBT, Charged.UNKNOWN)
    assert ledger.items.claim(Claim(queue=State.QUEUED)).jobs == []


def test_only_proof_that_nothing_was_bought_sends_it_again(ledger: Ledger) -> None:
    """A 429 came from the door: the job goes back to the queue, and its next try has a request id of its own."""
    job = steps.job_in(ledger, State.SUBMITTING)

    ledger.move(job, after_submit(job, NotBought(Hold.THROTTLED, "slow down"), policy=POLICY))

    held = ledger.get(job.id)
    assert (held.state, held.hold, held.request_id) == (State.QUEUED, Hold.THROTTLED, None)


def test_a_purchase_that_the_upstreams_log_shows_is_adopted(ledger: Ledger, doubtful: Job) -> None:
    """The job goes on with the generation that it has paid for."""
    row = LogRow(doubtful.request_id or "", "gen-7", cost_usd=3.36)

    ledger.move(doubtful, after_reading(doubtful, row, now=doubtful.accepted_at + 60, policy=POLICY))

    adopted = ledger.get(doubtful.id)
    assert (adopted.state, adopted.generation_id, adopted.charged) == (State.RENDERING, "gen-7", Charged.YES)


def test_absence_from_the_log_proves_nothing_yet(doubtful: Job) -> None:
    """Lines come late. After a quiet window longer than any generation a person is asked, and nothing is bought."""
    begun = doubtful.intent_at or 0.0
    early = after_reading(doubtful, None, now=begun + 60, policy=POLICY)
    late = after_reading(doubtful, None, now=begun + POLICY.quiet_s + 1, policy=POLICY)

    assert (early.event, early.to) == ("job.still_in_doubt", State.IN_DOUBT)
    assert (late.event, late.to) == ("job.needs_attention", State.IN_DOUBT)


def test_a_deployment_may_decide_beforehand_to_buy_again(doubtful: Job) -> None:
    """It accepts that a lost reply may cost a second generation, rather than wait for a person."""
    policy = replace(POLICY, resubmit_in_doubt=True)

    move = after_reading(doubtful, None, now=(doubtful.intent_at or 0) + policy.quiet_s + 1, policy=policy)

    assert (move.event, move.to) == ("job.resubmitted", State.QUEUED)


def test_a_purchase_whose_worker_dies_is_put_in_doubt(ledger: Ledger, clock: Clock) -> None:
    """`submitting` is a queue as well: what is claimed from it has lost its buyer. A late receipt still counts."""
    frozen = steps.job_in(ledger, State.SUBMITTING)
    clock.advance(LEASE_S)

    (orphan,) = ledger.items.claim(Claim(queue=State.SUBMITTING, limit=100, fence=False)).jobs
    ledger.move(orphan.job, in_doubt("the worker that was buying did not report back", policy=POLICY))
    assert ledger.get(frozen.id).state is State.IN_DOUBT

    # Neither state nor turn guards a receipt, but the request id of its purchase.
    ledger.move(frozen, after_submit(frozen, Accepted("gen-7", cost_usd=3.36), policy=POLICY))
    assert ledger.get(frozen.id).generation_id == "gen-7"


def test_a_receipt_of_an_earlier_purchase_moves_no_later_one(ledger: Ledger, doubtful: Job) -> None:
    """Each try has a request id of its own, so a receipt can't be taken for another's."""
    steps.resubmitted(ledger, doubtful, by="a person")
    (claimed,) = steps.claimed(ledger, State.QUEUED, fence=True)
    steps.submitting(ledger, claimed, suffix="b2")

    frozen = doubtful.model_copy(update={"state": State.SUBMITTING})  # as its buyer knew it
    with pytest.raises(StaleTurn):
        ledger.move(frozen, after_submit(frozen, Accepted("gen-7", cost_usd=3.36), policy=POLICY))


def test_a_generation_that_was_bought_twice_is_kept_and_told(ledger: Ledger, doubtful: Job) -> None:
    """It has been paid for: it becomes a job of its own, and the first job's log says so, once per generation."""
    for _ in range(2):
        ledger.bought_twice(doubtful, Accepted("gen-8", cost_usd=3.36), job_id=f"{doubtful.id}-2")

    second = ledger.get(f"{doubtful.id}-2")
    assert (second.state, second.generation_id, second.retry_of) == (State.RENDERING, "gen-8", doubtful.id)
    assert [entry.event for entry in ledger.job_log.of(doubtful.id)].count("job.bought_twice") == 1
