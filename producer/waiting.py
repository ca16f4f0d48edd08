"""Says in one sentence for people why a job waits and what happens next."""

from jobs.job import Job
from jobs.pauses import Pause
from jobs.states import State


def waiting(job: Job, *, now: float | None, pause: Pause | None = None) -> str | None:
    """Say why the job waits and what Rushes does about it; None if nothing delays it. `pause`: of buying."""
    when, why = _when(job, now), (job.message or "no reason is known").rstrip(".")
    sentence: str | None = None
    match job.state:
        case State.QUEUED if pause is not None:
            sentence = f"{paused(pause)} It is bought after `rushes queue resume`."
        case State.QUEUED if job.hold is not None:
            sentence = f"Held ({job.hold}): {why}. Nothing was bought; it is tried again {when}."
        case State.SUBMITTING:
            sentence = "It is being bought; the upstream's reply will say whether it is charged."
        case State.IN_DOUBT if job.attention_at is not None:
            sentence = (
                "The reply to its purchase was lost and the upstream's request log does not show it: decide with "
                "`rushes adopt` or `rushes resolve`. Rushes does not buy it again by itself."
            )
        case State.IN_DOUBT:
            sentence = (
                f"The reply to its purchase was lost ({why}): the upstream's request log is read again {when}. "
                "It is not bought again."
            )
        case State.STORING if job.downloads:
            sentence = f"Its video is paid for and waits for its download: {why}. It is tried again {when}."
        case State.RENDERING if job.downloads:
            sentence = f"Its video is paid for, but its URL failed: {why}. A fresh one is asked for {when}."
        case _:
            pass
    return sentence


def paused(pause: Pause) -> str:
    """Say that buying is paused, by whom and why."""
    why = f": {pause.reason.rstrip('.')}" if pause.reason else ""
    return f"Buying is paused by {pause.by}{why}."


def _when(job: Job, now: float | None) -> str:
    if now is None or job.due_at is None:
        return "soon"
    wait_s = job.due_at - now
    return f"in {wait_s:.0f} s" if wait_s >= 1 else "at once"
