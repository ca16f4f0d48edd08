"""One generation: what was ordered, when it will be done, and how far it is."""

from enum import StrEnum

from ops.sandbox.orders import Shape
from ops.sandbox.trouble import Trouble

QUEUED_SHARE = 0.15  # of its life a generation waits before it is worked on

STUCK = "stuck"


class Phase(StrEnum):
    """How far a generation is, in the words that a poll answers."""

    QUEUED = "queued"
    GENERATING = "generating"
    COMPLETED = "completed"
    ERROR = "error"

    @property
    def finished(self) -> bool:
        """Nothing will change any more."""
        return self in (Phase.COMPLETED, Phase.ERROR)


class Generation:
    """A bought generation. A hundred thousand of them live in memory, so it is slots and shared parts only."""

    __slots__ = (
        "accepted_ms",
        "client_request_id",
        "fate",
        "google_path",
        "id",
        "number",
        "prompt",
        "ready_ms",
        "seed",
        "shape",
        "troubles",
        "url_issued_ms",
    )

    def __init__(
        self,
        *,
        number: int,
        id: str,  # noqa: A002 - its name on the wire
        shape: Shape,
        prompt: str,
        seed: int,
        client_request_id: str | None,
        google_path: bool,
        accepted_ms: int,
        ready_ms: int,
        fate: str | None,
        troubles: tuple[Trouble, ...],
    ) -> None:
        self.number = number
        self.id = id
        self.shape = shape
        self.prompt = prompt
        self.seed = seed
        self.client_request_id = client_request_id
        self.google_path = google_path
        self.accepted_ms = accepted_ms
        self.ready_ms = ready_ms
        self.fate = fate
        """None: it will complete. `stuck`: it never ends. Else the shape of its error."""
        self.troubles = troubles
        self.url_issued_ms = 0

    @property
    def ends(self) -> bool:
        """Whether it ever finishes."""
        return self.fate != STUCK

    @property
    def charged_credits(self) -> int:
        """What it costs in the end: failures are free."""
        return self.shape.credits if self.fate is None else 0

    def phase(self, now_ms: int) -> Phase:
        """How far it is at that moment."""
        if self.ends and now_ms >= self.ready_ms:
            return Phase.COMPLETED if self.fate is None else Phase.ERROR
        started_ms = self.accepted_ms + QUEUED_SHARE * (self.ready_ms - self.accepted_ms)
        return Phase.QUEUED if now_ms < started_ms else Phase.GENERATING
