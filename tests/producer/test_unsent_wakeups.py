"""Once the ledger has answered, nothing that sending the wake-up raises turns the answer into an error."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import httpx2
import pytest
import redis
import redis.asyncio
from celery import Celery
from kombu.exceptions import OperationalError
from typer.testing import CliRunner

from config.settings import Settings
from config.wake_ups import wake_up_sender
from jobs.errors import JobError, LedgerUnavailable
from jobs.job import Charged, Reason, Terms, VideoRequest
from jobs.keyspace import PREFIX
from jobs.ledger import Acceptance, Ledger
from jobs.queues import TaskName
from jobs.scripts import WakeUp
from jobs.states import State
from ops.commands import app as rushes
from producer.api.application import make_app
from producer.eta import Etas
from producer.receivers import make_receivers
from producer.service import Service, Submission, make_service
from tests import steps
from tests.stage import Stage, a_request, inputs_of, reuse_of
from tests.steps import walked

RAISED: Final = (
    OperationalError("Error 111 connecting to redis:6379"),
    OSError(24, "Too many open files"),
    ValueError("Database is int between 0 and limit - 1, not abc"),
    TypeError("Connection._init_params() got an unexpected keyword argument 'protocol'"),
    KeyError("maybe"),
    RuntimeError("can't start new thread"),
    AssertionError(),
    MemoryError(),
)


@pytest.fixture(params=RAISED, ids=lambda error: type(error).__name__)
def error(request: pytest.FixtureRequest) -> Exception:
    """What sending raises."""
    raised: Exception = request.param
    return raised


@contextmanager
def unsent(error: Exception) -> Iterator[list[str]]:
    """Every message meets this error; yields the names of those that were to be sent."""
    tried: list[str] = []

    def fail(_app: Celery, name: str, *_args: Any, **_options: Any) -> None:
        tried.append(name)
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Celery, "send_task", fail)  # no real broker raises all of these
        yield tried


@pytest.fixture
def settings(redis_url: str, client: "redis.Redis", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A producer's settings over an empty Redis, also for a command line within this process."""
    del client
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUSHES_REDIS__URL", redis_url)
    monkeypatch.setenv("RUSHES_API__AUTH", "off")
    return Settings(_env_file=None)


@pytest.fixture
def service(settings: Settings) -> Service:
    """A producer without any worker."""
    return make_service(settings)


def test_a_ctrl_c_within_a_first_send_is_no_trouble_of_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sending imports much of Celery the first time; Python wraps an interrupt that comes while it makes a class."""
    app = Celery("test")

    def interrupted(*_: object, **__: object) -> None:
        raise RuntimeError("Error calling __set_name__") from KeyboardInterrupt()

    monkeypatch.setattr(app, "send_task", interrupted)
    with pytest.raises(KeyboardInterrupt):
        wake_up_sender(lambda: app)(WakeUp(State.QUEUED, "job_1", 0))


@pytest.fixture
def real_ledger(client: "redis.Redis") -> Ledger:
    """The ledger by Redis's own clock, as the workers hold it."""
    return Ledger(client)


def test_a_sender_says_no_whatever_sending_raises(settings: Settings, error: Exception) -> None:
    """Every caller stands on it: a worker after its purchase, too."""
    from config.celery_app import make_app as make_celery  # noqa: PLC0415 (the API's has the same name)

    with unsent(error) as tried:
        assert wake_up_sender(lambda: make_celery(settings))(WakeUp(State.QUEUED, "job_1", 0)) is False
    assert tried == [TaskName.SUBMIT]


def test_a_request_is_accepted_whatever_sending_raises(service: Service, error: Exception) -> None:
    """One by one and many at once; each is in the ledger, and due."""
    with unsent(error) as tried:
        one = service.submit(a_request())
        many = service.submit_many([(a_request(), Terms()) for _ in range(3)])
    assert tried
    answers = [answer for answer in (one, *many) if isinstance(answer, Submission)]
    assert [service.get(answer.job_id).job.state for answer in answers] == [State.QUEUED] * 4


