"""The broker as a carrier of wake-ups: which options must hold, and what a stranger's message cannot do."""

import base64
import json
import os
import pickle
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import redis
from celery import Celery

from config.celery_app import KEY_PREFIX, make_app
from config.connection import MOST_CONNECTIONS, connect
from config.settings import Settings
from config.wake_ups import wake_up_sender
from jobs.queues import QUEUES, ROUTES, QueueName, TaskName, delivery_queue, task_of
from jobs.scripts import WakeUp
from jobs.states import State
from tests.stage import Stage, a_request, eventually


@pytest.fixture
def app(redis_url: str) -> Celery:
    """The Celery app of a producer."""
    return make_app(Settings.model_validate({"redis": {"url": redis_url, "socket_timeout_s": 4}}))


class Bomb:
    """A pickle that runs a command where it is read."""

    def __init__(self, file: str) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self._file,)


def message(body: str, *, content_type: str, encoding: str, task: str) -> str:
    """A message as it lies in Celery's list in Redis."""
    headers = {"task": task, "id": "stranger", "lang": "py", "root_id": "stranger", "retries": 0}
    properties = {
        "correlation_id": "stranger",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": "submit"},
        "priority": 0,
        "body_encoding": encoding,
        "delivery_tag": "stranger",
    }
    envelope = {"body": body, "content-encoding": "binary", "content-type": content_type, "headers": headers}
    return json.dumps({**envelope, "properties": properties})


def plain(arguments: list[Any], *, task: str) -> str:
    """A well-formed JSON message."""
    body = base64.b64encode(json.dumps([arguments, {}, {}]).encode()).decode()
    return message(body, content_type="application/json", encoding="base64", task=task).replace('"binary"', '"utf-8"')


def test_the_options_that_matter_hold(app: Celery) -> None:
    """Each was chosen against a measured failure; config/celery_app.py argues it. A lost one would not be noticed."""
    conf, transport = app.conf, app.conf.broker_transport_options

    assert not conf.task_acks_late
    assert not conf.task_reject_on_worker_lost
    assert conf.task_ignore_result
    assert not conf.result_backend
    assert conf.task_serializer == "json"
    assert set(conf.accept_content) == {"json"}
    assert conf.task_publish_retry is False
    assert conf.task_create_missing_queues is False
    assert conf.worker_pool == "threads"
    assert conf.worker_prefetch_multiplier == 1
    assert conf.worker_eta_task_limit is None
    assert conf.broker_connection_max_retries is None
    assert transport["ack_emulation"] is False
    assert transport["priority_steps"] == [0]
    assert transport["socket_timeout"] == 4
    assert transport["socket_connect_timeout"] > 0
    assert transport["retry_on_timeout"] is False
    assert transport["global_keyprefix"] == KEY_PREFIX


def test_the_options_reach_the_connections(app: Celery) -> None:
    """Kombu drops options that it does not know without a word, so the pool itself is asked."""
    with app.connection_for_write() as connection:
        channel: Any = connection.default_channel  # the transport's own class, which the stubs do not know
        pool = channel.client.connection_pool
        kwargs = pool.connection_kwargs

    assert (kwargs["socket_timeout"], kwargs["socket_connect_timeout"]) == (4, 2)
    assert kwargs["health_check_interval"] == 10
    assert pool.max_connections == MOST_CONNECTIONS


def test_a_channel_sends_by_one_client_for_as_long_as_its_pool_lives(app: Celery) -> None:
    """Kombu would make one anew for each message; one whose pool was replaced after an outage must not be kept."""
    with app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
            assert first is second
        channel._pool = None
        with channel.conn_or_acquire() as third:
            assert third is not first
            assert third.ping()


