"""Commands that change a job say what it costs before they do it; a script says --yes."""

import json

import pytest

from jobs.job import Charged, Reason
from jobs.states import State, Status
from producer.cli.exits import Exit
from tests import steps
from tests.producer.terminal import Running
from tests.stage import Stage


def state_of(stage: Stage, job_id: str) -> State:
    """The job's state."""
    return stage.ledger.get(job_id).state


def test_a_cancel_that_is_free_asks_nothing(stage: Stage) -> None:
    """Nothing can be regretted."""
    job = steps.job_in(stage.ledger, State.QUEUED)

    ran = stage.rushes("cancel", job.id)

    assert (ran.returncode, state_of(stage, job.id)) == (0, State.CANCELLED)
    assert "Nothing was bought" in ran.stdout


def test_a_cancel_of_what_was_bought_is_not_done_by_a_script_that_did_not_say_so(stage: Stage) -> None:
    """It saves nothing: the upstream refunds nothing."""
    job = steps.job_in(stage.ledger, State.RENDERING)

    ran = stage.rushes("cancel", job.id)

    assert (ran.returncode, state_of(stage, job.id)) == (Exit.CONFLICT, State.RENDERING)
    assert "already bought, at 3.36 USD" in ran.stderr
    assert "--yes" in ran.stderr
    assert stage.rushes("cancel", job.id, "--yes").returncode == 0
    assert state_of(stage, job.id) is State.CANCELLED


@pytest.mark.parametrize("state", [State.SUBMITTING, State.IN_DOUBT])
def test_a_cancel_of_what_may_be_bought_is_asked_too(stage: Stage, state: State) -> None:
    """It would be granted after the receipt, when the money is spent."""
    job = steps.job_in(stage.ledger, state, lease_s=60)

    ran = stage.rushes("cancel", job.id)

    assert (ran.returncode, stage.ledger.get(job.id).cancel_requested_at) == (Exit.CONFLICT, None)
    assert "may already be bought" in ran.stderr
    assert "as soon as the outcome is known" in stage.rushes("cancel", job.id, "--yes").stdout


@pytest.mark.parametrize(("answer", "state"), [("y", State.CANCELLED), ("n", State.RENDERING), ("", State.RENDERING)])
def test_a_person_is_asked(stage: Stage, answer: str, state: State) -> None:
    """No is the answer of a person who only presses return."""
    job = steps.job_in(stage.ledger, State.RENDERING)
    with Running.started(stage, "cancel", job.id, in_terminal=True) as running:
        running.says("Go on?")
        running.types(answer + "\n")
        running.process.wait(30)

    assert state_of(stage, job.id) is state


def test_a_retry_goes_on_for_free_with_what_was_bought(stage: Stage) -> None:
    """The job expired, its generation may still finish."""
    job = steps.job_in(stage.ledger, State.EXPIRED)

    ran = stage.rushes("retry", job.id)

    assert ran.returncode == 0, ran.stderr
    assert "costs nothing" in ran.stdout
    new = stage.ledger.get(stage.ledger.get(job.id).retried_as or "")
    assert (new.state, new.generation_id, new.retry_of) == (State.RENDERING, job.generation_id, job.id)
    assert f"was retried before, as {new.id}" in stage.rushes("retry", job.id).stdout


def test_a_retry_that_buys_again_asks_first(stage: Stage) -> None:
    """The upstream refused the prompt: another try is another purchase."""
    job = steps.job_in(stage.ledger, State.QUEUED)
    steps.end(stage.ledger, job, steps.ended(State.FAILED, Reason.REFUSED, "no", Charged.NO))

    asked = stage.rushes("retry", job.id)
    assert (asked.returncode, stage.ledger.get(job.id).retried_as) == (Exit.CONFLICT, None)
    assert "buys another one" in asked.stderr

    done = stage.rushes("retry", job.id, "--yes", "--json")
    new = json.loads(done.stdout)
    assert (new["status"], new["retry_of"]) == (Status.QUEUED, job.id)


@pytest.mark.parametrize(("state", "words"), [(State.COMPLETED, "rushes download"), (State.STORING, "by itself")])
def test_what_needs_no_retry_is_told_so(stage: Stage, state: State, words: str) -> None:
    """The sentence says what to do instead."""
    ran = stage.rushes("retry", steps.job_in(stage.ledger, state).id, "--yes")

    assert ran.returncode == Exit.CONFLICT
    assert words in ran.stderr


def test_erasing_asks_and_keeps_only_what_was_paid(stage: Stage) -> None:
    """It can't be undone."""
    job = steps.job_in(stage.ledger, State.CANCELLED)

    assert stage.rushes("erase", job.id).returncode == Exit.CONFLICT
    assert stage.ledger.get(job.id).erased_at is None

    assert stage.rushes("erase", job.id, "--yes").returncode == 0
    assert stage.ledger.get(job.id).erased_at is not None
    assert stage.ledger.job_log.of(job.id) == []
    assert stage.rushes("get", job.id).returncode == Exit.UNKNOWN_JOB


def test_a_job_under_way_is_not_erased(stage: Stage) -> None:
    """Its purchase would be forgotten."""
    job = steps.job_in(stage.ledger, State.RENDERING)

    ran = stage.rushes("erase", job.id, "--yes")

    assert (ran.returncode, stage.ledger.get(job.id).erased_at) == (Exit.CONFLICT, None)
    assert "cancel it first" in ran.stderr
