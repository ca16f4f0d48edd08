"""What is put beside a video, in a folder and in a bucket; a failure leaves the video as it was."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import pytest
from pydantic import ValidationError

from config.settings import ArchiveSettings, DescribeSettings
from config.store import BucketStore, FolderStore, Store
from jobs.artifacts import Artifact, path_of
from jobs.events import LogEntry
from jobs.facts import Described, Fetched, NotDescribed
from jobs.job import Charged, Job, Stored
from jobs.media import Media, Mismatch
from jobs.row import job_from, to_fields
from jobs.states import State
from tests.stage import a_request
from tests.worker.films import cornered
from tests.worker.servers import REFUSING
from tests.worker.test_media import _sing, a_film
from worker.describe.describer import Describer
from worker.describe.mismatches import mismatches
from worker.download import compared

PATH: Final = "2026/11/22/job_a.mp4"
JOB: Final = Job(
    id="job_a",
    version=1,
    state=State.COMPLETED,
    turn=7,
    model="google/veo3",
    accepted_at=1_800_000_000.0,
    deadline_at=0,
    deadline_s=1000,
    generation_id="gen-1",
    cost_usd=3.36,
    charged=Charged.YES,
    stored=Stored(PATH, 1234, "ab12", "video/mp4"),
    media=Media(duration_s=2.0),
)
ENTRIES: Final = [
    LogEntry("1-0", "job.accepted", 1_800_000_000.0, "queued", 1, {"model": "google/veo3"}),
    LogEntry("2-0", "job.polled", 1_800_000_030.0, "rendering", 3, {"result": "generating"}),
    LogEntry("3-0", "job.completed", 1_800_000_100.0, "completed", 7, {}),
]


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of each kind, with one film in it."""
    store: Store = FolderStore(tmp_path / "archive")
    if request.param == "bucket":
        store = BucketStore(request.getfixturevalue("bucket").url, ArchiveSettings())
    store.keep(str(a_film(tmp_path / "film.mp4")), PATH, "video/mp4", within_s=60)
    return store


@pytest.fixture
def opened(store: Store, tmp_path: Path) -> Iterator[Describer]:
    """A describer that makes every artifact."""
    describer = Describer(store, tmp_path / "archive", DescribeSettings(gif=True))
    yield describer
    describer.close()


def there(store: Store) -> set[str]:
    """Every path in the store."""
    return {item.path for item in store.items()}


def read(store: Store, artifact: Artifact) -> bytes:
    """One artifact's bytes."""
    return b"".join(store.slices(path_of(artifact, PATH)))


def test_manifest_poster_and_preview_stand_beside_the_video(opened: Describer, store: Store, tmp_path: Path) -> None:
    """Twice is once; nothing is left under way."""
    for _ in range(2):
        assert opened.describe(JOB, a_request(), ENTRIES) == Described(
            (Artifact.MANIFEST, Artifact.POSTER, Artifact.PREVIEW, Artifact.GIF)
        )

    assert there(store) == {PATH, *(path_of(artifact, PATH) for artifact in Artifact)}
    assert read(store, Artifact.POSTER)[8:12] == read(store, Artifact.PREVIEW)[8:12] == b"WEBP"
    assert read(store, Artifact.GIF)[:6] == b"GIF89a"
    assert list((tmp_path / "archive" / ".partial").glob("*")) == []


def test_the_manifest_holds_the_whole_job(opened: Describer, store: Store) -> None:
    """It lists prompt, parameters, ids, sum, cost and timeline; images only by their sum, polls by their number."""
    request = a_request("ein Boot ⛵", duration=8, image_url="A" * 5000)
    opened.describe(JOB, request, ENTRIES)

    story: dict[str, Any] = json.loads(read(store, Artifact.MANIFEST))

    assert (story["id"], story["prompt"], story["generation_id"]) == ("job_a", "ein Boot ⛵", "gen-1")
    assert (story["cost_usd"], story["charged"], story["status"]) == (3.36, "yes", "completed")
    assert story["file"]["sha256"] == "ab12"
    assert story["media"]["duration_s"] == 2.0
    assert story["parameters"]["duration"] == 8
    assert story["parameters"]["image_url"].startswith("AAAAAAAAAAAAAAAAAAAAAAAA… (5,000 bytes, sha256 ")
    assert [line["event"] for line in story["timeline"]] == ["job.accepted", "job.completed"]


