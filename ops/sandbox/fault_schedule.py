"""Picks the fault of each request: scheduled faults from the control endpoint first, then the prompt's directives."""

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from ops.sandbox.fault import FINISHED_KINDS, PENDING_KINDS, Fault, Stage


@dataclass(frozen=True, slots=True)
class Target:
    """The fields of a request that a scheduled fault can match."""

    model: str = ""
    prompt: str = ""
    client_request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """Which requests a scheduled fault matches; an unset field matches all."""

    model: str | None = None
    prompt: str | None = None
    client_request_id: str | None = None

    def matches(self, target: Target) -> bool:
        """Compare: model and client request id must be equal, the prompt must contain the given text."""
        return (
            self.model in (None, target.model)
            and (self.prompt or "") in target.prompt
            and self.client_request_id in (None, target.client_request_id)
        )


@dataclass(slots=True)
class ScheduledFault:
    """A fault for the next matching requests."""

    id: int
    fault: Fault
    match: Match
    terms: dict[str, object]
    left: int | None
    served: int = 0

    def use(self) -> bool:
        """Use it once; False if it is used up."""
        if self.left == 0:
            return False
        if self.left is not None:
            self.left -= 1
        self.served += 1
        return True


@dataclass(slots=True)
class FaultSchedule:
    """Picks the fault of a request, and counts how often each was used."""

    scheduled: list[ScheduledFault] = field(default_factory=list)
    used: Counter[Hashable] = field(default_factory=Counter)
    last_id: int = 0

    def add(self, fault: Fault, match: Match, terms: dict[str, object]) -> ScheduledFault:
        """Schedule a fault for the next `fault.times` matching requests, or for all if that is None."""
        self.last_id += 1
        added = ScheduledFault(self.last_id, fault, match, terms, left=fault.times)
        self.scheduled.append(added)
        return added

    def clear(self, number: int | None = None) -> int:
        """Remove one scheduled fault or all; returns how many were removed."""
        kept = [one for one in self.scheduled if number is not None and one.id != number]
        removed = len(self.scheduled) - len(kept)
        self.scheduled = kept
        return removed

    def reset(self) -> None:
        """Remove all scheduled faults and counts."""
        self.clear()
        self.used.clear()

    def submit(self, faults: tuple[Fault, ...], target: Target) -> Fault | None:
        """Pick the fault of a submit; submits of the same prompt share one count."""
        return self.pick("submit", faults, lambda: target, owner=target.prompt)

    def poll(
        self, faults: tuple[Fault, ...], target: Callable[[], Target], *, owner: str, finished: bool
    ) -> Fault | None:
        """Pick the fault of a poll; each generation has its own count."""
        idle = PENDING_KINDS if finished else FINISHED_KINDS
        return self.pick("poll", faults, target, owner=owner, idle=idle)

    def cdn(self, faults: tuple[Fault, ...], target: Callable[[], Target], *, owner: str) -> Fault | None:
        """Pick the fault of a download; each generation has its own count."""
        return self.pick("cdn", faults, target, owner=owner)

    def logs(self) -> Fault | None:
        """Pick the fault of a read of the request log."""
        return self.pick("logs", (), Target, owner="")

    def for_generation(self, target: Target) -> tuple[Fault, ...]:
        """Pick the scheduled faults of a generation that is being accepted."""
        return tuple(
            one.fault
            for one in self.scheduled
            if one.fault.stage == "generation" and one.match.matches(target) and one.use()
        )

    def pick(
        self,
        stage: Stage,
        faults: tuple[Fault, ...],
        target: Callable[[], Target],
        *,
        owner: str,
        idle: tuple[str, ...] = (),
    ) -> Fault | None:
        """Return the first matching fault of that stage, and count its use."""
        for one in self.scheduled:
            due = one.fault.stage == stage and one.fault.kind not in idle
            if due and one.match.matches(target()) and one.use():
                return one.fault
        for place, fault in enumerate(faults):
            if fault.stage == stage and fault.kind not in idle and self.use(fault, (stage, owner, place)):
                return fault
        return None

    def use(self, fault: Fault, key: Hashable) -> bool:
        """Count one use; False if the fault is used up."""
        if fault.times is None:
            return True
        if self.used[key] >= fault.times:
            return False
        self.used[key] += 1
        return True
