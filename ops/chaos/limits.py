"""The drill with limits: tenants with weights, a cap, a rate, pauses and cancels, and what must hold of them."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from jobs.admission import Limit, of_tenant
from jobs.errors import JobError, LedgerUnavailable
from jobs.events import LogEntry
from jobs.pauses import what_of
from ops.chaos.invariants import Invariant
from ops.sandbox.generation_file import generations_in
from producer.service import Service

CAP: Final = 8
WEIGHTS: Final[Mapping[str, int]] = {"one": 1, "two": 2, "four": 4}
_BY_TURNS: Final = [tenant for tenant, weight in WEIGHTS.items() for _ in range(weight)]
RATED: Final = "rated"
PER_MIN: Final = 20
PAUSES: Final = (None, what_of(tenant="two"), what_of(model="google/veo3"))
PAUSE_S: Final = (2.0, 6.0)
GAP_S: Final = 12.0
CANCEL_EVERY_S: Final = 3.0
RECEIVERS_KNOWN_S: Final = 20.0
"""What ends before the first worker has started, and registered its receivers, is delivered to none."""
NEAR: Final = 0.10
"""How far a tenant's share may be from its weight."""

MOST_BETWEEN: Final = 40
"""Purchases of others between two of a waiting tenant: several rounds, as workers die with what they took."""


@dataclass
class Operator:
    """Sets limits, submits as several tenants, pauses and resumes, and cancels jobs at random."""

    service: Service
    rng: random.Random
    accepted: list[str]
    pauses: list[tuple[str | None, float, float]] = field(default_factory=list)
    _pause: tuple[str | None, float] | None = None
    _pause_at_s: float = GAP_S
    _cancel_at_s: float = RECEIVERS_KNOWN_S
    _submitted: int = 0

    def start(self) -> None:
        """Set the limits."""
        for tenant, weight in WEIGHTS.items():
            self.service.set_limit(of_tenant(tenant), Limit(weight=weight))
        self.service.set_limit(of_tenant(RATED), Limit(per_min=PER_MIN))

    def tenant(self) -> str:
        """Whose the next job is, by turns."""
        self._submitted += 1
        return RATED if self._submitted % 10 == 0 else _BY_TURNS[self._submitted % len(_BY_TURNS)]

    def step(self, at_s: float) -> None:
        """Do what is due `at_s` seconds after the drill's start."""
        with suppress(LedgerUnavailable):
            if at_s >= self._pause_at_s:
                if self._pause is None:
                    what = self.rng.choice(PAUSES)
                    self._pause = what, self.service.pause(by="the drill", reason="", what=what).at
                    self._pause_at_s = at_s + self.rng.uniform(*PAUSE_S)
                else:
                    self.resume()
                    self._pause_at_s = at_s + self.rng.uniform(0.5, 1.5) * GAP_S
            if at_s >= self._cancel_at_s and self.accepted:
                self._cancel_at_s = at_s + CANCEL_EVERY_S
                with suppress(JobError):
                    self.service.cancel(self.rng.choice(self.accepted[-50:]))

    def resume(self) -> None:
        """End the pause, if there is one; what was bought until just before counts as under it."""
        if self._pause is not None:
            (what, since), until = self._pause, self.service.now()
            self.service.resume(what=what)
            self.pauses.append((what, since, until))
            self._pause = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A job of a tenant: when it was accepted, when its purchase began, and when it ended."""

    tenant: str
    accepted_at: float
    bought_at: float | None
    waited_until: float


def examine_limits(
    service: Service, accepted: Sequence[str], pauses: Sequence[tuple[str | None, float, float]], generations: Path
) -> Iterator[Invariant]:
    """Check the cap and the rate by the upstream's own record, shares and pauses by the job logs."""
    found = list(generations_in(generations))
    most = _most_at_once([(one.accepted_ms, one.ready_ms) for one in found])
    yield Invariant("the cap was never passed", most <= CAP, f"at most {most} of {CAP} generations ran at once")
    logs = {job.id: (job.tenant or "", list(service.events(job.id))) for job, _ in service.get_many(accepted)}
    rated = sorted(one.accepted_ms for one in found if logs.get(_job_of(one.client_request_id), ("", []))[0] == RATED)
    most = max((sum(at <= other < at + 60_000 for other in rated) for at in rated), default=0)
    yield Invariant(
        "no minute had more purchases than the rate",
        most <= PER_MIN,
        f"at most {most} of {PER_MIN}, {len(rated)} in all",
    )
    turns = [_turn(tenant, entries) for tenant, entries in logs.values() if entries]
    yield _fair(turns)
    yield _none_starved(turns)
    yield _nothing_under_a_pause(logs, pauses)


