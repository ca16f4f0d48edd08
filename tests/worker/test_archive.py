"""The archive against a CDN that misbehaves and disks that do: a final name is a whole video or nothing."""

import gzip
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.settings import ArchiveSettings
from config.store import FolderStore
from jobs.facts import ArchiveUnavailable, Download, Fetched, Gone, NotFetched
from jobs.job import Stored, Video
from jobs.media import Media, Mismatch
from tests.stage import ROOT, Clock, eventually
from tests.worker.films import FTYP, MDAT, MOOV, MP4, box, filmed
from tests.worker.servers import REFUSING, Act, Server, Wire, answer, hang, reset, say_nothing
from worker.archive.archive import Archive

JOB: Final = "job_01jd8hwz80qx3c5v7m9k2n4p6r"
NAME: Final = Path("2024/11/21/job_01jd8hwz80qx3c5v7m9k2n4p6r.mp4")

OTHER: Final = FTYP + MOOV + box(b"mdat", b"another film")


@contextmanager
def archive_at(root: Path, *, clock: Callable[[], float] = time.monotonic, **settings: Any) -> Iterator[Archive]:
    """An archive with short time-outs."""
    chosen = {"total_timeout_s": 10, **settings}
    archive = Archive(
        FolderStore(root), root, ArchiveSettings.model_validate(chosen), permits=lambda _: True, clock=clock
    )
    try:
        yield archive
    finally:
        archive.close()


def fetch(root: Path, video: Video | str, *, turn: int = 3, **settings: Any) -> Download:
    """Fetch one video once."""
    with archive_at(root, **settings) as archive:
        return archive.fetch(JOB, turn, video if isinstance(video, Video) else Video(video))


def files(root: Path) -> set[Path]:
    """Every file below, relative."""
    return {path.relative_to(root) for path in root.rglob("*") if path.is_file()}


def test_a_video_is_kept_whole_under_a_name_from_its_job(server: Server, tmp_path: Path) -> None:
    """Size and sum are of the very bytes on disk: the receiver of the file can check it."""
    film = filmed(tmp_path / "film.mp4", "mpeg4")
    server.on(answer(film, Content_Type="video/mp4"))
    root = tmp_path / "archive"

    outcome = fetch(root, f"{server.url}/x.mp4?sig=1")

    assert outcome == Fetched(Stored(str(NAME), len(film), hashlib.sha256(film).hexdigest(), "video/mp4"))
    assert (root / NAME).read_bytes() == film
    assert files(root) == {NAME}


def test_a_webm_is_named_for_what_it_is(server: Server, tmp_path: Path) -> None:
    """The content decides, not the content type that was announced."""
    film = filmed(tmp_path / "film.webm", "libvpx")
    server.on(answer(film, Content_Type="video/mp4"))
    outcome = fetch(tmp_path / "archive", server.url)
    assert isinstance(outcome, Fetched)
    assert outcome.stored.content_type == "video/webm"
    assert outcome.stored.path == str(NAME.with_suffix(".webm"))


def test_no_fetch_replaces_anothers_file(server: Server, tmp_path: Path) -> None:
    """A worker that froze in its download wakes up when another has stored the video: a row has that one's checksum."""
    server.on(answer(MP4))
    stored = fetch(tmp_path, server.url, turn=4)
    server.on(answer(OTHER))
    late = fetch(tmp_path, server.url, turn=3)

    assert isinstance(stored, Fetched)
    assert isinstance(late, Fetched)
    assert late.stored.path == stored.stored.path.replace(".mp4", ".3.mp4")
    for fetched, body in ((stored, MP4), (late, OTHER)):
        assert hashlib.sha256((tmp_path / fetched.stored.path).read_bytes()).hexdigest() == fetched.stored.sha256
        assert (tmp_path / fetched.stored.path).read_bytes() == body


