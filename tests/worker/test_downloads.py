"""A download that broke off goes on where it was, if the bytes are provably the same; it leads nowhere private."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from config.addresses import is_link_local, is_public
from config.outbound import Permits
from config.settings import ArchiveSettings
from config.store import FolderStore
from jobs.facts import Download, Fetched, NotFetched
from jobs.job import Video
from tests.stage import ROOT, eventually
from tests.worker.films import FTYP, MOOV, MP4, box
from tests.worker.servers import Act, Server, Wire, answer, hang
from worker.archive.archive import Archive
from worker.archive.partials import Partials
from worker.archive.permits import download_permits

JOB: Final = "job_01jd8hwz80qx3c5v7m9k2n4p6r"
LONG_MP4: Final = FTYP + MOOV + box(b"mdat", bytes(range(256)) * 4096)
"""Long enough that its beginning does not wait in a buffer of its writer's."""

HALF: Final = len(MP4) // 2
SHA256: Final = hashlib.sha256(MP4).hexdigest()


def fetch(root: Path, url: str, *, turn: int = 1, permits: Permits = lambda _: True, **settings: Any) -> Download:
    """Fetch a video once."""
    archive = Archive(FolderStore(root), root, ArchiveSettings.model_validate(settings), permits=permits)
    try:
        return archive.fetch(JOB, turn, Video(url))
    finally:
        archive.close()


def breaks_off(**headers: str) -> Act:
    """Announce the whole body, send its beginning, and reset."""

    def act(wire: Wire) -> None:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        head = "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(MP4)}", *lines])
        wire.send(head.encode() + b"\r\n\r\n" + MP4[:HALF])

    return act


def rest(begin: int, body: bytes, total: object = None, **headers: str) -> Act:
    """Send the rest as RFC 9110 describes it; `total` announces a wrong length."""
    return answer(
        body[begin:],
        status="206 Partial Content",
        length=None,
        Content_Range=f"bytes {begin}-{len(body) - 1}/{len(body) if total is None else total}",
        **headers,
    )


def by_range(part: Act, whole: Act, server: Server) -> Act:
    """Answer requests for a range by `part`, and others by `whole`."""

    def act(wire: Wire) -> None:
        (part if "range" in server.received[-1].headers else whole)(wire)

    return act


def partials(root: Path) -> list[str]:
    """The partial files, without their marks."""
    return sorted(path.name for path in (root / ".partial").glob("*") if path.suffix != ".mark")


# -- going on --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "validator", [{"ETag": '"abc"'}, {"Last_Modified": "Sun, 22 Nov 2026 10:00:00 GMT"}], ids=["etag", "last modified"]
)
def test_a_broken_download_goes_on_where_it_was(server: Server, tmp_path: Path, validator: dict[str, str]) -> None:
    """Two hundred megabytes over a bad line must not begin anew each time."""
    server.on(breaks_off(**validator))
    assert isinstance(fetch(tmp_path, f"{server.url}/x?signature=1", turn=1), NotFetched)
    server.on(rest(HALF, MP4, **validator))

    outcome = fetch(tmp_path, f"{server.url}/x?signature=2", turn=2)

    assert isinstance(outcome, Fetched)
    assert (outcome.stored.size_bytes, outcome.stored.sha256) == (len(MP4), SHA256)
    asked = server.received[-1].headers
    assert (asked["range"], asked["if-range"]) == (f"bytes={HALF}-", next(iter(validator.values())))
    assert partials(tmp_path) == []


def test_a_body_that_changed_meanwhile_comes_whole(server: Server, tmp_path: Path) -> None:
    """The server answers 200 to an If-Range that does not fit: half of one film and half of another is no film."""
    server.on(breaks_off(ETag='"old"'))
    fetch(tmp_path, server.url, turn=1)
    server.on(answer(MP4, ETag='"new"'))

    outcome = fetch(tmp_path, server.url, turn=2)

    assert isinstance(outcome, Fetched)
    assert outcome.stored.sha256 == SHA256


