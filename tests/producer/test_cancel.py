"""`rushes cancel` with options: many jobs in one command, counted first; nothing that was not agreed to."""

import json

from jobs.job import Charged, Terms, VideoRequest
from jobs.states import State, Status
from producer.cli.exits import Exit
from tests import steps
from tests.stage import Stage


def a_job(stage: Stage, state: State, *, tenant: str | None = None, batch: str = "night") -> str:
    """A job in a state, of a tenant, with a label."""
    request = VideoRequest("google/veo3", "a paper boat", {}, {"batch": batch})
    job_id = stage.ledger.accept(request, Terms(tenant=tenant)).job_id
    return steps.walked(stage.ledger, job_id, state, generation_id=f"gen-{job_id}", cost_usd=4.16).id


def test_a_batch_by_mistake_is_counted_and_ended_in_one_command(stage: Stage) -> None:
    """The count says what is free and what is bought; without a terminal it needs --yes; others go on."""
    mine = [a_job(stage, State.QUEUED) for _ in range(3)]
    bought, doubt = a_job(stage, State.RENDERING), a_job(stage, State.IN_DOUBT)
    a_job(stage, State.COMPLETED)
    others = a_job(stage, State.QUEUED, batch="day")
    fitting = ("cancel", "--metadata", "batch=night")

    counted = stage.rushes(*fitting, "--dry-run")
    refused = stage.rushes(*fitting)
    unchanged = [stage.ledger.get(job_id).state for job_id in (*mine, bought, doubt)]
    done = stage.rushes(*fitting, "--yes", "--json")

    assert counted.stdout == (
        "3 jobs not bought yet: cancelling is free. 1 job that may already be bought. 1 job already bought, for 4.16 "
        "USD; the upstream refunds nothing, and their videos are not fetched.\n"
    )
    assert (refused.returncode, unchanged) == (
        Exit.CONFLICT,
        [State.QUEUED] * 3 + [State.RENDERING, State.IN_DOUBT],
    )
    assert done.returncode == Exit.DONE
    assert {json.loads(line)["id"] for line in done.stdout.splitlines()} == {*mine, bought, doubt}
    assert (
        "3 jobs cancelled, not bought. 1 job cancelled, but bought: the upstream refunds nothing. 1 job being bought "
        "now, or in doubt, and cancelled as soon as the outcome is known." in done.stderr
    )
    assert stage.ledger.get(others).state is State.QUEUED
    assert stage.ledger.get(doubt).cancel_requested_at is not None
    assert "No unfinished job fits." in stage.rushes("cancel", "--tenant", "nobody").stdout


def test_the_options_of_a_list_choose_what_is_cancelled(stage: Stage) -> None:
    """By status and tenant: what is bought, and what is another's, goes on."""
    shops, bought = a_job(stage, State.QUEUED, tenant="shop"), a_job(stage, State.RENDERING, tenant="shop")
    gyms = a_job(stage, State.QUEUED, tenant="gym")

    assert (
        stage.rushes("cancel", "--status", "queued", "--tenant", "shop", "--since", "1h", "-y").returncode == Exit.DONE
    )

    states = [stage.ledger.get(job_id).state for job_id in (shops, bought, gyms)]
    assert states == [State.CANCELLED, State.RENDERING, State.QUEUED]


def test_a_command_that_chooses_nothing_or_the_ended_cancels_nothing(stage: Stage) -> None:
    """No accident without a choice, and no silent nothing."""
    job_id = a_job(stage, State.QUEUED)

    for options in ([], [job_id, "--all"], [job_id, "--dry-run"], ["--status", "completed"]):
        ran = stage.rushes("cancel", *options)
        assert (ran.returncode, ran.stdout) == (Exit.USAGE, "")
        assert "--status" in ran.stderr
    assert stage.ledger.get(job_id).state is State.QUEUED


def test_what_is_bought_between_the_count_and_the_answer_goes_on(stage: Stage) -> None:
    """Somebody agreed to cancel what is free: three dollars that were spent meanwhile are not thrown away."""
    queued, taken = (a_job(stage, State.QUEUED) for _ in range(2))
    steps.walked(stage.ledger, taken, State.RENDERING)

    (answer,) = stage.service.cancel_many([queued, taken, "job_unknown"], statuses=[Status.QUEUED])

    assert (answer.job.id, answer.job.state, answer.job.charged) == (queued, State.CANCELLED, Charged.NO)
    assert stage.ledger.get(taken).state is State.RENDERING
