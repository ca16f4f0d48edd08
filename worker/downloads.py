"""One download: redirects followed within bounds, addresses judged, a broken one gone on with if it may be."""

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

from config.settings import ArchiveSettings
from jobs.facts import Gone, NotFetched
from worker import faults
from worker.partials import Mark, Partial
from worker.upstream.connections import AddressRefused, Permits, PunctualAdapter

CHUNK_BYTES: Final = 262_144
MOST_REDIRECTS: Final = 3
_GONE: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_PRIVATE: Final = "the video's URL leads to a private address, which RUSHES_ARCHIVE__PRIVATE_ADDRESSES does not allow"


class NotKept(Exception):
    """The body is not what was announced; the message says how."""


@dataclass(frozen=True, slots=True)
class Body:
    """All bytes came: how many, their SHA-256, and whether the server had said how many to expect."""

    size_bytes: int
    sha256: str
    announced: bool
    content_type: str


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
        """Bring the body of `url` into `partial`, or what is still missing of it.

        Raises:
            NotKept: what came is not what was announced.
            OSError: the disk does not take it.
        """
        try:
            return self._fetch(url, partial)
        except AddressRefused:
            return NotFetched(_PRIVATE)
        except (requests.RequestException, HTTPError) as error:
            partial.keep = partial.mark is not None
            return NotFetched(f"the download broke off ({type(error).__name__})")

    def close(self) -> None:
        """Close the pooled connections."""
        self._adapter.close()

    def _fetch(self, url: str, partial: Partial) -> Body | Gone | NotFetched:
        until = self._clock() + self._settings.total_timeout_s
        resumed = _resumed(url, partial)
        if resumed is not None and resumed.is_whole:
            return _body(partial, content_type="")
        with closing(self._open(url, _headers(resumed), until=until)) as response:
            status = response.status_code
            if status in _GONE:
                return Gone(f"the video's URL answers {status}")
            goes_on = resumed is not None and _continues(response, resumed)
            if status != HTTPStatus.OK and not goes_on:
                return NotFetched(f"the video's URL answers {status}")
            if not goes_on:
                partial.restart(_mark(url, response.headers))
            return self._write(response, partial, until=until)

    def _open(self, url: str, headers: Mapping[str, str], *, until: float) -> requests.Response:
        """The reply at the end of the redirects; what they themselves hold is not read."""
        timeouts = (self._settings.connect_timeout_s, self._settings.read_timeout_s)
        for _ in range(MOST_REDIRECTS + 1):
            try:
                response = self._adapter.ask("GET", url, headers=headers, timeout=timeouts)
                if not response.is_redirect:
                    return response
                response.close()
                url = urljoin(url, _location(response))
            except ValueError as error:  # requests and urllib let some malformed addresses through to their parsers
                raise NotKept(f"the video's URL leads nowhere ({type(error).__name__})") from error
            self._check_time(until)
        raise NotKept(f"the video's URL redirects more than {MOST_REDIRECTS} times")

    def _check_time(self, until: float) -> None:
        if self._clock() > until:
            raise NotKept(f"the download took longer than {self._settings.total_timeout_s:g} s")

    def _write(self, response: requests.Response, partial: Partial, *, until: float) -> Body:
        """Append the reply to the file, through to the platter."""
        begun_at = partial.size
        digest, size = partial.digest(), begun_at
        while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
            faults.here("store.mid_fetch")
            size += len(chunk)
            if size > self._settings.max_bytes:
                raise NotKept(f"the body is larger than {self._settings.max_bytes} bytes")
            self._check_time(until)
            digest.update(chunk)
            partial.file.write(chunk)
        partial.file.flush()
        os.fsync(partial.file.fileno())
        announced = response.headers.get("content-length", "")
        is_exact = announced.isdecimal() and "content-encoding" not in response.headers
        if is_exact and int(announced) != size - begun_at:
            raise NotKept(f"{size} bytes came of the {begun_at + int(announced)} announced")
        content_type = response.headers.get("content-type", "no content type")
        return Body(size, digest.hexdigest(), bool(announced), content_type)


@dataclass(frozen=True, slots=True)
class _Resumed:
    """What an earlier try left."""

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
    """Ask for the rest, on condition that it is the rest of the same (RFC 9110 §13.1.5, §14.2)."""
    if resumed is None:
        return {}
    return {
        "Range": f"bytes={resumed.size_bytes}-",
        "If-Range": resumed.mark.validator,
        "Accept-Encoding": "identity",
    }


def _continues(response: requests.Response, resumed: _Resumed) -> bool:
    found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if response.status_code != HTTPStatus.PARTIAL_CONTENT or found is None:
        return False
    whole = resumed.mark.length
    return int(found[1]) == resumed.size_bytes and (whole is None or found[2] in {"*", str(whole)})


def _mark(url: str, headers: Mapping[str, str]) -> Mark | None:
    """What a later try can ask the rest of; a weak ETag or none promises nothing about the bytes."""
    etag = headers.get("etag", "")
    validator = etag if etag.startswith('"') else headers.get("last-modified", "")
    if not validator or "content-encoding" in headers or headers.get("accept-ranges", "") == "none":
        return None
    length = headers.get("content-length", "")
    return Mark(_bare(url), validator, int(length) if length.isdecimal() else None)


def _body(partial: Partial, *, content_type: str) -> Body:
    return Body(partial.size, partial.digest().hexdigest(), announced=True, content_type=content_type)


def _bare(url: str) -> str:
    """Without the query, whose signature is a fresh one each time."""
    scheme, host, path, _, _ = urlsplit(url)
    return urlunsplit((scheme, host.rpartition("@")[2], path, "", ""))


def _location(redirect: requests.Response) -> str:
    """Where it leads: header bytes arrive as Latin-1, whatever they were."""
    return redirect.headers["location"].encode("latin-1").decode(errors="replace")
