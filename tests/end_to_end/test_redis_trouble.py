"""Redis in trouble under a running worker: each says what is wrong, goes on by itself, and nothing is paid twice."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from jobs.errors import LedgerUnavailable
from jobs.states import State
from ops.stack.recipe import free_port
from producer.cli.exits import Exit
from tests.redis_servers import Cable, Group, Server
from tests.stage import ROOT, Sandbox, Stage, Worker, a_request, eventually, outbox_of

DOZEN: Final = 12
PASSWORD: Final = "let;me@in:please"
SENTINELS_PASSWORD: Final = "watchers-only"
LONG_FILE: Final = 20_000
CUT_S: Final = float(os.environ.get("TEST_CUT_S", "3"))


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


def health(stage: Stage) -> str:
    """What a container's health check finds out about a worker."""
    command = [sys.executable, "-m", "ops.image.health", "worker"]
    environment = {**os.environ, **stage.environment}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60
    ).stderr


def answers(stage: Stage) -> bool:
    """Whether the ledger answers a producer."""
    try:
        stage.service.counts()
    except LedgerUnavailable:
        return False
    return True


def assert_all_end_well(stage: Stage, worker: Worker, job_ids: list[str]) -> None:
    """Every job has its video, each was bought once, and the worker is the one that it was."""
    assert {stage.ended(job_id).state for job_id in job_ids} == {State.COMPLETED}
    bought = Counter(stage.sandbox.purchases())
    assert bought.total() == len(bought) == len(job_ids)
    assert set(bought) == set(job_ids)
    assert worker.process.poll() is None, worker.said()
    assert not any(panic in worker.said() for panic in ("UNABLE TO RESTORE", "EMERGENCY DUMP")), worker.said()


@pytest.mark.long
def test_a_master_that_dies_is_followed_by_its_replica(sandbox_at_rest: Sandbox, tmp_path: Path) -> None:
    """Ledger and broker ask the Sentinels anew where the master is; what the replica knew goes on."""
    with Group.started(tmp_path / "redis", password=PASSWORD, sentinel_password=SENTINELS_PASSWORD) as group:
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
            assert "has not been seen" in health(stage)  # asked, and under another name than this worker's
            said = worker.said() + doctor.stdout + doctor.stderr
            assert "Redis answers" in doctor.stdout
            assert PASSWORD not in said
            assert SENTINELS_PASSWORD not in said