def test_a_gif_is_made_only_if_it_is_wanted(store: Store, tmp_path: Path) -> None:
    """It shows nothing that the preview does not."""
    describer = Describer(store, tmp_path / "archive", DescribeSettings())
    outcome = describer.describe(JOB, a_request(), ENTRIES)
    describer.close()
    assert outcome == Described((Artifact.MANIFEST, Artifact.POSTER, Artifact.PREVIEW))
    assert path_of(Artifact.GIF, PATH) not in there(store)


def test_a_gif_without_previews_is_refused_at_start() -> None:
    """It is made of their pictures."""
    with pytest.raises(ValidationError, match="set previews to true, or gif to false"):
        DescribeSettings(gif=True, previews=False)


def test_a_film_that_cannot_be_shown_has_its_manifest_all_the_same(opened: Describer, store: Store) -> None:
    """It is settled, and says its trouble: trying again would change nothing."""
    store.put(PATH, b"not a film", "video/mp4")

    outcome = opened.describe(JOB, a_request(), ENTRIES)

    assert isinstance(outcome, Described)
    assert outcome.made == (Artifact.MANIFEST,)
    assert outcome.trouble
    assert there(store) == {PATH, path_of(Artifact.MANIFEST, PATH)}


def test_a_video_that_was_removed_meanwhile_is_no_trouble_of_the_store(opened: Describer, store: Store) -> None:
    """Retention may be faster."""
    store.remove([PATH])
    outcome = opened.describe(JOB, a_request(), ENTRIES)
    assert isinstance(outcome, Described)
    assert outcome.made == (Artifact.MANIFEST,)


def test_a_job_without_a_video_has_nothing_beside_it(opened: Describer, store: Store) -> None:
    """There is no name to put it under."""
    for job in (JOB.model_copy(update={"stored": None}), JOB.model_copy(update={"removed_at": 1_800_000_200.0})):
        assert opened.describe(job, a_request(), ENTRIES) == Described((), "there is no video")
    assert there(store) == {PATH}


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "../../job_a"},
        {"id": ""},
        {"stored": Stored("../film.mp4", 1, "ab", "video/mp4")},
        {"stored": Stored("/etc/passwd", 1, "ab", "video/mp4")},
    ],
)
def test_a_row_that_somebody_tampered_with_makes_no_file(
    opened: Describer, store: Store, tmp_path: Path, changed: dict[str, Any]
) -> None:
    """Names that stand in Redis become names of files only if they lead nowhere else."""
    before = sorted(tmp_path.rglob("*"))
    outcome = opened.describe(JOB.model_copy(update=changed), a_request(), ENTRIES)
    assert outcome == Described((), "its row names no file of the archive: somebody else wrote it")
    assert (there(store), sorted(tmp_path.rglob("*"))) == ({PATH}, before)


def test_a_store_out_of_reach_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Storage has outages; the video was kept before."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", REFUSING)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    store = BucketStore("s3://nowhere", ArchiveSettings(total_timeout_s=1))
    describer = Describer(store, tmp_path, DescribeSettings())
    assert isinstance(describer.describe(JOB, a_request(), ENTRIES), NotDescribed)
    describer.close()


def test_what_is_switched_off_costs_nothing(tmp_path: Path) -> None:
    """No process is started, no file written, no follow-up planned."""
    describer = Describer(
        FolderStore(tmp_path / "archive"), tmp_path, DescribeSettings(probe=False, manifest=False, previews=False)
    )
    assert not describer.has_work
    assert describer.probe(str(a_film(tmp_path / "film.mp4")), "video/mp4") is None
    assert describer._probing._process is None
    assert describer._making._process is None


def test_a_probe_adds_the_bit_rate(tmp_path: Path) -> None:
    """Size and duration make it; the container's own word is often missing."""
    film = a_film(tmp_path / "film.mp4")
    describer = Describer(FolderStore(tmp_path), tmp_path, DescribeSettings())
    media = describer.probe(str(film), "video/mp4")
    assert media is not None
    assert media.duration_s is not None
    assert media.bitrate_bps == round(film.stat().st_size * 8 / media.duration_s)
    describer.close()