def test_what_dead_workers_left_is_removed_once_the_row_names_another(server: Server, tmp_path: Path) -> None:
    """Each died between the rename and the row; another job's files stay."""
    server.on(answer(MP4))
    with archive_at(tmp_path) as archive:
        others = archive.fetch(f"{JOB[:-1]}s", 1, Video(server.url))
        assert isinstance(others, Fetched)
        archive.fetch(JOB, 1, Video(server.url))
        archive.fetch(JOB, 2, Video(server.url))
        again = archive.fetch(JOB, 3, Video(server.url))
        assert isinstance(again, Fetched)
        archive.discard_others(JOB, again.stored)
        archive.discard_others(JOB, again.stored)
    assert files(tmp_path) == {Path(again.stored.path), Path(others.stored.path)}


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(answer(MP4, length=-1), id="no length"),
        pytest.param(
            answer(f"{len(MP4):x}\r\n".encode() + MP4 + b"\r\n0\r\n\r\n", length=-1, Transfer_Encoding="chunked"),
            id="chunked",
        ),
        pytest.param(answer(gzip.compress(MP4), Content_Encoding="gzip"), id="gzip"),
    ],
)
def test_a_video_may_come_in_any_transfer(server: Server, tmp_path: Path, act: Act) -> None:
    """CDNs choose; the bytes are the same."""
    server.on(act)
    outcome = fetch(tmp_path, Video(server.url, file_size=len(MP4)))
    assert isinstance(outcome, Fetched)
    assert (tmp_path / NAME).read_bytes() == MP4


def cut_without_length(wire: Wire) -> None:
    """Ends in the middle without having said where the end is."""
    wire.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + MP4[:-100])


def reset_midway(wire: Wire) -> None:
    """Sends half, then resets."""
    wire.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(MP4)}\r\n\r\n".encode() + MP4[:1000])
    wire.reset()


def stall_midway(wire: Wire) -> None:
    """Sends half, then nothing."""
    wire.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(MP4)}\r\n\r\n".encode() + MP4[:1000])
    wire.hang()


UNFETCHED: Final = {
    "cut, length announced": answer(MP4[:-100], length=len(MP4)),
    "cut, no length": cut_without_length,
    "length too short": answer(MP4, length=len(MP4) - 100),
    "lengths that disagree": answer(MP4, length=-1, Content_Length="5, 7"),
    "chunk cut": answer(b"ffff\r\n" + MP4[:-100], length=-1, Transfer_Encoding="chunked"),
    "206 of a part": answer(MP4[:-100], status="206 Partial Content"),
    "206 of another part": answer(MP4, status="206 Partial Content", Content_Range=f"bytes 8-{len(MP4) + 7}/*"),
    "a fragmented film, its end unannounced": answer(MP4 + box(b"moof") + b"\0", length=-1),
    "a film that broke off behind its frames": answer(MP4 + box(b"uuid", b"x" * 9)[:-1], length=len(MP4) + 17),
    "bad gzip": answer(MP4, Content_Encoding="gzip"),
    "gzip cut": answer(gzip.compress(MP4)[:-20], Content_Encoding="gzip"),
    "page with 200": answer(b"<html>We will be right back</html>", Content_Type="text/html"),
    "empty with 200": answer(b""),
    "204": answer(status="204 No Content"),
    "400": answer(status="400 Bad Request"),
    "429": answer(status="429 Too Many Requests"),
    "500": answer(status="500 Internal Server Error"),
    "503 with a video": answer(MP4, status="503 Service Unavailable"),
    "reset": reset,
    "silence, then gone": say_nothing,
    "reset midway": reset_midway,
    "no HTTP": lambda wire: wire.send(b"hello\r\n\r\n"),
}


@pytest.mark.parametrize("act", UNFETCHED.values(), ids=UNFETCHED)
def test_whatever_is_not_a_whole_video_is_not_kept(server: Server, tmp_path: Path, act: Act) -> None:
    """The job stays in its state and tries again; nothing half is ever seen by anybody."""
    server.on(act)
    assert isinstance(fetch(tmp_path, server.url), NotFetched)
    assert files(tmp_path) == set()


@pytest.mark.parametrize("act", [hang, stall_midway])
def test_silence_ends_with_the_read_time_out(server: Server, tmp_path: Path, act: Act) -> None:
    """A stalled CDN must not hold a thread."""
    server.on(act)
    assert isinstance(fetch(tmp_path, server.url, total_timeout_s=0.4), NotFetched)
    assert files(tmp_path) == set()


