"""Disks and downloads in trouble under a real worker: the generation is never bought again, and no half file stays."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from config.store import INPUTS
from jobs.job import Charged, Job
from jobs.moves.download import FAILURES_PER_URL
from jobs.states import State
from tests.redis_servers import Server
from tests.stage import Sandbox, Stage, a_request, eventually

SMALL: Final = "48k"
"""Less than any of the sandbox's videos."""

GONE: Final = ("answers 403", "answers 404")
BAD_BODIES: Final = {
    "truncated": "the download broke off",
    "reset": "the download broke off",
    "malformed": "not a whole video",
    "html": "text/html",
    "garbage": "not a whole video",
    "empty": "not a whole video",
    "500": "answers 500",
    "403": GONE[0],
    "404": GONE[1],
    "expired": GONE[0],
    "huge bytes=2000000": "larger than",
}
"""Each way in which a download goes wrong, with what the job log says of it."""


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system that one video does not fit on; where mounting is forbidden, the test cannot be had."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount the small disk that this is about")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def waiting_with(stage: Stage, job_id: str, words: str) -> Job:
    """The job while it waits; its row holds the trouble and the video's URL."""
    eventually(lambda: words in (stage.service.get(job_id).job.message or ""), within_s=60, what=words)
    job = stage.service.get(job_id).job
    assert job.video is not None
    assert job.video.url.startswith("http")
    assert not job.is_final
    return job


def finals(stage: Stage) -> list[Path]:
    """The files that have a final name, or one that looks final."""
    return [file for file in files(stage) if ".partial" not in file.parts]


def files(stage: Stage) -> list[Path]:
    """The files of jobs; the archive has a name of its own among the inputs."""
    return [file for file in stage.settings.archive_dir.rglob("*") if file.is_file() and INPUTS not in file.parts]


def assert_whole(stage: Stage, job: Job) -> None:
    """Assert that the whole video is in the archive, was bought once, and is the only file."""
    assert (job.state, job.charged) == (State.COMPLETED, Charged.YES)
    assert job.stored is not None
    file = stage.settings.archive_dir / job.stored.path
    assert finals(stage) == [file]
    assert file.stat().st_size == job.stored.size_bytes
    assert not [left for left in stage.settings.archive_dir.glob(".partial/*") if left.name.startswith(job.id)]
    assert sum(stage.sandbox.purchases().values()) == 1


@pytest.mark.long
def test_a_full_disk_is_waited_for(stage: Stage, tmp_path: Path) -> None:
    """The download is repeated, bounded by its back-off; when there is room, the job completes."""
    with small_disk(tmp_path / "disk") as disk:
        stage.environment["RUSHES_ARCHIVE__DIR"] = str(disk)
        with stage.worker() as worker:
            job_id = stage.service.submit(a_request()).job_id
            job = waiting_with(stage, job_id, "No space left on device")
            eventually(lambda: stage.service.get(job_id).job.downloads >= FAILURES_PER_URL, what="more tries")
            said = stage.rushes("get", job_id).stdout
            assert "Its video is paid for and waits for its download: the archive cannot be written" in said
            assert "1 paid video waits for its download" in stage.rushes("doctor").stdout
            assert finals(stage) == []
            assert job.downloads <= 10
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            assert_whole(stage, stage.ended(job_id))
            assert "Traceback" not in worker.said()
            assert worker.said().count("paid videos wait and are fetched when it can be written again") == 1
            assert worker.said().count("the archive can be written again") == 1


def test_a_folder_that_cannot_be_written_is_waited_for(stage: Stage) -> None:
    """A file stands where the day's folder should be, because permissions do not stop root."""
    archive = stage.settings.archive_dir
    with stage.worker() as worker:
        eventually(lambda: replaced_by_a_file(archive / ".partial"), what="a file in the way")
        job_id = stage.service.submit(a_request()).job_id
        waiting_with(stage, job_id, "the archive cannot be written")
        (archive / ".partial").unlink()
        assert_whole(stage, stage.ended(job_id))
        assert "Traceback" not in worker.said()


