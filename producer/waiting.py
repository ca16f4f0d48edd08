"""Says in one sentence for people why a job waits and what happens next."""

from collections.abc import Mapping
from typing import Final

from jobs.admission import Place
from jobs.breakers import Breaker, OpenBreaker
from jobs.job import Hold, Job
from jobs.pauses import Pause
from jobs.states import State
from producer.counted import counted
from producer.holds import NOTHING_HELD, Holds

_ADVICE: Final[Mapping[Hold, str]] = {
    Hold.THROTTLED: "It goes on by itself.",
    Hold.BAD_KEY: "Set RUSHES_UPSTREAM__API_KEY to a key that the upstream knows, and start the workers again.",
    Hold.OUT_OF_CREDITS: "Top up the upstream account; then it goes on by itself.",
    Hold.UNVERIFIED: "Give the upstream account a verified card; then it goes on by itself.",
    Hold.FORBIDDEN: "Allow the key to buy this at the upstream; then it goes on by itself.",
    Hold.MISCONFIGURED: "Set RUSHES_UPSTREAM__BASE_URL to the API's address, and start the workers again.",
    Hold.UNREACHABLE: "It goes on by itself once the upstream can be reached.",
    Hold.UNAVAILABLE: "It goes on by itself once the upstream works again.",
    Hold.ARCHIVE: "It goes on by itself once the archive can be read; `rushes doctor` says more.",
    Hold.NOT_DURABLE: "It goes on by itself once Redis can write to its disk; `rushes doctor` says more.",
}
"""What ends a hold."""

_HELD_BY: Final[Mapping[Breaker, str]] = {Breaker.SUBMIT: "All purchases wait", Breaker.POLL: "All polls wait"}


def waiting(job: Job, *, now: float | None, holds: Holds = NOTHING_HELD, in_flight: int = 0) -> str | None:
    """Say why the job waits and what Rushes does about it; None: nothing holds it back, but perhaps others' turns.

    `in_flight`: how many of its tenant's generations run.
    """
    when, why = _when(job, now), (job.message or "no reason is known").rstrip(".")
    sentence: str | None = None
    match job.state:
        case State.QUEUED:
            sentence = _queued(job, now, holds, in_flight)
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


def _queued(job: Job, now: float | None, holds: Holds, in_flight: int) -> str | None:
    """Say why it is not bought yet: the first reason that would hold it even if all others were gone."""
    pause, tenant = holds.pause_of(job), holds.of_tenant(job.tenant or "")
    is_early = now is not None and job.due_at is not None and job.due_at > now
    sentence: str | None = None
    if pause is not None:
        sentence = f"{paused(pause)} It is bought after `{resume_command(pause)}`."
    elif job.hold is not None and (is_early or now is None or job.due_at is None):
        why = (job.message or "no reason is known").rstrip(".")
        sentence = (
            f"Held ({job.hold}): {why}. {_ADVICE[job.hold]} Nothing was bought; it is tried again {_when(job, now)}."
        )
    elif is_early:
        sentence = f"It may be bought {_when(job, now)}."
    elif holds.breaker is not None:
        sentence = broken(Breaker.SUBMIT, holds.breaker)
    elif holds.is_full:
        sentence = f"{counted(holds.load.in_flight, 'generation runs', 'generations run')}, {full(holds)}."
    elif isinstance(tenant.in_flight, int) and in_flight >= tenant.in_flight:
        of_tenant = counted(in_flight, "generation of its tenant runs", "generations of its tenant run")
        sentence = f"{of_tenant}, which is the tenant's limit."
    elif isinstance(tenant.per_min, float | int):
        sentence = f"Its tenant's purchases begin at {tenant.per_min:g} a minute (`rushes limits`): it waits its turn."
    elif isinstance(holds.account.per_min, float | int):
        sentence = f"Purchases begin at {holds.account.per_min:g} a minute (`rushes limits`): it waits its turn."
    return sentence


def standing(place: Place) -> str:
    """Say where a job stands."""
    return f"It is number {place.of_tenant} of its tenant's queue, and about number {place.of_all} of all."


def paused(pause: Pause) -> str:
    """Say that buying is paused, of what, by whom and why."""
    kind, _, name = (pause.what or "").partition(":")
    of = f" of {kind} {name or '(none)'}" if kind else ""
    why = f": {pause.reason.rstrip('.')}" if pause.reason else ""
    return f"Buying{of} is paused by {pause.by}{why}."


def resume_command(pause: Pause) -> str:
    """Return the command that ends a pause."""
    kind, _, name = (pause.what or "").partition(":")
    return f"rushes queue resume --{kind} {name}" if kind else "rushes queue resume"


def paused_until(pause: Pause) -> str:
    """Say that buying is paused, and what goes on with it."""
    return f"{paused(pause)} `{resume_command(pause)}` goes on."


def full(holds: Holds) -> str:
    """Say which limit of generations in flight is reached."""
    if holds.load.is_at_the_learnt:
        return "which is as many as the upstream let run at once lately"
    return "which is the limit (`rushes limits`)"


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
