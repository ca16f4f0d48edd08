"""A move, its policy, and the parts that several decisions share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self, TypeAlias

from jobs.job import Charged, Job, Reason
from jobs.media import Media
from jobs.schedule import Interval, Schedule
from jobs.states import FollowUp, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One step of a job's life, named by its event.

    It is applied if the job, or the follow-up that it is a step of, still has the turn that was claimed. For a job that
    is being bought, the purchase's request id guards it instead: a receipt counts however late it comes.

    `to`: the state it moves to; None: the job stays where it is.
    `queue`: where it is due, if not in the queue of its state.
    `starts`: the states it may start from; none: the job's state when read.
    `set`, `stamp`, `bump`, `clear`: fields to set to a value, to the time of writing, to increment, to unset.
    `once`: a field to stamp; if it has a value already, nothing is written.
    `due_in_s`: seconds until the next step is due; None: it stays due as it is, or the follow-up ends.
    `lease_s`: the same while a worker is busy, without a wake-up.
    `deadline_in_s`: seconds until the job's new deadline.
    `follow_ups`: follow-ups to start, each with the seconds until it is due.
    `took`: the interval in which the generation ended, for the durations of its kind.
    `delivered`, `tries`: of a follow-up: its first event is done; how often it has failed.
    """

    event: str | None
    to: State | None = None
    queue: str | None = None
    starts: Sequence[State] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    set: Mapping[str, Any] = field(default_factory=dict)
    stamp: Sequence[str] = ()
    bump: Sequence[str] = ()
    clear: Sequence[str] = ()
    once: str | None = None
    due_in_s: float | None = None
    lease_s: float | None = None
    deadline_in_s: float | None = None
    follow_ups: Mapping[FollowUp, float] = field(default_factory=dict)
    delivered: bool = False
    tries: int | None = None
    took: Interval | None = None


_WAITS: Final = (
    "hold_first_s",
    "hold_longest_s",
    "download_first_s",
    "download_longest_s",
    "reconcile_first_s",
    "reconcile_longest_s",
    "late_fetch_first_s",
    "late_fetch_longest_s",
    "describe_first_s",
)
"""The waits before a retry in a policy: the first, and the longest that it doubles up to."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A deployment's choices about waiting, retrying and giving up; times in seconds.

    `poll_interval_s`: until the next poll after one that showed nothing.
    """

    schedule: Schedule
    poll_interval_s: float
    download_patience_s: float
    hold_first_s: float = 5
    hold_longest_s: float = 120
    download_first_s: float = 2
    download_longest_s: float = 300
    queue_ttl_s: float = 86_400
    reconcile_first_s: float = 15
    reconcile_longest_s: float = 600
    quiet_s: float = 3600
    log_reaches_s: float = 82_800
    resubmit_in_doubt: bool = False
    late_fetch_first_s: float = 60
    late_fetch_longest_s: float = 600
    late_fetch_patience_s: float = 21_600
    keep_cancelled: bool = False
    describe: bool = False
    describe_first_s: float = 5
    describe_attempts: int = 10

    def faster(self, time_scale: float) -> Self:
        """Divide every wait before a retry; how long is tried stays."""
        return replace(self, **{name: getattr(self, name) / time_scale for name in _WAITS})


PolicyOf: TypeAlias = Callable[[Job], Policy]
"""Returns a job's policy: the deployment's, with the schedule of the job's kind."""


def ended(
    state: State, reason: Reason, message: str, charged: Charged, *, late_fetch_in_s: float | None = None
) -> Move:
    """End the job without its video; a bought generation is fetched later, if that is wanted."""
    late = {} if late_fetch_in_s is None else {FollowUp.LATE_FETCH: late_fetch_in_s}
    why = {"reason": reason, "message": message, "charged": charged}
    return Move(
        event=f"job.{state}",
        to=state,
        set=why,
        clear=["hold"],
        follow_ups=late,
        data=why,
    )


def unbought(job: Job) -> str:
    """Say that nothing was bought, as far as that is known."""
    return "whether its earlier purchase happened is not known" if job.doubts else "nothing was bought"


def to_rendering(job: Job, generation_id: str, cost_usd: float | None, first_poll_s: float) -> Move:
    """Poll the bought generation in `first_poll_s`, at its deadline at the latest. The caller names the event."""
    return Move(
        event=None,
        to=State.RENDERING,
        due_in_s=min(first_poll_s, job.deadline_s),
        deadline_in_s=job.deadline_s,
        set={"generation_id": generation_id, "charged": Charged.YES, **cost_field(cost_usd)},
        stamp=["submitted_at"],
    )


def with_video(policy: Policy) -> dict[FollowUp, float]:
    """Return the follow-ups of a job that has its video."""
    return {FollowUp.DESCRIBE: 0.0} if policy.describe else {}


def cost_field(cost_usd: float | None) -> dict[str, float]:
    """Return the field for the cost, if known."""
    return {} if cost_usd is None else {"cost_usd": cost_usd}


def media_field(media: Media | None) -> dict[str, Media]:
    """Return the field for the video's media facts, if known."""
    return {} if media is None else {"media": media}
