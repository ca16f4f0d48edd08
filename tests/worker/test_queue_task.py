"""Tasks, run as a worker's pool runs them: what messages may say, how they ring again, and what their results name."""

import json
import logging
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
import redis
from celery.app import trace
from celery.utils import uuid

import worker.tasks  # noqa: F401 (the tasks become those of every app)
from config.celery_app import KEY_PREFIX
from config.settings import Settings
from jobs.delivery import Delivered
from jobs.job import Video
from jobs.keyspace import PREFIX
from jobs.ledger import Ledger
from jobs.moves.delivery import RetryTerms
from jobs.outbox import ReceiverTerms
from jobs.queues import ROUTES, SLOW_POLLS, QueueName, TaskName, delivery_queue
from jobs.states import State
from tests import steps
from tests.stage import outbox_of
from tests.worker.servers import Server, Wire, answer
from worker.deliver import Deliveries
from worker.receivers.outcome import Receiver
from worker.room import FULL_S, Room
from worker.runtime import WorkerApp, build_runtime, make_worker_app

PENDING: Final = answer(b'{"status":"queued"}')
DONE: Final = answer(b'{"status":"completed","video":{"url":"https://cdn.example/1.mp4"}}')
RECEIVER: Final = "shop:note"


@dataclass(frozen=True)
class Message:
    """A message in one of the broker's queues."""

    task: str
    id: str
    retries: int
    has_countdown: bool
    arguments: list[Any]


@dataclass(frozen=True)
class Run:
    """A task that ran: its result, and what Flower shows of it."""

    id: str
    result: str
    shown: str


@dataclass(frozen=True)
class Process:
    """A worker process without its consumer: tasks run in the test's own thread."""

    app: WorkerApp
    client: "redis.Redis"

    def run(self, task: TaskName, *message: Any) -> Run:
        """Run a task as the worker's pool does, by the outstanding wake-up unless the message says more."""
        name, task_id, arguments = task.value, uuid(), list(message)
        if len(arguments) == len(("queue", "job")):
            arguments.append(self.client.hget(f"{PREFIX}wakes", str(arguments[0])) or "")
        route = {"exchange": "", "routing_key": ROUTES[task].broker.value}
        request = {"id": task_id, "root_id": task_id, "args": arguments, "kwargs": {}, "delivery_info": route}
        tracer = trace.build_tracer(name, self.app.tasks[name], app=self.app)
        result, failure, _, shown = tracer(task_id, arguments, {}, {**request, "called_directly": False})
        assert failure is None
        assert shown is not None
        return Run(task_id, result, shown)

    def sent(self, queue: QueueName) -> list[Message]:
        """Take the messages out of one of the broker's queues."""
        raws = self.client.lrange(f"{KEY_PREFIX}{queue}", 0, -1)
        self.client.delete(f"{KEY_PREFIX}{queue}")
        return [_read(json.loads(raw)) for raw in reversed(raws)]


def _read(envelope: Mapping[str, Any]) -> Message:
    headers, body = envelope["headers"], json.loads(b64decode(envelope["body"]))
    *arguments, rings = body[0]
    assert float(rings) > 0
    return Message(headers["task"], headers["id"], headers["retries"], headers["eta"] is not None, arguments)


@pytest.fixture
def process(redis_url: str, client: "redis.Redis", server: Server, tmp_path: Path) -> Iterator[Process]:
    """A worker of two threads whose upstream is the test's server."""
    server.on(PENDING)
    settings = Settings.model_validate(
        {
            "redis": {"url": redis_url},
            "state_dir": tmp_path,
            "upstream": {"base_url": server.url, "api_key": "key"},
            "worker": {"threads": 2},
            "sql": {"enabled": False},
        }
    )
    app = make_worker_app(settings)
    app.runtime = build_runtime(app, "one@test")
    trace.setup_worker_optimizations(app, "one@test")
    yield Process(app, client)
    trace.reset_worker_optimizations(app)


@pytest.fixture
def ledger(client: "redis.Redis") -> Ledger:
    """The ledger of a producer that sends no wake-ups: the test runs the tasks."""
    return Ledger(client)


def bought(ledger: Ledger, *, poll_in_s: float = 0) -> str:
    """A job whose generation renders and is due to be polled."""
    return steps.job_in(ledger, State.RENDERING, first_poll_s=poll_in_s).id


def due_in_s(ledger: Ledger, client: "redis.Redis", job_id: str, queue: str = State.RENDERING) -> float:
    """In how many seconds the job's next step is due."""
    return float(client.zscore(f"{PREFIX}due:{queue}", job_id) or 0) - ledger.now()


