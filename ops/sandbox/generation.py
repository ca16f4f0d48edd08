"""One generation: what was requested, when it will be done, and its progress."""

from enum import StrEnum

from ops.sandbox.fault import Fault
from ops.sandbox.video_request import Shape

QUEUED_SHARE = 0.15  # the part of its latency for which a generation is queued

STUCK = "stuck"


class Phase(StrEnum):
    """A generation's progress, in the words of a poll's reply."""

    QUEUED = "queued"
    GENERATING = "generating"
    COMPLETED = "completed"
    ERROR = "error"

    @property
    def finished(self) -> bool:
        """Whether the phase is final."""
        return self in (Phase.COMPLETED, Phase.ERROR)


class Generation:
    """A bought generation. Slots and shared shapes keep 100,000 of them small in memory."""

    __slots__ = (
        "accepted_ms",
        "client_request_id",
        "faults",
        "google_path",
        "id",
        "number",
        "outcome",
        "prompt",
        "ready_ms",
        "seed",
        "shape",
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
        outcome: str | None,
        faults: tuple[Fault, ...],
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
        self.outcome = outcome
        """None: it completes. `stuck`: it never ends. Else the format of its error."""
        self.faults = faults
        self.url_issued_ms = 0

    @property
    def ends(self) -> bool:
        """Whether it ever finishes."""
        return self.outcome != STUCK

    @property
    def charged_credits(self) -> int:
        """What it costs; failures are free."""
        return self.shape.credits if self.outcome is None else 0

    def phase(self, now_ms: int) -> Phase:
        """Return its phase at that time."""
        if self.ends and now_ms >= self.ready_ms:
            return Phase.COMPLETED if self.outcome is None else Phase.ERROR
        started_ms = self.accepted_ms + QUEUED_SHARE * (self.ready_ms - self.accepted_ms)
        return Phase.QUEUED if now_ms < started_ms else Phase.GENERATING