@pytest.mark.parametrize(
    "headers",
    [{}, {"ETag": 'W/"weak"'}, {"ETag": '"abc"', "Accept_Ranges": "none"}],
    ids=["no validator", "a weak one", "no ranges"],
)
def test_what_promises_nothing_about_its_bytes_is_not_kept(
    server: Server, tmp_path: Path, headers: dict[str, str]
) -> None:
    """Nothing is left behind that no later try could use."""
    server.on(breaks_off(**headers))
    fetch(tmp_path, server.url, turn=1)
    assert partials(tmp_path) == []


def test_another_url_begins_anew(server: Server, tmp_path: Path) -> None:
    """A fresh poll may hand out another file; only its signature may differ."""
    server.on(breaks_off(ETag='"abc"'))
    fetch(tmp_path, f"{server.url}/one", turn=1)
    server.on(answer(MP4, ETag='"abc"'))

    assert isinstance(fetch(tmp_path, f"{server.url}/two", turn=2), Fetched)
    assert "range" not in server.received[-1].headers


DATED: Final = {"ETag": '"abc"', "Last_Modified": "Sun, 22 Nov 2026 10:00:00 GMT"}
OTHER_MP4: Final = FTYP + MOOV + box(b"mdat", bytes(range(255, -1, -1)) * 8)
"""Another film of the same length: spliced, the two would pass for one."""

OTHER_VERSIONS: Final = {
    "another ETag": rest(HALF, OTHER_MP4, ETag='"new"'),
    "a weak ETag": rest(HALF, OTHER_MP4, ETag='W/"abc"'),
    "no ETag": rest(HALF, OTHER_MP4),
    "another date": rest(HALF, OTHER_MP4, ETag='"abc"', Last_Modified="Mon, 23 Nov 2026 10:00:00 GMT"),
    "another length": rest(HALF, OTHER_MP4, len(MP4) + 4, ETag='"abc"'),
    "another range": rest(HALF + 1, OTHER_MP4, ETag='"abc"'),
    "the whole": rest(0, OTHER_MP4, ETag='"abc"'),
    "no range": answer(OTHER_MP4[HALF:], status="206 Partial Content", ETag='"abc"'),
    "a range without meaning": answer(
        OTHER_MP4[HALF:], status="206 Partial Content", ETag='"abc"', Content_Range="bytes " + "9" * 5000 + "-9/*"
    ),
    "a coding of its own": rest(HALF, OTHER_MP4, ETag='"abc"', Content_Encoding="br"),
    "refused": answer(status="416 Range Not Satisfiable", Content_Range=f"bytes */{HALF - 1}"),
}


@pytest.mark.parametrize("part", OTHER_VERSIONS.values(), ids=OTHER_VERSIONS)
def test_the_rest_of_another_version_is_not_spliced_to_what_is_there(server: Server, tmp_path: Path, part: Act) -> None:
    """Half of one film and half of another is no film; the whole is asked for in the same try."""
    server.on(breaks_off(**DATED))
    assert isinstance(fetch(tmp_path, server.url, turn=1), NotFetched)
    server.on(by_range(part, answer(OTHER_MP4, ETag='"new"'), server))

    outcome = fetch(tmp_path, server.url, turn=2)

    assert isinstance(outcome, Fetched)
    assert outcome.stored.sha256 == hashlib.sha256(OTHER_MP4).hexdigest()
    assert ["range" in request.headers for request in server.received] == [False, True, False]


@pytest.mark.parametrize(
    "part",
    [rest(HALF, MP4, **DATED), rest(HALF, MP4, ETag='"abc"'), rest(HALF, MP4, "*", **DATED)],
    ids=["all headers", "no date", "no length"],
)
def test_a_header_that_the_rest_may_omit_is_no_difference(server: Server, tmp_path: Path, part: Act) -> None:
    """RFC 9110 asks of a 206 that it repeat the ETag, and little else."""
    server.on(breaks_off(**DATED))
    fetch(tmp_path, server.url, turn=1)
    server.on(part)

    assert isinstance(fetch(tmp_path, server.url, turn=2), Fetched)
    assert len(server.received) == 2


