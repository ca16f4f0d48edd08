"""Counters of the sandbox's requests and replies."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """Counts requests by kind and replies by status."""

    submits: int = 0
    polls: int = 0
    cdn_gets: int = 0
    log_reads: int = 0
    key_leaks: int = 0
    unanswered: int = 0
    statuses: Counter[int] = field(default_factory=Counter)

    def report(self) -> dict[str, object]:
        """Return the counters as a JSON object."""
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

    def reset(self) -> None:
        """Set every counter to 0."""
        fresh = Counters()
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))
