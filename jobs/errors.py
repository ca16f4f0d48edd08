"""Every error, with what its catcher does; those defined elsewhere are named with their module.

RushesError
├── JobError
│   ├── UnknownJob            answer the caller: no such job, or its life in the ledger is over
│   │   └── Erased            answer the caller: it was erased on request, only its cost is kept
│   ├── StaleTurn             drop the message quietly: the job has moved on without it
│   ├── WrongState            the job is not where this step starts from: read it again and decide anew
│   ├── IdempotencyConflict   answer the caller: this key was used for another request
│   ├── InvalidMove           log it with its traceback, and go on with the other jobs: the code has a mistake
│   ├── IdTaken               make a new id and accept again: nothing was written
│   ├── InputsFull            show the caller the message: the tenant's inputs take up their room; nothing was queued
│   ├── InputNotKept          show the caller the message: the archive took no input; nothing was queued
│   ├── InvalidRequest        show the caller which fields to correct: nothing was queued, nothing was bought
│   └── LedgerUnavailable     stop this step: nothing is known to have been written; the due index finds the job again
│       ├── LedgerRefused     as above, or let the caller repeat it at once: nothing was written, for certain
│       └── UnreadableRow     leave this one job to a newer version, and go on with the others
├── UnknownKey                answer the caller: no such API key
├── UnknownEndpoint           answer the caller: no such webhook endpoint; a delivery to it is dropped
├── ConfigurationError        config.settings: stop the process with the message
└── StoreError                config.store: try again later, or warn the operator; stored files are not lost
    ├── NotThere              config.store: answer the caller that the file is gone
    └── NameTaken             config.store: keep the file under another name

The direct caller catches the others; the libraries in between pass them on:

NotAnAddress                  config.address: refuse the setting; the message repeats nothing of the URL
UnreadableMessage             config.envelopes: drop the message with a line in the log
AddressRefused                config.outbound: do not connect, and say that the address is not permitted
NotKept                       worker.archive.transfer: discard the bytes, and fetch again later
Unshowable                    worker.describe.previews: describe the video without pictures
DatabaseTrouble               worker.sql.writing: deliver the row again later
SchemaBehind                  worker.sql.schema: deliver again later, and ask the operator to migrate
UnreadableText                producer.text: leave with the message
Problem                       producer.api.problems: answer the request with its code and detail
BrokenOff                     producer.api.problems: log why, and leave the reply unfinished
SignIn                        producer.page.visit: send the visitor to the sign-in page
StartFailed                   ops.stack.supervisor: stop what was started, and leave with the message
Unhealthy                     ops.image.health: report the container as unhealthy

The client library stands alone and draws its own tree in `producer/client/errors.py`; the sandbox plays a stranger.
"""

from dataclasses import dataclass


class RushesError(Exception):
    """Base of everything that Rushes raises for a caller of its own code."""


class JobError(RushesError):
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


class InvalidMove(JobError):
    """A move names a field that no job has, or holds what no row can."""


class IdTaken(JobError):
    """Another job has this id."""


class InputsFull(JobError):
    """The inputs of the tenant's jobs take up all the bytes that they may have in the archive."""


class InputNotKept(JobError):
    """The archive could not be used to keep the request's input."""


class LedgerUnavailable(JobError):
    """Redis could not be used, or refused the write."""


class LedgerRefused(LedgerUnavailable):
    """Redis refused the command, or was never reached: nothing was written."""


class UnreadableRow(LedgerUnavailable):
    """This version cannot read the row: a newer version wrote it, or it is damaged."""


class UnknownKey(RushesError):
    """No such API key: the id is wrong, or the key ended so long ago that it is forgotten."""


class UnknownEndpoint(RushesError):
    """No such webhook endpoint: the id is wrong, or it was removed."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One invalid field of a request."""

    field: str
    message: str


class InvalidRequest(JobError):
    """The request cannot be sent as it is; `errors` names each field and what it may be."""

    def __init__(self, errors: tuple[FieldError, ...]) -> None:
        super().__init__("; ".join(f"{e.field}: {e.message}" for e in errors))
        self.errors = errors
