"""What was asked of the sandbox, counted."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Counters of requests by kind and replies by status."""

    submits: int = 0
    polls: int = 0
    cdn_gets: int = 0
    log_reads: int = 0
    key_leaks: int = 0
    unanswered: int = 0
    statuses: Counter[int] = field(default_factory=Counter)

    def report(self) -> dict[str, object]:
        """The counters as JSON shows them."""
        return {
            "submits": self.submits,
            "polls": self.polls,
            "cdn_gets": self.cdn_gets,
            "log_reads": self.log_reads,
            "key_leaks": self.key_leaks,
            "unanswered": self.unanswered,
            "4xx": sum(count for status, count in self.statuses.items() if 400 <= status < 500),  # noqa: PLR2004 - HTTP
            "5xx": sum(count for status, count in self.statuses.items() if status >= 500),  # noqa: PLR2004 - HTTP
            "by_status": {str(status): count for status, count in sorted(self.statuses.items())},
        }

    def forget(self) -> None:
        """Count from nothing again."""
        fresh = Tally()
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))
