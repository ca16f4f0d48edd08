"""Receivers, each on its own: what is slow, broken or killed holds up no video and no other receiver."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.job import Terms
from jobs.states import State
from producer.receivers import Receivers, make_receivers
from tests.stage import Stage, a_request, eventually

HOOKS = """
import os, pathlib, signal, time
HERE = pathlib.Path(__file__).parent

def note(name, result):
    with (HERE / f"{name}.delivered").open("a") as out:
        out.write(result.id + chr(10))

def quick(result):
    note("quick", result)

def stuck(result):
    note("stuck", result)
    while not (HERE / "go-on").exists():
        time.sleep(0.05)

def broken(result):
    note("broken", result)
    if not (HERE / "mended").exists():
        raise RuntimeError("not today")

def kills_once(result):
    note("kills_once", result)
    if not (HERE / "killed").exists():
        (HERE / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A deployment's own hooks."""
    (tmp_path / "receivers_of_ours.py").write_text(HOOKS)
    return tmp_path


def hooks(folder: Path, *names: str) -> dict[str, str]:
    """The environment of a worker that calls these."""
    return {
        "RUSHES_HOOKS__CALL": ",".join(f"receivers_of_ours:{name}" for name in names),
        "PYTHONPATH": str(folder),
    }


def received(folder: Path, name: str) -> list[str]:
    """The jobs that a hook received, in order."""
    file = folder / f"{name}.delivered"
    return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def let_go(folder: Path) -> Iterator[Path]:
    """Lets the stuck hook return, at the latest when the test is over."""
    yield folder / "go-on"
    (folder / "go-on").touch()


def receivers(stage: Stage) -> Receivers:
    """The receivers, as a producer sees them."""
    return make_receivers(stage.settings)


def test_a_stuck_hook_holds_up_no_other_and_no_video(stage: Stage, folder: Path, let_go: Path) -> None:
    """It uses its few slots and no more; the backlog is visible, and is delivered when it comes back."""
    with stage.worker(threads=4, **hooks(folder, "stuck", "quick")):
        jobs = [stage.service.submit(a_request(f"clip {n}")).job_id for n in range(12)]
        for job_id in jobs:
            assert stage.ended(job_id).state is State.COMPLETED
        eventually(lambda: sorted(received(folder, "quick")) == sorted(jobs), what="the quick hook")
        assert receivers(stage).waiting() == {"receivers_of_ours:stuck": 12}
        assert len(received(folder, "stuck")) <= 2

        let_go.touch()
        eventually(lambda: sorted(received(folder, "stuck")) == sorted(jobs), what="the stuck hook")
        eventually(lambda: not receivers(stage).waiting())


@pytest.mark.long
def test_a_broken_hook_is_tried_again_alone_and_catches_up_when_it_is_mended(stage: Stage, folder: Path) -> None:
    """Nobody else receives anything twice because of it; while it is held, nothing is lost."""
    with stage.worker(threads=4, **hooks(folder, "broken", "quick")):
        jobs = [stage.service.submit(a_request(f"clip {n}")).job_id for n in range(8)]
        for job_id in jobs:
            stage.ended(job_id)
        eventually(lambda: sorted(received(folder, "quick")) == sorted(jobs))
        eventually(lambda: len(received(folder, "broken")) > 4)

        (folder / "mended").touch()
        eventually(lambda: not receivers(stage).waiting(), within_s=60)

    assert set(received(folder, "broken")) == set(jobs)
    assert sorted(received(folder, "quick")) == sorted(jobs)
    log = receivers(stage).log("receivers_of_ours:broken")
    assert next(line.message for line in log if not line.delivered) == "RuntimeError: not today"


def test_a_worker_killed_in_a_hook_is_no_reason_to_forget_it(stage: Stage, folder: Path) -> None:
    """The lease ends, and the next worker delivers it again."""
    environment = hooks(folder, "kills_once") | {"RUSHES_HOOKS__LONGEST_S": "2"}
    with stage.worker(threads=4, name="first", **environment) as first:
        job_id = stage.service.submit(a_request()).job_id
        eventually(lambda: first.process.poll() is not None, what="the worker's death")

    with stage.worker(threads=4, name="second", **environment):
        eventually(lambda: received(folder, "kills_once") == [job_id, job_id])
        eventually(lambda: "delivery.succeeded" in [entry.event for entry in stage.service.events(job_id)])


@pytest.mark.long
def test_the_command_line_lists_tests_and_redelivers(stage: Stage, folder: Path) -> None:
    """An operator needs no line of code for it."""
    stage.environment |= hooks(folder, "quick", "broken")
    broken, quick = "receivers_of_ours:broken", "receivers_of_ours:quick"
    with stage.worker(RUSHES_HOOKS__ATTEMPTS="1"):
        succeeded = stage.rushes("hooks", "test", quick)
        assert (succeeded.returncode, succeeded.stderr) == (0, "")
        assert received(folder, "quick")[0].startswith("test_")
        failed = stage.rushes("hooks", "test", broken)
        assert (failed.returncode, failed.stderr) == (1, f"The delivery to {broken} failed: RuntimeError: not today\n")

        job_id = stage.service.submit(a_request()).job_id
        eventually(lambda: "delivery.abandoned" in [entry.event for entry in stage.service.events(job_id)])
        (folder / "mended").touch()
        again = stage.rushes("hooks", "redeliver", broken, "--failed")
        assert f"{job_id}: delivering job.completed to {broken} again" in again.stdout
        eventually(lambda: received(folder, "broken").count(job_id) == 2)

    shown = {entry["name"]: entry for entry in json.loads(stage.rushes("hooks", "list", "--json").stdout)}
    assert (shown[broken]["waiting"], shown[broken]["known"], shown[quick]["failures"]) == (0, True, 0)
    assert "ok" in stage.rushes("hooks", "list").stdout
    assert job_id in stage.rushes("hooks", "log", broken).stdout


def test_redelivery_needs_a_job_that_has_ended(stage: Stage) -> None:
    """A job that has not ended has nothing to deliver."""
    job_id = stage.service.submit(a_request()).job_id
    assert stage.rushes("hooks", "redeliver", "a:b", job_id).returncode == 8
    assert stage.rushes("hooks", "redeliver", "a:b", "job_nobody").returncode == 5
    assert stage.rushes("hooks", "redeliver", "a:b").returncode == 2


def test_every_end_is_a_row_in_the_database_and_can_be_exported(stage: Stage) -> None:
    """Without any setting the database is a SQLite file in the state folder."""
    del stage.environment["RUSHES_SQL__ENABLED"]
    with stage.worker():
        request = a_request("=cmd, a boat\nin two lines", duration=4)
        done = stage.ended(stage.service.submit(request, Terms(tenant="shop")).job_id)
        failed = stage.ended(stage.service.submit(a_request("clip [sandbox: error=face]")).job_id)
        eventually(lambda: sum(line.delivered for line in receivers(stage).log("sql")) == 2, what="two rows")

    lines = [json.loads(line) for line in stage.rushes("export").stdout.splitlines()]
    assert {line["id"]: (line["status"], line["tenant"]) for line in lines} == {
        done.id: ("completed", "shop"),
        failed.id: ("failed", None),
    }
    assert Path(lines[0]["archive_url"].removeprefix("file://")).is_file()

    assert stage.rushes("export", "--format", "csv", "-o", "all.csv", "--status", "completed").returncode == 0
    with (stage.folder / "all.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["prompt"], json.loads(row["parameters"])) == ("=cmd, a boat\nin two lines", {"duration": 4})
    assert stage.rushes("db", "check").stdout == "The schema is up to date.\n"


@pytest.mark.long
def test_a_database_that_is_away_holds_up_nothing_and_misses_nothing(stage: Stage, postgres_url: str) -> None:
    """The worker starts without it; when it is there, every end is written."""
    absent = stage.folder / "not-mounted-yet"
    stage.environment |= {"RUSHES_SQL__ENABLED": "true", "RUSHES_SQL__URL": f"sqlite:///{absent}/videos.sqlite"}
    with stage.worker():
        jobs = {stage.ended(stage.service.submit(a_request(f"clip {n}")).job_id).id for n in range(6)}
        eventually(lambda: receivers(stage).receivers()[0].status.failures >= 5)
        absent.mkdir()
        eventually(lambda: not receivers(stage).waiting(), within_s=60)

    assert {json.loads(line)["id"] for line in stage.rushes("export").stdout.splitlines()} == jobs
    stage.environment["RUSHES_SQL__URL"] = postgres_url
    assert "at 0002" in stage.rushes("db", "upgrade").stdout


def test_an_export_without_a_database_says_what_to_do(stage: Stage) -> None:
    """The command prints a sentence, not a traceback."""
    said = stage.rushes("export")
    assert (said.returncode, "rushes db upgrade" in said.stderr, "Traceback" in said.stderr) == (1, True, False)
    stage.environment["RUSHES_SQL__URL"] = "postgresql://me:hunter2@127.0.0.1:1/db"
    said = stage.rushes("db", "upgrade")
    assert (said.returncode, "hunter2" in said.stderr, "cannot be used" in said.stderr) == (1, False, True)
