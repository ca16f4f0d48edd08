"""The ready stage against its rule: a tenant stands among those to be served if and only if it could be served.

A machine accepts, claims, buys, holds, ends, cancels and loses jobs of a few tenants, and changes limits and pauses.
After each step the sets in Redis are compared with what they must be.
"""

from typing import Final

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from jobs.admission import ACCOUNTS, NO_LIMIT, Limit, of_tenant
from jobs.errors import JobError
from jobs.job import Charged, Hold, Job, Reason, Terms, VideoRequest
from jobs.keyspace import PREFIX
from jobs.ledger import Ledger
from jobs.moves.move import ended
from jobs.moves.purchase import given_back, held
from jobs.moves.request import on_cancel
from jobs.pauses import what_of
from jobs.states import State
from jobs.work_items import LEASE_S, Claim
from tests import steps
from tests.stage import Clock

TENANTS: Final = ("", "a", "b")
MODELS: Final = ("m/one", "m/two")
RUNNING: Final = (State.SUBMITTING, State.IN_DOUBT, State.RENDERING)
WHATS: Final = (None, *(what_of(tenant=tenant) for tenant in TENANTS), *(what_of(model=model) for model in MODELS))


class Admission(RuleBasedStateMachine):
    """Producers, workers that may die, and an operator."""

    client: "redis.Redis"
    clock: Clock

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.ledger = Ledger(self.client, clock=self.clock)
        self.ids: list[str] = []
        self.claimed: dict[str, Job] = {}
        self.caps: dict[str, int] = {}

    @rule(
        tenant=st.sampled_from(TENANTS),
        model=st.sampled_from(MODELS),
        many=st.integers(1, 3),
        delay=st.sampled_from([0, 5]),
    )
    def accept(self, tenant: str, model: str, many: int, delay: float) -> None:
        """A tenant submits jobs."""
        for _ in range(many):
            terms = Terms(tenant=tenant or None, due_in_s=delay, deadline_s=50, queue_ttl_s=200)
            self.ids.append(self.ledger.accept(VideoRequest(model, "a boat"), terms).job_id)

    @rule(limit=st.integers(1, 4))
    def claim(self, limit: int) -> None:
        """A worker claims jobs: never more than may run."""
        before = self.client.zcount(f"{PREFIX}in_flight:default", f"({self.clock.now}", "+inf")
        found = self.ledger.items.claim(Claim(queue=State.QUEUED, limit=limit)).jobs
        live = [one.job for one in found if one.job.deadline_at > self.clock.now]
        self.claimed |= {one.job.id: one.job for one in found}
        after = self.client.zcount(f"{PREFIX}in_flight:default", f"({self.clock.now}", "+inf")
        cap = self.caps.get(ACCOUNTS)
        assert not live or cap is None or after <= max(cap, before)

    @precondition(lambda self: self.claimed)
    @rule(which=st.integers(0, 20), fate=st.sampled_from(["bought", "held", "given back", "ends", "stuck", "lost"]))
    def work(self, which: int, fate: str) -> None:
        """A worker does something with what it claimed, perhaps too late; or it dies."""
        job = self.claimed.pop(sorted(self.claimed)[which % len(self.claimed)])
        try:
            if fate in {"bought", "stuck"}:
                job = steps.submitting(self.ledger, job)
                if fate == "bought":
                    steps.submitted(self.ledger, job, f"gen-{job.id}")
            elif fate == "held":
                self.ledger.move(job, held(job, Hold.UNAVAILABLE, "no", wait_s=3))
            elif fate == "given back":
                self.ledger.move(job, given_back())
            elif fate == "ends":
                self.ledger.move(job, steps.END)
        except JobError:
            pass  # another has it

    @precondition(lambda self: self.ids)
    @rule(which=st.integers(0, 50), fate=st.sampled_from(["rendered", "expired", "failed", "in doubt", "resubmitted"]))
    def generation(self, which: int, fate: str) -> None:
        """A generation goes on, if the job has one."""
        job = self.ledger.get(self.ids[which % len(self.ids)])
        if fate == "rendered" and job.state is State.RENDERING:
            steps.rendered(self.ledger, job, steps.VIDEO)
        elif fate == "expired" and job.state is State.RENDERING:
            self.ledger.move(job, ended(State.EXPIRED, Reason.DEADLINE_PASSED, "late", Charged.YES, late_fetch_in_s=9))
        elif fate == "failed" and job.state is State.RENDERING:
            self.ledger.move(job, steps.END)
        elif fate == "in doubt" and job.state is State.SUBMITTING:
            steps.in_doubt(self.ledger, job, "lost", ask_in_s=5)
        elif fate == "resubmitted" and job.state is State.IN_DOUBT:
            steps.resubmitted(self.ledger, job, by="a person")

    @precondition(lambda self: self.ids)
    @rule(which=st.integers(0, 50))
    def cancel(self, which: int) -> None:
        """Somebody cancels a job."""
        job = self.ledger.get(self.ids[which % len(self.ids)])
        if move := on_cancel(job):
            self.ledger.apply([(job, move)])

    @rule(seconds=st.sampled_from([0.3, 4.0, LEASE_S + 1, 60.0]))
    def wait(self, seconds: float) -> None:
        """Time passes: leases, holds, rates and deadlines end."""
        self.clock.advance(seconds)

    @rule(
        scope=st.sampled_from([ACCOUNTS, *map(of_tenant, TENANTS)]),
        in_flight=st.sampled_from([1, 2, 5, NO_LIMIT]),
        per_min=st.sampled_from([None, 6, NO_LIMIT]),
    )
    def limit(self, scope: str, in_flight: int | str, per_min: float | str | None) -> None:
        """An operator sets limits."""
        self.ledger.admission.set(scope, Limit(in_flight=in_flight, per_min=per_min))
        if isinstance(in_flight, int):
            self.caps[scope] = in_flight
        else:
            self.caps.pop(scope, None)

    @rule(what=st.sampled_from(WHATS), is_over=st.booleans())
    def pause(self, what: str | None, is_over: bool) -> None:
        """An operator pauses or resumes."""
        if is_over:
            self.ledger.pauses.resume(what=what)
        else:
            self.ledger.pauses.pause(by="ann", reason="", what=what)

    @invariant()
    def who_can_be_served_stands_there(self) -> None:
        """A tenant with a ready job, no pause and room: among those to be served, or with a time for its rate."""
        paused = self.ledger.pauses.current()
        for tenant in TENANTS:
            is_ready = bool(self.client.exists(f"{PREFIX}ready:default:{tenant}"))
            running = int(self.client.zcard(f"{PREFIX}in_flight:default:{tenant}"))
            cap = self.caps.get(of_tenant(tenant), 1000)
            could = is_ready and what_of(tenant=tenant) not in paused and running < cap
            stands = self.client.zscore(f"{PREFIX}tenants:default", tenant) is not None
            waits = self.client.zscore(f"{PREFIX}rates:default", tenant) is not None
            assert not (stands and waits)
            expired = int(self.client.zcount(f"{PREFIX}in_flight:default:{tenant}", 0, self.clock.now))
            if not expired:  # the next claim counts these no more
                assert (stands or waits) == could, tenant
            assert bool(self.client.sismember(f"{PREFIX}waiting:default", tenant)) == is_ready

    @invariant()
    def each_job_waits_in_one_place(self) -> None:
        """A queued job is in its queue; it is ready, parked, or it has a due time; nobody else is in a line."""
        lines = {
            job_id: tenant
            for tenant in TENANTS
            for job_id in self.client.zrange(f"{PREFIX}ready:default:{tenant}", 0, -1)
        }
        parked = {job_id for model in MODELS for job_id in self.client.zrange(f"{PREFIX}parked:default:{model}", 0, -1)}
        running = set(self.client.zrange(f"{PREFIX}in_flight:default", 0, -1))
        assert not parked & lines.keys()
        for job in map(self.ledger.get, self.ids):
            queues = [q for q in State if self.client.zscore(f"{PREFIX}due:{q}", job.id) is not None]
            assert queues == ([] if job.is_final else [job.state])
            if job.state is State.QUEUED:
                assert lines.get(job.id, job.tenant or "") == (job.tenant or "")
            else:
                assert job.id not in lines
                assert job.id not in parked
            if job.state in RUNNING:
                assert job.id in running
            if job.state is State.STORING or job.state in {State.COMPLETED, State.FAILED}:
                assert job.id not in running

    def teardown(self) -> None:
        """With all limits and pauses gone, and only then, everything that waits is claimed."""
        for what in WHATS:
            self.ledger.pauses.resume(what=what)
        for scope in (ACCOUNTS, *map(of_tenant, TENANTS)):
            self.ledger.admission.set(scope, Limit(in_flight=NO_LIMIT, per_min=NO_LIMIT))
        self.clock.advance(LEASE_S + 6)
        waiting = {job.id for job in map(self.ledger.get, self.ids) if job.state is State.QUEUED}
        claimed: set[str] = set()
        while found := self.ledger.items.claim(Claim(queue=State.QUEUED, limit=8)).jobs:
            claimed |= {one.job.id for one in found}
        assert claimed == waiting


@pytest.mark.timeout(300)
def test_the_ready_stage_keeps_its_rule(client: "redis.Redis", clock: Clock) -> None:
    """Whatever producers, workers and operators do, in any order."""
    Admission.client, Admission.clock = client, clock
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        Admission,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=checks,
            phases=(Phase.generate,),
        ),  # shrinking takes minutes
    )
