"""Who gets which trouble: standing orders from the control endpoint first, then the prompt's own directives."""

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from ops.sandbox.trouble import FINISHED_KINDS, PENDING_KINDS, Stage, Trouble


@dataclass(frozen=True, slots=True)
class Subject:
    """What a request is about, as far as a standing trouble can ask."""

    model: str = ""
    prompt: str = ""
    client_request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """Which requests a standing trouble hits; an unset field hits all."""

    model: str | None = None
    prompt: str | None = None
    client_request_id: str | None = None

    def hits(self, subject: Subject) -> bool:
        """Model and client request id must be equal, the prompt must contain."""
        return (
            self.model in (None, subject.model)
            and (self.prompt or "") in subject.prompt
            and self.client_request_id in (None, subject.client_request_id)
        )


@dataclass(slots=True)
class Standing:
    """A trouble that waits for the next requests that match."""

    id: int
    trouble: Trouble
    match: Match
    words: dict[str, object]
    left: int | None
    served: int = 0

    def spend(self) -> bool:
        """Use it once, if there is any of it left."""
        if self.left == 0:
            return False
        if self.left is not None:
            self.left -= 1
        self.served += 1
        return True


@dataclass(slots=True)
class Troublemaker:
    """Picks the trouble that a request meets, and remembers how often each was met."""

    standing: list[Standing] = field(default_factory=list)
    met: Counter[Hashable] = field(default_factory=Counter)
    issued: int = 0

    def order(self, trouble: Trouble, match: Match, words: dict[str, object]) -> Standing:
        """Let a trouble stand for the next `trouble.times` requests that match, or for all if that is None."""
        self.issued += 1
        placed = Standing(self.issued, trouble, match, words, left=trouble.times)
        self.standing.append(placed)
        return placed

    def clear(self, number: int | None = None) -> int:
        """Withdraw one standing trouble or all; says how many went."""
        kept = [one for one in self.standing if number is not None and one.id != number]
        gone = len(self.standing) - len(kept)
        self.standing = kept
        return gone

    def forget(self) -> None:
        """No standing trouble, no memory."""
        self.clear()
        self.met.clear()

    def submit(self, troubles: tuple[Trouble, ...], subject: Subject) -> Trouble | None:
        """The trouble that this submit meets; the same prompt shares one count."""
        return self.pick("submit", troubles, lambda: subject, owner=subject.prompt)

    def poll(
        self, troubles: tuple[Trouble, ...], subject: Callable[[], Subject], *, owner: str, finished: bool
    ) -> Trouble | None:
        """The trouble that this poll meets; each generation has its own count."""
        idle = PENDING_KINDS if finished else FINISHED_KINDS
        return self.pick("poll", troubles, subject, owner=owner, idle=idle)

    def cdn(self, troubles: tuple[Trouble, ...], subject: Callable[[], Subject], *, owner: str) -> Trouble | None:
        """The trouble that this download meets; each generation has its own count."""
        return self.pick("cdn", troubles, subject, owner=owner)

    def logs(self) -> Trouble | None:
        """The trouble that reading the request log meets."""
        return self.pick("logs", (), Subject, owner="")

    def inflicted(self, subject: Subject) -> tuple[Trouble, ...]:
        """What standing troubles do to the generation that is being accepted."""
        return tuple(
            one.trouble
            for one in self.standing
            if one.trouble.stage == "generation" and one.match.hits(subject) and one.spend()
        )

    def pick(
        self,
        stage: Stage,
        troubles: tuple[Trouble, ...],
        subject: Callable[[], Subject],
        *,
        owner: str,
        idle: tuple[str, ...] = (),
    ) -> Trouble | None:
        """The first trouble of that stage that is due, spent once."""
        for one in self.standing:
            due = one.trouble.stage == stage and one.trouble.kind not in idle
            if due and one.match.hits(subject()) and one.spend():
                return one.trouble
        for place, trouble in enumerate(troubles):
            if trouble.stage == stage and trouble.kind not in idle and self.spend(trouble, (stage, owner, place)):
                return trouble
        return None

    def spend(self, trouble: Trouble, key: Hashable) -> bool:
        """Count one meeting, unless the trouble was met often enough."""
        if trouble.times is None:
            return True
        if self.met[key] >= trouble.times:
            return False
        self.met[key] += 1
        return True