# -- how they ring again --------------------------------------------------------------------------------------------


def test_a_wake_up_of_its_own_queue_is_the_tasks_retry_with_an_id_of_its_own(process: Process, ledger: Ledger) -> None:
    """Flower shows the chain of polls as retries; under one id a worker would take the second for the first."""
    job_id = bought(ledger)

    ran = process.run(TaskName.POLL, State.RENDERING, job_id)

    assert ran.result == f"job.polled: {job_id}"
    (again,) = process.sent(QueueName.POLL)
    assert again == Message("rushes.poll", again.id, 1, has_countdown=True, arguments=[State.RENDERING, job_id])
    assert again.id != ran.id


def test_a_wake_up_of_another_queue_is_a_message_of_its_own(process: Process, ledger: Ledger, server: Server) -> None:
    """A finished generation wakes a download, and no further poll."""
    server.on(DONE)
    job_id = bought(ledger)

    ran = process.run(TaskName.POLL, State.RENDERING, job_id)

    assert ran.result == f"job.rendered: {job_id}"
    assert process.sent(QueueName.POLL) == []
    (store,) = process.sent(QueueName.TRANSFER)
    assert store == Message("rushes.store", store.id, 0, has_countdown=False, arguments=[State.STORING, job_id])


def test_what_happens_outside_of_a_task_sends_messages(process: Process, ledger: Ledger, client: "redis.Redis") -> None:
    """The rescuer has a thread of its own: what it wakes is no retry of anything."""
    job_id = bought(ledger)
    client.delete(f"{PREFIX}wakes")

    process.app.runtime.ledger.items.rescue()

    assert [(message.task, message.retries) for message in process.sent(QueueName.POLL)] == [("rushes.poll", 0)]
    assert process.run(TaskName.POLL, State.RENDERING, "-").result == f"job.polled: {job_id}"


def test_a_straggler_starts_no_second_chain(process: Process, ledger: Ledger) -> None:
    """A message that is delivered twice polls nothing and rings no more."""
    job_id = bought(ledger)
    rang = str(process.client.hget(f"{PREFIX}wakes", State.RENDERING))
    process.run(TaskName.POLL, State.RENDERING, job_id, rang)
    process.sent(QueueName.POLL)

    assert process.run(TaskName.POLL, State.RENDERING, job_id, rang).result == "nothing was due"
    assert process.sent(QueueName.POLL) == []


# -- what their results name ----------------------------------------------------------------------------------------


def test_a_result_names_every_job_of_a_full_batch(process: Process, ledger: Ledger) -> None:
    """Flower's search for a job's id finds the tasks that worked on it."""
    ids = {bought(ledger) for _ in range(100)}

    ran = process.run(TaskName.POLL, State.RENDERING, "-")

    assert all(job_id in ran.shown for job_id in ids)


def test_a_result_names_each_event_with_its_jobs(process: Process, ledger: Ledger, server: Server) -> None:
    """One batch may end in several events."""
    ids, replies = {bought(ledger), bought(ledger)}, iter((DONE, PENDING))

    def reply(wire: Wire) -> None:
        next(replies)(wire)

    server.on(reply)

    ran = process.run(TaskName.POLL, State.RENDERING, "-")

    (done,) = (job_id for job_id in ids if ledger.get(job_id).state is State.STORING)
    (other,) = ids - {done}
    assert sorted(ran.result.split("; ")) == [f"job.polled: {other}", f"job.rendered: {done}"]


# -- what a message may say -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("a queue from the future", "job_1"),
        (State.STORING, "job_1"),
        (delivery_queue("sql"), "job_1"),
        ({"queue": "rendering"}, 1),
        (),
    ],
)
def test_a_message_for_a_queue_that_is_not_the_tasks_is_dropped(
    process: Process, ledger: Ledger, caplog: pytest.LogCaptureFixture, arguments: tuple[Any, ...]
) -> None:
    """With one line in the log: no job is touched, and the queue's own wake-up still rings."""
    job_id = bought(ledger)
    before = ledger.get(job_id)
    with caplog.at_level(logging.WARNING, "rushes.tasks"):
        assert process.run(TaskName.POLL, *arguments).result == "dropped"

    (line,) = [record.getMessage() for record in caplog.records if record.name == "rushes.tasks"]
    assert line.startswith("message.unreadable dropped task=rushes.poll queue=")
    assert ledger.get(job_id) == before
    assert process.sent(QueueName.POLL) == []


