"""What can happen to a job, each thing said once: journal, log and feed tell the same events."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

EVENTS: Final[Mapping[str, str]] = {
    "job.accepted": "The job is in the ledger: it will end exactly once.",
    "job.held": "The purchase has to wait; `hold` says why, `wait_s` how long.",
    "job.submitting": "A worker is about to buy the generation; the intent is written first.",
    "job.submitted": "The upstream's receipt is in the ledger, with its generation id and cost.",
    "job.unconfirmed": "The purchase may or may not have happened: its reply was lost.",
    "job.looked": "A worker looked at the generation; `seen` says what it saw, `wait_s` when it looks again.",
    "job.rendered": "The upstream finished; the video's URL and metadata are in the ledger.",
    "job.storing": "A worker began to fetch the bytes.",
    "job.store_failed": "The bytes could not be fetched this time; `wait_s` says when the next try comes.",
    "job.completed": "Our copy of the bytes is under its final name: the job ended with its video.",
    "job.failed": "The job ended without a video; `reason` says why.",
    "job.cancel_requested": "Somebody asked to cancel while the purchase was under way.",
    "job.cancelled": "The job ended because somebody asked for it.",
    "job.expired": "The job ended because its deadline passed.",
    "job.rescued": "Nothing had happened by the due time: the reminder was sent again.",
    "job.announced": "Every result hook has been told of the job's end.",
    "hook.failed": "Result hooks raised; `wait_s` says when they are called again.",
    "hook.abandoned": "Result hooks kept raising and were given up.",
    "reminder.dropped": "A late or doubled message was dropped: the job had moved on (log only).",
}
"""Every event by name, with what it says. The journal, the logs and docs/events.md know no others."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: past-tense name, job, numbers."""

    name: str
    job_id: str
    turn: int
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One line of a job's journal. `id` orders entries and resumes a reader; `at` is seconds since the epoch."""

    id: str
    event: str
    at: float
    state: str
    turn: int
    data: Mapping[str, Any]


Subscriber = Callable[[Event], None]
