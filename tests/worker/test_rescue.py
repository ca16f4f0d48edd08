"""The rescuer: how far off a due time can be by the settings, and what it does when Redis's clock is set back."""

import pytest

from config.settings import Settings
from jobs.ledger import Ledger
from jobs.states import FollowUp, State
from tests import steps
from tests.jobs.test_ledger import accepted
from tests.stage import Stage, a_request
from worker.rescue import longest_waits
from worker.runtime import policy

DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("changed", "work", "wait_s"),
    [
        ({}, State.IN_DOUBT, 23 * 3600),
        ({}, State.QUEUED, 900),
        ({"queue": {"hold_longest_s": 9000}}, State.QUEUED, 13_500),
        ({}, State.RENDERING, 1000),
        ({"poll": {"interval_s": 5000}}, State.RENDERING, 5000),
        ({"upstream": {"retry_after_ceiling_s": 7200}}, State.RENDERING, 10_800),
        ({"archive": {"total_timeout_s": 7200}}, State.STORING, 7300),
        ({"upstream": {"read_timeout_s": 100, "total_timeout_s": 600}}, State.SUBMITTING, 725),
        ({"rescue": {"longest_lease_s": 5000}}, State.SUBMITTING, 5000),
        ({"late_fetch": {"longest_s": 20_000}}, FollowUp.LATE_FETCH, 20_000),
        ({"describe": {"attempts": 20}}, FollowUp.DESCRIBE, 5 * 2**19),
    ],
)
def test_no_wait_that_the_settings_allow_is_too_long(
    changed: dict[str, dict[str, float]], work: State | FollowUp, wait_s: float
) -> None:
    """Else it would be pulled forward at each step, and made again, and so on."""
    settings = Settings.model_validate(changed)
    longest = longest_waits(settings, policy(settings))

    assert longest.by_work.get(work, longest.of_all) >= wait_s


@pytest.mark.parametrize("waits_s", [(DAY_S,), (5.0, 3 * DAY_S)])
def test_no_retry_of_a_webhook_is_too_long(waits_s: tuple[float, ...]) -> None:
    """The bound includes the fifth by which each wait is varied."""
    settings = Settings.model_validate({"webhooks": {"retry_s": waits_s}})

    assert longest_waits(settings, policy(settings)).of_all >= 1.2 * max(waits_s)


def test_a_paid_job_is_too_far_off_after_an_hour() -> None:
    """The rescuer finds it, although nobody saw the clock before it was set back."""
    longest = longest_waits(Settings(), policy(Settings()))

    assert all(longest.by_work[state] < 3600 for state in (State.QUEUED, State.RENDERING, State.STORING))


def test_jobs_are_done_at_once_when_redis_was_an_hour_ahead(stage: Stage) -> None:
    """Bought while the clock was wrong; a real worker meets them when it is right."""
    with stage.worker(name="buyer"):
        generation = stage.ended(stage.service.submit(a_request()).job_id).generation_id
    assert generation is not None
    real = stage.ledger
    ahead = Ledger(stage.client, clock=lambda: real.now() + 3600)
    ahead.clock.check(longest_waits(stage.settings, policy(stage.settings)))
    ids = [accepted(ahead).id for _ in range(5)]
    for job_id in ids[1:]:
        job = steps.submitting(ahead, ahead.get(job_id), lease_s=60)
        steps.submitted(ahead, job, generation, cost_usd=1, first_poll_s=0.5)

    with stage.worker(name="right") as worker:
        jobs = [stage.ended(job_id) for job_id in ids]
        said = worker.said()

    assert {job.state for job in jobs} == {State.COMPLETED}
    assert "due.pulled_forward" in said