def slow_headers(wire: Wire) -> None:
    """Send headers slowly, without an end."""
    wire.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    wire.trickle(b"z")


def slow_body(wire: Wire) -> None:
    """Send the body slowly, without an end."""
    wire.send(b"HTTP/1.1 200 OK\r\n\r\n")
    wire.trickle(MP4[:10])


@pytest.mark.parametrize("act", [slow_headers, slow_body])
def test_a_trickle_ends_with_the_total_time(server: Server, tmp_path: Path, act: Act) -> None:
    """The lease of a download counts on it."""
    server.on(act)
    started = time.monotonic()
    assert isinstance(fetch(tmp_path, server.url, total_timeout_s=0.5), NotFetched)
    assert time.monotonic() - started < 15
    assert files(tmp_path) == set()


def test_the_total_time_goes_by_the_clock_given(server: Server, tmp_path: Path) -> None:
    """Time is an argument."""
    clock = Clock()

    def late(wire: Wire) -> None:
        clock.advance(11)
        answer(MP4)(wire)

    server.on(late)
    assert fetch(tmp_path, server.url, clock=clock) == NotFetched("the download took longer than 10 s")


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "404 Not Found", "410 Gone"])
def test_a_url_whose_time_is_over_is_gone(server: Server, tmp_path: Path, status: str) -> None:
    """Signed URLs end with a 403 after minutes: a fresh poll may hand out another."""
    server.on(answer(b"<Error>Expired</Error>", status=status))
    assert fetch(tmp_path, server.url) == Gone(f"the video's URL answers {status[:3]}")
    assert files(tmp_path) == set()


@pytest.mark.parametrize("length", [None, -1], ids=["announced", "unannounced"])
def test_a_body_larger_than_allowed_is_not_kept(server: Server, tmp_path: Path, length: int | None) -> None:
    """One endless body must not fill the disk of all jobs."""
    server.on(answer(MP4, length=length))
    assert fetch(tmp_path, server.url, max_bytes=1024) == NotFetched("the body is larger than 1024 bytes")
    assert files(tmp_path) == set()


def test_a_body_just_as_large_as_allowed_is_kept(server: Server, tmp_path: Path) -> None:
    """A bound includes its own value."""
    server.on(answer(MP4))
    assert isinstance(fetch(tmp_path, server.url, max_bytes=len(MP4)), Fetched)


@pytest.mark.parametrize(
    "film", [FTYP + MOOV + box(b"moof") + MDAT, b"\x1a\x45\xdf\xa3 a film"], ids=["fragmented", "webm"]
)
def test_a_size_that_the_upstream_announced_is_checked_where_nothing_else_shows_the_end(
    server: Server, tmp_path: Path, film: bytes
) -> None:
    """Without a length, a cut between two fragments would look like the end."""
    server.on(answer(film, length=-1))
    outcome = fetch(tmp_path, Video(server.url, file_size=len(film) + 1))
    assert outcome == NotFetched(f"{len(film)} bytes came of the {len(film) + 1} announced")
    assert isinstance(fetch(tmp_path, Video(server.url, file_size=len(film))), Fetched)


