"""The archive in an object store: the same promises as in a folder, and bounded memory whatever the video's size."""

import hashlib
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from config.settings import ArchiveSettings
from config.store import SLICE_BYTES, BucketStore
from jobs.facts import ArchiveUnavailable, Fetched, NotFetched
from jobs.job import Video
from tests.buckets import Bucket
from tests.stage import ROOT
from tests.worker.films import FTYP, MOOV, MP4
from tests.worker.servers import REFUSING, Server, Wire, answer
from worker.archive.archive import Archive

JOB: Final = "job_01jd8hwz80qx3c5v7m9k2n4p6r"
NAME: Final = "2024/11/21/job_01jd8hwz80qx3c5v7m9k2n4p6r.mp4"
MEGABYTE: Final = 1_000_000
LARGE_BYTES: Final = 200 * MEGABYTE
MOST_GROWTH_BYTES: Final = 20 * MEGABYTE


def fetch(bucket: Bucket, folder: Path, url: str, *, turn: int = 1) -> Any:
    """Fetch a video once in `folder`, and keep it in the bucket."""
    settings = ArchiveSettings(total_timeout_s=2)
    archive = Archive(BucketStore(bucket.url, settings), folder, settings, permits=lambda _: True)
    try:
        return archive.fetch(JOB, turn, Video(url))
    finally:
        archive.close()


def test_a_video_is_kept_in_the_bucket_and_nowhere_else(server: Server, bucket: Bucket, tmp_path: Path) -> None:
    """It has the same name as in a folder; the disk holds it only during the transfer."""
    server.on(answer(MP4))

    outcome = fetch(bucket, tmp_path, server.url)

    assert isinstance(outcome, Fetched)
    assert outcome.stored.path == NAME
    store = BucketStore(bucket.url, ArchiveSettings())
    assert b"".join(store.slices(NAME)) == MP4
    assert outcome.stored.sha256 == hashlib.sha256(MP4).hexdigest()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_dead_workers_left_in_the_bucket_is_found_by_its_name(bucket: Bucket) -> None:
    """A bucket has no folders: its names are listed in order, from the job's first on."""
    store = BucketStore(bucket.url, ArchiveSettings())
    for name in (".mp4", ".1.mp4", ".2.json", "0.mp4"):
        store.put(NAME.replace(".mp4", name), b"a film", "video/mp4")
    store.put("2024/11/21/job_00.mp4", b"another's", "video/mp4")

    start = NAME.removesuffix("mp4")
    assert sorted(store.beginning_with(start)) == sorted(f"{start}{name}" for name in ("mp4", "1.mp4", "2.json"))
    assert store.beginning_with("2024/11/22/job_none.") == []


def test_half_a_video_never_reaches_the_bucket(server: Server, bucket: Bucket, tmp_path: Path) -> None:
    """The video is checked on the disk first."""
    server.on(answer(MP4[:-100], length=-1))
    assert isinstance(fetch(bucket, tmp_path, server.url), NotFetched)
    assert list(BucketStore(bucket.url, ArchiveSettings()).items()) == []


def test_a_bucket_out_of_reach_does_not_cost_a_second_download(
    server: Server, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole file waits on the disk; the next try only has to upload it."""
    server.on(answer(MP4, ETag='"abc"'))
    with monkeypatch.context() as away:
        away.setenv("AWS_ENDPOINT_URL", REFUSING)
        outcome = fetch(bucket, tmp_path, server.url, turn=1)
    assert isinstance(outcome, ArchiveUnavailable)
    assert outcome.message.startswith("the archive cannot be written: ")

    assert isinstance(fetch(bucket, tmp_path, server.url, turn=2), Fetched)

    assert len(server.received) == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


FETCH_AND_MEASURE: Final = """
import json, sys
from itertools import islice
from pathlib import Path
from config.settings import ArchiveSettings
from config.store import BucketStore, FolderStore
from jobs.job import Video
from worker.archive.archive import Archive
where, folder, small, large, job, other = sys.argv[1:]
def peak(): return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
store = BucketStore(where, ArchiveSettings()) if "://" in where else FolderStore(Path(where))
archive = Archive(store, Path(folder), ArchiveSettings(), permits=lambda _: True)
archive.fetch(job, 1, Video(small))
before = peak()
outcome = archive.fetch(other, 1, Video(large))
pieces = 0
for piece in islice(store.slices(outcome.stored.path), 3):  # the test's server copies all of it for each
    pieces += len(piece)
print(json.dumps({"growth": peak() - before, "size": outcome.stored.size_bytes, "read": pieces}))
"""


def endless_film(wire: Wire) -> None:
    """A film of 200 MB, most of it zeros."""
    mdat = struct.pack(">I4s", LARGE_BYTES, b"mdat")
    wire.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(FTYP) + len(MOOV) + LARGE_BYTES}\r\n\r\n".encode())
    wire.send(FTYP + MOOV + mdat)
    left, chunk = LARGE_BYTES - len(mdat), bytes(MEGABYTE)
    while left:
        wire.send(chunk[:left])
        left -= min(left, len(chunk))


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_a_video_of_200_megabytes_passes_through_20_megabytes_of_memory(
    server: Server, bucket: Bucket, tmp_path: Path, where: str
) -> None:
    """In and out: a worker has sixteen threads, and a video may be large."""
    server.on(answer(MP4), "/small")
    server.on(endless_film, "/large")
    place = bucket.url if where == "bucket" else str(tmp_path)
    other = f"{JOB[:-1]}0"
    command = [sys.executable, "-c", FETCH_AND_MEASURE, place, str(tmp_path)]
    done = subprocess.run(
        [*command, f"{server.url}/small", f"{server.url}/large", JOB, other],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["size"] == len(FTYP) + len(MOOV) + LARGE_BYTES
    assert measured["read"] == 3 * SLICE_BYTES
    assert measured["growth"] <= MOST_GROWTH_BYTES, f"{measured['growth'] / MEGABYTE:.1f} MB"
