"""Serves stored files over HTTP: whole or a range, with the checksum as ETag, and videos never whole in memory."""

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain
from time import monotonic
from typing import Final

from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from config.store import NotThere, Store, StoreError
from jobs.artifacts import CONTENT_TYPES, Artifact, is_within, path_of
from jobs.job import Job, Stored
from producer.api.problems import BrokenOff, Code, Problem
from producer.api.tenant_pool import Bounds

CHUNK_BYTES: Final = 262_144
ASK_AGAIN_S: Final = 5.0
"""A download goes on for at most this long, and for what was already read of the file, after its key was revoked."""

DOWNLOADS: Final = Bounds(places=500, of_a_tenant=100, reserved=250, calls_of_a_tenant=200)
"""Files that are being sent: each is open, and up to half a megabyte of it waits for a client that reads slowly."""

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file: `length` bytes from byte `start`."""

    start: int
    length: int


def stored_of(job: Job) -> Stored:
    """Return the job's stored video.

    Raises:
        Problem: the job has no video yet, or ended without one.
    """
    if job.stored is not None:
        return job.stored
    if not job.is_final:
        detail = f"The job is {job.state}; its video is not stored yet. Try again when its status is `completed`."
        raise Problem(Code.NOT_READY, detail)
    raise Problem(Code.NO_VIDEO, f"The job ended as {job.state.status}: {job.reason}. The job's `error` says more.")


def piece_of(asked: str | None, size: int) -> Piece | None:
    """Parse a Range header; None: the whole file, also for a header that is not supported.

    Raises:
        Problem: the range begins after the file's end.
    """
    found = _RANGE.fullmatch(asked.replace(" ", "")) if asked else None
    if not found or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:  # a suffix range: the last `last` bytes
        length = min(int(last), size)
        start = size - length
    else:
        start = int(first)
        if last and int(last) < start:
            return None
        length = min(int(last) if last else size, size - 1) - start + 1
    if length <= 0:
        headers = {"content-range": f"bytes */{size}"}
        raise Problem(Code.RANGE_NOT_SATISFIABLE, f"The file has {size} bytes.", headers=headers)
    return Piece(start, length)


@dataclass(frozen=True, slots=True)
class Reader:
    """Who downloads: the place that it holds meanwhile, and whether it still may."""

    place: AbstractAsyncContextManager[None]
    is_admitted: Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class _File:
    """A file to send, with its name, its cache policy and its reader."""

    name: str
    size_bytes: int
    sha256: str
    content_type: str
    cache_control: str
    read: Callable[[Piece], Iterator[bytes]]


def content(
    job: Job,
    store: Store,
    asked: Mapping[str, str],
    artifact: Artifact = Artifact.VIDEO,
    *,
    reader: Reader,
    head_only: bool,
) -> Response:
    """Build the reply to a request for a job's video, or for an artifact of it."""
    stored = stored_of(job)
    if not is_within(stored.path):
        raise Problem(Code.FILE_NOT_HERE, "The path in the job's row leads out of the archive.")
    if job.removed_at is not None:
        raise Problem(Code.NO_VIDEO, "Retention removed the job's files from the archive.")
    if artifact is Artifact.VIDEO:
        return _sent(_video(store, stored), asked, reader, head_only=head_only)
    if artifact not in job.artifacts:
        detail = f"This job has no {artifact}; its `artifacts` lists all. They are made shortly after the video."
        raise Problem(Code.VARIANT_NOT_THERE, detail)
    return _sent(_small(store, artifact, path_of(artifact, stored.path)), asked, reader, head_only=head_only)


