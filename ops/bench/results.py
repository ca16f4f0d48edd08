"""The results of a run: rows of figures, stored as JSON, with queries for tables, bars and plots."""

import json
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self


class Scenario(StrEnum):
    """What was measured."""

    LIVES = "lives"  # whole jobs, as many as one core can do
    FLIGHT = "flight"  # many jobs in flight at a fixed interval
    FAR = "far"  # the same with an upstream 100 ms away
    FAR_LIVES = "far_lives"  # whole jobs with an upstream 100 ms away
    HANGING = "hanging"  # many jobs in flight, some of whose polls are never answered
    PACED = "paced"  # videos with lognormal latency: polls against lateness
    STEADY = "steady"  # jobs that come one by one, in real time
    BURST = "burst"  # many jobs that are done at the same time
    KILLED = "killed"  # a worker that is killed with jobs in flight
    PAIR = "pair"  # two workers compared with one
    ACCEPT = "accept"  # a producer alone
    START = "start"  # from a worker's start to its first poll
    IMPORT = "import"  # the client library's import
    SOAK = "soak"  # memory over time


@dataclass(frozen=True, slots=True)
class Range:
    """The range of a figure over the rounds."""

    low: float
    median: float
    high: float

    def formatted(self, digits: int = 0) -> str:
        """Format the median, and the extremes if they differ."""
        middle = f"{self.median:,.{digits}f}"
        return middle if self.low == self.high else f"{middle} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"


@dataclass(slots=True)
class Results:
    """One run."""

    machine: dict[str, str]
    quick: bool
    contenders: dict[str, dict[str, str]] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read from JSON."""
        return cls(**json.loads(file.read_text()))

    def write(self, file: Path) -> None:
        """Write as JSON."""
        file.write_text(json.dumps(asdict(self), indent=1) + "\n")

    def of(self, scenario: Scenario, contender: str | None = None, **exactly: Any) -> Iterator[dict[str, Any]]:
        """Yield the rows of a scenario that match."""
        for row in self.rows:
            fits = row["scenario"] == scenario and contender in {None, row["contender"]} and "failed" not in row
            if fits and exactly.items() <= row.items():
                yield row

    def range(self, figure: str, scenario: Scenario, contender: str, **exactly: Any) -> Range | None:
        """Return a figure's range over the rounds, or None if it was not measured."""
        found = [row[figure] for row in self.of(scenario, contender, **exactly) if row.get(figure) is not None]
        return Range(min(found), statistics.median(found), max(found)) if found else None

    def median(self, figure: str, scenario: Scenario, contender: str, **exactly: Any) -> float | None:
        """Return a figure's median over the rounds, or None."""
        found = self.range(figure, scenario, contender, **exactly)
        return found.median if found else None

    def loads(self, contender: str, scenario: Scenario = Scenario.FLIGHT) -> list[int]:
        """List the measured numbers of jobs in flight."""
        return sorted({row["jobs"] for row in self.of(scenario, contender)})
