"""Described videos with real parts: facts in the row as the job completes, pictures and manifest a moment later."""

import json
import re
from pathlib import Path
from typing import Final

import psutil

from config.settings import ArchiveSettings
from config.store import BucketStore
from jobs.artifacts import Artifact, path_of
from jobs.events import Event
from jobs.job import Job
from jobs.ledger import Ledger
from jobs.media import Mismatch
from jobs.states import State
from producer.eta import Etas
from producer.service import Service
from tests.buckets import Bucket
from tests.stage import Stage, a_request, eventually, inputs_of, reuse_of

ALL: Final = {
    "RUSHES_DESCRIBE__PROBE": "true",
    "RUSHES_DESCRIBE__MANIFEST": "true",
    "RUSHES_DESCRIBE__PREVIEWS": "true",
    "RUSHES_DESCRIBE__GIF": "true",
}


def events(stage: Stage, job_id: str) -> list[str]:
    """The names of the job's events."""
    return [entry.event for entry in stage.service.events(job_id)]


def described(stage: Stage, job_id: str) -> Job:
    """The job once everything stands beside its video."""
    eventually(lambda: "job.described" in events(stage, job_id), what="the description")
    return stage.ledger.get(job_id)


def beside(stage: Stage, job: Job, artifact: Artifact) -> Path:
    """The path of an artifact."""
    assert job.stored is not None
    return stage.settings.archive_dir / path_of(artifact, job.stored.path)


def test_a_video_is_described_with_what_differs_from_the_request(stage: Stage) -> None:
    """The sandbox's shared clips are small, whatever resolution was requested: the job completes, and says so."""
    stage.environment |= ALL
    with stage.worker():
        request = a_request("a paper boat", duration=4, resolution="720P", aspect_ratio="9:16")
        job_id = stage.service.submit(request).job_id
        ended = stage.ended(job_id)
        job = described(stage, job_id)

    assert ended.state is State.COMPLETED
    assert ended.media is not None
    assert ended.media.duration_s is not None
    assert abs(ended.media.duration_s - 4) < 0.2
    assert [found.field for found in ended.media.mismatch] == ["resolution"]
    (completed,) = [entry for entry in stage.service.events(job_id) if entry.event == "job.completed"]
    assert [Mismatch(**found) for found in completed.data["mismatch"]] == list(ended.media.mismatch)

    assert set(job.artifacts) == {Artifact.MANIFEST, Artifact.POSTER, Artifact.PREVIEW, Artifact.GIF}
    assert beside(stage, job, Artifact.POSTER).read_bytes()[8:12] == b"WEBP"
    assert json.loads(beside(stage, job, Artifact.MANIFEST).read_text())["id"] == job_id

    view = json.loads(stage.rushes("get", job_id, "--json").stdout)
    assert view["media"]["mismatch"][0]["field"] == "resolution"
    assert view["artifacts"]["poster"] == str(beside(stage, job, Artifact.POSTER))
    card = stage.rushes("get", job_id).stdout
    assert "asked 720P, got" in card
    assert re.search(r"^artifacts +manifest, poster, preview, gif$", card, re.MULTILINE)


def test_a_worker_killed_while_it_describes_leaves_a_described_job(stage: Stage) -> None:
    """The follow-up is found by its due time, as a job is."""
    stage.environment |= ALL
    with stage.worker(name="first", RUSHES_DRILL__KILL_AT="describe.before_write=1") as first:
        job_id = stage.service.submit(a_request()).job_id
        stage.ended(job_id)
        eventually(lambda: first.process.poll() is not None, what="the worker's death")
    assert "job.described" not in events(stage, job_id)

    with stage.worker(name="second"):
        stage.client.zadd("rushes:due:describe", {job_id: 0})  # its lease would end in a few minutes
        described(stage, job_id)


def test_what_is_made_while_the_job_is_erased_is_not_left_behind(stage: Stage, bucket: Bucket) -> None:
    """A picture shows what was to be forgotten: the worker that lost the race takes it away again.

    In a bucket: there the worker has a copy of the video, and can make its pictures after the video is gone.
    """
    stage.environment |= ALL | {"RUSHES_DESCRIBE__PROBE": "false"}
    stage.environment |= {"RUSHES_ARCHIVE__URL": bucket.url, **bucket.environment}
    with stage.worker() as worker:
        parent = psutil.Process(worker.process.pid)
        job_id = stage.service.submit(a_request()).job_id
        eventually(parent.children, what="the process that makes the pictures")
        (making,) = parent.children()
        making.suspend()
        stage.ended(job_id)
        stage.service.erase(job_id)
        making.resume()
        eventually(lambda: "step.dropped step=describe" in worker.said(), what="the refusal")

    assert list(BucketStore(bucket.url, ArchiveSettings()).items()) == []


def test_what_was_made_just_before_the_job_is_erased_is_not_left_behind(stage: Stage) -> None:
    """Between the removal of the files and the row's own erasure a worker may still be at it."""
    stage.environment |= ALL
    with stage.worker():
        job_id = stage.service.submit(a_request()).job_id
        job = described(stage, job_id)
    poster = beside(stage, job, Artifact.POSTER)

    def put_again(event: Event) -> None:
        if event.name == "job.erased":
            poster.write_bytes(b"late")

    ledger, etas = Ledger(stage.client, subscribers=[put_again]), Etas(stage.client, typical_s=1, lateness_s=1)
    Service(stage.settings, ledger, reuse_of(stage.client), etas, inputs_of(stage.client, stage.settings)).erase(job_id)

    assert not poster.exists()


def test_in_a_bucket_everything_stands_beside_the_video_too(stage: Stage, bucket: Bucket) -> None:
    """The worker copies the video to its disk while it makes the artifacts."""
    stage.environment |= ALL | {"RUSHES_ARCHIVE__URL": bucket.url, **bucket.environment}
    with stage.worker():
        job_id = stage.service.submit(a_request()).job_id
        stage.ended(job_id)
        job = described(stage, job_id)
    assert set(job.artifacts) == {Artifact.MANIFEST, Artifact.POSTER, Artifact.PREVIEW, Artifact.GIF}