def _sent(file: _File, asked: Mapping[str, str], reader: Reader, *, head_only: bool) -> Response:
    """Send a file or the requested range with its ETag, or 304 if the client has that version."""
    etag = f'"{file.sha256}"'
    headers = {
        "etag": etag,
        "accept-ranges": "bytes",
        "cache-control": file.cache_control,
        "content-disposition": f'attachment; filename="{file.name}"',
    }
    if matches(asked.get("if-none-match"), etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    still_the_same = asked.get("if-range") in {None, etag}
    piece = piece_of(asked.get("range"), file.size_bytes) if still_the_same else None
    status = HTTPStatus.OK
    if piece is not None:
        status = HTTPStatus.PARTIAL_CONTENT
        last = piece.start + piece.length - 1
        headers["content-range"] = f"bytes {piece.start}-{last}/{file.size_bytes}"
    piece = piece or Piece(0, file.size_bytes)
    headers["content-length"] = str(piece.length)
    if head_only:
        return Response(status_code=status, headers=headers, media_type=file.content_type)
    return _Download(file.read(piece), reader, status, headers, file.content_type)


class _Download(StreamingResponse):
    """A file on its way to a reader, as long as that may have it."""

    def __init__(
        self, body: Iterator[bytes], reader: Reader, status: int, headers: Mapping[str, str], content_type: str
    ) -> None:
        super().__init__(body, status, headers, content_type)
        self._body = body
        self._reader = reader

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a place and read the first part, or refuse; then send the file."""
        async with self._reader.place:
            self.body_iterator = self._while_admitted(await run_in_threadpool(_begun, self._body))
            await super().__call__(scope, receive, send)

    async def _while_admitted(self, body: Iterator[bytes]) -> AsyncIterator[bytes]:
        asked_at = monotonic()
        async for part in iterate_in_threadpool(body):
            if monotonic() - asked_at >= ASK_AGAIN_S:
                if not await self._reader.is_admitted():
                    raise BrokenOff("the reader's right has ended")
                asked_at = monotonic()
            yield part


def matches(asked: str | None, etag: str) -> bool:
    """Whether an If-None-Match header names this tag; weak and strong tags compare equal (RFC 9110)."""
    if asked is None:
        return False
    named = {tag.strip().removeprefix("W/") for tag in asked.split(",")}
    return "*" in named or etag.removeprefix("W/") in named


def _video(store: Store, stored: Stored) -> _File:
    """Describe the video; it never changes, so clients may cache it forever."""
    return _File(
        stored.path.rpartition("/")[2],
        stored.size_bytes,
        stored.sha256,
        stored.content_type,
        "private, max-age=31536000, immutable",
        lambda piece: _read(store, stored.path, piece),
    )


def _small(store: Store, artifact: Artifact, path: str) -> _File:
    """Read a picture or the manifest whole: it is small, and its checksum is stored nowhere."""
    with _explained():
        data = b"".join(store.slices(path))
    return _File(
        path.rpartition("/")[2],
        len(data),
        hashlib.sha256(data).hexdigest(),
        CONTENT_TYPES[artifact],
        "private, max-age=3600",
        lambda piece: iter([data[piece.start : piece.start + piece.length]]),
    )


def _read(store: Store, path: str, piece: Piece) -> Iterator[bytes]:
    """Read a piece by seeking in a local file, or from the slices of a bucket's object."""
    local = store.local(path)
    if local is None:
        yield from _cut(store.slices(path), piece)
        return
    with open(local, "rb") as file:
        file.seek(piece.start)
        left = piece.length
        while left and (chunk := file.read(min(left, CHUNK_BYTES))):
            left -= len(chunk)
            yield chunk


def _cut(slices: Iterator[bytes], piece: Piece) -> Iterator[bytes]:
    """Cut the piece out of the slices."""
    skip, left = piece.start, piece.length
    for data in slices:
        part = data[skip : skip + left]
        skip, left = max(skip - len(data), 0), left - len(part)
        if part:
            yield part
        if not left:
            return


def _begun(body: Iterator[bytes]) -> Iterator[bytes]:
    """Read the first part now, so that an error becomes a status and not a body that breaks off."""
    with _explained():
        first = next(body, b"")
    return chain([first], body)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (NotThere, FileNotFoundError) as error:
        detail = "The archive has no such file: is the API's RUSHES_ARCHIVE__DIR or __URL that of the workers?"
        raise Problem(Code.FILE_NOT_HERE, detail) from error
    except (StoreError, OSError) as error:
        raise Problem(Code.ARCHIVE_UNAVAILABLE, f"The archive cannot be read ({type(error).__name__}).") from error