RANGE: Final = f"bytes 0-{len(MP4) - 1}/"
BROKE_OFF: Final = Mismatch("transfer", "complete", "the download broke off (ProtocolError)")
HTTP_206: Final = Mismatch("http_status", 200, 206)
ODD: Final[dict[str, tuple[Act, tuple[Mismatch, ...]]]] = {
    "zeros behind it": (answer(MP4 + b"\0" * 512), (Mismatch("tail_bytes", 0, 512),)),
    "a line break behind it, no length": (answer(MP4 + b"\r\n", length=-1), (Mismatch("tail_bytes", 0, 2),)),
    "206 of all": (answer(MP4, status="206 Partial Content", Content_Range=f"{RANGE}{len(MP4)}"), (HTTP_206,)),
    "206 of how many?": (answer(MP4, status="206 Partial Content", Content_Range=f"{RANGE}*"), (HTTP_206,)),
    "206 of what?": (answer(MP4, status="206 Partial Content"), (HTTP_206,)),
    "206 of nonsense": (answer(MP4, status="206 Partial Content", Content_Range="bytes all"), (HTTP_206,)),
    "a page's type": (
        answer(MP4, Content_Type="text/html; charset=utf-8"),
        (Mismatch("content_type", "text/html", "video/mp4"),),
    ),
    "a picture's type": (answer(MP4, Content_Type="IMAGE/PNG"), (Mismatch("content_type", "image/png", "video/mp4"),)),
    "anybody's type": (answer(MP4, Content_Type="binary/octet-stream"), ()),
    "a type of bytes": (answer(MP4, Content_Type="\udcff\udcfe"), (Mismatch("content_type", "ÿþ", "video/mp4"),)),
    "length with zeros": (answer(MP4, length=-1, Content_Length=f"{len(MP4):030}"), ()),
    "length twice": (answer(MP4, length=-1, Content_Length=f"{len(MP4)}, {len(MP4)}"), ()),
    "length of 5,000 digits": (answer(MP4, length=-1, Content_Length="9" * 5000), ()),
    "length of 4,000 digits": (answer(MP4, length=-1, Content_Length="9" * 4000), (BROKE_OFF,)),
    "length of no digits": (answer(MP4, length=-1, Content_Length="long"), ()),
    "negative length": (answer(MP4, length=-1, Content_Length="-5"), ()),
    "length too long": (answer(MP4, length=len(MP4) + 100), (BROKE_OFF,)),
    "chunk cut": (answer(b"ffff\r\n" + MP4, length=-1, Transfer_Encoding="chunked"), (BROKE_OFF,)),
    "chunks without an end": (
        answer(f"{len(MP4):x}\r\n".encode() + MP4 + b"\r\n", length=-1, Transfer_Encoding="chunked"),
        (BROKE_OFF,),
    ),
    "an encoding nobody knows": (answer(MP4, Content_Encoding="aws-chunked"), ()),
    "an odd brand": (answer(box(b"ftyp", b"qt  \0\0\0\0") + MOOV + MDAT), ()),
    "webm": (answer(b"\x1a\x45\xdf\xa3 a film"), (Mismatch("content_type", "video/mp4", "video/webm"),)),
}


@pytest.mark.parametrize(("act", "oddities"), ODD.values(), ids=ODD)
def test_a_video_that_plays_is_kept_and_what_is_odd_about_it_is_noted(
    server: Server, tmp_path: Path, act: Act, oddities: tuple[Mismatch, ...]
) -> None:
    """It is paid for: only what cannot be played at all is refused."""
    server.on(act)
    outcome = fetch(tmp_path, server.url)
    assert isinstance(outcome, Fetched)
    assert outcome.media == (Media(mismatch=oddities) if oddities else None)
    assert (tmp_path / outcome.stored.path).stat().st_size == outcome.stored.size_bytes


@pytest.mark.parametrize("announced", [0, 1, len(MP4) - 1, len(MP4) + 1, 10**30, -1])
@pytest.mark.parametrize("length", [None, -1], ids=["length", "no length"])
def test_a_size_that_the_upstream_got_wrong_is_noted(
    server: Server, tmp_path: Path, announced: int, length: int | None
) -> None:
    """The film shows its own end."""
    server.on(answer(MP4, length=length))
    outcome = fetch(tmp_path, Video(server.url, file_size=announced))
    assert isinstance(outcome, Fetched)
    assert outcome.media == Media(mismatch=(Mismatch("file_size", announced, len(MP4)),))


NAMES: Final = st.sampled_from(
    ["content-length", "content-range", "content-type", "content-encoding", "transfer-encoding", "location", "etag"]
) | st.sampled_from(["last-modified", "accept-ranges", "connection", "set-cookie"])
VALUES: Final = st.sampled_from(
    [
        "chunked",
        "gzip, br",
        "bytes 0-9/10",
        "bytes 5-1/*",
        "bytes */0",
        "9" * 5000,
        "-1",
        "0x10",
        "http://[",
        "//",
        "\0",
    ]
)
STATUSES: Final = st.sampled_from(["200 OK", "206", "302 Found", "307 x", "100", "103 Early", "000", "416", "999", ""])
HEADERS: Final = st.lists(st.tuples(NAMES | st.text(max_size=8), VALUES | st.text(max_size=40)), max_size=6)
BODIES: Final = st.sampled_from([MP4, gzip.compress(MP4), b"", b"5\r\nhello\r\n0\r\n\r\n"]) | st.binary(max_size=99)