def test_messages_that_cannot_be_given_back_frighten_nobody(
    app: Celery, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that loses the broker with wake-ups in hand: they are no loss, so there is no panic and no dump."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with app.connection() as connection:
        channel: Any = connection.default_channel
        wake_up_sender(lambda: app)(WakeUp(State.RENDERING, "job_1", 0))
        assert channel.basic_get(ROUTES[TaskName.POLL].broker.value) is not None
        monkeypatch.setattr(channel, "_restore", Mock(side_effect=ConnectionError("gone")))
        channel.qos.restore_unacked_once()

    said = capfd.readouterr()
    assert "RESTORE" not in said.out + said.err
    assert list(tmp_path.iterdir()) == []


def test_the_ledger_gives_up_in_time_and_repeats_nothing(redis_url: str) -> None:
    """A script that is sent twice could take its own first run for somebody else's."""
    settings = Settings.model_validate({"redis": {"url": redis_url}}).redis
    with connect(settings, name="test") as client:
        kwargs = client.connection_pool.connection_kwargs

    assert (kwargs["socket_timeout"], kwargs["socket_connect_timeout"]) == (5.0, 2.0)
    assert kwargs["retry"].get_retries() == 0


def test_each_kind_of_work_has_its_queue_and_no_other_gets_its_messages(client: "redis.Redis", app: Celery) -> None:
    """A slow download never stands before a cheap poll; and no message is delivered twice by its exchange."""
    send = wake_up_sender(lambda: app)
    queues = {task_of(queue): queue for queue in (*QUEUES, delivery_queue("sql"))}
    for task in TaskName:
        assert send(WakeUp(queues[task], "job_1", 0, "1800000000.250"))

    held = {queue: [json.loads(raw) for raw in client.lrange(f"{KEY_PREFIX}{queue}", 0, -1)] for queue in QueueName}
    for messages in held.values():
        messages.reverse()  # the oldest first

    assert {queue: [m["headers"]["task"] for m in messages] for queue, messages in held.items()} == {
        queue: [task for task in TaskName if ROUTES[task].broker is queue] for queue in QueueName
    }
    for messages in held.values():
        assert {message["content-type"] for message in messages} == {"application/json"}
        for message in messages:
            arguments, *_ = json.loads(base64.b64decode(message["body"]))
            assert arguments == [queues[message["headers"]["task"]], "job_1", "1800000000.250"]


def test_a_wake_up_that_cannot_be_sent_is_reported_not_raised() -> None:
    """The truth is in the ledger already; the rescuer sends it later."""
    app = make_app(Settings.model_validate({"redis": {"url": "redis://127.0.0.1:1/0"}}))

    began = time.monotonic()
    assert wake_up_sender(lambda: app)(WakeUp(State.RENDERING, "job_1", 0)) is False
    assert time.monotonic() - began < 3  # kombu would go on for 6 s


def test_strangers_messages_are_refused_and_the_worker_works_on(stage: Stage) -> None:
    """Anybody who writes to Redis can send code as a pickle; newer versions send unknown tasks; neither stops a job."""
    crater = stage.folder / "crater"
    bomb = base64.b64encode(pickle.dumps(Bomb(str(crater)))).decode()
    strangers = [
        message(bomb, content_type="application/x-python-serialize", encoding="base64", task=TaskName.SUBMIT),
        plain(["queued", "job_1"], task="rushes.from_the_future"),
        plain(["queued", "job_1", "an argument of a newer version"], task=TaskName.SUBMIT),
        plain(["a queue from the future", "job_1"], task=TaskName.SUBMIT),
        plain([], task=TaskName.SUBMIT),
        plain([{"job": 1}, "one"], task=TaskName.POLL),
    ]
    with stage.worker(name="target") as worker:
        for stranger in strangers:
            stage.client.lpush(f"{KEY_PREFIX}submit", stranger)
        eventually(lambda: stage.client.llen(f"{KEY_PREFIX}submit") == 0, what="the strangers' messages being read")

        job = stage.ended(stage.service.submit(a_request()).job_id)

        assert job.state is State.COMPLETED
        assert worker.process.poll() is None
        assert not crater.exists()
        assert "rushes.from_the_future" in worker.said()
    assert sorted(stage.sandbox.purchases().values()) == [1]


def test_the_bomb_is_a_bomb(tmp_path: Path) -> None:
    """Otherwise the test above would prove nothing: read as a pickle, it goes off."""
    crater = tmp_path / "crater"
    pickle.loads(pickle.dumps(Bomb(str(crater))))

    assert crater.is_dir()


def test_no_variable_of_another_celery_leads_wake_ups_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that has a Celery of its own sets these, and they outrank an app's `broker_url`."""
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://elsewhere.example/3")
    monkeypatch.setenv("CELERY_LOADER", "no.such.Loader")
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "no_such_module")
    app = make_app(Settings.model_validate({"redis": {"url": "redis://here.example/0"}}))
    for connection in (app.connection_for_read(), app.connection_for_write()):
        assert connection.hostname == "here.example"
