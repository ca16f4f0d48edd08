"""The ledger against a simple model: moves in random order, deaths, late and doubled receipts."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jobs.errors import StaleTurn, WrongState
from jobs.events import ENDS, SUBSCRIBABLE
from jobs.facts import Accepted
from jobs.job import Charged, Hold, Job, Reason, Stored, Terms, Video
from jobs.ledger import Ledger, new_job_id
from jobs.moves.move import Move
from jobs.moves.purchase import BoughtTwice, after_late_receipt
from jobs.moves.request import on_cancel
from jobs.queues import JOB_QUEUES
from jobs.states import EDGES, State
from jobs.work_items import EARLY_S
from tests import steps
from tests.stage import Clock, a_request, outbox_of
from tests.steps import Poll

RECEIVERS: Final = {"hook": ENDS, "log": SUBSCRIBABLE}
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
        outbox_of(self.client, clock=self.clock).register(RECEIVERS)
        self.ids: list[str] = []
        self.ends: dict[str, State] = {}
        self.upstream = Upstream({})
        self.intents: list[Job] = []
        self.receipts: set[str] = set()

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
            "received": lambda: self.receive(job, Accepted(f"g-{job.request_id}", 1)),
            "lost": lambda: None,
            "refused": lambda: steps.held(self.ledger, job, 5, Hold.THROTTLED, "429"),
            "rejected": lambda: steps.end(
                self.ledger, job, steps.ended(State.FAILED, Reason.REFUSED, "400", Charged.NO)
            ),
        }
        self.try_to(by_reply[reply])

    def receive(self, job: Job, receipt: Accepted) -> None:
        """Write a receipt; if the job has moved on, keep what was bought all the same, as the workers do."""
        self.receipts.add(receipt.generation_id)
        try:
            steps.submitted(self.ledger, job, receipt.generation_id, cost_usd=1, first_poll_s=5)
        except MISFORTUNES:
            job = self.ledger.get(job.id)
            match after_late_receipt(job, receipt, policy=steps.POLICY):
                case Move() as move:
                    self.ledger.move(job, move)
                case BoughtTwice():
                    self.ids.append(new_job_id())
                    self.ledger.bought_twice(job, receipt, job_id=self.ids[-1])

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

    @precondition(lambda self: self.ids)
    @rule(target=held, which=st.integers(0, MOST_JOBS - 1))
    def freeze(self, which: int) -> Job:
        """A buyer freezes before its request leaves, and a person has the purchase made again."""
        job = self.ledger.get(self.ids[which % len(self.ids)])
        if job.state is State.QUEUED:
            self.intend(job)
            self.rescue(60, is_bought_again=True)
        return self.ledger.get(job.id)

    @rule(seconds=st.sampled_from([1, 20, 60]), is_bought_again=st.booleans())
    def rescue(self, seconds: int, is_bought_again: bool) -> None:
        """Time passes; a purchase past its lease is put in doubt, and perhaps a person decides to make it again."""
        self.clock.advance(seconds)
        for job in steps.claimed(self.ledger, State.SUBMITTING):
            assert job.state is State.SUBMITTING
            steps.in_doubt(self.ledger, job, "no word", ask_in_s=5)
            if is_bought_again:
                steps.resubmitted(self.ledger, self.ledger.get(job.id), by="a person")

    @rule(target=held, state=st.sampled_from([State.QUEUED, State.RENDERING, State.STORING]), fence=st.booleans())
    def claim(self, state: State, fence: bool) -> MultipleResults[Job]:
        """A worker claims a due job and may die with it: the job is due again when its lease is over."""
        jobs = steps.claimed(self.ledger, state, limit=1, fence=fence)
        for job in jobs:
            assert job.state is state
            assert job.due_at is not None
            assert job.due_at <= self.clock.now + EARLY_S
            assert job == self.ledger.get(job.id)
        return multiple(*jobs)

    @rule(job=held)
    def read_log(self, job: Job) -> None:
        """The upstream's log is read: a purchase is adopted, its absence proves nothing."""
        now = self.ledger.get(job.id)
        if now.state is State.IN_DOUBT and self.upstream.bought.get(now.request_id or ""):
            self.try_to(
                lambda: steps.adopted(self.ledger, now, f"g-{now.request_id}", cost_usd=1, first_poll_s=5, by="log")
            )

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
        """At most one purchase of each job, and one more for each that a person asked for, in whatever order."""
        per_job: dict[str, int] = {}
        for request_id, bought in self.upstream.bought.items():
            job_id = request_id.rpartition(".")[0]
            per_job[job_id] = per_job.get(job_id, 0) + bought
        assert all(count <= 1 + self.ledger.get(job_id).doubts for job_id, count in per_job.items())

    @invariant()
    def no_receipt_is_lost(self) -> None:
        """Each generation whose receipt arrived is one job's, and only one's."""
        known = [generation_id for job_id in self.ids if (generation_id := self.ledger.get(job_id).generation_id)]
        assert len(known) == len(set(known))
        assert self.receipts <= set(known)

    @invariant()
    def every_job_is_found_or_over(self) -> None:
        """Each unfinished job stands in one queue, each job in one index; an end is never changed."""
        jobs = [self.ledger.get(job_id) for job_id in self.ids]
        standing = [job_id for queue in JOB_QUEUES for job_id in self.client.zrange(f"rushes:due:{queue}", 0, -1)]
        assert sorted(standing) == sorted(job.id for job in jobs if not job.is_final)
        for state in State:
            assert set(self.client.zrange(f"rushes:index:{state}", 0, -1)) == {
                job.id for job in jobs if job.state is state
            }
        assert self.ledger.tallies().get(None, {}) == dict(Counter(job.state for job in jobs))
        for job in jobs:
            assert self.ends.setdefault(job.id, job.state) is job.state or not self.ends[job.id].is_final
            self.ends[job.id] = job.state
            if job.state is State.COMPLETED:
                assert job.generation_id is not None
                assert job.stored is not None

    @invariant()
    def every_job_log_is_a_legal_path(self) -> None:
        """A turn is spent once; states follow the table."""
        beside = {"job.cancel_requested", "job.bought_twice", "job.bought_late"}
        for job_id in self.ids:
            path = [entry for entry in self.ledger.job_log.of(job_id) if entry.event not in beside]
            for before, after in zip(path, path[1:], strict=False):  # noqa: RUF007 (pairs of a list that may be short)
                assert State(after.state) in EDGES[State(before.state)]
                assert after.turn > before.turn

    @invariant()
    def every_event_was_mailed_once_and_in_order(self) -> None:
        """The outboxes hold what the job logs hold, as nobody delivers here."""
        for job_id in self.ids:
            happened = [(entry.event, str(entry.turn)) for entry in self.ledger.job_log.of(job_id)]
            for receiver, events in RECEIVERS.items():
                lines = self.client.hget(f"rushes:item:deliver:{receiver}:{job_id}", "events") or ""
                mailed = [tuple(line.split(" ")[:2]) for line in str(lines).splitlines()]
                assert mailed == [entry for entry in happened if entry[0] in events]


@pytest.mark.timeout(180)
def test_no_order_of_events_breaks_the_ledger(client: "redis.Redis", clock: Clock) -> None:
    """Hypothesis searches for an interleaving that buys twice, loses a job, or leaves the table."""

    class Machine(LedgerMachine):
        ledger = Ledger(client, clock=clock)

    Machine.clock, Machine.client = clock, client
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=60,
            deadline=None,
            phases=[Phase.generate],  # shrinking takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
    client.flushall()
