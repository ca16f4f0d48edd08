"""The rescuer: what it wakes up, how far off a due time can be, and what it does when Redis's clock is set back."""

from types import SimpleNamespace
from typing import Any

import pytest
import redis

from config.settings import Settings
from jobs.job import Charged, Reason
from jobs.ledger import Ledger
from jobs.outbox import Outbox
from jobs.queues import SLOW_POLLS, delivery_queue
from jobs.scripts import Retention, Scripts, WakeUp
from jobs.states import FollowUp, State
from jobs.work_items import LEASE_S
from tests import steps
from tests.stage import Clock, Stage, a_request
from tests.steps import job_in
from worker.rescue import Rescuer, longest_waits
from worker.runtime import policy
from worker.upstream.access import RETRY_AFTER_CEILING_S

DAY_S = 86_400.0


def fail(*_: object) -> None:
    """Fail in a way that nobody foresaw."""
    raise KeyError("odd")


@pytest.fixture
def wake_ups() -> list[WakeUp]:
    """The wake-ups that were sent."""
    return []


@pytest.fixture
def ledger(client: "redis.Redis", clock: Clock, wake_ups: list[WakeUp]) -> Ledger:
    """A ledger that sends wake-ups to the test."""
    return Ledger(client, clock=clock, send_wake_up=wake_ups.append)


@pytest.fixture
def outbox(client: "redis.Redis", clock: Clock) -> Outbox:
    """The outbox of a producer whose wake-ups are lost."""
    return Outbox(Scripts(client, retention=Retention(), clock=clock, subscribers=()))


def rescuer(ledger: Ledger, outbox: Outbox, **parts: Any) -> Rescuer:
    """The rescuer of a worker that knows the receiver `sql` only; `parts` replace its own."""
    own: dict[str, Any] = {
        "receivers": SimpleNamespace(find={"sql": "the database"}.get, subscriptions={"sql": ("job.failed",)}),
        "purchases": SimpleNamespace(replay=lambda: 0),
    }
    longest = longest_waits(Settings(), policy(Settings()))
    return Rescuer(ledger, outbox, longest=longest, worker="one@test", **{**own, **parts})


def test_each_overdue_queue_is_woken_up_once(
    ledger: Ledger, outbox: Outbox, clock: Clock, wake_ups: list[WakeUp], caplog: pytest.LogCaptureFixture
) -> None:
    """Every message was lost. Ten thousand overdue jobs need one wake-up: its task claims them all."""
    caplog.set_level("INFO", "rushes.rescue")
    jobs = [job_in(ledger, State.QUEUED) for _ in range(3)]
    wake_ups.clear()
    clock.advance(3)
    one = rescuer(ledger, outbox)

    one.round()
    one.round()

    (sent,) = wake_ups
    assert (sent.queue, sent.seconds) == (State.QUEUED, 0)
    assert sent.job_id in {job.id for job in jobs}
    assert "queue.rescued queue=queued" in caplog.text


def test_a_worker_wakes_up_the_receivers_that_it_knows(
    ledger: Ledger, outbox: Outbox, clock: Clock, wake_ups: list[WakeUp]
) -> None:
    """Another worker, whose settings name the hook, finds the others; a wake-up here would find nobody to call."""
    job = job_in(ledger, State.QUEUED)
    ledger.items.rescue()
    outbox.mail(job.id, {"sql": ["job.failed"], "shop:note": ["job.failed"]})
    wake_ups.clear()
    clock.advance(3)

    rescuer(ledger, outbox).round()

    assert delivery_queue("sql") in {wake_up.queue for wake_up in wake_ups}
    assert delivery_queue("shop:note") not in {wake_up.queue for wake_up in wake_ups}


def test_a_part_of_a_round_that_fails_stops_no_other(
    ledger: Ledger,
    outbox: Outbox,
    clock: Clock,
    wake_ups: list[WakeUp],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The worker is seen, its receivers are subscribed, and what is overdue is woken up; the log has the traceback."""
    job_in(ledger, State.QUEUED)
    wake_ups.clear()
    clock.advance(3)

    rescuer(ledger, outbox, purchases=SimpleNamespace(replay=fail)).round()

    assert ledger.workers(within_s=1) == ["one@test"]
    assert [wake_up.queue for wake_up in wake_ups] == [State.QUEUED]
    failed = job_in(ledger, State.QUEUED)
    steps.end(ledger, failed, steps.ended(State.FAILED, Reason.REFUSED, "no", Charged.NO))
    assert outbox.waiting() == {"sql": 1}
    assert "KeyError" in caplog.text


@pytest.mark.parametrize(
    ("changed", "queue", "wait_s"),
    [
        ({}, State.IN_DOUBT, 23 * 3600),
        ({}, State.QUEUED, 900),
        ({}, State.RENDERING, 1000),
        ({"poll": {"interval_s": 5000}}, State.RENDERING, 5000),
        ({}, State.RENDERING, 1.5 * RETRY_AFTER_CEILING_S),
        ({}, State.STORING, 1000),
        ({}, SLOW_POLLS, 1000),
        ({}, State.SUBMITTING, LEASE_S),
        ({}, FollowUp.LATE_FETCH, 600),
        ({}, FollowUp.DESCRIBE, 5 * 2**10),
    ],
)
def test_no_wait_that_the_settings_allow_is_too_long(
    changed: dict[str, dict[str, float]], queue: str, wait_s: float
) -> None:
    """Else it would be pulled forward at each step, and made again, and so on."""
    settings = Settings.model_validate(changed)
    longest = longest_waits(settings, policy(settings))

    assert longest.by_queue.get(queue, longest.of_all) >= wait_s


@pytest.mark.parametrize("waits_s", [(DAY_S,), (5.0, 3 * DAY_S)])
def test_no_retry_of_a_webhook_is_too_long(waits_s: tuple[float, ...]) -> None:
    """The bound includes the fifth by which each wait is varied."""
    settings = Settings.model_validate({"webhooks": {"retry_s": waits_s}})

    assert longest_waits(settings, policy(settings)).of_all >= 1.2 * max(waits_s)


def test_a_paid_job_is_too_far_off_after_an_hour() -> None:
    """The rescuer finds it, although nobody saw the clock before it was set back."""
    longest = longest_waits(Settings(), policy(Settings()))

    assert all(longest.by_queue[state] < 3600 for state in (State.RENDERING, State.STORING))


@pytest.mark.long
def test_jobs_are_done_at_once_when_redis_was_an_hour_ahead(stage: Stage) -> None:
    """Bought while the clock was wrong; a real worker meets them when it is right."""
    with stage.worker(name="buyer"):
        generation = stage.ended(stage.service.submit(a_request()).job_id).generation_id
    assert generation is not None
    real = stage.ledger
    ahead = Ledger(stage.client, clock=lambda: real.now() + 3600)
    ahead.clock.check(longest_waits(stage.settings, policy(stage.settings)))
    ids = [job_in(ahead, State.QUEUED).id for _ in range(5)]
    for job_id in ids[1:]:
        job = steps.submitting(ahead, ahead.get(job_id), lease_s=60)
        steps.submitted(ahead, job, generation, cost_usd=1, first_poll_s=0.5)

    with stage.worker(name="right") as worker:
        jobs = [stage.ended(job_id) for job_id in ids]
        said = worker.said()

    assert {job.state for job in jobs} == {State.COMPLETED}
    assert "due.pulled_forward" in said
