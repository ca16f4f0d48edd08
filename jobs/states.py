"""The states of a job and the edges between them, the one state machine of Rushes; and the follow-ups of ended jobs."""

from collections.abc import Mapping
from enum import StrEnum


class Status(StrEnum):
    """A state's public word, OpenAI's where its Videos objects have one."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class State(StrEnum):
    """A job's state; each says what the job waits for."""

    QUEUED = "queued"  # waits for a worker, and for room upstream
    SUBMITTING = "submitting"  # waits for the upstream's receipt: money may be spent from here
    IN_DOUBT = "in_doubt"  # waits to learn whether a submit whose reply was lost was accepted
    RENDERING = "rendering"  # waits for the upstream to finish
    STORING = "storing"  # waits for our copy of the bytes
    COMPLETED = "completed"  # waits for nothing: its video is ours
    FAILED = "failed"  # waits for nothing: a reason says why, and whether it was charged
    CANCELLED = "cancelled"  # waits for nothing: somebody changed their mind
    EXPIRED = "expired"  # waits for nothing: its deadline passed

    @property
    def status(self) -> Status:
        """The public word for this state."""
        return Status.IN_PROGRESS if self in _UNDER_WAY else Status(self.value)

    @property
    def is_final(self) -> bool:
        """Whether a job in this state has ended."""
        return not EDGES[self]


_UNDER_WAY = frozenset({State.SUBMITTING, State.IN_DOUBT, State.RENDERING, State.STORING})
_GIVEN_UP = frozenset({State.FAILED, State.CANCELLED, State.EXPIRED})

EDGES: Mapping[State, frozenset[State]] = {
    # A state that may follow itself waits in steps: each step is one turn.
    State.QUEUED: frozenset({State.QUEUED, State.SUBMITTING, State.RENDERING}) | _GIVEN_UP,
    State.SUBMITTING: frozenset({State.QUEUED, State.IN_DOUBT, State.RENDERING, State.FAILED}),
    State.IN_DOUBT: frozenset({State.IN_DOUBT, State.QUEUED, State.RENDERING}) | _GIVEN_UP,
    State.RENDERING: frozenset({State.RENDERING, State.STORING}) | _GIVEN_UP,
    State.STORING: frozenset({State.STORING, State.RENDERING, State.COMPLETED}) | _GIVEN_UP,
    State.COMPLETED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.EXPIRED: frozenset(),
}


class FollowUp(StrEnum):
    """What an ended job may still need, beside deliveries; each is an item with its own turn and due time."""

    LATE_FETCH = "late_fetch"  # fetch its paid video, should the generation still finish
    DESCRIBE = "describe"  # put manifest, poster and preview beside its video
