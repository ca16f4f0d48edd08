"""The archive with real parts: a worker that keeps videos in a bucket, a producer that reads them from there."""

import hashlib
import json

from config.store import open_store
from jobs.states import State
from tests.buckets import Bucket
from tests.stage import Stage, a_request, eventually


def in_bucket(stage: Stage, bucket: Bucket) -> None:
    """Every process of the stage keeps its videos there."""
    stage.environment |= {"RUSHES_ARCHIVE__URL": bucket.url, **bucket.environment}


def test_a_video_goes_into_the_bucket_and_comes_out_by_the_command_line(stage: Stage, bucket: Bucket) -> None:
    """One setting changes the place; people request and download as before."""
    in_bucket(stage, bucket)
    with stage.worker():
        job = stage.ended(stage.service.submit(a_request("a paper boat", duration=4)).job_id)
    assert job.stored is not None

    done = stage.rushes("download", job.id, "-o", "boat.mp4")

    assert done.returncode == 0, done.stderr
    data = (stage.folder / "boat.mp4").read_bytes()
    assert hashlib.sha256(data).hexdigest() == job.stored.sha256
    seen = json.loads(stage.rushes("get", job.id, "--json").stdout)
    assert seen["file"]["path"] == f"{bucket.url}/{job.stored.path}"
    folder = stage.settings.archive_dir
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_a_bucket_that_is_away_delays_the_video_and_loses_nothing(stage: Stage, bucket: Bucket) -> None:
    """Storage has outages too; the download is repeated, the generation is not."""
    in_bucket(stage, bucket)
    stage.environment["RUSHES_ARCHIVE__URL"] = "s3://not-yet/videos"
    with stage.worker():
        job_id = stage.service.submit(a_request()).job_id
        eventually(
            lambda: "job.store_failed" in [entry.event for entry in stage.service.events(job_id)],
            what="a failed upload",
        )
        bucket.make("not-yet")
        job = stage.ended(job_id)

    assert job.state is State.COMPLETED
    assert job.stored is not None
    assert [item.path for item in open_store(stage.settings).items()] == [job.stored.path]
    assert sum(stage.sandbox.purchases().values()) == 1


def test_a_copy_that_was_changed_is_not_handed_out(stage: Stage) -> None:
    """The row knows the SHA-256 of what was fetched."""
    with stage.worker():
        job = stage.ended(stage.service.submit(a_request()).job_id)
    assert job.stored is not None
    (stage.settings.archive_dir / job.stored.path).write_bytes(b"something else")

    done = stage.rushes("download", job.id, "-o", "boat.mp4")

    assert done.returncode == 1
    assert "SHA-256" in done.stderr
    assert not (stage.folder / "boat.mp4").exists()


def test_a_private_address_is_not_fetched_from_when_the_setting_says_so(stage: Stage) -> None:
    """The sandbox lives on this machine, so that it is allowed by default; here it is not."""
    with stage.worker(RUSHES_ARCHIVE__PRIVATE_ADDRESSES="false"):
        job_id = stage.service.submit(a_request()).job_id
        eventually(
            lambda: "private address" in (stage.service.get(job_id).job.message or ""),
            what="the refusal of the address",
        )
    with stage.worker(name="two"):
        assert stage.ended(job_id).state is State.COMPLETED


def test_the_doctor_says_whether_the_bucket_answers(stage: Stage, bucket: Bucket) -> None:
    """Wrong credentials or a wrong endpoint are found before the first video is."""
    in_bucket(stage, bucket)
    assert f"The archive is {bucket.url}" in stage.rushes("doctor").stdout
    stage.environment["RUSHES_ARCHIVE__URL"] = "s3://nowhere"
    assert "s3://nowhere cannot be read from here" in stage.rushes("doctor").stdout
