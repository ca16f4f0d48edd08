"""The drill's books: a job is bought once, and again only by a decision."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from jobs.facts import Accepted
from jobs.job import Job
from jobs.ledger import new_job_id
from ops.chaos.invariants import Invariant, examine
from tests import steps
from tests.stage import Stage, a_request


def bought_again(stage: Stage) -> tuple[Job, str]:
    """A job whose purchase was in doubt and that was bought again; and the first purchase's request id."""
    ledger = stage.ledger
    job = steps.submitting(ledger, ledger.get(ledger.accept(a_request()).job_id))
    assert job.request_id is not None
    steps.in_doubt(ledger, job, "no reply")
    steps.resubmitted(ledger, ledger.get(job.id), by="a person")
    steps.submitted(ledger, steps.submitting(ledger, ledger.get(job.id), suffix="b2"), "gen_2")
    return ledger.get(job.id), job.request_id


def purchases_kept(stage: Stage, job: Job, purchases: Mapping[str, int]) -> Invariant:
    """Compare the purchases with the job's books."""
    found = examine(stage.service, stage.client, stage.settings, [job.id], purchases, Path())
    return next(invariant for invariant in islice(found, 2) if invariant.promise.startswith("generations bought"))


def test_a_purchase_that_another_job_goes_on_with_is_in_the_books(stage: Stage) -> None:
    """Both were paid for, each has a job, and somebody decided to buy again."""
    job, first_request = bought_again(stage)
    assert job.request_id is not None
    purchases = {first_request: 1, job.request_id: 1}
    assert not purchases_kept(stage, job, purchases).kept, "a purchase that no job has"

    stage.ledger.bought_twice(job, Accepted("gen_1", 3.36), job_id=new_job_id())

    assert purchases_kept(stage, job, purchases).kept


def test_a_purchase_that_nobody_decided_on_is_paid_twice(stage: Stage) -> None:
    """Even if another job goes on with it."""
    ledger = stage.ledger
    job = steps.submitting(ledger, ledger.get(ledger.accept(a_request()).job_id))
    steps.submitted(ledger, job, "gen_1")
    ledger.bought_twice(ledger.get(job.id), Accepted("gen_2", 3.36), job_id=new_job_id())
    assert job.request_id is not None

    found = purchases_kept(stage, job, {job.request_id: 2})

    assert (found.kept, "1 paid twice" in found.figure) == (False, True)
