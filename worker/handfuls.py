"""How much a wake does by itself: what is quick is not worth a message, nor a question each; what is slow is shared."""

from typing import Final

from jobs.reminders import Work

AT_ONCE_S: Final = 0.25
"""What can be done in so long is taken at once."""

MOST_AT_ONCE: Final = 8
"""Where others could help, nobody takes more."""

REMEMBERED: Final = 0.5
"""With each handful, so much is left of how long such jobs took before: a quick failure proves little."""


class Handfuls:
    """How many jobs to take at once of each kind of work, by how long each took lately in this process."""

    def __init__(self) -> None:
        self._each_s: dict[Work, float] = {}

    def of(self, work: Work) -> int:
        """So many; one, of what was never done yet."""
        return max(1, min(MOST_AT_ONCE, int(AT_ONCE_S / max(self._each_s.get(work, AT_ONCE_S), 1e-9))))

    def is_quick(self, work: Work) -> bool:
        """Whether whoever made it due had better do it at once; of what was never done yet that is not known."""
        return self.of(work) > 1

    def took(self, work: Work, each_s: float) -> None:
        """The last ones took so long each."""
        self._each_s[work] = max(each_s, self._each_s.get(work, 0.0) * REMEMBERED)