def test_a_server_that_sends_pieces_is_asked_for_the_next_one(server: Server, tmp_path: Path) -> None:
    """Some servers answer any request with a limited number of bytes."""
    first, second = (rest(begin, MP4[: begin + HALF], len(MP4), ETag='"abc"') for begin in (0, HALF))
    server.on(first)
    assert isinstance(fetch(tmp_path, server.url, turn=1), NotFetched)
    server.on(second)

    outcome = fetch(tmp_path, server.url, turn=2)

    assert isinstance(outcome, Fetched)
    assert outcome.stored.sha256 == SHA256


@pytest.mark.parametrize("status", ["503 Service Unavailable", "403 Forbidden"])
def test_a_server_in_trouble_costs_none_of_what_is_there(server: Server, tmp_path: Path, status: str) -> None:
    """The next try, perhaps with a fresh signature, goes on where the first one ended."""
    server.on(breaks_off(**DATED))
    fetch(tmp_path, server.url, turn=1)
    server.on(answer(status=status))
    fetch(tmp_path, server.url, turn=2)
    server.on(by_range(rest(HALF, MP4, **DATED), hang, server))

    assert isinstance(fetch(tmp_path, server.url, turn=3), Fetched)


def test_bytes_from_before_a_restart_of_the_machine_are_not_trusted(server: Server, tmp_path: Path) -> None:
    """A power cut may leave a file's length on the disk without its bytes."""
    server.on(breaks_off(ETag='"abc"'))
    fetch(tmp_path, server.url, turn=1)
    mark = tmp_path / ".partial" / f"{JOB}.1.mark"
    mark.write_text(mark.read_text().replace('"boot": "', '"boot": "another-'))
    server.on(answer(MP4))

    assert isinstance(fetch(tmp_path, server.url, turn=2), Fetched)
    assert "range" not in server.received[-1].headers


FETCH_ELSEWHERE: Final = """
import sys
from pathlib import Path
from config.settings import ArchiveSettings
from config.store import FolderStore
from jobs.job import Video
from worker.archive.archive import Archive
root, url, job = Path(sys.argv[1]), *sys.argv[2:]
Archive(FolderStore(root), root, ArchiveSettings(), permits=lambda _: True).fetch(job, 1, Video(url))
"""


@contextmanager
def fetching_elsewhere(root: Path, url: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Another worker process in the middle of a download."""
    process = subprocess.Popen([sys.executable, "-c", FETCH_ELSEWHERE, str(root), url, JOB], cwd=ROOT)
    try:
        file = root / ".partial" / f"{JOB}.1"
        eventually(lambda: file.exists() and file.stat().st_size > 100_000, what="the beginning of the download")
        yield process
    finally:
        process.kill()
        process.wait()


def stalls(wire: Wire) -> None:
    """Send the beginning of a long film, then nothing."""
    head = f'HTTP/1.1 200 OK\r\nContent-Length: {len(LONG_MP4)}\r\nETag: "abc"\r\n\r\n'
    wire.send(head.encode() + LONG_MP4[: len(LONG_MP4) // 2])
    wire.hang()


def goes_on(server: Server) -> Act:
    """Send what the request asks for: the rest, or all."""

    def act(wire: Wire) -> None:
        asked = server.received[-1].headers.get("range", "")
        begin = int(asked.removeprefix("bytes=").rstrip("-") or 0)
        (rest(begin, LONG_MP4, ETag='"abc"') if begin else answer(LONG_MP4, ETag='"abc"'))(wire)

    return act


def test_a_killed_workers_download_is_taken_over(server: Server, tmp_path: Path) -> None:
    """Kill -9 ends the worker, but its bytes stay on the disk."""
    server.on(stalls)
    with fetching_elsewhere(tmp_path, server.url) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    server.on(goes_on(server))

    outcome = fetch(tmp_path, server.url, turn=2)

    assert isinstance(outcome, Fetched)
    assert outcome.stored.sha256 == hashlib.sha256(LONG_MP4).hexdigest()
    assert "range" in server.received[-1].headers
    assert partials(tmp_path) == []


def test_a_download_whose_writer_lives_is_not_taken_over(server: Server, tmp_path: Path) -> None:
    """Its lease ended, but it still writes: two writers in one file would make a film of neither."""
    server.on(stalls)
    with fetching_elsewhere(tmp_path, server.url):
        server.on(goes_on(server))
        outcome = fetch(tmp_path, server.url, turn=2)

    assert isinstance(outcome, Fetched)
    assert "range" not in server.received[-1].headers
    assert outcome.stored.sha256 == hashlib.sha256(LONG_MP4).hexdigest()


def test_what_nobody_comes_back_for_is_swept(tmp_path: Path) -> None:
    """The job goes on at another host; this one's disk must not fill."""
    folder = tmp_path / ".partial"
    folder.mkdir()
    for name, age_s in (("job_old.1", 100), ("job_old.1.mark", 100), ("job_young.1", 0)):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (1_000_000 - age_s,) * 2)

    Partials(folder).sweep(before=1_000_000 - 50)

    assert [path.name for path in folder.glob("*")] == ["job_young.1"]