TURNS: Final = count(1)
"""Each claim of a download has a turn of its own."""


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(status=STATUSES, headers=HEADERS, body=BODIES, raw=st.none() | st.binary(max_size=99))
def test_no_reply_of_a_cdn_breaks_a_download(
    server: Server, tmp_path: Path, status: str, headers: list[tuple[str, str]], body: bytes, raw: bytes | None
) -> None:
    """Every reply, bytes that are no HTTP included, is an outcome of this one try; two tries may splice nothing."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    reply = "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n" + body
    server.on(lambda wire: wire.send(reply if raw is None else raw))
    for _ in range(2):
        outcome = fetch(tmp_path, server.url, turn=next(TURNS), total_timeout_s=1)
        assert isinstance(outcome, Fetched | Gone | NotFetched)
        if isinstance(outcome, Fetched):
            assert hashlib.sha256((tmp_path / outcome.stored.path).read_bytes()).hexdigest() == outcome.stored.sha256


def test_what_nobody_foresaw_is_the_outcome_of_one_try(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Raised past it, the job would stay in its state for ever; the log has the traceback."""
    outcome = fetch(tmp_path, Video(5))  # type: ignore[arg-type]  # no reader of a row checks it
    assert isinstance(outcome, NotFetched)
    assert outcome.message == "the download failed unexpectedly (AttributeError); the log has the traceback"
    assert "Traceback" in caplog.text