def test_the_arguments_of_a_newer_version_are_ignored(process: Process, ledger: Ledger) -> None:
    """So that two versions can work on the same jobs."""
    job_id = bought(ledger)
    assert process.run(TaskName.POLL, State.RENDERING, job_id, {"more": 1}).result == f"job.polled: {job_id}"


def test_slow_polls_are_worked_off_by_the_same_task(process: Process, ledger: Ledger, client: "redis.Redis") -> None:
    """Each queue by its own messages: no task works off another queue than its message names."""
    job_id = bought(ledger, poll_in_s=60)
    assert process.run(TaskName.POLL, SLOW_POLLS, job_id).result == "nothing was due"
    assert due_in_s(ledger, client, job_id) > 50


# -- room -----------------------------------------------------------------------------------------------------------


def test_a_task_that_finds_no_room_rings_again_soon(process: Process, ledger: Ledger, client: "redis.Redis") -> None:
    """Once for its queue, however many messages find none; its jobs stay due, for this worker or another."""
    job_id = bought(ledger)
    steps.rendered(ledger, ledger.get(job_id), Video("https://cdn.example/1.mp4"))
    room: Room = process.app.runtime.room
    with ExitStack() as full:
        assert full.enter_context(room.of(TaskName.STORE, State.STORING)) == 0

        ran = process.run(TaskName.STORE, State.STORING, job_id)
        spare = process.run(TaskName.STORE, State.STORING, job_id)

    assert (ran.result, spare.result) == ("no room: postponed", "no room: postponed")
    (again,) = process.sent(QueueName.TRANSFER)
    assert (again.arguments, again.retries, again.has_countdown) == ([State.STORING, "-"], 1, True)
    rings_in_s = float(client.hget(f"{PREFIX}wakes", State.STORING) or 0) - ledger.now()
    assert 0 < rings_in_s <= FULL_S
    assert due_in_s(ledger, client, job_id, State.STORING) <= 0
    assert ledger.get(job_id).state is State.STORING


def test_polls_find_room_while_everything_else_is_busy(process: Process, ledger: Ledger) -> None:
    """They are cheap, and without them no video is found."""
    job_id = bought(ledger)
    with ExitStack() as full:
        for task, queue in ((TaskName.STORE, State.STORING), (TaskName.SUBMIT, State.QUEUED)):
            full.enter_context(process.app.runtime.room.of(task, queue))
        assert process.run(TaskName.POLL, State.RENDERING, job_id).result == f"job.polled: {job_id}"


# -- leases ---------------------------------------------------------------------------------------------------------


class SlowReceiver(Receiver):
    """A receiver during whose call the leases are renewed."""

    terms = ReceiverTerms(width=1, longest_s=60)
    retries = RetryTerms(())

    def __init__(self, process: Process) -> None:
        self._process = process
        self.ends_at: list[float] = []

    def deliver(self, *_: object) -> Delivered:
        """Take as long as it does until the leases are renewed."""
        client, keys = self._process.client, (f"{PREFIX}slots:{RECEIVER}", f"{PREFIX}due:deliver:{RECEIVER}")
        held = [(key, str(name)) for key in keys for name in client.zrange(key, 0, -1)]
        for key, name in held:
            client.zadd(key, {name: 1.0})  # its lease ended long ago
        self._process.app.runtime.leases.renew()
        self.ends_at = [float(client.zscore(key, name) or 0) for key, name in held]
        return Delivered()


def test_while_a_receiver_is_called_its_slot_and_its_deliveries_stay_the_workers_own(
    process: Process, ledger: Ledger, client: "redis.Redis"
) -> None:
    """Else a slow receiver would be called by more and more workers."""
    receiver, outbox, runtime = SlowReceiver(process), outbox_of(client), process.app.runtime
    registry: Any = SimpleNamespace(find=lambda _: receiver)
    deliveries = Deliveries(runtime.ledger, outbox, registry, worker="one")
    process.app.runtime = replace(runtime, deliveries=deliveries)
    job_id = bought(ledger, poll_in_s=60)
    outbox.mail(job_id, {RECEIVER: ["job.held"]})

    ran = process.run(TaskName.DELIVER, delivery_queue(RECEIVER), job_id)

    assert ran.result == f"delivery.succeeded: {job_id}"
    assert len(receiver.ends_at) == 2
    assert all(at > ledger.now() + 5 for at in receiver.ends_at)
