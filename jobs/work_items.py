"""Work items: everything that waits has a turn, a due time and a place in the queue of its next step.

    rushes:due:<queue>            zset    job -> when its step is due, or its lease ends                permanent
                                          (a queued job that is ready: its deadline, see jobs/admission.py)
    rushes:item:<queue>:<job>     hash    a follow-up: turn, tries, busy, the events of a delivery      the retention
    rushes:followups:<job>        set     the queues of its follow-ups                                  the retention
    rushes:wakes                  hash    queue -> when its outstanding wake-up rings                   permanent
    rushes:turns                  string  the newest turn of a follow-up                                permanent

A job's row is the item of its state; a follow-up of an ended job, and a delivery, is an item of its own. A lease moves
only an item's place in the queue; a fenced claim also gives it a new turn.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from jobs.errors import UnreadableRow
from jobs.events import Event
from jobs.job import ACCOUNT, Job, VideoRequest
from jobs.queues import QUEUES, receiver_of
from jobs.row import job_from, request_from
from jobs.scripts import Scripts, WakeUp, asks_redis, to_json, wake_ups_of
from jobs.states import FollowUp, State

LEASE_S: Final = 10.0
"""Seconds that others leave a claimed item alone; its worker renews the lease while it is busy."""

EARLY_S: Final = 0.02
"""A wake-up that rings this much too soon claims its items all the same."""


@dataclass(frozen=True, slots=True)
class Item:
    """A follow-up, as claimed. `job` is None if its row is gone, and `request` if that is.

    `is_unreadable`: one of them is there, but only a newer version can read it.
    """

    queue: str
    id: str
    turn: int
    tries: int
    events: Sequence[str]
    job: Job | None
    request: VideoRequest | None
    is_unreadable: bool = False


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job, as claimed from the queue of its state, with its request if that was wanted."""

    job: Job
    request: VideoRequest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What to claim. `fence`: each item gets a new turn. `per_s`: the fleet claims no more in a second.

    `event`: the event to emit for each, with its `data`.
    """

    queue: str
    limit: int = 1
    fence: bool = True
    wants_request: bool = False
    per_s: float | None = None
    share: int | None = None
    """How many threads claim from this queue: each takes its part of what is due, up to `limit`."""
    event: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    slot: str | None = None
    """For a receiver's queue: the slot that will make the deliveries."""
    width: int = 1
    slow_s: float = 0.0
    limits: Mapping[str, str] | None = None
    """For queued jobs: the settings' limits (jobs/admission.py), so that no purchase begins without them."""
    trial_s: float | None = None
    """For queued jobs: while the circuit breaker is half-open, the one that is claimed may take this long."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Claimed items, at this time by the fleet's clock; more is due if `left`.

    `is_trial`: the circuit breaker of purchases is half-open, and the one job that was claimed decides.
    """

    at: float
    jobs: Sequence[ClaimedJob]
    items: Sequence[Item]
    left: bool
    is_trial: bool = False


@dataclass(frozen=True, slots=True)
class Leased:
    """An item under a lease: its queue, id and turn."""

    queue: str
    id: str
    turn: int


