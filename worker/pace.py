"""The pacings that this process goes by, one for each kind of job; kept fresh beside the rescuer's steps."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic
from typing import Final

from config.settings import PollSettings
from jobs.errors import LedgerUnavailable
from jobs.forecast import Forecast, Latency, Sketch
from jobs.job import Job
from jobs.lessons import Lesson, kind, lesson
from jobs.limits import Limits
from jobs.moves.move import Policy
from jobs.pacing import Dial, InSlots, plan
from jobs.scripts import SLOT_S
from jobs.sketches import Experience, Sketches

REFRESH_S: Final = 10.0
"""How old what this process knows of a kind may become while the kind is in use."""

UNUSED_S: Final = 3600.0
"""A kind that nobody has asked about for this many seconds is dropped."""


@dataclass(slots=True)
class _Known:
    model: str
    experience: Experience
    forecast: Forecast
    policy: Policy
    read_at: float
    used_at: float


class Pace:
    """What is decided about polls, by kind. Asked in microseconds; reads Redis and the upstream only in `refresh`.

    The first job of a kind is the exception: its kind's sketch is read then and there.
    """

    def __init__(
        self,
        base: Policy,
        choice: PollSettings,
        sketches: Sketches,
        ask_upstream: Callable[[str], Latency | None],
        limits: Limits,
    ) -> None:
        self.base = base
        self._choice = choice
        self._dial = Dial(choice.lateness_s, choice.shortest_s, choice.longest_s, choice.interval_s)
        self._sketches = sketches
        self._ask_upstream = ask_upstream
        self._limits = limits
        self._known: dict[str, _Known] = {}

    def policy(self, job: Job) -> Policy:
        """What this deployment chose about waiting, with the pacing of the job's kind."""
        return self._of(job).policy

    def lesson(self, job: Job, *, now: float) -> Lesson | None:
        """What the fleet learns of a job that was found done now."""
        return lesson(job, self._of(job).forecast, now=now)

    def refresh(self) -> None:
        """Read again what is known of the kinds in use, and now and then what the upstream says of them.

        Raises:
            LedgerUnavailable: Redis could not be used; what is known stays good.
        """
        for name, known in list(self._known.items()):
            now = monotonic()
            if now - known.used_at > UNUSED_S:
                self._known.pop(name, None)
            elif now - known.read_at > REFRESH_S:
                self._hear(name, known.model)
                self._read_again(name, known)

    def _of(self, job: Job) -> _Known:
        name = kind(job)
        known = self._known.get(name)
        if known is None:
            try:
                known = self._made(job.model, self._sketches.recall(name))
            except LedgerUnavailable:
                return self._made(job.model, Experience(Sketch(), None))
            known.read_at = -math.inf  # so that the next refresh asks the upstream, too
            self._known[name] = known
        known.used_at = monotonic()
        return known

    def _read_again(self, name: str, known: _Known) -> None:
        found = self._sketches.recall(name)
        known.read_at = monotonic()
        if found != known.experience:
            self._known[name] = replace(self._made(known.model, found), used_at=known.used_at)

    def _made(self, model: str, experience: Experience) -> _Known:
        prior = experience.latency or Latency.typical(self._choice.typical_s)
        forecast, now = Forecast(experience.sketch, prior, experience.pending), monotonic()
        policy = self.base
        if self._choice.pacing == "learned":
            pacing = InSlots(plan(forecast, self._dial), SLOT_S, self._choice.shortest_s)
            policy = replace(self.base, pacing=pacing)
        return _Known(model, experience, forecast, policy, read_at=now, used_at=now)

    def _hear(self, name: str, model: str) -> None:
        """Ask the upstream, if it is time and nobody else of the fleet has just done it."""
        every_s = self._choice.metrics_every_s
        if not every_s or self._limits.wait_s(f"latency:{name.partition(':')[0]}", every_s=every_s):
            return
        latency = self._ask_upstream(model)
        if latency is not None:
            self._sketches.heard(name, latency)