def test_a_turned_and_squeezed_film_keeps_the_ratio_that_a_person_sees(tmp_path: Path) -> None:
    """Its frames are 480x360, and it is shown as 360x640."""
    film = cornered(tmp_path / "film.mp4", (360, 640), degrees=90, pixel=Fraction(4, 3))
    describer = Describer(FolderStore(tmp_path), tmp_path, DescribeSettings())
    media = describer.probe(str(film), "video/mp4")
    describer.close()
    assert media is not None
    assert (media.width, media.height) == (360, 640)
    assert mismatches({"aspect_ratio": "9:16", "resolution": "360p"}, media) == ()


NO_PICTURE: Final = (Mismatch("picture", asked=True, got=False),)
ANSWERS: Final[dict[str, Media | None]] = {
    "5": None,
    "null": None,
    "[]": None,
    "{}": None,
    '{"found": 5}': None,
    '{"trouble": 5}': None,
    '{"trouble": "no film"}': None,
    "[" * 60_000: None,
    '{"found": {"duration_s": 8, "video_codec": "h264"}}': Media(duration_s=8, video_codec="h264", bitrate_bps=4),
    '{"found": {}}': Media(mismatch=NO_PICTURE),
    '{"found": {"audio_codec": "aac", "loudness_lufs": -20}}': Media(
        audio_codec="aac", loudness_lufs=-20, mismatch=NO_PICTURE
    ),
    '{"found": {"video_codec": "h264", "duration_s": NaN, "width": 1e400, "height": -1e400}}': Media(
        video_codec="h264"
    ),
    f'{{"found": {{"video_codec": "h264", "duration_s": 1{"0" * 400}, "width": "wide", "height": true}}}}': Media(
        video_codec="h264"
    ),
    '{"found": {"video_codec": "h264", "duration_s": 1e-320, "strange": 1, "mismatch": 5, "frame_rate": []}}': Media(
        video_codec="h264", duration_s=1e-320
    ),
    '{"found": {"video_codec": {}, "width": 64.0}}': Media(width=64, mismatch=NO_PICTURE),
}


@pytest.mark.parametrize("answer", ANSWERS, ids=[answer[:60] for answer in ANSWERS])
def test_whatever_a_probe_answers_is_facts_that_can_be_kept_or_none(tmp_path: Path, answer: str) -> None:
    """The process decodes a stranger's bytes; what cannot be true is left out, and the row can be read again."""
    (tmp_path / "film").write_bytes(b"film")
    describer = Describer(FolderStore(tmp_path), tmp_path, DescribeSettings())
    describer._probing._command = [sys.executable, "-c", f"input(); print({answer!r})"]

    media = describer.probe(str(tmp_path / "film"), "video/mp4")

    describer.close()
    assert media == ANSWERS[answer]
    if media is not None:
        row = to_fields({name: value for name, value in JOB if value is not None} | {"media": media})
        assert job_from(row).media == media


def test_a_film_without_a_picture_is_noted(tmp_path: Path) -> None:
    """It can be played, and is not what anybody requested."""
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        _sing(container, container.add_stream("aac", rate=48_000, layout="mono"), 1)
    describer = Describer(FolderStore(tmp_path), tmp_path, DescribeSettings())
    media = describer.probe(str(tmp_path / "sound.mp4"), "video/mp4")
    describer.close()
    assert media is not None
    assert (media.audio_codec, media.mismatch) == ("aac", NO_PICTURE)


@pytest.mark.parametrize(
    ("seen", "fields"),
    [
        (Media(mismatch=(Mismatch("file_size", 0, 9),)), ["file_size"]),
        (Media(duration_s=4, video_codec="h264"), ["duration", "generate_audio"]),
        (Media(duration_s=4, video_codec="h264", mismatch=NO_PICTURE), ["picture", "duration", "generate_audio"]),
    ],
    ids=["could not be read", "differs from the request", "both"],
)
def test_what_is_odd_stands_beside_what_differs_from_the_request(seen: Media, fields: list[str]) -> None:
    """One list in row, event and views; what was asked for outranks the default; an unreadable film says nothing."""
    request = replace(a_request(duration=8), expected={"duration": 5, "generate_audio": True})
    stored = Stored(PATH, 1, "00", "video/mp4")

    outcome = compared(request, Fetched(stored, seen))

    assert isinstance(outcome, Fetched)
    assert outcome.media is not None
    assert [
        found.field for found in outcome.media.mismatch if found.field in {*fields, "picture", "file_size"}
    ] == fields
