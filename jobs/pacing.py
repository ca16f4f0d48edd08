"""When to look at a generation next: a first look, then a steady interval."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FixedPacing:
    """Looks first after `first_s`, then every `interval_s` seconds, as the upstream's own example does."""

    first_s: float
    interval_s: float

    def wait(self, waited_s: float) -> float:
        """Seconds to the next look at a generation that was submitted `waited_s` ago."""
        return max(self.first_s - waited_s, self.interval_s)

    def first(self) -> float:
        """Seconds from the receipt to the first look."""
        return self.first_s
