"""One download: follows a few redirects, validates addresses, resumes a broken transfer where it may."""

import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
from urllib3.exceptions import HTTPError

from config.outbound import AddressRefused, Permits, PunctualAdapter, location_of
from config.settings import CONNECT_S, ArchiveSettings
from jobs.facts import Gone, NotFetched
from jobs.media import Mismatch
from worker import faults
from worker.archive.partials import Mark, Partial

CHUNK_BYTES: Final = 262_144
MOST_REDIRECTS: Final = 3
_GONE: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_LENGTH: Final = re.compile(r"0*([0-9]{1,18})")
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_PRIVATE: Final = "the video's URL leads to a private address, which RUSHES_ARCHIVE__PRIVATE_ADDRESSES does not allow"


class NotKept(Exception):
    """The body is not as announced; the message says how."""


@dataclass(frozen=True, slots=True)
class Body:
    """A received body: its size, SHA-256 and content type, and what was odd about its reply.

    `is_delimited`: a length or a last chunk marks the body's end. `broke_off`: why bytes are missing.
    """

    size_bytes: int
    sha256: str
    content_type: str
    is_delimited: bool
    broke_off: str | None = None
    oddities: tuple[Mismatch, ...] = ()


class Downloads:
    """Fetches bodies into partial files with bounded memory, within a total time."""

    def __init__(
        self,
        settings: ArchiveSettings,
        *,
        permits: Permits,
        threads: int = 64,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._adapter = PunctualAdapter(connections=threads, reply_s=settings.total_timeout_s, permits=permits)

    def fetch(self, url: str, partial: Partial) -> Body | Gone | NotFetched:
        """Download the body of `url` into `partial`, or its missing rest.

        Raises:
            NotKept: the body cannot be our video.
            OSError: the disk refuses the write.
        """
        try:
            return self._fetch(url, partial)
        except AddressRefused:
            return NotFetched(_PRIVATE)
        except (requests.RequestException, HTTPError) as error:
            partial.keep = partial.mark is not None
            return NotFetched(_broke_off(error))

    def close(self) -> None:
        """Close the pooled connections."""
        self._adapter.close()

    def _fetch(self, url: str, partial: Partial) -> Body | Gone | NotFetched:
        until = self._clock() + self._settings.total_timeout_s
        resumed = _resumed(url, partial)
        if resumed is not None and resumed.is_whole:
            return _kept(partial)
        with closing(self._open(url, _headers(resumed), until=until)) as response:
            if resumed is None or not _is_other(response, resumed):
                return self._received(url, response, partial, resumed, until=until)
        with closing(self._open(url, {}, until=until)) as response:
            return self._received(url, response, partial, None, until=until)

    def _received(
        self, url: str, response: requests.Response, partial: Partial, resumed: "_Resumed | None", *, until: float
    ) -> Body | Gone | NotFetched:
        """Append the missing rest, or begin anew if the reply begins at the first byte."""
        piece = _piece(response)
        if piece is None or (piece.begin and resumed is None):
            partial.keep = partial.mark is not None
            gone = Gone if response.status_code in _GONE else NotFetched
            return gone(f"the video's URL answers {response.status_code}")
        if not piece.begin:
            partial.restart(_mark(url, response.headers, piece))
        return self._write(response, partial, piece, until=until)

    def _open(self, url: str, headers: Mapping[str, str], *, until: float) -> requests.Response:
        """Follow redirects, without reading their bodies, and return the last reply."""
        timeouts = (CONNECT_S, self._settings.read_timeout_s)
        for _ in range(MOST_REDIRECTS + 1):
            try:
                response = self._adapter.ask("GET", url, headers=headers, timeout=timeouts)
                if not response.is_redirect:
                    return response
                response.close()
                url = urljoin(url, location_of(response))
            except ValueError as error:  # requests and urllib raise it for some malformed addresses
                raise NotKept(f"the video's URL leads nowhere ({type(error).__name__})") from error
            self._check_time(until)
        raise NotKept(f"the video's URL redirects more than {MOST_REDIRECTS} times")

    def _check_time(self, until: float) -> None:
        if self._clock() > until:
            raise NotKept(f"the download took longer than {self._settings.total_timeout_s:g} s")

    def _write(self, response: requests.Response, partial: Partial, piece: "_Piece", *, until: float) -> Body:
        """Append the reply to the file, and fsync it."""
        digest, size = partial.digest(), partial.size
        broke_off = None
        try:
            while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
                faults.here("store.mid_fetch")
                size += len(chunk)
                if size > self._settings.max_bytes:
                    raise NotKept(f"the body is larger than {self._settings.max_bytes} bytes")
                self._check_time(until)
                digest.update(chunk)
                partial.file.write(chunk)
        except HTTPError as error:
            broke_off = _broke_off(error)
        partial.file.flush()
        os.fsync(partial.file.fileno())
        if piece.total is not None and size < piece.total and broke_off is None:
            broke_off = f"{size} bytes came of {piece.total}"
        content_type = response.headers.get("content-type", "")
        return Body(size, digest.hexdigest(), content_type, piece.is_delimited, broke_off, _oddities(response, piece))


@dataclass(frozen=True, slots=True)
class _Piece:
    """A reply's part of the body: from the byte `begin`, of `total` bytes if stated."""

    begin: int
    total: int | None
    is_delimited: bool


def _piece(response: requests.Response) -> _Piece | None:
    """Return the reply's part of the body; None if it has none, or none that begins where it says.

    A 206 without a readable range counts as the whole body; its container must then prove that.
    """
    headers = response.headers
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        if found is None:
            return _Piece(0, None, is_delimited=False)
        begin, last, total = int(found[1]), int(found[2]), None if found[3] == "*" else int(found[3])
        return _Piece(begin, total, is_delimited=total == last + 1)
    if response.status_code != HTTPStatus.OK:
        return None
    length, is_chunked = _length(headers), "chunked" in headers.get("transfer-encoding", "").lower()
    is_plain = not is_chunked and "content-encoding" not in headers
    return _Piece(0, length if is_plain else None, is_delimited=is_chunked or length is not None)


def _length(headers: Mapping[str, str]) -> int | None:
    """Return the announced length; an invalid one counts as none (RFC 9110 §8.6 allows it twice)."""
    stated = {part.strip() for part in headers.get("content-length", "").split(",")}
    found = _LENGTH.fullmatch(stated.pop()) if len(stated) == 1 else None
    return int(found[1]) if found else None


def _oddities(response: requests.Response, piece: _Piece) -> tuple[Mismatch, ...]:
    """List what is odd about a reply; a 206 is odd unless a range was requested."""
    if response.status_code == HTTPStatus.PARTIAL_CONTENT and piece.begin == 0:
        return (Mismatch("http_status", HTTPStatus.OK.value, response.status_code),)
    return ()


def _broke_off(error: Exception) -> str:
    return f"the download broke off ({type(error).__name__})"


@dataclass(frozen=True, slots=True)
class _Resumed:
    """The bytes of an earlier try."""

    mark: Mark
    size_bytes: int

    @property
    def is_whole(self) -> bool:
        return self.size_bytes == self.mark.length


def _resumed(url: str, partial: Partial) -> _Resumed | None:
    mark = partial.mark
    if mark is None or mark.url != _bare(url) or not partial.size:
        return None
    return _Resumed(mark, partial.size)


def _headers(resumed: _Resumed | None) -> Mapping[str, str]:
    """Request the rest, if the file is still the same (RFC 9110 §13.1.5, §14.2)."""
    if resumed is None:
        return {}
    return {
        "Range": f"bytes={resumed.size_bytes}-",
        "If-Range": resumed.mark.validator,
        "Accept-Encoding": "identity",
    }


def _is_other(response: requests.Response, resumed: _Resumed) -> bool:
    """Whether the reply to a request for the rest is of another version, or of another part.

    A 206 repeats the ETag (RFC 9110 §15.3.7); it may leave out the date, and the total length.
    """
    if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return True
    if response.status_code != HTTPStatus.PARTIAL_CONTENT:
        return False  # a 200 begins anew, anything else has no bytes
    found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if found is None or int(found[1]) != resumed.size_bytes or "content-encoding" in response.headers:
        return True
    mark, headers = resumed.mark, response.headers
    date = headers.get("last-modified", "")
    total = None if found[3] == "*" else int(found[3])
    return (
        headers.get("etag", "") != mark.etag
        or (bool(date) and date != mark.last_modified)
        or (total is not None and mark.length is not None and total != mark.length)
    )


def _mark(url: str, headers: Mapping[str, str], piece: _Piece) -> Mark | None:
    """Return the mark for resuming later; a weak ETag or none promises nothing about the bytes."""
    etag, date = headers.get("etag", ""), headers.get("last-modified", "")
    validator = etag if etag.startswith('"') else date
    if not validator or "content-encoding" in headers or headers.get("accept-ranges", "") == "none":
        return None
    return Mark(_bare(url), validator, piece.total, etag, date)


def _kept(partial: Partial) -> Body:
    return Body(partial.size, partial.digest().hexdigest(), content_type="", is_delimited=True)


def _bare(url: str) -> str:
    """Return the URL without its query, whose signature changes each time."""
    scheme, host, path, _, _ = urlsplit(url)
    return urlunsplit((scheme, host.rpartition("@")[2], path, "", ""))