def test_a_probe_that_breaks_loses_no_video(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is in a film is a nicety, the film is paid for."""
    server.on(answer(MP4))

    def probe(_file: str, _type: str) -> Media:
        raise OverflowError("a duration of 10**400 seconds")

    archive = Archive(FolderStore(tmp_path), tmp_path, ArchiveSettings(), permits=lambda _: True, probe=probe)
    assert isinstance(archive.fetch(JOB, 1, Video(server.url)), Fetched)
    archive.close()
    assert "OverflowError" in caplog.text


# Addresses


@pytest.mark.parametrize("hops", [0, 1, 3])
def test_up_to_three_redirects_are_followed(server: Server, other_server: Server, tmp_path: Path, hops: int) -> None:
    """CDNs redirect to their edges, relative and absolute."""
    for hop in range(hops):
        target = f"/{hop + 1}" if hop % 2 else f"{other_server.url}/{hop + 1}"
        for each in (server, other_server):
            each.on(answer(b"elsewhere", status="302 Found", Location=target), f"/{hop}")
    for each in (server, other_server):
        each.on(answer(MP4), f"/{hops}")
    assert isinstance(fetch(tmp_path, f"{server.url}/0"), Fetched)


def test_a_fourth_redirect_is_one_too_many(server: Server, tmp_path: Path) -> None:
    """A circle would never end."""
    server.on(answer(status="307 Temporary Redirect", Location="/again"))
    assert fetch(tmp_path, server.url) == NotFetched("the video's URL redirects more than 3 times")
    assert len(server.received) == 4


def test_what_a_redirect_says_is_not_read(server: Server, tmp_path: Path) -> None:
    """`requests` would read a redirect's body to its end, into memory."""

    def endless(wire: Wire) -> None:
        wire.send(b"HTTP/1.1 302 Found\r\nLocation: /film\r\n\r\n")
        wire.trickle(b"x" * 65_536, every_s=0.001)

    server.on(endless)
    server.on(answer(MP4), "/film")
    assert isinstance(fetch(tmp_path, server.url, total_timeout_s=10), Fetched)


@pytest.mark.parametrize(
    "location", ["http://[", "\udcff\udcfe", "ftp://127.0.0.1/x", "file:///etc/passwd", "http://a:b/", "http://"]
)
def test_a_redirect_to_nowhere_is_not_fetched(server: Server, tmp_path: Path, location: str) -> None:
    """Some of these make `requests` raise what is no error of its own."""
    server.on(answer(status="302 Found", Location=location))
    server.on(answer(status="500 Oops"), "/%EF%BF%BD%EF%BF%BD")
    assert isinstance(fetch(tmp_path, server.url), NotFetched)


@pytest.mark.parametrize(
    "url",
    [
        REFUSING,
        "https://cdn.invalid/x.mp4",
        "http://[",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:x/",
        "http://*/",
        "http://.a/",
        f"http://{'a' * 70}.invalid/",
        "http://\ud800/",
        "http://127.0.0.1:1/\ud800",
        "ftp://127.0.0.1/",
        "x",
        "",
    ],
    ids=ascii,
)
def test_an_address_that_leads_nowhere_is_not_fetched(tmp_path: Path, url: str) -> None:
    """The address is a stranger's word; an exception would take the job out of its rounds."""
    assert isinstance(fetch(tmp_path, url), NotFetched)
    assert files(tmp_path) == set()


def test_the_cdn_is_sent_no_key(
    server: Server, other_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the upstream's key nor one from a .netrc, nor after a redirect."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.on(answer(status="302 Found", Location=other_server.url))
    other_server.on(answer(MP4))

    assert isinstance(fetch(tmp_path / "archive", server.url), Fetched)

    names = {name for request in [*server.received, *other_server.received] for name in request.headers}
    assert len(server.received) == len(other_server.received) == 1
    assert not names & {"authorization", "proxy-authorization", "cookie", "x-client-request-id"}


# Disks


@pytest.mark.parametrize(
    "job_id", ["../job_a", "/tmp/job_a", "", "..", ".hidden", "job\0a", "job_a/b", "job_a\n"], ids=ascii
)
def test_an_id_that_is_no_name_makes_no_file(server: Server, tmp_path: Path, job_id: str) -> None:
    """Ids stand in Redis, where somebody else may write."""
    server.on(answer(MP4))
    with archive_at(tmp_path / "archive") as archive:
        assert isinstance(archive.fetch(job_id, 1, Video(server.url)), NotFetched)
    assert (files(tmp_path), server.connections) == (set(), 0)


def test_a_dead_workers_partial_is_swept(server: Server, tmp_path: Path) -> None:
    """A killed download leaves its bytes behind; the job's next try takes them away, and no one else's."""
    server.on(answer(MP4))
    partials = tmp_path / ".partial"
    partials.mkdir()
    for name in (f"{JOB}.1", f"{JOB}.2", "job_another.1"):
        (partials / name).write_bytes(b"half")

    assert isinstance(fetch(tmp_path, server.url, turn=3), Fetched)
    assert files(tmp_path) == {NAME, Path(".partial/job_another.1")}


def test_a_failed_try_leaves_the_copy_we_have(server: Server, tmp_path: Path) -> None:
    """A whole video is never overwritten by half a one."""
    server.on(answer(MP4))
    fetch(tmp_path, server.url)
    server.on(reset_midway)
    assert isinstance(fetch(tmp_path, server.url), NotFetched)
    assert (tmp_path / NAME).read_bytes() == MP4


def test_two_jobs_are_kept_side_by_side(server: Server, tmp_path: Path) -> None:
    """One archive serves all threads of a worker."""
    server.on(answer(MP4))
    ids = [f"{JOB[:-1]}{last}" for last in "01234567"]
    outcomes: dict[str, Download] = {}
    with archive_at(tmp_path) as archive:

        def fetch_one(job_id: str) -> None:
            outcomes[job_id] = archive.fetch(job_id, 1, Video(server.url))

        threads = [threading.Thread(target=fetch_one, args=(job_id,)) for job_id in ids]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(isinstance(outcome, Fetched) for outcome in outcomes.values())
    assert files(tmp_path) == {NAME.with_name(f"{job_id}.mp4") for job_id in ids}


@pytest.mark.parametrize("place", [".", ".partial", "2024", "2024/11/21"])
def test_a_file_where_a_folder_belongs_is_reported(server: Server, tmp_path: Path, place: str) -> None:
    """Whatever stands in the way is the operator's; the video waits."""
    server.on(answer(MP4))
    root = tmp_path / "archive"
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / place).write_bytes(b"in the way")

    outcome = fetch(root, server.url)

    assert isinstance(outcome, ArchiveUnavailable)
    assert outcome.message.startswith("the archive cannot be written: ")
    assert (root / place).read_bytes() == b"in the way"


def test_a_folder_where_the_video_belongs_is_reported(server: Server, tmp_path: Path) -> None:
    """It is not removed, nobody knows what is in it; the video has another name."""
    server.on(answer(MP4))
    (tmp_path / NAME).mkdir(parents=True)
    fetched = fetch(tmp_path, server.url)
    assert isinstance(fetched, Fetched)
    assert files(tmp_path) == {Path(fetched.stored.path)}


def test_discard_removes_a_copy_and_forgives_one_that_is_gone(server: Server, tmp_path: Path) -> None:
    """The job was cancelled during its download; the removal may be repeated."""
    server.on(answer(MP4))
    with archive_at(tmp_path) as archive:
        outcome = archive.fetch(JOB, 1, Video(server.url))
        assert isinstance(outcome, Fetched)
        archive.discard(outcome.stored)
        archive.discard(outcome.stored)
    assert files(tmp_path) == set()


FETCH_IN_ANOTHER_PROCESS: Final = """
import os, resource, sys
from pathlib import Path
from config.settings import ArchiveSettings
from config.store import FolderStore
from jobs.job import Video
from worker.archive.archive import Archive
root, url, job, user, largest = sys.argv[1:]
os.chdir(root)  # while we may still pass the folders above
archive = Archive(FolderStore(Path()), Path(), ArchiveSettings(), permits=lambda _: True)
if int(user):
    os.setuid(int(user))
if int(largest):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest), int(largest)))
print(archive.fetch(job, 1, Video(url)))
"""


def fetch_elsewhere(root: Path, url: str, *, user: int = 0, largest: int = 0) -> str:
    """Fetch in a process of its own, which may do less; returns what it printed."""
    command = [sys.executable, "-c", FETCH_IN_ANOTHER_PROCESS, str(root), url, JOB, str(user), str(largest)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_file_that_may_not_grow_leaves_nothing_behind(server: Server, tmp_path: Path) -> None:
    """A quota or a limit strikes in the middle of a write."""
    server.on(answer(MP4))
    outcome = fetch_elsewhere(tmp_path, server.url, largest=1000)
    assert outcome == "ArchiveUnavailable(message='the archive cannot be written: File too large')"
    assert files(tmp_path) == set()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB, where this machine lets us mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a disk; the limit on a file's size is tested either way")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True, capture_output=True)


def test_a_full_disk_leaves_nothing_behind_and_heals(server: Server, tiny_disk: Path) -> None:
    """The video waits at its URL; with room again, the next try fetches it."""
    server.on(answer(MP4))
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(b"x" * (os.statvfs(tiny_disk).f_bavail * os.statvfs(tiny_disk).f_frsize))

    outcome = fetch(tiny_disk, server.url)

    assert outcome == ArchiveUnavailable("the archive cannot be written: No space left on device")
    assert files(tiny_disk) == {Path("ballast")}

    ballast.unlink()
    assert isinstance(fetch(tiny_disk, server.url), Fetched)


def test_a_folder_that_may_not_be_written_is_reported(server: Server, tmp_path: Path) -> None:
    """The volume belongs to another user: the usual first mistake with containers."""
    server.on(answer(MP4))
    root = tmp_path / "archive"
    root.mkdir(mode=0o555)
    outcome = fetch_elsewhere(root, server.url, user=65534 if os.geteuid() == 0 else 0)
    assert outcome == "ArchiveUnavailable(message='the archive cannot be written: Permission denied')"
    assert files(root) == set()


def test_no_file_is_left_open(server: Server, tmp_path: Path) -> None:
    """A worker lives for months; a descriptor a download would end it."""
    server.on(answer(MP4))
    with archive_at(tmp_path) as archive:
        archive.fetch(JOB, 1, Video(server.url))
        before = psutil.Process().num_fds()
        for turn in range(20):
            archive.fetch(JOB, turn, Video(server.url))
        eventually(lambda: psutil.Process().num_fds() <= before + 5, what="the end of the connections")
