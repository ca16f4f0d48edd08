"""Webhook endpoints: which events they subscribe to, how many there may be, and when a subscription counts."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import redis
from typer.testing import CliRunner

from config.connection import retention
from config.settings import Settings
from config.webhook_endpoints import Endpoint, Endpoints
from jobs.delivery import DeliveryLine
from jobs.errors import InvalidRequest
from jobs.events import ENDS, EVENTS, SUBSCRIBABLE
from jobs.job import Charged, Hold, Job, Reason, Terms
from jobs.keyspace import PREFIX
from jobs.ledger import Ledger, new_job_id
from jobs.outbox import Attempt, Outbox, ReceiverTerms
from jobs.queues import delivery_queue
from jobs.scripts import Scripts
from jobs.states import State
from ops.commands import app as rushes
from producer.receivers import make_receivers
from producer.webhooks import MOST_OF_A_TENANT, MOST_OF_ALL, Webhooks, make_webhooks
from tests import steps
from tests.stage import a_request

URL: Final = "https://shop.example/hook"
WORKERS: Final = {"shop:note": ENDS, "sql": ENDS}


@pytest.fixture
def settings(redis_url: str, client: "redis.Redis", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A producer's settings over an empty Redis, also for a command line within this process."""
    del client
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUSHES_REDIS__URL", redis_url)
    monkeypatch.setenv("RUSHES_WEBHOOKS__KEYS", "k" * 32)
    return Settings(_env_file=None)


@pytest.fixture
def webhooks(settings: Settings) -> Webhooks:
    """The use cases of endpoints."""
    return make_webhooks(settings)


@pytest.fixture
def outbox(settings: Settings, client: "redis.Redis") -> Outbox:
    """The outbox as a worker has it."""
    return Outbox(Scripts(client, retention=retention(settings), clock=None, subscribers=()))


def an_accepted(client: "redis.Redis", tenant: str | None = None) -> Job:
    """A job that has just been accepted."""
    ledger, job_id = Ledger(client), new_job_id()
    ledger.accept(a_request(), Terms(job_id=job_id, deadline_s=1000, tenant=tenant))
    return ledger.get(job_id)


def waiting(client: "redis.Redis", receiver: str, job: Job) -> list[str]:
    """The events of a job that wait for a receiver."""
    lines = str(client.hget(f"{PREFIX}item:{delivery_queue(receiver)}:{job.id}", "events") or "")
    return [line.partition(" ")[0] for line in lines.split("\n") if line]


# -- which events ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", SUBSCRIBABLE)
def test_an_endpoint_may_subscribe_to_any_event_of_a_job(webhooks: Webhooks, client: "redis.Redis", event: str) -> None:
    """Each is on its list by itself, and it gets that event and no other."""
    added = webhooks.add(URL, events=[event])
    assert client.hget(f"{PREFIX}receivers:all", added.id) == event

    job = an_accepted(client)

    assert waiting(client, added.id, job) == [event] * (event == "job.accepted")


def test_what_is_no_step_of_a_job_cannot_be_subscribed_to(webhooks: Webhooks) -> None:
    """A poll every few seconds, a line for the log and another receiver's failure are no news; the list is given."""
    for event in {*EVENTS, "job.finished", "job.*", ""} - set(SUBSCRIBABLE):
        with pytest.raises(InvalidRequest) as refused:
            webhooks.add(URL, events=[event])
        (problem,) = refused.value.errors
        assert (problem.field, problem.message) == ("event", f"{event!r} is not one of {', '.join(SUBSCRIBABLE)}")
    assert webhooks.all() == []


def test_the_command_line_subscribes_to_the_same_events(settings: Settings, webhooks: Webhooks) -> None:
    """Repeat --event for each; one that does not exist adds nothing and names those that do."""
    del settings
    options = [option for event in SUBSCRIBABLE for option in ("--event", event)]
    ran = CliRunner().invoke(rushes, ["webhooks", "add", URL, *options, "--json"])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["events"] == list(SUBSCRIBABLE)

    ran = CliRunner().invoke(rushes, ["webhooks", "add", URL, "--event", "job.polled"])
    assert ran.exit_code == 7
    assert "event: 'job.polled' is not one of job.accepted, " in ran.stderr
    assert [endpoint.events for endpoint in webhooks.all()] == [SUBSCRIBABLE]


def test_a_jobs_events_wait_in_the_order_in_which_they_happened(webhooks: Webhooks, client: "redis.Redis") -> None:
    """They are in the outbox as soon as they are in the job log: the same script writes both."""
    added, ledger = webhooks.add(URL, events=["job.failed", "job.held"]), Ledger(client)
    job = an_accepted(client)
    for _ in range(2):
        steps.held(ledger, ledger.get(job.id), 5, Hold.THROTTLED, "busy")
    steps.end(ledger, ledger.get(job.id), steps.ended(State.FAILED, Reason.REFUSED, "no", Charged.NO))

    assert waiting(client, added.id, job) == ["job.held", "job.held", "job.failed"]


def test_only_the_failed_deliveries_of_ends_are_made_again(settings: Settings, outbox: Outbox) -> None:
    """Another event would come in the wrong order, and of a job that may not have ended."""
    lines = [
        DeliveryLine("job_1", event, delivered=event == "job.expired", tries=9, took_s=0.1, message="answered 500")
        for event in ("job.held", "job.expired", "job.fetched_late", "job.test")
    ]
    outbox.report("wh_1", "slot", [Attempt(line) for line in lines], ReceiverTerms(width=1, longest_s=1))

    assert [line.event for line in make_receivers(settings).abandoned("wh_1")] == ["job.fetched_late"]


