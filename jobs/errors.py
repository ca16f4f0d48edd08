"""What can go wrong with a job. Each class says what its catcher does.

JobError
├── UnknownJob            tell the caller: no such job, or its life in the ledger is over
│   └── Erased            tell the caller: it was erased on request, only what it cost is kept
├── StaleTurn             drop the message quietly: the job has moved on without it
├── WrongState            the job is not where this step starts from: read it again and decide anew
├── IdempotencyConflict   tell the caller: this key was used for another request
├── IdTaken               make a new id and accept again: nothing was written
├── InvalidRequest        tell the caller which fields to mend: nothing was queued, nothing was bought
└── LedgerUnavailable     stop this step: nothing is known to have been written; the due index finds the job again
    └── UnreadableRow     leave this one job to a newer version, and go on with the others
"""

from dataclasses import dataclass


class JobError(Exception):
    """Base of everything that Rushes raises about a job."""


class UnknownJob(JobError):
    """No such job: the id is wrong, or the job ended so long ago that its row is gone."""


class Erased(UnknownJob):
    """Somebody had the job's prompt and files erased; only its money row is left."""


class StaleTurn(JobError):
    """This message is out of date: the job has moved on without it. Drop it quietly."""


class WrongState(JobError):
    """The job is not in a state from which this step starts."""


class IdempotencyConflict(JobError):
    """The idempotency key was already used for another request."""


class IdTaken(JobError):
    """Another job has this id."""


class LedgerUnavailable(JobError):
    """Redis could not be asked, or refused to write."""


class UnreadableRow(LedgerUnavailable):
    """A row holds what this version does not know: a newer one wrote it, or nobody did."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field of a request that cannot stay as it is."""

    field: str
    message: str


class InvalidRequest(JobError):
    """The request cannot be sent as it is; `errors` names each field and what it may be."""

    def __init__(self, errors: tuple[FieldError, ...]) -> None:
        super().__init__("; ".join(f"{e.field}: {e.message}" for e in errors))
        self.errors = errors
