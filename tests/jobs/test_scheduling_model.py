"""Work items against a model: wake-ups that are lost, doubled, late and reordered, leases that end anywhere.

A machine plays a fleet of workers against the real scripts, by a clock of its own. At any moment it may go to rest:
from then on workers are well, but messages stay lossy, and every job must end, every event reach its receiver, and no
chain of wake-ups go on.
"""

from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Final, cast

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from jobs.errors import JobError
from jobs.facts import Accepted, NotBought, Receipt, Rejected, Unknown
from jobs.job import Hold, Job, Stored, Terms, Video
from jobs.keyspace import PREFIX
from jobs.ledger import Ledger, new_job_id
from jobs.moves.delivery import released
from jobs.moves.download import completed, store_failed
from jobs.moves.move import Move
from jobs.moves.poll import polled, rendered
from jobs.moves.purchase import after_submit, before_submit, in_doubt, submitting
from jobs.moves.reconcile import adopted, still_in_doubt
from jobs.moves.request import if_cancelled, on_cancel
from jobs.outbox import Outbox, ReceiverTerms
from jobs.queues import JOB_QUEUES, QUEUES, delivery_queue
from jobs.scripts import LOST_AFTER_S, SLOT_S, Retention, Scripts, WakeUp
from jobs.states import EDGES, State
from jobs.work_items import LEASE_S, Claim, Item
from tests.stage import Clock, a_request
from tests.steps import POLICY

MOST_JOBS: Final = 3
RESCUE_EVERY_S: Final = 3.0
RECEIVERS: Final = {
    "hook": ("job.completed", "job.cancelled", "job.failed"),
    "log": ("job.accepted", "job.submitting", "job.submitted", "job.completed"),
}
BY_ITS_OWN: Final = frozenset({"job.submitted", "job.held", "job.failed", "job.in_doubt"})
"""How `submitting` may be left."""

TERMS: Final = ReceiverTerms(width=9, longest_s=5)
STORED: Final = Stored("a.mp4", 1, "ab", "video/mp4")


