"""Moves of a download: the job ends with its video, or the bytes are fetched again."""

from typing import Final, assert_never

from jobs.backoff import backoff
from jobs.facts import (
    ArchiveUnavailable,
    Download,
    Fetched,
    Gone,
    NotFetched,
)
from jobs.job import Charged, Job, Reason, Stored
from jobs.media import Media, differences
from jobs.moves.move import Move, Policy, ended, media_field, with_video
from jobs.states import State

FAILURES_PER_URL: Final = 3
"""After this many failures a poll asks for a fresh URL: the old host may be gone."""


def after_download(job: Job, outcome: Download, *, now: float, policy: Policy) -> Move:
    """Decide what follows a download; a failed one is tried for long, as the video is paid for."""
    match outcome:
        case Fetched(stored, media):
            return completed(stored, media, took_s=now - job.accepted_at, policy=policy)
        case Gone(message) | NotFetched(message) | ArchiveUnavailable(message):
            pass
        case _:
            assert_never(outcome)
    if now - (job.rendered_at or now) >= policy.download_patience_s:
        return ended(State.FAILED, Reason.NOT_STORED, message, Charged.YES)
    wait_s = backoff(policy.download_first_s, policy.download_longest_s, job.downloads)
    is_lasting = isinstance(outcome, NotFetched) and (job.downloads + 1) % FAILURES_PER_URL == 0
    return store_failed(message, wait_s=wait_s, fresh_url=isinstance(outcome, Gone) or is_lasting)


def completed(stored: Stored, media: Media | None, *, took_s: float, policy: Policy) -> Move:
    """End the job with its stored video, `took_s` after it was accepted."""
    return Move(
        event="job.completed",
        to=State.COMPLETED,
        set={"stored": stored, "charged": Charged.YES, **media_field(media)},
        clear=["message"],
        follow_ups=with_video(policy),
        data={
            "path": stored.path,
            "size_bytes": stored.size_bytes,
            "sha256": stored.sha256,
            "took_s": round(took_s, 3),
            **differences(media),
        },
    )


def store_failed(message: str, *, wait_s: float, fresh_url: bool) -> Move:
    """Try the download again in `wait_s`; with `fresh_url`, poll first, as this URL no longer serves the video."""
    return Move(
        event="job.store_failed",
        to=State.RENDERING if fresh_url else State.STORING,
        due_in_s=wait_s,
        set={"message": message},
        bump=["downloads"],
        data={"message": message, "wait_s": wait_s},
    )
