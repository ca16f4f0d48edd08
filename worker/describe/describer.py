"""Puts manifest, poster and preview beside a stored video. A failure here never touches the job."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from config.private import make_folder
from config.settings import PREVIEW_TIMEOUT_S, PROBE_TIMEOUT_S, DescribeSettings
from config.store import PARTIALS, NotThere, Store, StoreError
from jobs.artifacts import CONTENT_TYPES, Artifact, is_name, is_within, path_of
from jobs.events import LogEntry
from jobs.facts import Described, NotDescribed
from jobs.job import Job, Stored, VideoRequest
from jobs.media import Media, Mismatch
from worker.describe.isolated import Found, IsolatedProcess, Trouble
from worker.describe.manifest import manifest

_MEMORY_BYTES: Final = 536_870_912
"""Of an isolated process: twice what a 4K video takes, and little beside a worker's."""

_LONGEST_WORD: Final = 60
_LARGEST: Final = 1e9
_SHORTEST_S: Final = 0.001


class Describer:
    """Describes videos in isolated processes: one for quick probes during downloads, one for pictures."""

    def __init__(self, store: Store, folder: Path, settings: DescribeSettings) -> None:
        """Describe videos in `store`; copy one from a bucket into `folder` first."""
        self._store = store
        self._folder = folder / PARTIALS
        self._settings = settings
        self._probing = IsolatedProcess(memory_bytes=_MEMORY_BYTES, timeout_s=PROBE_TIMEOUT_S)
        self._making = IsolatedProcess(memory_bytes=_MEMORY_BYTES, timeout_s=PREVIEW_TIMEOUT_S)

    @property
    def has_work(self) -> bool:
        """Whether any artifact is wanted."""
        return self._settings.manifest or self._settings.previews

    def probe(self, file: str, content_type: str) -> Media | None:
        """Probe a video; None if that fails or takes too long."""
        if not self._settings.probe:
            return None
        answer = self._probing.ask("probe", [file, content_type])
        if isinstance(answer, Trouble):
            return None
        return _media(answer.facts, size_bytes=os.stat(file).st_size)

    def describe(self, job: Job, request: VideoRequest, entries: Sequence[LogEntry]) -> Described | NotDescribed:
        """Make all artifacts of a job's video; doing it twice is harmless."""
        if job.stored is None or job.removed_at is not None:
            return Described((), "there is no video")
        if not (is_name(job.id) and is_within(job.stored.path)):
            return Described((), "its row names no file of the archive: somebody else wrote it")
        made: list[Artifact] = []
        try:
            if self._settings.manifest:
                story = json.dumps(manifest(job, request, entries), ensure_ascii=False, indent=1)
                self._put(job.stored, Artifact.MANIFEST, story.encode("utf-8", "replace"))
                made.append(Artifact.MANIFEST)
            trouble = self._make_pictures(job.id, job.stored, made) if self._settings.previews else None
        except NotThere:
            return Described(tuple(made), "the video is not in the archive any more")
        except StoreError as error:
            return NotDescribed(str(error))
        except OSError as error:
            return NotDescribed(error.strerror or type(error).__name__)
        return Described(tuple(made), trouble)

    def close(self) -> None:
        """End the isolated processes."""
        self._probing.close()
        self._making.close()

    def _make_pictures(self, job_id: str, stored: Stored, made: list[Artifact]) -> str | None:
        pictures = (Artifact.POSTER, Artifact.PREVIEW, *((Artifact.GIF,) if self._settings.gif else ()))
        targets = {artifact: f"{self._folder}/{job_id}.{artifact}" for artifact in pictures}
        make_folder(self._folder)
        try:
            with self._at_hand(job_id, stored) as film:
                arguments = [film, stored.content_type, *targets.values()]
                answer = self._making.ask("make", arguments)
            if not isinstance(answer, Found):
                return answer.message
            for artifact, file in targets.items():
                with open(file, "rb") as picture:
                    self._put(stored, artifact, picture.read())
                made.append(artifact)
        finally:
            for file in targets.values():
                with contextlib.suppress(OSError):
                    os.unlink(file)
        return None

    @contextlib.contextmanager
    def _at_hand(self, job_id: str, stored: Stored) -> Iterator[str]:
        """Yield the video as a local file: itself, or a temporary copy."""
        local = self._store.local(stored.path)
        if local is not None:
            yield local
            return
        copy = f"{self._folder}/{job_id}.copy"
        try:
            with open(copy, "wb") as file:
                file.writelines(self._store.slices(stored.path))
            yield copy
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(copy)

    def _put(self, stored: Stored, artifact: Artifact, data: bytes) -> None:
        self._store.put(path_of(artifact, stored.path), data, CONTENT_TYPES[artifact])


def _media(facts: Mapping[str, Any], *, size_bytes: int) -> Media:
    """Keep the plausible facts of a probe, and note a missing picture."""
    duration_s, video_codec = _number(facts.get("duration_s")), _word(facts.get("video_codec"))
    width, height = _number(facts.get("width")), _number(facts.get("height"))
    return Media(
        duration_s=duration_s,
        width=None if width is None else int(width),
        height=None if height is None else int(height),
        frame_rate=_number(facts.get("frame_rate")),
        video_codec=video_codec,
        audio_codec=_word(facts.get("audio_codec")),
        loudness_lufs=_number(facts.get("loudness_lufs")),
        bitrate_bps=round(size_bytes * 8 / duration_s) if duration_s and duration_s >= _SHORTEST_S else None,
        mismatch=() if video_codec else (Mismatch("picture", asked=True, got=False),),
    )


def _number(value: object) -> float | None:
    """Return a number that is no bool, finite, and plausible for a video; else None."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if abs(value) <= _LARGEST else None


def _word(value: object) -> str | None:
    return value[:_LONGEST_WORD] if isinstance(value, str) else None
