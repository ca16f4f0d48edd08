"""The ledger against a simple model: steps in random order, deaths, late and doubled deliveries."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jobs.claims import Claim
from jobs.errors import StaleTurn, WrongState
from jobs.job import Charged, Hold, Job, Reason, Stored, Terms, Video
from jobs.ledger import Ledger, new_job_id
from jobs.moves.request import on_cancel
from jobs.states import EDGES, State
from tests import steps
from tests.stage import Clock, a_request
from tests.steps import Poll

CLAIM: Final = Claim(grace_s=5, limit=100, lease_s=10, longest_lease_s=60)
MOST_JOBS: Final = 2  # few jobs, so that many steps meet on each
MISFORTUNES: Final = (StaleTurn, WrongState)


@dataclass
class Upstream:
    """What really happened outside: how often each request id bought, which no ledger may change."""

    bought: dict[str, int]


class LedgerMachine(RuleBasedStateMachine):
    """Workers hold copies of jobs for as long as they like, and act on them whenever they like, or never."""

    held = Bundle("held")  # what some worker read and may still act on, however old

    ledger: Ledger
    clock: Clock
    client: "redis.Redis"

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.ids: list[str] = []
        self.ends: dict[str, State] = {}
        self.upstream = Upstream({})
        self.intents: list[Job] = []

    @precondition(lambda self: len(self.ids) < MOST_JOBS)
    @rule(target=held)
    def accept(self) -> Job:
        """A producer submits."""
        job_id = new_job_id()
        self.ledger.accept(a_request(), Terms(job_id=job_id, deadline_s=100))
        self.ids.append(job_id)
        return self.ledger.get(job_id)

    @precondition(lambda self: self.ids)
    @rule(target=held, which=st.integers(0, MOST_JOBS - 1))
    def read(self, which: int) -> Job:
        """A worker reads a job as it is now."""
        return self.ledger.get(self.ids[which % len(self.ids)])

    @precondition(lambda self: self.intents)
    @rule(reply=st.sampled_from(["received", "received", "received", "lost", "refused", "rejected"]))
    def buy(self, reply: str) -> None:
        """Send the request of the oldest intent once; its reply may be lost on the way."""
        job = self.intents.pop(0)
        assert job.request_id is not None
        self.upstream.bought[job.request_id] = reply in {"received", "lost"}
        by_reply: dict[str, Callable[[], object]] = {
            "received": lambda: steps.submitted(self.ledger, job, f"g-{job.request_id}", cost_usd=1, first_poll_s=5),
            "lost": lambda: None,
            "refused": lambda: steps.held(self.ledger, job, 5, Hold.THROTTLED, "429"),
            "rejected": lambda: steps.end(
                self.ledger, job, steps.ended(State.FAILED, Reason.REFUSED, "400", Charged.NO)
            ),
        }
        self.try_to(by_reply[reply])

    @rule(target=held, job=held, choice=st.integers(0, 3))
    def act(self, job: Job, choice: int) -> object:
        """A worker makes the next step of the job that it read, however long ago that was; or somebody cancels."""
        match job.state:
            case State.QUEUED if choice:
                self.by_turn(job, lambda: self.intend(job))
            case State.RENDERING if choice == 1:
                self.by_turn(job, lambda: steps.rendered(self.ledger, job, Video("https://cdn.example/a.mp4")))
            case State.RENDERING if choice:
                self.poll(job)
            case State.STORING if choice == 1:
                self.by_turn(job, lambda: steps.store_failed(self.ledger, job, 5, "reset"))
            case State.STORING if choice == 2:
                self.by_turn(job, lambda: steps.needs_fresh_url(self.ledger, job, 5, "403"))
            case State.STORING if choice:
                self.by_turn(job, lambda: steps.completed(self.ledger, job, Stored("a.mp4", 1, "ab", "video/mp4")))
            case State.SUBMITTING | State.IN_DOUBT:
                self.try_to(lambda: steps.cancel_requested(self.ledger, job))
            case _:
                verdict = on_cancel(job)
                if verdict is not None:
                    self.by_turn(job, lambda: steps.end(self.ledger, job, verdict))
        return self.ledger.get(job.id)

    def poll(self, job: Job) -> None:
        """Write a poll that found nothing new; only the holder of the latest turn moves the job by it."""
        before = self.ledger.get(job.id)
        steps.polled(self.ledger, [Poll(job, "generating", 5)])
        moved = self.ledger.get(job.id).turn != before.turn
        assert moved == (before.turn == job.turn and before.state is State.RENDERING)

    def intend(self, job: Job) -> None:
        """Write the intent to buy; the worker may send the request at any time, or die."""
        self.intents.append(steps.submitting(self.ledger, job, lease_s=30, worker="w"))

    @rule(seconds=st.sampled_from([1, 20, 60]))
    def rescue(self, seconds: int) -> None:
        """Time passes; whatever is overdue is found, and a buyer past its lease is put in doubt."""
        self.clock.advance(seconds)
        for state in (State.SUBMITTING, State.IN_DOUBT):
            for overdue in self.ledger.claims.overdue(state, CLAIM):
                job = self.ledger.get(overdue.job_id)
                assert job.state is state
                if state is not State.SUBMITTING:
                    continue
                self.try_to(lambda job=job: steps.in_doubt(self.ledger, job, "no word", ask_in_s=5))  # type: ignore[misc]  # a lambda's default

    @rule(state=st.sampled_from([State.QUEUED, State.RENDERING, State.STORING]))
    def claim(self, state: State) -> None:
        """A worker claims a due job and may die with it: the job is due again when its lease is over."""
        claimed = self.ledger.wakes.take(state, limit=1, lease_s=10)
        for job in claimed.jobs:
            assert job.state is state
            assert job.due_at is not None
            assert job.due_at <= self.clock.now + 1

    @rule(job=held)
    def read_log(self, job: Job) -> None:
        """The upstream's log is read: a purchase is adopted, its absence proves nothing."""
        now = self.ledger.get(job.id)
        if now.state is State.IN_DOUBT and self.upstream.bought.get(now.request_id or ""):
            self.try_to(
                lambda: steps.adopted(self.ledger, now, f"g-{now.request_id}", cost_usd=1, first_poll_s=5, by="log")
            )

    @rule(job=held)
    def announce(self, job: Job) -> None:
        """The job's end is put into the outbox of a hook."""
        if job.is_final:
            self.try_to(lambda: steps.announced(self.ledger, [(job, ["a:b"])]))

    def by_turn(self, job: Job, act: Callable[[], object]) -> None:
        """A step that only the holder of the latest turn may make: anybody else must be refused."""
        late = self.ledger.get(job.id).turn != job.turn
        try:
            act()
        except MISFORTUNES:
            return
        assert not late, f"a message of turn {job.turn} moved a job that had gone on"

    def try_to(self, act: Callable[[], object]) -> None:
        """A worker's step; being too late is not a failure."""
        try:
            act()
        except MISFORTUNES:
            return

    @invariant()
    def nothing_is_bought_twice(self) -> None:
        """At most one purchase of each job, whatever the order of things."""
        per_job: dict[str, int] = {}
        for request_id, bought in self.upstream.bought.items():
            job_id = request_id.rpartition(".")[0]
            per_job[job_id] = per_job.get(job_id, 0) + bought
        assert all(count <= 1 for count in per_job.values())

    @invariant()
    def every_job_is_found_or_over(self) -> None:
        """`due` holds exactly the unfinished; each index holds its own; an end is never changed."""
        jobs = [self.ledger.get(job_id) for job_id in self.ids]
        assert self.ledger.claims.unfinished() == {job.id for job in jobs if not job.is_final}
        for state in State:
            assert set(self.client.zrange(f"rushes:index:{state}", 0, -1)) == {
                job.id for job in jobs if job.state is state
            }
        for job in jobs:
            assert self.ends.setdefault(job.id, job.state) is job.state or not self.ends[job.id].is_final
            self.ends[job.id] = job.state
            if job.state is State.COMPLETED:
                assert job.generation_id is not None
                assert job.stored is not None

    @invariant()
    def every_job_log_is_a_legal_path(self) -> None:
        """Turns count up by one; states follow the table."""
        beside = {"job.rescued", "job.cancel_requested", "job.announced"}
        for job_id in self.ids:
            path = [entry for entry in self.ledger.job_log.of(job_id) if entry.event not in beside]
            for before, after in zip(path, path[1:], strict=False):  # noqa: RUF007 (pairs of a list that may be short)
                assert State(after.state) in EDGES[State(before.state)]
                assert after.turn == before.turn + 1


@pytest.mark.timeout(180)
def test_no_order_of_events_breaks_the_ledger(client: "redis.Redis", clock: Clock) -> None:
    """Hypothesis searches for an interleaving that buys twice, loses a job, or leaves the table."""

    class Machine(LedgerMachine):
        ledger = Ledger(client, clock=clock)

    Machine.clock, Machine.client = clock, client
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    client.flushall()
