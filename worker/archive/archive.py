"""The archive: our copies of the videos, each under a name derived from its job's id, in a folder or a bucket.

<root>/2026/11/22/job_….mp4      whole, checked, never overwritten by half a file
<folder>/.partial/               downloads under way, always on this host's disk: only a file can be checked
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from posixpath import splitext
from typing import Final

from config.outbound import Permits
from config.settings import ArchiveSettings
from config.store import PARTIALS, NameTaken, Store, StoreError
from jobs.artifacts import is_name, paths_of
from jobs.facts import ArchiveUnavailable, Download, Fetched, NotFetched
from jobs.job import Stored, Video
from jobs.ledger import accepted_at
from jobs.media import Media, Mismatch
from worker import metrics
from worker.archive.containers import Container, container_of
from worker.archive.partials import Partial, Partials
from worker.archive.transfer import Body, Downloads, NotKept

log = logging.getLogger("rushes.archive")

SWEEP_EVERY_S: Final = 3600.0
_EXTENSION: Final = {
    "video/mp4": ".mp4",
    "video/webm": ".webm",
    "video/ogg": ".ogv",
    "video/mp2t": ".ts",
    "video/mpeg": ".mpg",
    "video/x-flv": ".flv",
    "video/x-msvideo": ".avi",
}
_ANY_BYTES: Final = frozenset({"", "application/octet-stream", "binary/octet-stream"})


class Archive:
    """Fetches videos into the store; a file under a final name is a whole video."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        settings: ArchiveSettings,
        *,
        permits: Permits,
        probe: Callable[[str, str], Media | None] = lambda _file, _type: None,
        threads: int = 64,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Download to `folder` from addresses that `permits` allows, check with `probe`, keep in `store`."""
        self.store = store
        self._settings = settings
        self._probe = probe
        self._clock = clock
        self._partials = Partials(folder / PARTIALS)
        self._downloads = Downloads(settings, permits=permits, threads=threads, clock=clock)
        self._swept_at = -SWEEP_EVERY_S
        self._trouble: str | None = None

    @metrics.download
    def fetch(self, job_id: str, turn: int, video: Video) -> Download:
        """Copy the video into the archive; never raises, even if network, disk or store fail."""
        outcome = self._outcome(job_id, turn, video)
        self._say_trouble(outcome)
        return outcome

    def _say_trouble(self, outcome: Download) -> None:
        """Warn once for each trouble of the archive, not for each download, and log its end."""
        if isinstance(outcome, ArchiveUnavailable) and outcome.message != self._trouble:
            self._trouble = outcome.message
            log.warning("%s; paid videos wait and are fetched when it can be written again", outcome.message)
        elif isinstance(outcome, Fetched) and self._trouble is not None:
            self._trouble = None
            log.warning("the archive can be written again")

    def _outcome(self, job_id: str, turn: int, video: Video) -> Download:
        if not is_name(job_id):
            return NotFetched("the job's id is no file name: somebody else wrote its row")
        try:
            self._sweep()
            with self._partials.opened(job_id, turn) as partial:
                return self._fetch(job_id, turn, video, partial)
        except NotKept as error:
            return NotFetched(str(error))
        except StoreError as error:
            return ArchiveUnavailable(f"the archive cannot be written: {error}")
        except OSError as error:
            return ArchiveUnavailable(f"the archive cannot be written: {error.strerror or type(error).__name__}")
        except Exception as error:
            log.exception("download failed unexpectedly")
            return NotFetched(f"the download failed unexpectedly ({type(error).__name__}); the log has the traceback")

    def discard(self, stored: Stored) -> None:
        """Remove a copy that is no longer needed, with its artifacts."""
        self.store.remove(paths_of(stored.path))

    def discard_others(self, job_id: str, stored: Stored) -> None:
        """Remove what earlier fetches left, now that the job's row names a file with a turn: they had no such end."""
        usual = _name(job_id, stored.content_type)
        if usual != stored.path:
            with suppress(StoreError):
                named = set(paths_of(stored.path))
                start = f"{splitext(usual)[0]}."
                self.store.remove([path for path in self.store.beginning_with(start) if path not in named])

    def close(self) -> None:
        """Close the pooled connections."""
        self._downloads.close()

    def _fetch(self, job_id: str, turn: int, video: Video, partial: Partial) -> Download:
        came = self._downloads.fetch(video.url, partial)
        if not isinstance(came, Body):
            return came
        container = container_of(partial.path)
        if came.broke_off and not (container and container.shows_its_end and not container.tail_bytes):
            partial.keep = partial.mark is not None
            return NotFetched(came.broke_off)
        container = _playable(came, video, container)
        media = _noted(self._facts(partial.path, container.content_type), _oddities(came, video, container))
        path = self._kept(job_id, turn, container.content_type, partial)
        return Fetched(Stored(path, came.size_bytes, came.sha256, container.content_type), media)

    def _kept(self, job_id: str, turn: int, content_type: str, partial: Partial) -> str:
        """Give the file its name in the store, or one with the turn: no fetch replaces another's file."""
        path, within_s = _name(job_id, content_type), self._settings.total_timeout_s
        partial.keep = partial.mark is not None and self.store.local(path) is None
        try:
            self.store.keep(partial.path, path, content_type, within_s=within_s)
        except NameTaken:
            path = _name(job_id, content_type, turn=turn)
            self.store.keep(partial.path, path, content_type, within_s=within_s)
        partial.keep = False
        return path

    def _facts(self, file: str, content_type: str) -> Media | None:
        """Probe the video; if that fails, the video is kept all the same."""
        try:
            return self._probe(file, content_type)
        except Exception:
            log.exception("probe failed unexpectedly file=%s", file)
            return None

    def _sweep(self) -> None:
        """Once an hour, remove partial files of jobs that will not come back to this host."""
        now = self._clock()
        if now - self._swept_at >= SWEEP_EVERY_S:
            self._swept_at = now
            self._partials.sweep(before=time.time() - self._settings.patience_s)


