"""Reports a job's end: its card or JSON, the copy of its video, the exit code."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from config.store import StoreError
from jobs.errors import LedgerUnavailable
from jobs.job import Job
from jobs.states import State
from producer.cli.display import ending, why
from producer.cli.exits import Exit, errors, goes_on, leave
from producer.cli.progress import wait_with_progress
from producer.cli.session import Session, emit_json


def report(session: Session, job_id: str, *, timeout_s: float | None, as_json: bool) -> Job:
    """Wait for the job's end, print it, and exit with a code if there is no video."""
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


def copy_video(session: Session, job: Job, target: Path) -> Path:
    """Copy a completed job's video to a file or into a folder; the file appears when the copy is complete."""
    if job.stored is None:
        leave(Exit.NO_VIDEO, f"{job.id} is {job.state}: there is no stored video to copy.")
    if job.removed_at is not None:
        leave(Exit.NO_VIDEO, f"Retention removed {job.id}'s video from the archive (docs/how-to/archive.md).")
    final = target / PurePosixPath(job.stored.path).name if target.is_dir() else target
    place = f"{session.settings.archive_root}/{job.stored.path}"
    partial = final.with_name(f".{final.name}.{os.getpid()}.part")
    try:
        sum_ = _written(session.store.slices(job.stored.path), partial)
        if sum_ != job.stored.sha256:
            leave(Exit.FAILED, f"The file at {place} is damaged: its SHA-256 is {sum_}, not {job.stored.sha256}.")
        partial.replace(final)
    except StoreError as error:
        upstream = job.video.url if job.video else "unknown"
        leave(
            Exit.NOT_HERE,
            f"This host cannot read the video at {place} ({error}).",
            "Set RUSHES_ARCHIVE__DIR to the archive's mount on this host, or RUSHES_ARCHIVE__URL as on the workers.",
            f"The upstream's copy, while it lasts: {upstream}",
        )
    except OSError as error:
        leave(Exit.FAILED, f"The video cannot be written to {final}: {error.strerror}. It stays at {place}.")
    finally:
        partial.unlink(missing_ok=True)
    errors.print(f"saved {final}", markup=False)
    return final


def _written(pieces: Iterator[bytes], target: Path) -> str:
    """Write the pieces to a file; returns their SHA-256."""
    digest = hashlib.sha256()
    with target.open("wb") as file:
        for piece in pieces:
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()