# -- addresses ---------------------------------------------------------------------------------------------------


def test_a_private_address_is_refused_before_a_byte_is_sent(server: Server, tmp_path: Path) -> None:
    """The URL is a stranger's word; behind our firewall are things that ask for no password."""
    server.on(answer(MP4))
    assert fetch(tmp_path, server.url, permits=is_public) == NotFetched(
        "the video's URL leads to a private address, which RUSHES_ARCHIVE__PRIVATE_ADDRESSES does not allow"
    )
    assert server.connections == 0


def test_a_name_is_judged_by_the_address_it_leads_to(server: Server, tmp_path: Path) -> None:
    """After DNS, at the connection itself: what the name said a moment before does not count."""
    server.on(answer(MP4))
    url = server.url.replace("127.0.0.1", "localhost")
    assert isinstance(fetch(tmp_path, url, permits=is_public), NotFetched)
    assert server.connections == 0
    assert isinstance(fetch(tmp_path, url, turn=2), Fetched)
    assert server.received[-1].headers["host"].startswith("localhost:")


def test_a_redirect_is_judged_as_well(server: Server, other_server: Server, tmp_path: Path) -> None:
    """The usual trick: a public page that sends one on to the inside."""
    server.on(answer(status="302 Found", Location=other_server.url.replace("127.0.0.1", "127.0.0.2")))
    outcome = fetch(tmp_path, server.url, permits=lambda address: address == "127.0.0.1")
    assert isinstance(outcome, NotFetched)
    assert "private address" in outcome.message


@pytest.mark.parametrize(
    ("private", "upstream", "permitted"),
    [
        (None, "api.aimlapi.invalid", set()),
        (None, "8.8.8.8", set()),
        (None, "127.0.0.1", {"127.0.0.1", "10.0.0.1"}),
        (None, "localhost", {"127.0.0.1", "10.0.0.1"}),
        (None, "[::1]", {"127.0.0.1", "10.0.0.1"}),
        (False, "127.0.0.1", set()),
        (True, "8.8.8.8", {"127.0.0.1", "10.0.0.1", "169.254.169.254"}),
    ],
)
def test_private_addresses_are_allowed_by_setting_or_for_a_private_upstream(
    private: bool | None, upstream: str, permitted: set[str]
) -> None:
    """A sandbox on this machine works without a word; a real upstream never leads inside."""
    permits = download_permits(private=private, upstream=upstream)
    inside = {"127.0.0.1", "10.0.0.1", "169.254.169.254"}
    assert {address for address in inside if permits(address)} == permitted
    assert permits("8.8.8.8")
    assert is_link_local("169.254.169.254")