def replaced_by_a_file(folder: Path) -> bool:
    """Put a file where the folder is; False when the worker's own check of the archive wrote there meanwhile."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.write_text("in the way")
    except OSError:
        return False
    return True


@pytest.mark.long
def test_a_worker_killed_in_mid_download_leaves_no_half_video(stage: Stage) -> None:
    """Half of it lies under a partial name; the next worker starts afresh."""
    archive = stage.settings.archive_dir
    with stage.worker(name="killed") as worker:
        job_id = stage.service.submit(a_request("clip [sandbox: cdn=slow seconds=60 times=1]")).job_id
        eventually(
            lambda: any(left.stat().st_size for left in archive.glob(f".partial/{job_id}.*")), what="half a download"
        )
        worker.kill()
    assert finals(stage) == []

    with stage.worker(name="heir"):
        assert_whole(stage, stage.ended(job_id))


def test_a_bad_download_is_repeated_until_it_is_good(stage: Stage) -> None:
    """Twice bad in each way, then good: nothing half or false gets a final name, and an URL that is gone is renewed."""
    service = stage.service
    with stage.worker(threads=8, RUSHES_ARCHIVE__MAX_BYTES="1000000") as worker:
        ids = {
            trouble: service.submit(a_request(f"clip [sandbox: cdn={trouble} times=2]")).job_id
            for trouble in BAD_BODIES
        }
        jobs = {trouble: stage.ended(job_id) for trouble, job_id in ids.items()}
        assert "Traceback" not in worker.said()

    for trouble, job in jobs.items():
        events = service.events(job.id)
        failed = [entry.data["message"] for entry in events if entry.event == "job.store_failed"]
        polled_anew = [entry.event for entry in events].count("job.rendered") - 1
        assert job.state is State.COMPLETED, trouble
        assert job.downloads == len(failed) == 2, trouble
        assert all(BAD_BODIES[trouble] in message for message in failed), failed
        assert polled_anew == (2 if BAD_BODIES[trouble] in GONE else 0), trouble
    assert len(finals(stage)) == len(BAD_BODIES)
    assert sum(stage.sandbox.purchases().values()) == len(BAD_BODIES)


def test_a_body_without_an_end_costs_a_bounded_download(stage: Stage) -> None:
    """A gigabyte where a clip was due is cut off at the limit, not at the disk's end."""
    with stage.worker(RUSHES_ARCHIVE__MAX_BYTES="1000000", RUSHES_TIME_SCALE="1", RUSHES_POLL__SCHEDULE="fixed"):
        job_id = stage.service.submit(a_request("clip [sandbox: cdn=huge bytes=1000000000]")).job_id
        waiting_with(stage, job_id, "larger than 1000000 bytes")

    assert sum(file.stat().st_size for file in files(stage)) == 0


@pytest.mark.long
def test_a_receipt_without_redis_and_without_room_on_the_disk_outlives_both(sandbox: Sandbox, tmp_path: Path) -> None:
    """The worker keeps it in memory, says so where it wakes somebody, and writes it when Redis is back."""
    sandbox.reset()
    (tmp_path / "state").mkdir()
    with (
        small_disk(tmp_path / "state" / "spool") as spool,
        Server.started(tmp_path / "redis") as server,
        Stage(server.client, server.url, sandbox, tmp_path).open() as stage,
        stage.worker() as worker,
    ):
        fill(spool)
        job_id = stage.service.submit(a_request("clip [sandbox: submit=slow seconds=4]")).job_id
        eventually(stage.sandbox.purchases, what="the purchase")
        server.kill()
        eventually(lambda: f"rushes adopt {job_id} -- " in worker.said(), what="the line in the log")
        server.start()
        job = stage.ended(job_id)

    assert (job.state, job.log_reads) == (State.COMPLETED, 0)
    assert stage.sandbox.purchases() == {job_id: 1}


def fill(disk: Path) -> None:
    """Leave no byte free."""
    with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
