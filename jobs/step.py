"""A move as the `apply` script gets it: guarded, and serialized by itself, so that no other shares its mistakes."""

import json
from dataclasses import dataclass
from typing import Any, Final, Self

from jobs.durations import to_script
from jobs.errors import InvalidMove, JobError, WrongState
from jobs.job import Job
from jobs.moves.move import Move
from jobs.row import to_fields
from jobs.scripts import to_json
from jobs.states import EDGES, State
from jobs.work_items import Item

_FIELDS: Final = frozenset(Job.model_fields)
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
"""Made once: `json.dumps` makes one for each text."""


@dataclass(frozen=True, slots=True)
class Step:
    """A move of one job, as the script's JSON; `job` is its row before it, if that is still kept."""

    job_id: str
    job: Job | None
    move: Move
    text: str

    @classmethod
    def of(cls, subject: Job | Item, move: Move) -> Self:
        """Guard the move by the job's turn, the follow-up's turn, or the purchase's request id.

        Raises:
            WrongState: there is no such edge.
            InvalidMove: it names a field that no job has, or holds what no row can.
        """
        if isinstance(subject, Item):
            by_item = {"id": subject.id, "item": subject.queue, "turn": subject.turn}
            return cls(subject.id, subject.job, move, _text(by_item, move))
        job, is_purchase = subject, subject.state is State.SUBMITTING
        starts = tuple(move.starts) or ((State.SUBMITTING, State.IN_DOUBT) if is_purchase else (job.state,))
        for start in starts:
            to = start if move.to is None and move.due_in_s is not None else move.to
            if to is not None and to not in EDGES[start]:
                raise WrongState(f"no edge leads from {start} to {to}")
        if is_purchase:
            guard: dict[str, Any] = {"request_id": job.request_id, "from": starts}
        else:
            guard = {"turn": job.turn, "from": starts}
        if move.took:
            guard["took"] = to_script(job, move.took)
        return cls(job.id, job, move, _text({"id": job.id, **guard}, move))


def step_of(subject: Job | Item, move: Move) -> Step | JobError:
    """Return the step, or the error, so that one job stops no other."""
    try:
        return Step.of(subject, move)
    except JobError as error:
        return error


def _text(guard: dict[str, Any], move: Move) -> str:
    """Return JSON that Redis and Lua can read: in UTF-8, without NaN or infinity."""
    try:
        text = _ENCODER.encode({**guard, **_named(move)})
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidMove(f"{type(error).__name__}: {error}"[:300]) from error
    return text


def _named(move: Move) -> dict[str, Any]:
    """Return the script's arguments for the move, without those that do not apply."""
    if unknown := {*move.stamp, *move.bump, *move.clear, *filter(None, [move.once])} - _FIELDS:
        raise InvalidMove(f"no job has {', '.join(sorted(unknown))}")
    named = {
        "to": move.to,
        "final": move.to is not None and move.to.is_final,
        "event": move.event,
        "data": to_json(move.data) if move.event else None,
        "set": to_fields(move.set),
        "stamps": list(move.stamp),
        "bump": list(move.bump),
        "unset": list(move.clear),
        "once": move.once,
        "queue": move.queue,
        "due_in": move.due_in_s if move.lease_s is None else move.lease_s,
        "lease": move.lease_s is not None,
        "deadline_in": move.deadline_in_s,
        "follow_ups": dict(move.follow_ups),
        "delivered": move.delivered,
        "tries": move.tries,
    }
    return {name: value for name, value in named.items() if value or (value == 0 and value is not False)}