@pytest.mark.long
def test_a_password_that_has_become_wrong_is_reported_and_mended_on_the_server(
    sandbox_at_rest: Sandbox, tmp_path: Path
) -> None:
    """Worker, command line and doctor name the setting, never the password; the worker recovers without a person."""
    with (
        Server.started(tmp_path / "redis", password=PASSWORD) as server,
        stage_on(server, sandbox_at_rest, tmp_path) as stage,
        stage.worker(name="steady") as worker,
    ):
        ids = submitted(stage)
        eventually(lambda: stage.service.counts()[State.RENDERING] > DOZEN // 2)
        with server.client as operator:
            operator.config_set("requirepass", "another")
            operator.execute_command("CLIENT", "KILL", "TYPE", "normal")
            eventually(lambda: "refuses the password" in worker.said(), what="the worker's complaint")
            refused, doctor = stage.rushes("submit", "a lost prompt"), stage.rushes("doctor")
            operator.config_set("requirepass", PASSWORD)
        assert_all_end_well(stage, worker, ids)

    assert refused.returncode == Exit.NO_LEDGER
    for said in (refused.stderr, doctor.stdout, worker.said()):
        assert "RUSHES_REDIS__URL" in said
        assert "refuses the password" in said
        assert PASSWORD not in said
        assert "Traceback" not in said


@pytest.mark.long
def test_a_replica_by_mistake_is_reported_and_writes_nothing_until_it_is_promoted(
    sandbox_at_rest: Sandbox, tmp_path: Path
) -> None:
    """A worker started on it waits; a producer is refused before anything is written."""
    with (
        Server.started(tmp_path / "master") as master,
        Server.started(tmp_path / "replica", replicaof=f"127.0.0.1 {master.port}") as replica,
        stage_on(replica, sandbox_at_rest, tmp_path) as stage,
        stage.starting_worker(name="steady") as worker,
    ):
        eventually(lambda: "consumer waits for Redis: this Redis is a read-only replica" in worker.said())
        refused, doctor = stage.rushes("submit", "a lost prompt"), stage.rushes("doctor")
        assert replica.client.keys("rushes:*") == []
        replica.client.replicaof("NO", "ONE")
        eventually(lambda: stage.ledger.workers(within_s=5), what="the worker at work")
        assert_all_end_well(stage, worker, submitted(stage))
        assert "Frequent restarts" not in worker.said()

    assert refused.returncode == Exit.NO_LEDGER
    for said in (refused.stderr, doctor.stdout, worker.said()):
        assert "read-only replica" in said
        assert "RUSHES_REDIS__URL" in said


def test_a_master_that_becomes_a_replica_under_a_running_worker_is_waited_for(
    sandbox_at_rest: Sandbox, tmp_path: Path
) -> None:
    """A failover without Sentinels: until an operator promotes it again, nothing is written and nobody dies."""
    with (
        Server.started(tmp_path / "redis") as server,
        stage_on(server, sandbox_at_rest, tmp_path) as stage,
        stage.worker(name="steady") as worker,
    ):
        ids = submitted(stage)
        eventually(lambda: stage.service.counts()[State.RENDERING] > DOZEN // 2)
        server.client.replicaof("127.0.0.1", str(free_port()))
        eventually(lambda: "read-only replica" in worker.said(), what="the worker's complaint")
        assert stage.rushes("submit", "a lost prompt").returncode == Exit.NO_LEDGER
        server.client.replicaof("NO", "ONE")
        assert_all_end_well(stage, worker, ids)


@pytest.mark.long
def test_a_full_redis_is_reported_takes_nothing_new_and_lets_jobs_end(sandbox_at_rest: Sandbox, tmp_path: Path) -> None:
    """`OOM command not allowed`: what was bought is fetched meanwhile; what is refused leaves nothing behind."""
    with (
        Server.started(tmp_path / "redis") as server,
        stage_on(server, sandbox_at_rest, tmp_path) as stage,
        stage.worker(name="steady") as worker,
    ):
        ids = submitted(stage)
        eventually(lambda: stage.service.counts()[State.RENDERING] > DOZEN // 2)
        server.client.config_set("maxmemory", "1mb")
        refused, doctor, status = (
            stage.rushes("submit", "a lost prompt"),
            stage.rushes("doctor"),
            stage.rushes("status"),
        )
        assert_all_end_well(stage, worker, ids)
        assert stage.ledger.workers(within_s=10) != []
        eventually(lambda: not any(outbox_of(stage.client).waiting().values()), what="the deliveries")
        with stage.worker(name="started-now") as late:
            assert "Traceback" not in late.said() + worker.said()
        server.client.config_set("maxmemory", "0")
        assert len(server.client.keys("rushes:job:*")) == DOZEN

    assert refused.returncode == Exit.NO_LEDGER
    assert "Is it running" not in refused.stderr
    for said in (refused.stderr, doctor.stdout, status.stdout):
        assert "raise its maxmemory" in said


@pytest.mark.long
def test_a_redis_that_reads_a_long_file_after_its_start_is_waited_for(sandbox_at_rest: Sandbox, tmp_path: Path) -> None:
    """Redis answers LOADING meanwhile."""
    slow = {"key_load_delay": "250", "loading_process_events_interval_bytes": "1024", "aof_use_rdb_preamble": "no"}
    with (
        Server.started(tmp_path / "redis", **slow) as server,
        stage_on(server, sandbox_at_rest, tmp_path) as stage,
        stage.worker(name="steady") as worker,
    ):
        with server.client.pipeline(transaction=False) as filler:
            for n in range(LONG_FILE):
                filler.set(f"filler:{n}", "x", ex=600)
            filler.execute()
        ids = submitted(stage)
        eventually(lambda: stage.service.counts()[State.RENDERING] > DOZEN // 2)
        server.kill()
        server.start(wait=False)
        eventually(lambda: "reading its data from disk" in worker.said(), what="the worker's complaint")
        with pytest.raises(LedgerUnavailable, match="reading its data from disk"):  # asked here: it lasts some seconds
            stage.service.submit(a_request())
        eventually(server.answers, what="the server")
        assert_all_end_well(stage, worker, ids)


@pytest.mark.long
def test_a_connection_cut_in_the_middle_of_everything_is_mended_by_itself(
    sandbox_at_rest: Sandbox, tmp_path: Path
) -> None:
    """Every connection is reset, and none gets through until the cut is over."""
    with Server.started(tmp_path / "redis") as server, Cable.laid(server.port) as cable:
        stage = Stage(server.client, cable.url, sandbox_at_rest, tmp_path)
        with stage.open(), stage.worker(name="steady") as worker:
            ids = submitted(stage, latency=100) + submitted(stage, latency=800)
            eventually(lambda: stage.service.counts()[State.RENDERING] > DOZEN // 2)
            cable.cut()
            began = time.monotonic()
            refused = stage.rushes("submit", "a lost prompt")
            eventually(lambda: time.monotonic() - began > CUT_S, within_s=CUT_S + 30)
            cable.mend()
            assert_all_end_well(stage, worker, ids)

    assert refused.returncode == Exit.NO_LEDGER
    assert "Traceback" not in refused.stderr
