"""Follow-ups of ended jobs: late fetches, descriptions."""

from typing import Final, assert_never

from jobs.backoff import backoff
from jobs.facts import (
    Described,
    Download,
    Fetched,
    Finished,
    GenerationFailed,
    Inconclusive,
    NoResult,
    NotDescribed,
    Pending,
    PollResult,
)
from jobs.job import Charged, Job, Video
from jobs.media import differences
from jobs.moves.move import Move, Policy, media_field, with_video


def after_late_poll(job: Job, result: PollResult, *, now: float, policy: Policy) -> Video | Move:
    """Poll an ended job's paid generation ever less often, for a bounded time; a returned Video is ready to fetch."""
    match result:
        case Finished(video) | Inconclusive(outcome=Finished(video)):
            return video
        case GenerationFailed(message, charged):
            return _late_fetch_ended(message, charged)
        case Pending(text) | NoResult(message=text) | Inconclusive(text):
            return _late_fetch_again(job, text, now=now, policy=policy)
    assert_never(result)


def after_late_download(job: Job, video: Video, outcome: Download, *, now: float, policy: Policy) -> Move:
    """Record the late video; or try again."""
    if not isinstance(outcome, Fetched):
        return _late_fetch_again(job, outcome.message, now=now, policy=policy)
    stored, media = outcome.stored, outcome.media
    return Move(
        event="job.fetched_late",
        set={"video": video, "stored": stored, "charged": Charged.YES, **media_field(media)},
        clear=["removed_at"],  # even if retention removed an earlier copy, there is a video now
        follow_ups=with_video(policy),
        data={"path": stored.path, "size_bytes": stored.size_bytes, **differences(media)},
    )


def _late_fetch_again(job: Job, result: str, *, now: float, policy: Policy) -> Move:
    ended_for_s = now - (job.finished_at or now)
    if ended_for_s >= policy.late_fetch_patience_s:
        return _late_fetch_ended(result, job.charged)
    wait_s = min(max(ended_for_s / 2, policy.late_fetch_first_s), policy.late_fetch_longest_s)
    return Move(
        event="job.late_fetch_waits",
        due_in_s=wait_s,
        data={"result": result, "wait_s": round(wait_s, 3)},
    )


def _late_fetch_ended(result: str, charged: Charged) -> Move:
    return Move(
        event="job.late_fetch_ended",
        set={"charged": charged},
        data={"result": result},
    )


LONGEST_DESCRIBE_WAIT_S: Final = 86_400.0


def after_describe(outcome: Described | NotDescribed, *, tries: int, took_s: float, policy: Policy) -> Move:
    """Record the artifacts; while the store fails, try again, a bounded number of times."""
    took = {"took_s": round(took_s, 3)}
    match outcome:
        case Described(made, trouble):
            data = {"made": [artifact.value for artifact in made], **({"trouble": trouble} if trouble else {}), **took}
            return Move(event="job.described", set={"artifacts": tuple(made)}, data=data)
        case NotDescribed(message):
            pass
        case _:
            assert_never(outcome)
    if tries + 1 >= policy.describe_attempts:
        return Move(event="job.describe_ended", data={"message": message, **took})
    wait_s = backoff(policy.describe_first_s, LONGEST_DESCRIBE_WAIT_S, tries)
    waits = {"message": message, "wait_s": round(wait_s, 3), **took}
    return Move(event="job.describe_waits", due_in_s=wait_s, tries=tries + 1, data=waits)
