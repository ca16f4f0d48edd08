"""Says in one sentence for people why a job waits and what happens next."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from jobs.admission import Place
from jobs.breakers import Breaker, OpenBreaker
from jobs.events import LogEntry
from jobs.job import Hold, Job
from jobs.job_log import START
from jobs.pauses import Pause
from jobs.states import State
from producer.counted import counted
from producer.holds import NOTHING_HELD, Holds

_ADVICE: Final[Mapping[Hold, str]] = {
    Hold.THROTTLED: "It goes on by itself.",
    Hold.BAD_KEY: "Set RUSHES_UPSTREAM__API_KEY to a key that the upstream knows, and start the workers again.",
    Hold.OUT_OF_CREDITS: "Top up the upstream account, then `rushes queue try`; it also goes on by itself.",
    Hold.UNVERIFIED: "Give the upstream account a verified card, then `rushes queue try`; it also goes on by itself.",
    Hold.FORBIDDEN: "Allow the key to buy this at the upstream, then `rushes queue try`; it also goes on by itself.",
    Hold.MISCONFIGURED: "Set RUSHES_UPSTREAM__BASE_URL to the API's address, and start the workers again.",
    Hold.UNREACHABLE: "It goes on by itself once the upstream can be reached.",
    Hold.UNAVAILABLE: "It goes on by itself once the upstream works again.",
    Hold.ARCHIVE: "It goes on by itself once the archive can be read; `rushes doctor` says more.",
    Hold.NOT_DURABLE: "It goes on by itself once Redis can write to its disk; `rushes doctor` says more.",
}
"""What ends a hold."""

_HELD_BY: Final[Mapping[Breaker, str]] = {Breaker.SUBMIT: "All purchases wait", Breaker.POLL: "All polls wait"}

WAITING: Final = "job.waiting"
"""The event that a job's readers are shown although nothing wrote it; `waiting` says why, `why` in one word."""


class Why(StrEnum):
    """What a queued job waits for, in one word."""

    PAUSED = "paused"
    HELD = "held"  # the upstream refused its purchase for now
    NOT_BEFORE = "not_before"
    BREAKER = "breaker"
    LIMIT = "limit"
    TENANT_LIMIT = "tenant_limit"
    TENANT_RATE = "tenant_rate"
    RATE = "rate"
    READY = "ready"  # nothing but the turns of others


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a queued job waits, in one word and in sentences."""

    why: Why
    sentence: str


NEXT: Final = Waiting(Why.READY, "Nothing holds it back: it is bought when its turn comes.")


@dataclass(slots=True)
class WaitingEvents:
    """Makes an event whenever what a queued job waits for has changed; nothing writes it to the job's log."""

    _last: dict[str, Why] = field(default_factory=dict)

    def changed(self, job: Job, waits: Waiting | None, *, at: float, after: str = START) -> LogEntry | None:
        """Return the event, with the id of the entry that it follows; None: it waits for the same as before."""
        if job.state is not State.QUEUED:
            self._last.pop(job.id, None)
            return None
        known, now = self._last.get(job.id, Why.READY), waits or NEXT
        self._last[job.id] = now.why
        if now.why is known:
            return None
        return LogEntry(after, WAITING, at, job.state, job.turn, {"why": now.why, "waiting": now.sentence})


def waiting(job: Job, *, now: float | None, holds: Holds = NOTHING_HELD, in_flight: int = 0) -> str | None:
    """Say why the job waits and what Rushes does about it; None: nothing holds it back, but perhaps others' turns.

    `in_flight`: how many of its tenant's generations run.
    """
    when, why = _when(job, now), (job.message or "no reason is known").rstrip(".")
    sentence: str | None = None
    match job.state:
        case State.QUEUED:
            found = why_queued(job, now=now, holds=holds, in_flight=in_flight)
            sentence = found.sentence if found else None
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


def why_queued(job: Job, *, now: float | None, holds: Holds = NOTHING_HELD, in_flight: int = 0) -> Waiting | None:
    """Say why it is not bought yet: the first reason that would hold it even if all others were gone."""
    pause, tenant = holds.pause_of(job), holds.of_tenant(job.tenant or "")
    is_early = now is not None and job.due_at is not None and job.due_at > now
    found: Waiting | None = None
    if pause is not None:
        found = Waiting(Why.PAUSED, f"{paused(pause)} It is bought after `{resume_command(pause)}`.")
    elif job.hold is not None and (is_early or now is None or job.due_at is None):
        why, when = (job.message or "no reason is known").rstrip("."), _when(job, now)
        sentence = f"Held ({job.hold}): {why}. {_ADVICE[job.hold]} Nothing was bought; it is tried again {when}."
        found = Waiting(Why.HELD, sentence)
    elif is_early:
        found = Waiting(Why.NOT_BEFORE, f"It may be bought {_when(job, now)}.")
    elif holds.breaker is not None:
        found = Waiting(Why.BREAKER, broken(Breaker.SUBMIT, holds.breaker))
    elif holds.is_full:
        running = counted(holds.load.in_flight, "generation runs", "generations run")
        found = Waiting(Why.LIMIT, f"{running}, {full(holds)}.")
    elif isinstance(tenant.in_flight, int) and in_flight >= tenant.in_flight:
        of_tenant = counted(in_flight, "generation of its tenant runs", "generations of its tenant run")
        found = Waiting(Why.TENANT_LIMIT, f"{of_tenant}, which is the tenant's limit.")
    elif isinstance(tenant.per_min, float | int):
        found = Waiting(Why.TENANT_RATE, f"Its tenant's purchases begin at {_rate(tenant.per_min)}")
    elif isinstance(holds.account.per_min, float | int):
        found = Waiting(Why.RATE, f"Purchases begin at {_rate(holds.account.per_min)}")
    return found


def _rate(per_min: float) -> str:
    return f"{per_min:g} a minute (`rushes limits`): it waits its turn."


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