def _job_of(request_id: str | None) -> str:
    return (request_id or "").rpartition(".")[0]


def _most_at_once(spans: Sequence[tuple[int, int]]) -> int:
    """Count the most spans that overlap; one that ends as another begins does not."""
    running = most = 0
    for _, step in sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans]):
        running += step
        most = max(most, running)
    return most


def _turn(tenant: str, entries: Sequence[LogEntry]) -> Turn:
    bought = next((entry.at for entry in entries if entry.event == "job.submitting"), None)
    return Turn(tenant, entries[0].at, bought, entries[-1].at if bought is None else bought)


def _fair(turns: Sequence[Turn]) -> Invariant:
    """Compare the purchases, while every weighted tenant had jobs waiting, with the weights."""
    bought: Counter[str] = Counter()
    steps = [(turn.accepted_at, turn.tenant, 1) for turn in turns] + [
        (turn.waited_until, turn.tenant, -1 if turn.bought_at is not None else -2) for turn in turns
    ]
    waiting: Counter[str] = Counter()
    for _, tenant, step in sorted(steps):
        if step == -1 and all(waiting[name] for name in WEIGHTS):
            bought[tenant] += 1
        waiting[tenant] += 1 if step == 1 else -1
    total, weights = sum(bought[name] for name in WEIGHTS), sum(WEIGHTS.values())
    shares = {name: bought[name] / total if total else 0.0 for name in WEIGHTS}
    kept = total > 0 and all(abs(shares[name] - weight / weights) <= NEAR for name, weight in WEIGHTS.items())
    figure = ", ".join(f"{name} {shares[name]:.0%} of {weight / weights:.0%}" for name, weight in WEIGHTS.items())
    return Invariant("tenants shared by weight", kept, f"{figure}; of {total} while all had jobs waiting")


def _none_starved(turns: Sequence[Turn]) -> Invariant:
    """Count the purchases of others between two of a tenant that had jobs waiting all the while."""
    purchases = sorted((turn.bought_at, turn.tenant) for turn in turns if turn.bought_at is not None)
    most = 0
    for tenant in WEIGHTS:
        places = [place for place, (_, whose) in enumerate(purchases) if whose == tenant]
        for before, after in pairwise(places):
            began = purchases[before][0]
            if any(turn.tenant == tenant and turn.accepted_at <= began < turn.waited_until for turn in turns):
                most = max(most, after - before - 1)
    return Invariant(
        "nobody was starved", most <= MOST_BETWEEN, f"at most {most} purchases of others between two of one's"
    )


def _nothing_under_a_pause(
    logs: Mapping[str, tuple[str, Sequence[LogEntry]]], pauses: Sequence[tuple[str | None, float, float]]
) -> Invariant:
    began = [
        (entry.at, tenant) for tenant, entries in logs.values() for entry in entries if entry.event == "job.submitting"
    ]
    wrong = [
        at
        for what, since, until in pauses
        for at, tenant in began
        if since < at < until and what in {None, what_of(tenant=tenant), what_of(model="google/veo3")}
    ]
    return Invariant(
        "nothing was bought under a pause", not wrong, f"{len(wrong)} of {len(began)} under {len(pauses)} pauses"
    )
