"""A worker that dies: its leases end, and another goes on where it stopped; nothing else looks for the dead."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from jobs.artifacts import Artifact
from jobs.events import LogEntry
from jobs.states import State
from jobs.work_items import LEASE_S
from producer.receivers import make_receivers
from tests.stage import Stage, Worker, a_request, eventually
from worker.faults import STEPS

RESCUE_EVERY_S: Final = 1.0
PATIENCE_S: Final = LEASE_S + RESCUE_EVERY_S + 4
"""The lease, the rescuer's period, and what two busy cores need to start a task."""

WRITTEN: Final = ("job.submitting", "job.submitted", "job.in_doubt", "job.rendered", "job.completed")
"""The events after which a worker is killed, before it does anything else."""

NOTES: Final = """
import pathlib

def note(result):
    with (pathlib.Path(__file__).parent / "noted").open("a") as out:
        out.write(result.id + chr(10))
"""

HANGS_ONCE: Final = """
import os, pathlib, time
HERE = pathlib.Path(__file__).parent

def hangs_once(result):
    with (HERE / "calls").open("a") as out:
        out.write(f"{os.getpid()} {time.time()}" + chr(10))
    while len((HERE / "calls").read_text().splitlines()) == 1:
        time.sleep(0.05)
"""

pytestmark = pytest.mark.long  # each waits for leases of 10 s to end


def test_a_worker_killed_in_a_download_is_replaced_when_its_lease_ends(stage: Stage) -> None:
    """A lease that ends is the death notice: the other worker fetches the video again."""
    stage.environment["RUSHES_RESCUE__EVERY_S"] = str(RESCUE_EVERY_S)
    with stage.worker(name="one") as one, stage.worker(name="two") as two:
        job_id = stage.service.submit(a_request("clip [sandbox: cdn=hang seconds=60 times=1]")).job_id
        eventually(lambda: _downloads(stage, job_id), what="the download")
        (first,) = _downloads(stage, job_id)
        _named(str(first.data["worker"]), one, two).kill()
        killed_at = time.time()
        eventually(lambda: len(_downloads(stage, job_id)) == 2, what="the second download")
        second = _downloads(stage, job_id)[1]
        assert stage.ended(job_id).state is State.COMPLETED

    assert second.data["worker"] != first.data["worker"]
    assert second.at - killed_at < PATIENCE_S
    assert stage.sandbox.purchases() == {job_id: 1}


def test_a_download_that_takes_longer_than_a_lease_is_made_once(stage: Stage) -> None:
    """Its worker lives, and renews the lease."""
    with stage.worker(name="one"), stage.worker(name="two"):
        job_id = stage.service.submit(a_request(f"clip [sandbox: cdn=slow seconds={LEASE_S + 3:g} times=1]")).job_id
        assert stage.ended(job_id).state is State.COMPLETED

    (download,) = _downloads(stage, job_id)
    assert stage.service.events(job_id)[-1].at - download.at > LEASE_S


def test_a_worker_killed_in_a_delivery_is_replaced_when_its_lease_ends(stage: Stage, tmp_path: Path) -> None:
    """The receiver's slot ends with the lease of the delivery."""
    (tmp_path / "hooks_of_ours.py").write_text(HANGS_ONCE)
    environment = {"RUSHES_HOOKS__CALL": "hooks_of_ours:hangs_once", "PYTHONPATH": str(tmp_path)}
    stage.environment |= environment | {"RUSHES_RESCUE__EVERY_S": str(RESCUE_EVERY_S)}
    with stage.worker(name="one"), stage.worker(name="two"):
        job_id = stage.service.submit(a_request()).job_id
        eventually(lambda: _calls(tmp_path), what="the delivery")
        (first,) = _calls(tmp_path)
        os.kill(first, signal.SIGKILL)
        killed_at = time.time()
        eventually(lambda: len(_calls(tmp_path)) == 2, what="the second delivery")
        assert [entry.event for entry in stage.service.events(job_id)].count("job.completed") == 1
        eventually(lambda: stage.service.events(job_id)[-1].event == "delivery.succeeded")

    again, at = list(_calls(tmp_path).items())[1]
    assert again != first
    assert at - killed_at < PATIENCE_S


@pytest.mark.timeout(300)
def test_a_kill_at_any_labelled_step_loses_no_job_and_buys_nothing_twice(stage: Stage, tmp_path: Path) -> None:
    """For each step a worker lives until it comes there; what they all left is ended by one that lives on."""
    (tmp_path / "hooks_of_ours.py").write_text(NOTES)
    stage.environment |= {
        "RUSHES_HOOKS__CALL": "hooks_of_ours:note",
        "PYTHONPATH": str(tmp_path),
        "RUSHES_DESCRIBE__MANIFEST": "true",
        "RUSHES_POLL__DEADLINE_S": "40",
        "RUSHES_RECONCILE__QUIET_S": "41",
        "RUSHES_RECONCILE__IN_DOUBT": "resubmit",
    }
    ids = []
    for step in (*STEPS, *(f"written.{event}" for event in WRITTEN)):
        ids.append(stage.service.submit(a_request(step)).job_id)
        with stage.starting_worker(name=step, RUSHES_DRILL__KILL_AT=f"{step}=1") as worker:
            eventually(lambda worker=worker: worker.process.poll() is not None, what=f"the death at {step}")  # type: ignore[misc]  # a lambda's default
        assert worker.process.returncode == -signal.SIGKILL, worker.said()

    with stage.worker(name="heir"):
        jobs = [stage.ended(job_id, within_s=100) for job_id in ids]
        eventually(lambda: not stage.service.follow_ups() and not _waiting(stage), what="all follow-ups")
    assert {job.state for job in jobs} == {State.COMPLETED}
    assert stage.sandbox.purchases() == dict.fromkeys(ids, 1)
    assert set((tmp_path / "noted").read_text().split()) == set(ids)
    for job in jobs:
        assert [entry.event for entry in stage.service.events(job.id)].count("job.completed") == 1
        assert Artifact.MANIFEST in stage.service.get(job.id).job.artifacts


def _waiting(stage: Stage) -> Mapping[str, int]:
    return make_receivers(stage.settings).waiting()


def _downloads(stage: Stage, job_id: str) -> list[LogEntry]:
    """The downloads that began."""
    return [entry for entry in stage.service.events(job_id) if entry.event == "job.storing"]


def _named(runtime: str, *workers: Worker) -> Worker:
    """The worker of this runtime's name."""
    return next(worker for worker in workers if runtime.startswith(f"{worker.name}@"))


def _calls(folder: Path) -> Mapping[int, float]:
    """When the hook was called, by the process that called it."""
    calls = folder / "calls"
    lines = calls.read_text().splitlines() if calls.exists() else []
    return {int(pid): float(at) for pid, at in map(str.split, lines)}
