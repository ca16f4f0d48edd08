"""What comes while a job is being bought, or long after: a cancel, and the receipt of an earlier purchase."""

import json
from collections.abc import Iterator

import pytest

from jobs.facts import Accepted
from jobs.job import Charged, Family, Reason
from jobs.states import State
from producer.webhooks import make_webhooks
from tests.receivers import WebhookServer
from tests.stage import Stage, a_request, eventually
from worker.spool import Spool, Spooled
from worker.upstream.access import UpstreamAccess
from worker.upstream.client import Upstream


@pytest.fixture
def receiver() -> Iterator[WebhookServer]:
    """A customer's server."""
    with WebhookServer.started() as started:
        yield started


@pytest.mark.parametrize(
    ("trouble", "state", "outcome"),
    [
        ("submit=slow seconds=3", State.SUBMITTING, "job.submitted"),
        ("submit=drop", State.IN_DOUBT, "job.adopted"),
    ],
)
def test_a_cancel_before_the_receipt_is_granted_at_the_next_step(
    stage: Stage, trouble: str, state: State, outcome: str
) -> None:
    """While it is not known whether the generation was bought, nobody can say what a cancel costs."""
    seldom = {"RUSHES_POLL__SCHEDULE": "fixed", "RUSHES_POLL__FIRST_S": "60", "RUSHES_POLL__INTERVAL_S": "60"}
    with stage.worker(threads=4, RUSHES_TIME_SCALE="5", **seldom):
        job_id = stage.service.submit(a_request(f"clip [sandbox: {trouble}]")).job_id
        eventually(lambda: stage.service.get(job_id).job.state is state, what=f"the job {state}")
        stage.service.cancel(job_id)
        job = stage.ended(job_id, within_s=30)

    events = [entry.event for entry in stage.service.events(job_id)]
    assert (job.state, job.reason, job.charged) == (State.CANCELLED, Reason.CANCELLED, Charged.YES)
    assert events.index("job.cancel_requested") < events.index(outcome)
    assert events[events.index(outcome) + 1 :] == ["job.cancelled"]
    assert stage.sandbox.purchases() == {job_id: 1}


def test_a_cancel_of_a_purchase_that_was_not_made_costs_nothing(stage: Stage) -> None:
    """The next step is in the queue, and buys nothing."""
    with stage.worker(RUSHES_TIME_SCALE="1", RUSHES_POLL__LATENESS_S="5"):
        stage.sandbox.add_fault(submit="hang", bought=False, seconds=1, times=1)
        job_id = stage.service.submit(a_request()).job_id
        eventually(lambda: stage.service.get(job_id).job.state is State.IN_DOUBT, what="the doubt")
        stage.service.cancel(job_id)
        assert stage.rushes("resolve", job_id, "--resubmit").returncode == 0
        job = stage.ended(job_id)

    assert job.state is State.CANCELLED
    assert stage.sandbox.purchases() == {}


@pytest.mark.long
def test_a_receipt_that_comes_after_another_purchase_is_kept_as_a_job_of_its_own(
    stage: Stage, receiver: WebhookServer
) -> None:
    """It is paid for: its video is fetched, its cost is booked, and an event says that two were bought."""
    stage.environment |= {
        "RUSHES_POLL__DEADLINE_S": "5",
        "RUSHES_RECONCILE__QUIET_S": "5.5",
        "RUSHES_SQL__ENABLED": "true",
        "RUSHES_WEBHOOKS__KEYS": "k" * 32,
        "RUSHES_WEBHOOKS__ALLOW_PRIVATE": "true",
    }
    webhooks = make_webhooks(stage.settings)
    receiver.secret = webhooks.secrets(webhooks.add(receiver.url, events=["job.bought_twice"]).id).current
    with stage.worker(name="before"):
        job_id = stage.service.submit(a_request("clip [sandbox: submit=hang bought=no seconds=0.2 times=1]")).job_id
        eventually(stage.service.in_need, within_s=60, what="the call for a person")
        assert stage.rushes("resolve", job_id, "--resubmit").returncode == 0
        first = stage.ended(job_id)
    assert first.state is State.COMPLETED

    late = _buy(stage, request_id=_request_ids(stage, job_id)[0])
    spool = Spool(stage.settings.state_dir / "spool")
    spool.keep(Spooled(job_id, _request_ids(stage, job_id)[0], late))
    with stage.worker(name="after"):
        eventually(lambda: _bought_twice(stage, job_id), what="the event")
        (event,) = _bought_twice(stage, job_id)
        second = stage.ended(event["job_id"])
        eventually(lambda: receiver.messages, what="the webhook")
        eventually(lambda: len(stage.rushes("export").stdout.splitlines()) == 2, what="both rows")

    assert event["generation_id"] == second.generation_id == late.generation_id != first.generation_id
    assert (second.state, second.charged, second.cost_usd, second.retry_of) == (
        State.COMPLETED,
        Charged.YES,
        late.cost_usd,
        job_id,
    )
    assert second.stored is not None
    assert first.stored is not None
    assert second.stored.path != first.stored.path
    assert (stage.settings.archive_dir / second.stored.path).stat().st_size == second.stored.size_bytes
    assert stage.service.get(job_id).job.generation_id == first.generation_id
    assert [(message.type, message.data["id"]) for message in receiver.messages] == [("job.bought_twice", job_id)]
    booked = {line["id"]: line["cost_usd"] for line in map(json.loads, stage.rushes("export").stdout.splitlines())}
    assert booked == {job_id: first.cost_usd, second.id: late.cost_usd}
    assert stage.sandbox.purchases() == {job_id: 2}
    assert not list(spool.kept())

    spool.keep(Spooled(job_id, _request_ids(stage, job_id)[0], late))
    with stage.worker(name="once-more"):
        eventually(lambda: not list(spool.kept()), what="the replay")
    assert len(_bought_twice(stage, job_id)) == 1


def _buy(stage: Stage, *, request_id: str) -> Accepted:
    """Buy as a worker would that then is cut off from Redis."""
    settings = stage.settings
    receipt = Upstream(UpstreamAccess.of(settings.upstream), settings.upstream).submit(
        a_request(), Family.UNIVERSAL, request_id
    )
    assert isinstance(receipt, Accepted)
    return receipt


def _request_ids(stage: Stage, job_id: str) -> list[str]:
    """The request ids of a job's purchases, in order."""
    return [e.data["request_id"] for e in stage.service.events(job_id) if e.event == "job.submitting"]


def _bought_twice(stage: Stage, job_id: str) -> list[dict[str, str]]:
    return [dict(e.data) for e in stage.service.events(job_id) if e.event == "job.bought_twice"]
