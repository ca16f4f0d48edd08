"""A stranger's message does nothing to a worker: it is dropped with a log line, and the next good one is worked on."""

import socket
from contextlib import suppress
from typing import Any, Final

import pytest
import redis
from celery import Celery
from hypothesis import HealthCheck, Phase, given, settings
from kombu import Connection, Consumer, Queue

from config.celery_app import KEY_PREFIX, make_app
from config.settings import Settings
from jobs.queues import QueueName
from jobs.states import State
from tests.config.messages import ANYTHING, a_task, written
from tests.config.test_envelopes import NO_COMMANDS, NO_TASKS
from tests.stage import Stage, a_request, eventually

CHANNELS: Final = ("celery.pidbox", "celeryev/worker.heartbeat", "celeryev/worker.elect", "another")
TROUBLE: Final = ("Connection to broker lost", "Unrecoverable error", "Control command error")


def _say(client: "redis.Redis", raw: bytes) -> None:
    """Put the message everywhere where a worker listens."""
    for queue in QueueName:
        client.lpush(f"{KEY_PREFIX}{queue}", raw)
    for channel in CHANNELS:
        client.publish(f"{KEY_PREFIX}/0.{channel}", raw)


@pytest.mark.long
def test_a_worker_outlives_every_message(stage: Stage) -> None:
    """Else anybody who can write to Redis ends the fleet with one message, which each worker hands to the next."""
    with stage.worker(name="target") as worker:
        for raw in {*NO_TASKS.values(), *NO_COMMANDS.values()}:
            _say(stage.client, raw)
        _shower(stage.client)
        eventually(lambda: not any(_waiting(stage.client)), what="the messages being read", within_s=60)

        job = stage.ended(stage.service.submit(a_request()).job_id)

        assert job.state is State.COMPLETED
        assert worker.process.poll() is None
        said = worker.said()
        assert said.count("message.unreadable") >= 4 * len(NO_TASKS)
        assert not [trouble for trouble in TROUBLE if trouble in said]
        assert _pings(stage.redis_url)
        assert worker.terminate() == 0
    assert not any(_waiting(stage.client))


@settings(
    max_examples=150,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(raw=ANYTHING)
def _shower(client: "redis.Redis", raw: bytes) -> None:
    _say(client, raw)


def _waiting(client: "redis.Redis") -> list[int]:
    return [client.llen(f"{KEY_PREFIX}{queue}") for queue in QueueName]


def _pings(url: str) -> bool:
    """Whether a worker answers a control command, which shows that it listens still."""
    app: Celery = make_app(Settings.model_validate({"redis": {"url": url}}))
    return bool(app.control.ping(timeout=10, limit=1))


def test_what_fails_within_celery_is_dropped_and_not_given_back(client: "redis.Redis", redis_url: str) -> None:
    """A message that reads well can still set off what nobody foresaw; the next one is read all the same."""
    app = make_app(Settings.model_validate({"redis": {"url": redis_url}}))
    received: list[str] = []

    def fails_first(message: Any) -> None:
        received.append(message.headers["id"])
        if len(received) == 1:
            raise KeyError("what nobody foresaw")
        message.ack()

    for name in ("one", "two"):
        client.lpush(f"{KEY_PREFIX}submit", written(a_task(id=name)))
    connection: Connection = app.connection_for_read()
    with connection, Consumer(connection, [Queue("submit")], on_message=fails_first, accept=["json"]):
        while len(received) < 2:
            with suppress(socket.timeout):
                connection.drain_events(timeout=5)

    assert received == ["one", "two"]
    assert client.llen(f"{KEY_PREFIX}submit") == 0
