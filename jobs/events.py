"""The events of a job: job log, log and event stream all use these names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from jobs.job import Job
from jobs.states import State

EVENTS: Final[Mapping[str, str]] = {
    "job.accepted": "The job is in the ledger: it will end exactly once.",
    "job.held": "The purchase has to wait; `hold` says why, `wait_s` how long.",
    "job.submitting": "A worker is about to buy the generation; the intent is written first.",
    "job.submitted": "The upstream's receipt is in the ledger, with its generation id and cost.",
    "job.in_doubt": "The purchase may or may not have happened: its reply was lost.",
    "job.still_in_doubt": "The upstream's log was read for a purchase in doubt; `wait_s` says when it is read again.",
    "job.needs_attention": "A purchase stayed in doubt past the quiet window: a person must decide.",
    "job.adopted": "The generation of a purchase in doubt was found, or named by a person; the job goes on with it.",
    "job.resubmitted": "A person or a setting decided to buy again although the first purchase is in doubt.",
    "job.polled": "A worker polled the generation; `result` says what came back, `wait_s` when it polls again.",
    "job.rendered": "The upstream finished; `url` is the video's, `late_s` about how long it had been done. "
    "A `note` says what was odd about its reply.",
    "job.storing": "A worker claimed the job, to fetch the bytes.",
    "job.store_failed": "The bytes could not be fetched this time; `wait_s` says when the next try comes.",
    "job.completed": "Our copy is under its final name: the job ended with its video, `took_s` after its acceptance; "
    "`mismatch` says what differs.",
    "job.failed": "The job ended without a video; `reason` says why.",
    "job.cancel_requested": "Somebody asked to cancel while the purchase was under way.",
    "job.cancelled": "The job ended because somebody asked for it.",
    "job.expired": "The job ended because its deadline passed.",
    "job.bought_twice": "A receipt of another purchase came: `job_id` is the new job that fetches and books it.",
    "job.bought_late": "A receipt came for a job that had ended; what was bought and its cost are in the row.",
    "job.fetched_late": "The paid generation of an ended job finished late; its video is ours after all.",
    "job.late_fetch_waits": "The late generation is not done or not fetched yet; `wait_s` says when we poll again.",
    "job.late_fetch_ended": "The late generation never finished, or never could be fetched.",
    "job.described": "The video's artifacts are stored, after `took_s`; `made` lists them, `trouble` says why "
    "one is missing.",
    "job.describe_waits": "The store failed while artifacts were made; `wait_s` says when the next attempt comes.",
    "job.describe_ended": "The store failed for too long and the artifacts were given up; the video is stored.",
    "job.pruned": "Its files were removed from the archive by retention; `why` says by which rule.",
    "job.erased": "Somebody erased its prompt, job log and files; its cost is kept (log only).",
    "delivery.succeeded": "The event that `of` names was delivered to a receiver (hook, database, webhook endpoint) "
    "in `took_s`.",
    "delivery.failed": "A delivery failed after `took_s`; `wait_s` says when the next attempt comes.",
    "delivery.abandoned": "Deliveries of this event to a receiver failed for too long and were given up.",
    "webhook.disabled": "An endpoint failed for too long or refused further deliveries; they stop (log only).",
    "queue.held": "Submits or polls stop for everybody; `hold` says why (log only).",
    "queue.resumed": "They go on (log only).",
    "receipt.spooled": "A receipt could not be written to the ledger and is kept on this host's disk (log only).",
    "receipt.replayed": "A spooled receipt reached the ledger (log only).",
    "queue.rescued": "A queue was overdue and no wake-up was on its way: one was sent (log only).",
    "due.pulled_forward": "`count` due times were further off than any wait can be; Redis's clock was set back by "
    "`set_back_s` (log only).",
    "row.unreadable": "A job's row holds what this version does not know: it is left to a newer one (log only).",
    "step.dropped": "A step was dropped: the job had moved on meanwhile (log only).",
}
"""Every event's name and meaning. The job log, the logs and docs/reference/events.md have no others."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: past-tense name, job, numbers.

    `job` is the row before it, if known; `changes` are the fields that it set.
    """

    name: str
    job_id: str
    turn: int
    data: Mapping[str, Any]
    job: Job | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of a job log. `id` orders entries and resumes a reader; `at` is seconds since the epoch."""

    id: str
    event: str
    at: float
    state: str
    turn: int
    data: Mapping[str, Any]


Subscriber = Callable[[Event], None]

ENDS: Final = ("job.completed", "job.failed", "job.cancelled", "job.expired", "job.fetched_late")
"""The events that end a job; a receiver gets these unless it asks for others."""

SUBSCRIBABLE: Final = tuple(
    event
    for event, meaning in EVENTS.items()
    if event.startswith("job.") and "(log only)" not in meaning and event != "job.polled"
)
"""Every event that a receiver can subscribe to."""


def ends_of(job: Job) -> tuple[str, ...]:
    """List the events that ended the job: its end, then a late fetch of its video, if there was one."""
    late = job.stored is not None and job.state is not State.COMPLETED
    return (f"job.{job.state}", *(("job.fetched_late",) if late else ()))