@pytest.mark.anyio
async def test_a_request_from_the_loop_is_accepted_whatever_sending_raises(
    settings: Settings, on_loop: "redis.asyncio.Redis", error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no thread is to be had for it."""
    service = make_service(settings, on_loop=on_loop)
    with unsent(error):
        answer = await service.submit_async(a_request())
    assert service.get(answer.job_id).job.state is State.QUEUED

    async def no_thread(*_args: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("asyncio.to_thread", no_thread)
    answer = await service.submit_async(a_request())
    assert service.get(answer.job_id).job.state is State.QUEUED


def test_what_changes_a_job_is_done_whatever_sending_raises(
    service: Service, real_ledger: Ledger, error: Exception
) -> None:
    """Cancel, retry, adopt and both ways to resolve a doubt."""

    def job_in(state: State) -> str:
        return walked(real_ledger, service.submit(a_request()).job_id, state, first_poll_s=60, ends_unbought=True).id

    queued, bought, failed = job_in(State.QUEUED), job_in(State.RENDERING), job_in(State.FAILED)
    doubts = [job_in(State.IN_DOUBT) for _ in range(3)]
    with unsent(error) as tried:
        assert service.cancel(queued).job.state is State.CANCELLED
        assert service.cancel(bought).job.state is State.CANCELLED
        assert service.retry(failed, pay_again=True).job_id
        assert service.adopt(doubts[0], "generation-7").state is State.RENDERING
        assert service.resolve(doubts[1], resubmit=True).state is State.QUEUED
        assert service.resolve(doubts[2], resubmit=False).state is State.FAILED
    assert tried


def test_redeliveries_are_accepted_whatever_sending_raises(
    settings: Settings, service: Service, real_ledger: Ledger, error: Exception
) -> None:
    """A redelivery and a test delivery wait in the outbox."""
    receivers = make_receivers(settings)
    ended = walked(real_ledger, service.submit(a_request()).job_id, State.FAILED, ends_unbought=True)
    with unsent(error) as tried:
        assert receivers.redeliver("database", ended.id)
        assert receivers.start_test("database")
    assert tried


@pytest.mark.anyio
async def test_the_api_answers_as_if_the_message_had_gone(
    settings: Settings, real_ledger: Ledger, error: Exception
) -> None:
    """Else a caller reads `charged: no` of a job that will be bought, and submits again."""
    service, api = make_service(settings), make_app(settings)
    transport = httpx2.ASGITransport(api, client=("127.0.0.1", 40_000))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as caller:

        async def posted(path: str, body: Mapping[str, Any] | None = None) -> httpx2.Response:
            return await caller.post(path, json=body)

        queued, failed = (service.submit(a_request()).job_id for _ in range(2))
        steps.end(real_ledger, real_ledger.get(failed), steps.ended(State.FAILED, Reason.REFUSED, "no", Charged.NO))
        with unsent(error) as tried:
            one = await posted("/v1/videos", {"prompt": "a boat"})
            batch = await posted("/v1/videos/batch", {"requests": [{"prompt": "a boat"}, {"prompt": "a plane"}]})
            theirs = await posted("/v2/video/generations", {"model": "google/veo3", "prompt": "a boat"})
            cancelled = await posted(f"/v1/videos/{queued}/cancel")
            retried = await posted(f"/v1/videos/{failed}/retry", {"pay_again": True})
            redelivered = await posted(f"/v1/videos/{failed}/redeliver")
        assert tried
        assert (one.status_code, one.json()["status"]) == (202, "queued")
        assert [result["status"] for result in batch.json()["data"]] == [202, 202]
        assert theirs.is_success
        assert cancelled.json()["status"] == "cancelled"
        assert retried.is_success
        assert redelivered.is_success
    await api.state.redis.aclose()


COMMANDS: Final[Mapping[str, Callable[[str], list[str]]]] = {
    "submit": lambda _: ["submit", "a boat"],
    "batch": lambda _: ["batch", "prompts.jsonl", "--no-wait"],
    "cancel": lambda job_id: ["cancel", job_id],
    "adopt": lambda job_id: ["adopt", job_id, "generation-7"],
    "resolve": lambda job_id: ["resolve", job_id, "--resubmit"],
}
STATES: Final = {"adopt": State.IN_DOUBT, "resolve": State.IN_DOUBT}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_succeeds_whatever_sending_raises(
    client: "redis.Redis", service: Service, real_ledger: Ledger, command: str, error: Exception
) -> None:
    """With exit code 0: a script that sees another one submits again."""
    Path("prompts.jsonl").write_text('{"prompt": "a boat"}\n{"prompt": "a plane"}\n')
    submitted, state = service.submit(a_request()), STATES.get(command, State.QUEUED)
    if command in {"submit", "batch"}:  # the first in the line is whom a wake-up is for
        service.cancel(submitted.job_id)
    job_id = walked(real_ledger, submitted.job_id, state, ends_unbought=True).id
    client.delete(f"{PREFIX}wakes")  # what is out already is not sent again
    client.hset(f"{PREFIX}receivers:all", "sql", "job.cancelled")  # the only one to be woken by a cancel

    with unsent(error) as tried:
        ran = CliRunner().invoke(rushes, COMMANDS[command](job_id))

    assert ran.exit_code == 0, ran.output
    assert tried


def test_an_outage_in_the_middle_of_many_requests_does_not_hide_those_that_were_taken(
    settings: Settings, client: "redis.Redis"
) -> None:
    """Hundreds go in one round trip; a caller that sees only the outage would submit the first hundreds again."""
    trips = iter((True, False))

    class GoingAway(Ledger):
        def accept_many(self, requests: Sequence[tuple[VideoRequest, Terms]]) -> list[Acceptance | JobError]:
            if next(trips):
                return super().accept_many(requests)
            unavailable()

    etas = Etas(client, typical_s=110, lateness_s=4)
    service = Service(settings, GoingAway(client), reuse_of(client), etas, inputs_of(client, settings))
    answers = service.submit_many([(a_request(), Terms()) for _ in range(203)])

    assert [type(answer) for answer in answers] == [Submission] * 200 + [LedgerUnavailable] * 3


def unavailable() -> NoReturn:
    """What the ledger raises when Redis has gone."""
    raise LedgerUnavailable("Redis did not answer in time")


def test_the_rescuer_sends_what_was_not_sent(stage: Stage) -> None:
    """The job ends as any other."""
    with unsent(ValueError("a broken broker")) as tried:
        job_id = stage.service.submit(a_request()).job_id
    assert tried

    with stage.worker():
        assert stage.ended(job_id).state is State.COMPLETED


@contextmanager
def unreadable() -> Iterator[None]:
    """Redis goes away in the moment in which it has accepted a job."""

    async def fail_on_loop(*_args: Any, **_named: Any) -> None:
        unavailable()

    with pytest.MonkeyPatch.context() as patch:
        for read in ("get", "get_many", "whole"):
            patch.setattr(Ledger, read, lambda *_args, **_named: unavailable())
        patch.setattr(Ledger, "whole_async", fail_on_loop)
        yield


@pytest.mark.anyio
@pytest.mark.parametrize("prefer", ["", "wait=1"])
async def test_an_accepted_request_is_answered_though_redis_goes_away_then(settings: Settings, prefer: str) -> None:
    """The answer is what was accepted, and not an error that says `charged: no`."""
    api = make_app(settings)
    transport = httpx2.ASGITransport(api, client=("127.0.0.1", 40_000))
    headers = {"prefer": prefer} if prefer else {}
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as caller:
        with unreadable():
            one = await caller.post("/v1/videos", json={"prompt": "a boat"}, headers=headers)
            batch = await caller.post("/v1/videos/batch", json={"requests": [{"prompt": "a boat"}]})
            ran = CliRunner().invoke(rushes, ["submit", "a boat", "--json"])

    assert (one.status_code, one.json()["status"], one.json()["prompt"]) == (202, "queued", "a boat")
    assert batch.json()["data"][0]["status"] == 202
    assert '"queued"' in ran.stdout, ran.output
    await api.state.redis.aclose()
