"""Says in one sentence for people why a job waits and what happens next."""

from collections.abc import Mapping
from typing import Final

from jobs.breakers import Breaker, OpenBreaker
from jobs.job import Hold, Job
from jobs.pauses import Pause
from jobs.states import State

_ADVICE: Final[Mapping[Hold, str]] = {
    Hold.THROTTLED: "It goes on by itself.",
    Hold.BAD_KEY: "Set RUSHES_UPSTREAM__API_KEY to a key that the upstream knows, and start the workers again.",
    Hold.OUT_OF_CREDITS: "Top up the upstream account; then it goes on by itself.",
    Hold.UNVERIFIED: "Give the upstream account a verified card; then it goes on by itself.",
    Hold.FORBIDDEN: "Allow the key to buy this at the upstream; then it goes on by itself.",
    Hold.MISCONFIGURED: "Set RUSHES_UPSTREAM__BASE_URL to the API's address, and start the workers again.",
    Hold.UNREACHABLE: "It goes on by itself once the upstream can be reached.",
    Hold.UNAVAILABLE: "It goes on by itself once the upstream works again.",
    Hold.NOT_DURABLE: "It goes on by itself once Redis can write to its disk; `rushes doctor` says more.",
}
"""What ends a hold."""

_HELD_BY: Final[Mapping[Breaker, str]] = {Breaker.SUBMIT: "All purchases wait", Breaker.POLL: "All polls wait"}


def waiting(job: Job, *, now: float | None, pause: Pause | None = None) -> str | None:
    """Say why the job waits and what Rushes does about it; None if nothing delays it. `pause`: of buying."""
    when, why = _when(job, now), (job.message or "no reason is known").rstrip(".")
    sentence: str | None = None
    match job.state:
        case State.QUEUED if pause is not None:
            sentence = f"{paused(pause)} It is bought after `rushes queue resume`."
        case State.QUEUED if job.hold is not None:
            sentence = f"Held ({job.hold}): {why}. {_ADVICE[job.hold]} Nothing was bought; it is tried again {when}."
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


def broken(breaker: Breaker, circuit: OpenBreaker) -> str:
    """Say why all requests of a kind wait, what ends that, and when the next one is tried."""
    why, when = (circuit.message or "no reason is known").rstrip("."), _in(circuit.wait_s)
    return f"{_HELD_BY[breaker]} ({circuit.hold}): {why}. {_ADVICE[circuit.hold]} The next try is {when}."


def _when(job: Job, now: float | None) -> str:
    if now is None or job.due_at is None:
        return "soon"
    return _in(job.due_at - now)


def _in(wait_s: float) -> str:
    return f"in {wait_s:.0f} s" if wait_s >= 1 else "at once"