# -- how many -------------------------------------------------------------------------------------------------------


def refused(act: Callable[[], object]) -> Sequence[str]:
    """What is wrong with an endpoint too many."""
    with pytest.raises(InvalidRequest) as error:
        act()
    return [f"{problem.field}: {problem.message}" for problem in error.value.errors]


@pytest.mark.parametrize(
    ("tenant", "most", "whose"), [(None, MOST_OF_ALL, "all jobs"), ("shop", MOST_OF_A_TENANT, "the jobs of shop")]
)
def test_there_may_be_so_many_endpoints_and_no_more(
    webhooks: Webhooks, tenant: str | None, most: int, whose: str
) -> None:
    """Each event is written for each of them; a disabled one makes room, until it is to be enabled again."""
    first, *_ = [webhooks.add(URL, tenant=tenant) for _ in range(most)]
    complaint = [f"url: {most} receivers get the events of {whose} already: remove or disable an endpoint"]

    assert refused(lambda: webhooks.add(URL, tenant=tenant)) == complaint
    webhooks.add(URL, tenant="gym")
    webhooks.disable(first.id)
    another = webhooks.add(URL, tenant=tenant)
    assert refused(lambda: webhooks.enable(first.id)) == complaint
    webhooks.remove(another.id)
    assert webhooks.enable(first.id).disabled_at is None
    assert webhooks.enable(first.id).disabled_at is None


def test_the_receivers_of_the_workers_count(webhooks: Webhooks, outbox: Outbox) -> None:
    """Hooks and the database get the events of all jobs, too."""
    outbox.register(WORKERS)
    for _ in range(MOST_OF_ALL - len(WORKERS)):
        webhooks.add(URL)
    assert refused(lambda: webhooks.add(URL))


# -- when a subscription counts -------------------------------------------------------------------------------------


def test_a_subscription_counts_while_its_endpoint_is_enabled(webhooks: Webhooks, client: "redis.Redis") -> None:
    """From the moment in which it is added, enabled, disabled or removed."""
    added = webhooks.add(URL, events=["job.accepted"])

    def is_mailed() -> bool:
        return waiting(client, added.id, an_accepted(client)) == ["job.accepted"]

    assert is_mailed()
    webhooks.rotate(added.id, keep_old_s=60)
    assert is_mailed()
    webhooks.disable(added.id)
    assert not is_mailed()
    webhooks.enable(added.id)
    assert is_mailed()
    webhooks.remove(added.id)
    assert not is_mailed()


def test_an_endpoint_and_its_subscription_are_written_by_one_script(settings: Settings, client: "redis.Redis") -> None:
    """A process that dies between two writes would leave an endpoint that is listed and gets nothing."""
    ran = list[str]()

    class Noted(Scripts):
        def run(self, verb: str, /, *more: str, **named: Any) -> Any:
            ran.append(verb)
            return super().run(verb, *more, **named)

    scripts = Noted(client, retention=retention(settings), clock=None, subscribers=())
    webhooks = Webhooks(settings, Endpoints(scripts), Outbox(scripts))

    def subscription(act: Callable[[], object]) -> str | None:
        ran.clear()
        act()
        assert ran == ["endpoint"]
        (found,) = client.hgetall(f"{PREFIX}receivers:tenant:shop").values() or (None,)
        return None if found is None else str(found)

    added: list[Endpoint] = []
    assert subscription(lambda: added.append(webhooks.add(URL, tenant="shop"))) == ",".join(ENDS)
    assert subscription(lambda: webhooks.disable(added[0].id)) is None
    assert subscription(lambda: webhooks.enable(added[0].id)) == ",".join(ENDS)
    assert subscription(lambda: webhooks.remove(added[0].id)) is None


def test_the_outbox_of_a_removed_endpoint_goes_with_it(webhooks: Webhooks, client: "redis.Redis") -> None:
    """Nothing of it is left but its log."""
    added = webhooks.add(URL, events=["job.accepted"])
    an_accepted(client)

    webhooks.remove(added.id)

    assert list(client.scan_iter(f"*{added.id}*")) == []
    assert delivery_queue(added.id) not in client.hkeys(f"{PREFIX}wakes")


def test_a_tenants_endpoint_gets_the_events_of_its_own_jobs(webhooks: Webhooks, client: "redis.Redis") -> None:
    """And one of all jobs those of every tenant."""
    everybodys, shops = (webhooks.add(URL, events=["job.accepted"], tenant=tenant) for tenant in (None, "shop"))
    jobs = [an_accepted(client, tenant) for tenant in (None, "shop", "gym")]

    assert [bool(waiting(client, everybodys.id, job)) for job in jobs] == [True, True, True]
    assert [bool(waiting(client, shops.id, job)) for job in jobs] == [False, True, False]


def test_the_receivers_of_the_settings_are_subscribed_by_workers(outbox: Outbox, client: "redis.Redis") -> None:
    """A producer knows no hook: a worker that starts, and every few seconds after, names its receivers."""
    outbox.register(WORKERS)
    assert client.hgetall(f"{PREFIX}receivers:all") == {name: ",".join(ENDS) for name in WORKERS}

    outbox.register({"sql": ENDS})
    assert set(client.hkeys(f"{PREFIX}receivers:all")) == set(WORKERS)

    client.zadd(f"{PREFIX}receivers:seen", {"shop:note": 1.0})  # no worker has named it for a week
    outbox.register({"sql": ENDS})
    assert set(client.hkeys(f"{PREFIX}receivers:all")) == {"sql"}