def _playable(came: Body, video: Video, container: Container | None) -> Container:
    """Return the container of a video that can be played to its end.

    Raises:
        NotKept: it is no video, or may be only the beginning of one.
    """
    if container is None:
        content_type = came.content_type[:60] or "no content type"
        raise NotKept(f"{came.size_bytes} bytes of {content_type} came, which are not a whole video")
    is_short = came.size_bytes < (video.file_size or 0) or container.tail_bytes
    if is_short and not came.is_delimited and not container.shows_its_end:
        raise NotKept(f"{came.size_bytes} bytes came of the {video.file_size} announced")
    return container


def _oddities(came: Body, video: Video, container: Container) -> tuple[Mismatch, ...]:
    """List how a playable video differs from what its reply announced."""
    announced = came.content_type.partition(";")[0].strip().lower()[:60]
    expected = announced if announced not in _ANY_BYTES else "video/mp4"
    found = list(came.oddities)
    if came.broke_off:
        found.append(Mismatch("transfer", "complete", came.broke_off))
    if video.file_size not in {None, came.size_bytes}:
        found.append(Mismatch("file_size", video.file_size or 0, came.size_bytes))
    if container.content_type != expected:
        found.append(Mismatch("content_type", expected, container.content_type))
    if container.tail_bytes:
        found.append(Mismatch("tail_bytes", 0, container.tail_bytes))
    return tuple(found)


def _noted(media: Media | None, oddities: tuple[Mismatch, ...]) -> Media | None:
    """Add the oddities to the video's facts, or to empty ones if there are none."""
    if not oddities:
        return media
    media = media or Media()
    return replace(media, mismatch=(*media.mismatch, *oddities))


def _name(job_id: str, content_type: str, *, turn: int | None = None) -> str:
    """Return the job's file name: the day in the id as folders, the id, perhaps the turn, the video's type."""
    accepted = datetime.fromtimestamp(accepted_at(job_id), UTC)
    return f"{accepted:%Y/%m/%d}/{job_id}{'' if turn is None else f'.{turn}'}{_EXTENSION[content_type]}"