class WorkItems:
    """The fleet's work items.

    Raises:
        LedgerUnavailable: Redis could not be used; what was claimed is due again when its lease ends.
    """

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @asks_redis
    def claim(self, claim: Claim, *, woke: bool = True, rang: str | None = None, lease_s: float = LEASE_S) -> Claimed:
        """Claim items that are due by now.

        A task that `woke` answers the queue's wake-up if its message, which was to ring at `rang`, is the outstanding
        one; without a message (None), if its time has come.
        """
        is_follow_up = is_follow_up_queue(claim.queue)
        at, found, left, wake_ups, *trial = self._scripts.run(
            "claim_purchases" if claim.queue == State.QUEUED else "claim",
            account=ACCOUNT,
            queue=claim.queue,
            limit=claim.limit,
            lease_s=lease_s,
            early_s=EARLY_S,
            is_follow_up=is_follow_up or None,
            fence=claim.fence or None,
            woke=woke or None,
            rang=rang,
            event=claim.event,
            data=to_json(claim.data) if claim.event else None,
            wants_request=claim.wants_request or None,
            per_s=claim.per_s,
            share=claim.share,
            slot=claim.slot,
            width=claim.width,
            slow_s=claim.slow_s,
            trial_s=claim.trial_s,
            limits=claim.limits,
        )
        self._scripts.wake(wake_ups_of(wake_ups))
        items = [self._item(claim.queue, *one) for one in found] if is_follow_up else []
        jobs = [] if is_follow_up else list(self._jobs(found))
        if claim.event:
            for one in jobs:
                self._scripts.emit(Event(claim.event, one.job.id, one.job.turn, claim.data, one.job))
        return Claimed(float(at), jobs, items, bool(left), is_trial=trial == [1])

    def _jobs(self, found: Iterable[Sequence[Any]]) -> Iterator[ClaimedJob]:
        for id_, row, _, text in found:
            if job := self._readable_job(id_, row):
                yield ClaimedJob(job, self._readable_request(id_, text))

    def _item(self, queue: str, id_: str, row: Sequence[str], item: Sequence[str], text: str) -> Item:
        fields = _mapping(item)
        events = tuple(fields.get("events", "").split("\n")) if fields.get("events") else ()
        job, request = self._readable_job(id_, row) if row else None, self._readable_request(id_, text)
        is_unreadable = (bool(row) and job is None) or (bool(text) and request is None)
        return Item(queue, id_, _count(fields, "turn"), _count(fields, "tries"), events, job, request, is_unreadable)

    def _readable_job(self, id_: str, row: Sequence[str]) -> Job | None:
        """Read a row; one that cannot be read is left to a newer version, and holds up no other."""
        try:
            return job_from(_mapping(row))
        except UnreadableRow as error:
            self._scripts.unreadable(id_, error)
            return None

    def _readable_request(self, id_: str, text: str) -> VideoRequest | None:
        try:
            return request_from(text) if text else None
        except UnreadableRow as error:
            self._scripts.unreadable(id_, error)
            return None

    @asks_redis
    def renew(
        self, leased: Iterable[Leased], slots: Iterable[tuple[str, str]] = (), *, lease_s: float = LEASE_S
    ) -> None:
        """Keep claimed items, and receivers' slots, for another lease."""
        items = [[one.queue, one.id, one.turn, int(is_follow_up_queue(one.queue))] for one in leased]
        self._scripts.run("renew", items=items, slots=[list(slot) for slot in slots], lease_s=lease_s)

    @asks_redis
    def postpone(self, queue: str, *, wait_s: float, rang: str | None = None) -> WakeUp | None:
        """Return the wake-up that must ring again in `wait_s`; None: another will ring anyway."""
        rings = self._scripts.run("postpone", queue=queue, wait_s=wait_s, rang=rang)
        return WakeUp(queue, "-", wait_s, rings) if rings else None

    @asks_redis
    def rescue(self, queues: Sequence[str] = QUEUES) -> Sequence[WakeUp]:
        """Wake up each of these queues that has something due and no outstanding wake-up; return those sent."""
        wake_ups = wake_ups_of(self._scripts.run("rescue", queues=list(queues), account=ACCOUNT))
        self._scripts.wake(wake_ups)
        return wake_ups


def is_follow_up_queue(queue: str) -> bool:
    """Whether a queue's items are follow-ups, and not jobs."""
    return queue in set(FollowUp) or receiver_of(queue) is not None


def _count(fields: Mapping[str, str], name: str) -> int:
    """Read a count; one that only a newer version can read is 0, and holds up no other item."""
    try:
        return int(fields.get(name, 0))
    except ValueError:
        return 0


def _mapping(flat: Sequence[str]) -> Mapping[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
