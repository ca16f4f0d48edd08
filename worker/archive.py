"""The archive: our copies of the videos, each under a name derived from its job's id.

<archive>/2026/11/22/job_….mp4      whole, checked, never overwritten by half a file
<archive>/.partial/job_….<turn>     under way; renamed when whole, swept at the job's next try
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urljoin

import requests
from requests.utils import get_environ_proxies
from ulid import ULID
from urllib3.exceptions import HTTPError

from config.settings import ArchiveSettings
from jobs.facts import Download, Fetched, Gone, NotFetched
from jobs.job import Stored, Video
from worker import faults
from worker.containers import content_type_of
from worker.upstream.connections import PlainSession, PunctualAdapter

CHUNK_BYTES: Final = 262_144
MOST_REDIRECTS: Final = 3
_EXTENSION: Final = {"video/mp4": ".mp4", "video/webm": ".webm"}
_GONE: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


class _NotKept(Exception):
    """The body is not what was announced; the message says how."""


class Archive:
    """Fetches videos into a folder; what is under a final name is a whole video."""

    def __init__(
        self, root: Path, settings: ArchiveSettings, *, threads: int = 16, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.root = root
        self._settings = settings
        self._clock = clock
        # A session of its own, which never held the upstream's key: the CDN must not see it.
        self._session = PlainSession()
        for scheme in ("http://", "https://"):
            adapter = PunctualAdapter(connections=threads, reply_s=settings.total_timeout_s)
            self._session.mount(scheme, adapter)

    def fetch(self, job_id: str, turn: int, video: Video) -> Download:
        """Copy the video's bytes into the archive; never raises for the network or the disk."""
        partial = self._partial(job_id, turn)
        try:
            self._sweep(job_id)
            partial.parent.mkdir(parents=True, exist_ok=True)
            return self._fetch(job_id, video, partial)
        except _NotKept as error:
            return NotFetched(str(error))
        except (requests.RequestException, HTTPError) as error:
            return NotFetched(f"the download broke off ({type(error).__name__})")
        except OSError as error:
            return NotFetched(f"the archive cannot be written: {error.strerror or type(error).__name__}")
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)

    def discard(self, stored: Stored) -> None:
        """Remove a copy that nobody waits for any more."""
        (self.root / stored.path).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()

    def _fetch(self, job_id: str, video: Video, partial: Path) -> Download:
        until = self._clock() + self._settings.total_timeout_s
        with closing(self._open(video.url, until=until)) as response:
            if response.status_code in _GONE:
                return Gone(f"the video's URL answers {response.status_code}")
            if response.status_code != HTTPStatus.OK:
                return NotFetched(f"the video's URL answers {response.status_code}")
            size, digest = self._write(response, partial, until=until)
        if not response.headers.get("content-length") and video.file_size not in {None, size}:
            raise _NotKept(f"{size} bytes came of the {video.file_size} announced")
        content_type = content_type_of(partial)
        if content_type is None:
            announced = response.headers.get("content-type", "no content type")
            raise _NotKept(f"{size} bytes of {announced[:60]} came, which are not a whole video")
        path = _name(job_id, content_type)
        _keep(partial, self.root / path)
        return Fetched(Stored(str(path), size, digest, content_type))

    def _open(self, url: str, *, until: float) -> requests.Response:
        """The reply at the end of the redirects; what they themselves hold is not read."""
        timeouts = (self._settings.connect_timeout_s, self._settings.read_timeout_s)
        for _ in range(MOST_REDIRECTS + 1):
            try:
                response = self._session.get(url, stream=True, timeout=timeouts, proxies=get_environ_proxies(url))
                if not response.is_redirect:
                    return response
                response.close()
                url = urljoin(url, _location(response))
            except ValueError as error:  # requests and urllib let some malformed addresses through to their parsers
                raise _NotKept(f"the video's URL leads nowhere ({type(error).__name__})") from error
            self._check_time(until)
        raise _NotKept(f"the video's URL redirects more than {MOST_REDIRECTS} times")

    def _check_time(self, until: float) -> None:
        if self._clock() > until:
            raise _NotKept(f"the download took longer than {self._settings.total_timeout_s:g} s")

    def _write(self, response: requests.Response, partial: Path, *, until: float) -> tuple[int, str]:
        """Stream the body to disk, through to the platter; returns its size and SHA-256."""
        size, digest = 0, hashlib.sha256()
        with partial.open("wb") as file:
            while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
                faults.here("store.mid_fetch")
                size += len(chunk)
                if size > self._settings.max_bytes:
                    raise _NotKept(f"the body is larger than {self._settings.max_bytes} bytes")
                self._check_time(until)
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        announced = response.headers.get("content-length", "")
        if announced.isdecimal() and "content-encoding" not in response.headers and int(announced) != size:
            raise _NotKept(f"{size} bytes came of the {announced} announced")
        return size, digest.hexdigest()

    def _partial(self, job_id: str, turn: int) -> Path:
        return self.root / ".partial" / f"{job_id}.{turn}"

    def _sweep(self, job_id: str) -> None:
        """Remove what a worker that died in this job's download left behind."""
        for left in (self.root / ".partial").glob(f"{job_id}.*"):
            left.unlink(missing_ok=True)


def _location(redirect: requests.Response) -> str:
    """Where it leads: header bytes arrive as Latin-1, whatever they were."""
    return redirect.headers["location"].encode("latin-1").decode(errors="replace")


def _name(job_id: str, content_type: str) -> Path:
    """The same name every time: folders by the day in the id, the id itself, the kind of video."""
    accepted = ULID.from_str(job_id.removeprefix("job_").upper()).datetime
    return Path(f"{accepted:%Y/%m/%d}") / f"{job_id}{_EXTENSION[content_type]}"


def _keep(partial: Path, final: Path) -> None:
    """Give the whole file its name, and make the name outlive a power cut."""
    final.parent.mkdir(parents=True, exist_ok=True)
    partial.replace(final)
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
