"""The archive: our copies of the videos, each under a name derived from its job's id, in a folder or a bucket.

<root>/2026/11/22/job_….mp4      whole, checked, never overwritten by half a file
<folder>/.partial/               downloads under way, always on this host's disk: what is checked must be a file
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ulid import ULID

from config.settings import ArchiveSettings
from config.store import PARTIALS, Store, StoreError
from jobs.artifacts import paths_of
from jobs.facts import ArchiveUnavailable, Download, Fetched, NotFetched
from jobs.job import Stored, Video
from jobs.media import Media
from worker.containers import content_type_of
from worker.downloads import Body, Downloads, NotKept
from worker.partials import Partial, Partials
from worker.upstream.connections import Permits

SWEEP_EVERY_S: Final = 3600.0
_EXTENSION: Final = {"video/mp4": ".mp4", "video/webm": ".webm"}


class Archive:
    """Fetches videos into the store; what is under a final name is a whole video."""

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
        """Keep videos in `store`; make them in `folder`, from addresses that `permits`, looked into by `probe`."""
        self.store = store
        self._settings = settings
        self._probe = probe
        self._clock = clock
        self._partials = Partials(folder / PARTIALS)
        self._downloads = Downloads(settings, permits=permits, threads=threads, clock=clock)
        self._swept_at = -SWEEP_EVERY_S

    def fetch(self, job_id: str, turn: int, video: Video) -> Download:
        """Copy the video's bytes into the archive; never raises for the network, the disk or the store."""
        try:
            self._sweep()
            with self._partials.taken(job_id, turn) as partial:
                return self._fetch(job_id, video, partial)
        except NotKept as error:
            return NotFetched(str(error))
        except StoreError as error:
            return ArchiveUnavailable(f"the archive cannot be written: {error}")
        except OSError as error:
            return ArchiveUnavailable(f"the archive cannot be written: {error.strerror or type(error).__name__}")

    def discard(self, stored: Stored) -> None:
        """Remove a copy that nobody waits for any more, and whatever stands beside it."""
        self.store.remove(paths_of(stored.path))

    def close(self) -> None:
        """Close the pooled connections."""
        self._downloads.close()

    def _fetch(self, job_id: str, video: Video, partial: Partial) -> Download:
        came = self._downloads.fetch(video.url, partial)
        if not isinstance(came, Body):
            return came
        content_type = _checked(came, video, partial)
        media = self._probe(partial.path, content_type)
        path = _name(job_id, content_type)
        partial.keep = partial.mark is not None and self.store.local(path) is None
        self.store.keep(partial.path, path, content_type, within_s=self._settings.total_timeout_s)
        partial.keep = False
        return Fetched(Stored(path, came.size_bytes, came.sha256, content_type), media)

    def _sweep(self) -> None:
        """Now and then, remove what was left by jobs that will not come back to this host."""
        now = self._clock()
        if now - self._swept_at >= SWEEP_EVERY_S:
            self._swept_at = now
            self._partials.sweep(before=time.time() - self._settings.patience_s)


def _checked(came: Body, video: Video, partial: Partial) -> str:
    """The content type of a whole video."""
    if not came.announced and video.file_size not in {None, came.size_bytes}:
        raise NotKept(f"{came.size_bytes} bytes came of the {video.file_size} announced")
    content_type = content_type_of(partial.path)
    if content_type is None:
        raise NotKept(f"{came.size_bytes} bytes of {came.content_type[:60]} came, which are not a whole video")
    return content_type


def _name(job_id: str, content_type: str) -> str:
    """The same name every time: folders by the day in the id, the id itself, the kind of video."""
    accepted: Any = ULID.from_str(job_id.removeprefix("job_").upper()).datetime
    return f"{accepted:%Y/%m/%d}/{job_id}{_EXTENSION[content_type]}"
