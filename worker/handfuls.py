"""How much a wake does by itself: what is quick is not worth a message, nor a question each; what is slow is shared."""

from typing import Final

from jobs.reminders import Work

AT_ONCE_S: Final = 0.25
"""A task takes as many jobs at once as it can do in this many seconds."""

MOST_AT_ONCE: Final = 8
"""Where others could help, nobody takes more."""

REMEMBERED: Final = 0.5
"""The share of the earlier seconds per job that is kept after a quicker handful: a quick failure proves little."""


class Handfuls:
    """How many jobs to take at once of each kind of work, by how long each took lately in this process."""

    def __init__(self) -> None:
        self._each_s: dict[Work, float] = {}

    def of(self, work: Work) -> int:
        """How many jobs to take at once; 1 until measured."""
        return max(1, min(MOST_AT_ONCE, int(AT_ONCE_S / max(self._each_s.get(work, AT_ONCE_S), 1e-9))))

    def is_quick(self, work: Work) -> bool:
        """Whether the task that made such work due should do it at once; False until measured."""
        return self.of(work) > 1

    def took(self, work: Work, each_s: float) -> None:
        """Note that the last jobs took `each_s` seconds each."""
        self._each_s[work] = max(each_s, self._each_s.get(work, 0.0) * REMEMBERED)
