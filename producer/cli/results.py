"""Reports a job's end: its card or JSON, the copy of its video, the exit code."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from config.store import StoreError
from jobs.errors import LedgerUnavailable
from jobs.job import Job, Stored, VideoRequest
from jobs.states import State
from producer.cli.exits import Exit, goes_on, leave, say
from producer.cli.session import Session, emit_json

_WORD: Final = re.compile(r"[^\W_]+")
_LONGEST_NAME: Final = 75


def report(session: Session, job_id: str, *, timeout_s: float | None, as_json: bool) -> Job:
    """Wait for the job's end, print it, and exit with a code if there is no video."""
    from producer.cli.display import ending, why  # noqa: PLC0415 (rich, which a submit without a wait does not need)
    from producer.cli.progress import wait_with_progress  # noqa: PLC0415 (as above)

    if session.progress.is_terminal:
        session.progress.print(f"{job_id}  (Ctrl-C ends the wait, not the job)", style="dim")
    try:
        job = wait_with_progress(session.service, job_id, timeout_s=timeout_s, console=session.progress)
        _, request = session.service.get(job_id)
    except KeyboardInterrupt:
        leave(Exit.INTERRUPTED, goes_on(job_id))
    except LedgerUnavailable as error:
        leave(Exit.NO_LEDGER, f"Redis is unavailable ({error}).", goes_on(job_id))
    if not job.is_final:
        if as_json:
            emit_json(session.view(job, request))
        leave(Exit.TIMED_OUT, f"Still {job.state} after {timeout_s:g} s.", goes_on(job_id))
    if as_json:
        emit_json(session.view(job, request))
    else:
        session.out.print(ending(job, request, session.settings.archive_root, session.service.events(job_id)))
    if job.state is not State.COMPLETED:
        leave(Exit.NO_VIDEO, *([why(job)] if as_json else []))
    return job


@dataclass(frozen=True, slots=True)
class NotCopied:
    """A video was not copied: the exit code, and lines that say why and what to do."""

    code: Exit
    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class Copy:
    """A job's video on this machine's disk; `was_there`: whole, from an earlier run."""

    job_id: str
    path: Path
    was_there: bool


def copy_video(session: Session, job: Job, request: VideoRequest, target: Path) -> None:
    """Copy a completed job's video to a file or into a folder, or exit with a code that says why not."""
    outcome = copied(session, job, request, target)
    if isinstance(outcome, NotCopied):
        leave(outcome.code, *outcome.lines)
    say_saved(outcome)


def say_saved(copy: Copy) -> None:
    """Say on standard error where a video is."""
    say(f"{'there already:' if copy.was_there else 'saved'} {copy.path}")


def copied(
    session: Session, job: Job, request: VideoRequest, target: Path, *, advance: Callable[[int], None] = lambda _: None
) -> Copy | NotCopied:
    """Copy a completed job's video, unless it is there; the file appears when it is complete.

    `advance` is told of bytes as they arrive.
    """
    stored = job.stored
    if stored is None:
        rest = "" if job.is_final else f" `rushes wait {job.id}` waits for its end."
        return _not_copied(Exit.NO_VIDEO, f"{job.id} is {job.state}: there is no stored video to copy.{rest}")
    final = target / file_name(job.id, request, stored.path) if target.is_dir() else target
    if _is_whole(final, stored):
        advance(stored.size_bytes)
        return Copy(job.id, final, was_there=True)
    if job.removed_at is not None:
        return _not_copied(
            Exit.NO_VIDEO, f"Retention removed {job.id}'s video from the archive (docs/how-to/archive.md)."
        )
    return _fetched(session, job, stored, final, advance)


def _fetched(
    session: Session, job: Job, stored: Stored, final: Path, advance: Callable[[int], None]
) -> Copy | NotCopied:
    place = f"{session.settings.archive_root}/{stored.path}"
    partial = final.with_name(f".{final.name}.{os.getpid()}.part")
    try:
        sum_ = _written(session.store.slices(stored.path), partial, advance)
        if sum_ != stored.sha256:
            return _not_copied(
                Exit.FAILED, f"{job.id}: the file at {place} is damaged: its SHA-256 is {sum_}, not {stored.sha256}."
            )
        partial.replace(final)
    except StoreError as error:
        return _not_copied(
            Exit.NOT_HERE,
            f"{job.id}: this host cannot read the video at {place} ({error}).",
            "Set RUSHES_ARCHIVE__DIR to the archive's mount on this host, or RUSHES_ARCHIVE__URL as on the workers.",
            f"The upstream's copy, while it lasts: {job.video.url if job.video else 'unknown'}",
        )
    except OSError as error:
        return _not_copied(
            Exit.FAILED, f"{job.id}: the video cannot be written to {final}: {error.strerror}. It stays at {place}."
        )
    finally:
        partial.unlink(missing_ok=True)
    return Copy(job.id, final, was_there=False)


def _not_copied(code: Exit, *lines: str) -> NotCopied:
    return NotCopied(code, lines)


def file_name(job_id: str, request: VideoRequest, path: str) -> str:
    """Name a copy by its job and the beginning of its prompt: names sort by acceptance, and say what is in them."""
    name = job_id
    for word in _WORD.findall((request.prompt or "").lower()):
        if len(name) + len(word) >= _LONGEST_NAME:
            break
        name += f"-{word}"
    return f"{name}{PurePosixPath(path).suffix}"


def _is_whole(final: Path, stored: Stored) -> bool:
    try:
        if final.stat().st_size != stored.size_bytes:
            return False
        with final.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == stored.sha256
    except OSError:
        return False


def _written(pieces: Iterator[bytes], target: Path, advance: Callable[[int], None]) -> str:
    """Write the pieces to a file; returns their SHA-256."""
    digest = hashlib.sha256()
    with target.open("wb") as file:
        for piece in pieces:
            digest.update(piece)
            file.write(piece)
            advance(len(piece))
    return digest.hexdigest()