class Fleet(RuleBasedStateMachine):
    """Workers claim what is due and apply their moves at once, much later, twice, or never."""

    client: "redis.Redis"
    clock: Clock

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.messages: list[tuple[float, WakeUp]] = []
        self.scripts = Scripts(
            self.client, retention=Retention(), clock=self.clock, subscribers=(), send_wake_up=self._send
        )
        self.ledger = Ledger(self.client, clock=self.clock, send_wake_up=self._send)
        self.outbox = Outbox(self.scripts)
        self.outbox.register(RECEIVERS)
        self.ids: list[str] = []
        self.held: list[tuple[Job | Item, Move]] = []
        self.spent: set[tuple[str, str, int]] = set()
        self.delivered: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.purchases = 0
        self.came, self.lost = 0, set[str]()

    def _send(self, wake_up: WakeUp) -> None:
        self.messages.append((self.clock() + wake_up.seconds, wake_up))

    # -- what the world does ---------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.ids) < MOST_JOBS)
    @rule()
    def accept(self) -> None:
        """A producer submits a job."""
        job_id = new_job_id()
        self.ledger.accept(a_request(), Terms(job_id=job_id, deadline_s=10_000))
        self.ids.append(job_id)

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0, LEASE_S + 1]))
    def wait(self, seconds: float) -> None:
        """Time passes; leases end."""
        self.clock.advance(seconds)

    @precondition(lambda self: self.ids)
    @rule(which=st.integers(0, MOST_JOBS - 1))
    def cancel(self, which: int) -> None:
        """A person cancels a job, whatever a worker does with it just now."""
        job = self.ledger.get(self.ids[which % len(self.ids)])
        if move := on_cancel(job):
            self._apply([(job, move)])

    @rule()
    def rescue(self) -> None:
        """A rescuer looks for overdue queues."""
        self.ledger.items.rescue([*QUEUES, *map(delivery_queue, RECEIVERS)])

    # -- what the broker does --------------------------------------------------------------------------------------

    @precondition(lambda self: self.messages)
    @rule(which=st.integers(0, 50), fate=st.sampled_from(["comes", "comes", "comes twice", "is lost"]), data=st.data())
    def message(self, which: int, fate: str, data: st.DataObject) -> None:
        """A message comes when it is due or later, in any order, perhaps again; or it is lost."""
        at, wake_up = self.messages[which % len(self.messages)]
        if fate != "is lost" and at > self.clock():
            return
        if fate != "comes twice":
            self.messages.remove((at, wake_up))
        if fate != "is lost":
            self._work_off(wake_up, lambda options: data.draw(st.sampled_from(options)))

    # -- what workers do -------------------------------------------------------------------------------------------

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 50), again=st.booleans())
    def come_back(self, which: int, again: bool) -> None:
        """A worker that was frozen, or whose write was repeated, applies what it decided long ago."""
        move = self.held[which % len(self.held)]
        if not again:
            self.held.remove(move)
        self._apply([move])

    def _work_off(self, wake_up: WakeUp, choose: Callable[[list[str]], str]) -> None:
        """Claim a queue's items and decide; then write, hold on to the decision, or die."""
        queue = wake_up.queue
        fence = queue not in {State.RENDERING, State.IN_DOUBT, State.SUBMITTING}
        limit = 1 if queue in {State.QUEUED, State.STORING} else 2
        claim = Claim(queue=queue, limit=limit, fence=fence, wants_request=True, slot="slot", width=9, slow_s=1e9)
        if not queue.startswith("deliver:"):
            claim = Claim(queue=queue, limit=limit, fence=fence)
        claimed = self.ledger.items.claim(claim, rang=wake_up.rings)
        moves: list[tuple[Job | Item, Move]] = [(one.job, self._decision(one.job, choose)) for one in claimed.jobs]
        moves += [(item, self._delivery(choose)) for item in claimed.items]
        fate = choose(["writes", "writes", "writes", "freezes", "dies"]) if moves else "dies"
        if fate == "writes":
            self._apply(moves)
        elif fate == "freezes":
            self.held += moves
        if queue.startswith("deliver:"):
            self.outbox.report(queue.removeprefix("deliver:"), "slot", [], TERMS)

    def _decision(self, job: Job, choose: Callable[[list[str]], str]) -> Move:  # noqa: PLR0911 (one for each state)
        match job.state:
            case State.QUEUED:
                self.purchases += 1
                suffix = f"{self.purchases}"
                return before_submit(job, now=self.clock()) or submitting(
                    job, lease_s=LEASE_S, worker="w", suffix=suffix
                )
            case State.SUBMITTING:
                return in_doubt("its lease ended", policy=POLICY)
            case State.IN_DOUBT if choose(["found", "not yet"]) == "found":
                return adopted(job, f"g-{job.request_id}", cost_usd=1, first_poll_s=2, by="the log")
            case State.IN_DOUBT:
                return still_in_doubt("not yet", wait_s=3)
            case State.RENDERING if cancelled := if_cancelled(job, keep=False):
                return cancelled
            case State.RENDERING if choose(["done", "pending"]) == "done":
                return rendered(job, Video("https://cdn.example/a.mp4"))
            case State.RENDERING:
                return polled(job, "generating", wait_s=2)
            case _ if choose(["fetched", "broken"]) == "fetched":
                return completed(STORED, None, took_s=100.0, policy=POLICY)
            case _:
                return store_failed("reset", wait_s=1, fresh_url=False)

    def _delivery(self, choose: Callable[[list[str]], str]) -> Move:
        match choose(["taken", "failed", "given back"]):
            case "taken":
                return Move(event="delivery.succeeded", delivered=True, tries=0)
            case "failed":
                return Move(event="delivery.failed", due_in_s=2, tries=1)
            case _:
                return released()

    def _apply(self, moves: list[tuple[Job | Item, Move]]) -> None:
        for (subject, move), answer in zip(moves, self.ledger.apply(moves), strict=True):
            if isinstance(answer, JobError) or move.once:
                continue
            if isinstance(subject, Job) and subject.state is State.SUBMITTING:
                assert move.event in BY_ITS_OWN, f"left submitting by {move.event}"
            else:
                queue = subject.queue if isinstance(subject, Item) else "job"
                assert (queue, subject.id, subject.turn) not in self.spent, "a turn was spent twice"
                self.spent.add((queue, subject.id, subject.turn))
            if isinstance(subject, Item) and move.delivered:
                self.delivered[subject.id, subject.queue.removeprefix("deliver:")].append(subject.events[0].split()[0])
            if move.to is State.SUBMITTING and isinstance(subject, Job):
                bought = subject.model_copy(update={"state": State.SUBMITTING, "turn": answer, **move.set})
                self._buy(bought)

    def _buy(self, job: Job) -> None:
        """Decide what comes of a purchase; its receipt is written when the machine likes, or never."""
        bought = Accepted(f"g-{job.request_id}", 1.0)
        replies: list[Receipt] = [bought, NotBought(Hold.THROTTLED, "429"), Unknown("lost"), Rejected("400")]
        self.held.append((job, after_submit(job, replies[self.purchases % len(replies)], policy=POLICY)))

    # -- what must always be so ------------------------------------------------------------------------------------

    @invariant()
    def an_unfinished_job_stands_in_exactly_one_queue_and_an_ended_one_in_none(self) -> None:
        """The due index is never in doubt about a job."""
        standing = [job_id for queue in JOB_QUEUES for job_id in self.client.zrange(f"{PREFIX}due:{queue}", 0, -1)]
        jobs = [self.ledger.get(job_id) for job_id in self.ids]
        assert sorted(standing) == sorted(job.id for job in jobs if not job.is_final)

    @invariant()
    def every_step_is_a_legal_edge(self) -> None:
        """The job log shows the life of each job."""
        for job_id in self.ids:
            states = [entry.state for entry in self.ledger.job_log.of(job_id) if entry.event.startswith("job.")]
            for before, after in pairwise(states):
                assert before == after or State(after) in EDGES[State(before)]

    def teardown(self) -> None:
        """Go to rest: workers are well, every third message is still lost, and no frozen worker comes back."""
        lucky = _cycle(["writes", "found", "done", "fetched", "taken"])
        for count in range(400):
            self.clock.advance(RESCUE_EVERY_S)
            if count > 1:
                self._nothing_is_overdue()
            self.rescue()
            self._drain(lucky)
            self.held = [
                (job, move) for job, move in self.held if isinstance(job, Job) and job.state is State.SUBMITTING
            ]
            while self.held:
                self._apply([self.held.pop()])
            if self._is_at_rest():
                break
        assert self._is_at_rest(), "a job, a delivery or a chain of wake-ups did not end"
        self._every_event_was_delivered_once_and_in_order()

    def _drain(self, choose: Callable[[list[str]], str]) -> None:
        """Deliver due messages, with those that come of it; lose every third, but no two of a queue in a row."""
        while due := [message for message in self.messages if message[0] <= self.clock()]:
            self.messages = [message for message in self.messages if message[0] > self.clock()]
            for _, wake_up in due:
                self.came += 1
                if self.came % 3 == 0 and wake_up.queue not in self.lost:
                    self.lost.add(wake_up.queue)
                    continue
                self.lost.discard(wake_up.queue)
                self._work_off(wake_up, choose)

    def _nothing_is_overdue(self) -> None:
        allowed = LOST_AFTER_S + 2 * RESCUE_EVERY_S + SLOT_S
        for key in self.client.scan_iter(f"{PREFIX}due:*"):
            ((item, due),) = cast("list[tuple[str, float]]", self.client.zrange(key, 0, 0, withscores=True))
            assert self.clock() - due <= allowed, f"{item} in {key} is overdue by {self.clock() - due} s"

    def _is_at_rest(self) -> bool:
        """Whether all has ended, and no wake-up but stragglers of ended queues is left."""
        return not list(self.client.scan_iter(f"{PREFIX}due:*")) and not self.messages

    def _every_event_was_delivered_once_and_in_order(self) -> None:
        for job_id in self.ids:
            happened = [entry.event for entry in self.ledger.job_log.of(job_id)]
            for receiver, events in RECEIVERS.items():
                wanted = [event for event in happened if event in events]
                assert self.delivered[job_id, receiver] == wanted


def _cycle(preferred: list[str]) -> Callable[[list[str]], str]:
    return lambda options: next(option for option in preferred if option in options)


@pytest.mark.timeout(300)
def test_no_loss_doubling_or_delay_of_wake_ups_stops_a_job_or_an_event(client: "redis.Redis", clock: Clock) -> None:
    """Hypothesis searches for an interleaving that loses an item, moves one twice, or never comes to rest."""

    class Machine(Fleet):
        pass

    Machine.clock, Machine.client = clock, client
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
            report_multiple_bugs=False,
        ),
    )
    client.flushall()
