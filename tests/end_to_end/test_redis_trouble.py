"""Redis in trouble under a running worker: each says what is wrong, goes on by itself, and nothing is paid twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from jobs.errors import LedgerUnavailable
from jobs.states import State
from producer.cli.exits import Exit
from tests.end_to_end.redis_servers import Cable, Group, Server
from tests.stage import Sandbox, Stage, Worker, a_request, eventually

DOZEN: Final = 12
PASSWORD: Final = "let;me@in:please"
SENTINELS_PASSWORD: Final = "watchers-only"


@pytest.fixture
def sandbox_at_rest(sandbox: Sandbox) -> Sandbox:
    """The sandbox, with nothing bought yet."""
    sandbox.reset()
    return sandbox


@contextmanager
def stage_on(server: Server, sandbox: Sandbox, folder: Path, **environment: str) -> Iterator[Stage]:
    """A deployment on one server."""
    with Stage(server.client, server.url, sandbox, folder).open() as stage:
        stage.environment |= environment
        yield stage


def submitted(stage: Stage, count: int = DOZEN, latency: int = 300) -> list[str]:
    """Jobs under way."""
    service = stage.service
    return [service.submit(a_request(f"clip {n} [sandbox: latency={latency}]")).job_id for n in range(count)]


def answers(stage: Stage) -> bool:
    """Whether a producer can ask the ledger."""
    try:
        stage.service.counts()
    except LedgerUnavailable:
        return False
    return True


def assert_all_end_well(stage: Stage, worker: Worker, job_ids: list[str]) -> None:
    """Every job has its video, each was bought once, and the worker is the one that it was."""
    assert {stage.ended(job_id).state for job_id in job_ids} == {State.COMPLETED}
    assert stage.sandbox.purchases() == {f"{job_id}.1": 1 for job_id in job_ids}
    assert worker.process.poll() is None, worker.said()


def test_a_master_that_dies_is_followed_by_its_replica(sandbox_at_rest: Sandbox, tmp_path: Path) -> None:
    """Ledger and broker ask the Sentinels anew where the master is; what the replica knew goes on."""
    passwords = {"password": PASSWORD, "sentinel_password": SENTINELS_PASSWORD}
    with Group.started(tmp_path / "redis", **passwords) as group:
        stage = Stage(group.master.client, group.url, sandbox_at_rest, tmp_path)
        with stage.open():
            stage.environment["RUSHES_REDIS__SENTINEL_PASSWORD"] = SENTINELS_PASSWORD
            with stage.worker(name="steady") as worker:
                ids = submitted(stage)
                eventually(lambda: stage.service.counts()[State.RENDERING] == DOZEN, what="a dozen purchases")
                assert stage.client.wait(1, 5000) == 1
                group.master.kill()
                stage.client = group.replica.client
                eventually(group.replica.is_master, what="the promotion")
                eventually(lambda: answers(stage), what="producers that know the new master")
                ids.append(stage.service.submit(a_request("after the failover")).job_id)
                assert_all_end_well(stage, worker, ids)
            doctor = stage.rushes("doctor")
            said = worker.said() + doctor.stdout + doctor.stderr
            assert "Redis answers" in doctor.stdout
            assert PASSWORD not in said
            assert SENTINELS_PASSWORD not in said
