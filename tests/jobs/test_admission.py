"""Admission: whose job is bought next, and when; limits that hold while workers die and jobs are cancelled."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import pytest

from jobs.admission import ACCOUNTS, NO_LIMIT, TENANTS, AccountLoad, Limit, Place, fields_of, of_tenant
from jobs.breakers import Breaker, BreakerTerms
from jobs.errors import StaleTurn, WrongState
from jobs.job import Charged, Hold, Job, Priority, Reason, Terms, VideoRequest
from jobs.ledger import Ledger
from jobs.pauses import what_of
from jobs.scripts import Retention, WakeUp
from jobs.states import State
from jobs.work_items import LEASE_S, Claim
from tests import steps
from tests.stage import Clock, a_request

ONE: Final = Claim(queue=State.QUEUED)
DEADLINE_S: Final = 1000.0


def queued(ledger: Ledger, many: int = 1, *, tenant: str | None = None, model: str = "google/veo3") -> list[str]:
    """Jobs that wait to be bought."""
    request = VideoRequest(model, "a boat")
    accepted = ledger.accept_many([(request, Terms(tenant=tenant, deadline_s=DEADLINE_S)) for _ in range(many)])
    return [one.job_id for one in accepted if not isinstance(one, Exception)]


def served(ledger: Ledger, many: int = 1000) -> list[Job]:
    """What workers claim to buy, one by one, until nothing is left or `many` are claimed."""
    found: list[Job] = []
    while len(found) < many and (claimed := ledger.items.claim(ONE).jobs):
        found += [one.job for one in claimed]
    return found


def tenants(jobs: Sequence[Job]) -> Counter[str | None]:
    """How many of these are whose."""
    return Counter(job.tenant for job in jobs)


def bought(ledger: Ledger, job: Job) -> Job:
    """The claimed job, bought and rendering."""
    steps.submitted(ledger, steps.submitting(ledger, job), f"gen-{job.id}")
    return ledger.get(job.id)


# -- turns -------------------------------------------------------------------------------------------------------------


def test_a_tenants_first_job_is_bought_next_whatever_another_has_queued(ledger: Ledger) -> None:
    """A batch of ten thousand must not stand before somebody's one prompt."""
    queued(ledger, 500, tenant="batch")
    served(ledger, 20)
    (only,) = queued(ledger, tenant="shop")

    assert only in [job.id for job in served(ledger, 2)]


def test_tenants_get_turns_by_weight(ledger: Ledger) -> None:
    """While all of them have jobs waiting; jobs without a tenant are one tenant's."""
    for tenant, weight in (("a", 1), ("b", 2), (None, 4)):
        ledger.admission.set(of_tenant(tenant or ""), Limit(weight=weight))
        queued(ledger, 100, tenant=tenant)

    found = tenants(served(ledger, 140))

    assert {tenant: round(count / 20, 1) for tenant, count in found.items()} == pytest.approx(
        {"a": 1, "b": 2, None: 4}, abs=0.1
    )


def test_who_was_away_saves_up_no_turns(ledger: Ledger) -> None:
    """Else a tenant that returns after a night would have all purchases for an hour."""
    queued(ledger, 400, tenant="steady")
    served(ledger, 200)
    queued(ledger, 100, tenant="returned")

    assert tenants(served(ledger, 40))["returned"] in {20, 21}


def test_priority_is_an_hour_within_the_tenants_own_jobs(ledger: Ledger, clock: Clock) -> None:
    """High goes first; low is never starved, as what comes more than an hour later goes after it."""

    def accepted(priority: Priority) -> str:
        clock.advance(1)
        return ledger.accept(a_request(), Terms(priority=priority)).job_id

    low, normal, high = (accepted(priority) for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH))
    clock.advance(3601)
    late = accepted(Priority.NORMAL)

    assert [job.id for job in served(ledger)] == [high, normal, low, late]


def test_a_job_is_not_bought_before_its_time_and_expires_after_it(ledger: Ledger, clock: Clock) -> None:
    """Tonight's batch; and a prompt that is of no use tomorrow."""
    later = ledger.accept(a_request(), Terms(due_in_s=600)).job_id
    brief = ledger.accept(a_request(), Terms(queue_ttl_s=60)).job_id
    ledger.pauses.pause(by="ann", reason="")
    clock.advance(61)

    (expired,) = served(ledger)

    assert (expired.id, expired.deadline_at) == (brief, clock.now - 1)  # a pause does not keep it from its end
    steps.end(ledger, expired, steps.END)
    ledger.pauses.resume()
    assert served(ledger) == []
    clock.advance(540)
    assert [job.id for job in served(ledger)] == [later]


# -- limits ------------------------------------------------------------------------------------------------------------


def test_no_more_run_upstream_than_the_limit(ledger: Ledger, sent: list[WakeUp]) -> None:
    """A place is taken by the claim, and free again when the video is rendered, or nothing was bought."""
    ledger.admission.set(ACCOUNTS, Limit(in_flight=3))
    queued(ledger, 10)
    first, second, third = served(ledger)
    assert ledger.admission.load() == AccountLoad(3, None, 1, 3)

    rendering = bought(ledger, first)
    assert served(ledger) == []
    sent.clear()
    steps.rendered(ledger, rendering, steps.VIDEO)
    assert [wake_up.queue for wake_up in sent if wake_up.queue == State.QUEUED]
    assert len(served(ledger)) == 1

    steps.held(ledger, steps.submitting(ledger, second), 60, Hold.FORBIDDEN, "no")
    steps.end(ledger, third, steps.END)
    assert len(served(ledger)) == 2


def test_a_cancelled_generation_counts_until_it_must_be_done(ledger: Ledger, clock: Clock) -> None:
    """It runs on, and is paid for."""
    ledger.admission.set(ACCOUNTS, Limit(in_flight=1))
    queued(ledger, 2, tenant="shop")
    (job,) = served(ledger)
    steps.end(ledger, bought(ledger, job), steps.ended(State.CANCELLED, Reason.CANCELLED, "x", Charged.YES))

    clock.advance(DEADLINE_S - 1)
    assert served(ledger) == []
    assert ledger.admission.in_flight_of(["shop"]) == {"shop": 1}
    clock.advance(2)
    assert len(served(ledger)) == 1


def test_a_worker_that_froze_cannot_buy_beyond_the_limit(ledger: Ledger, clock: Clock) -> None:
    """Its lease ended and its place went to another: its turn is stale."""
    ledger.admission.set(ACCOUNTS, Limit(in_flight=1))
    queued(ledger, 2)
    (frozen,) = served(ledger)
    clock.advance(LEASE_S + 1)
    (other,) = served(ledger)

    steps.submitting(ledger, other)
    with pytest.raises(StaleTurn):
        steps.submitting(ledger, frozen)

    assert ledger.admission.load().in_flight == 1


def test_no_minute_has_more_purchases_than_the_rate(ledger: Ledger, clock: Clock) -> None:
    """And the rate is nearly reached, although wake-ups ring on a grid."""
    for per_min in (1, 30, 600):
        ledger.admission.set(ACCOUNTS, Limit(per_min=per_min))
        queued(ledger, 3 * per_min)
        times: list[float] = []
        for _ in range(int(150 / 0.25)):
            times += [clock.now] * len(served(ledger))
            clock.advance(0.25)
        most = max(sum(at <= time < at + 60 for time in times) for at in times)
        assert 0.85 * per_min <= most <= per_min
        clock.advance(120)
        served(ledger)


def test_a_tenant_at_its_limit_stops_nobody_else(ledger: Ledger, clock: Clock) -> None:
    """Of generations in flight, or of purchases a minute."""
    ledger.admission.set(TENANTS, Limit(in_flight=2))
    ledger.admission.set(of_tenant("slow"), Limit(in_flight=NO_LIMIT, per_min=6))
    for tenant in ("full", "slow", "free"):
        queued(ledger, 5, tenant=tenant)
    ledger.admission.set(of_tenant("free"), Limit(in_flight=NO_LIMIT))

    found = served(ledger)
    assert tenants(found) == {"full": 2, "slow": 1, "free": 5}
    for job in found:
        steps.end(ledger, job, steps.END)
    assert tenants(served(ledger)) == {"full": 2}
    clock.advance(10)
    assert tenants(served(ledger)) == {"full": 2, "slow": 1}  # two leases have ended: their workers died


def test_a_change_holds_at_once_and_unset_goes_back_to_the_settings(ledger: Ledger) -> None:
    """The settings come with each claim; what is set live goes before them, and "none" lifts a limit."""
    settings = fields_of({ACCOUNTS: Limit(in_flight=1), TENANTS: Limit()})
    claim = Claim(queue=State.QUEUED, limit=9, limits=settings)
    queued(ledger, 9)

    assert len(ledger.items.claim(claim).jobs) == 1
    ledger.admission.set(ACCOUNTS, Limit(in_flight=3))
    assert len(ledger.items.claim(claim).jobs) == 2
    ledger.admission.set(ACCOUNTS, Limit(in_flight=NO_LIMIT))
    assert len(ledger.items.claim(claim).jobs) == 6
    ledger.admission.unset(ACCOUNTS)
    queued(ledger)
    assert ledger.items.claim(claim).jobs == []


def test_the_account_learns_from_its_429s_how_many_may_run(ledger: Ledger, clock: Clock) -> None:
    """Fewer once for all that were sent before; after a minute a receipt while as many run as may allows one more."""
    queued(ledger, 60)
    running = [bought(ledger, job) for job in served(ledger, 10)]
    (throttled,) = served(ledger, 1)
    for sent_at in (clock.now - 1, clock.now - 2):  # the second was sent before the first was answered
        clock.advance(1)
        terms = BreakerTerms(first_s=1, longest_s=1, after=1)
        ledger.breakers.refused(Breaker.SUBMIT, Hold.THROTTLED, "429", terms=terms, wait_s=1, sent_at=sent_at)
    steps.end(ledger, throttled, steps.END)
    ledger.breakers.passed(Breaker.SUBMIT)

    assert ledger.admission.load() == AccountLoad(10, 7, 1, 10)
    assert served(ledger) == []
    for expected in (7, 8):
        for _ in range(4):
            steps.rendered(ledger, running.pop(0), steps.VIDEO)
        running += [bought(ledger, job) for job in served(ledger)]
        assert ledger.admission.load().learnt == expected
        clock.advance(60)


def test_a_long_storm_of_429s_teaches_once(ledger: Ledger, clock: Clock) -> None:
    """While it lasts, generations end and each trial is refused; afterwards as many may run as its first 429 taught."""
    queued(ledger, 60)
    running = [bought(ledger, job) for job in served(ledger, 10)]
    terms, refused = BreakerTerms(first_s=1, longest_s=1, after=1), 0
    for _ in range(14):
        for tried in served(ledger, 1):
            ledger.breakers.refused(Breaker.SUBMIT, Hold.THROTTLED, "429", terms=terms, sent_at=clock.now)
            steps.end(ledger, tried, steps.END)
            refused += 1
        clock.advance(2)
        if running:
            steps.rendered(ledger, running.pop(), steps.VIDEO)
    assert (refused, running, ledger.admission.load().learnt) == (11, [], 7)

    assert len(served(ledger)) == 1
    ledger.breakers.passed(Breaker.SUBMIT)
    assert len(served(ledger)) == 6


def test_a_429_while_little_runs_lowers_the_limit_by_as_much_as_any(ledger: Ledger, clock: Clock) -> None:
    """It cannot be about how many run; a limit that was set and is lower than what was learnt is where it begins."""
    queued(ledger, 60)
    terms = BreakerTerms(first_s=1, longest_s=1, after=1)

    def refused_while(count: int) -> int | None:
        running = [bought(ledger, job) for job in served(ledger, count)]
        ledger.breakers.refused(Breaker.SUBMIT, Hold.THROTTLED, "429", terms=terms, sent_at=clock.now)
        clock.advance(2)
        ledger.breakers.passed(Breaker.SUBMIT)
        for job in running:
            steps.rendered(ledger, job, steps.VIDEO)
        return ledger.admission.load().learnt

    assert [refused_while(21), refused_while(2), refused_while(1)] == [14, 9, 6]
    ledger.admission.set(ACCOUNTS, Limit(in_flight=4))
    assert refused_while(4) == 2


def test_a_purchase_in_doubt_keeps_the_others_waiting_no_longer_than_a_generation_takes(
    ledger: Ledger, clock: Clock
) -> None:
    """A night of lost replies must not stop all buying until somebody decides each doubt."""
    ledger.admission.set(ACCOUNTS, Limit(in_flight=2))
    queued(ledger, 3)
    for job in served(ledger):
        steps.in_doubt(ledger, steps.submitting(ledger, job), "reset")
    assert (served(ledger), ledger.admission.load().in_flight) == ([], 2)

    clock.advance(Retention().deadline_s)

    assert ledger.admission.load().in_flight == 0
    assert len(served(ledger)) == 1


def test_a_doubt_takes_none_of_the_room_that_the_upstream_was_seen_to_give(ledger: Ledger, clock: Clock) -> None:
    """One lost reply and then one 429: it may never have been bought, and without purchases nothing more is learnt."""
    queued(ledger, 3)
    (lost,) = served(ledger, 1)
    lost = steps.submitting(ledger, lost)
    steps.in_doubt(ledger, lost, "reset")
    (throttled,) = served(ledger, 1)
    clock.advance(1)
    terms = BreakerTerms(first_s=1, longest_s=1, after=1)
    ledger.breakers.refused(Breaker.SUBMIT, Hold.THROTTLED, "429", terms=terms, wait_s=1, sent_at=clock.now)
    steps.end(ledger, throttled, steps.END)
    ledger.breakers.passed(Breaker.SUBMIT)

    load = ledger.admission.load()
    assert (load.in_flight, load.learnt, load.is_at_the_learnt) == (1, 1, False)
    assert not ledger.admission.ready().is_full
    assert len(served(ledger)) == 1
    assert served(ledger) == []

    steps.adopted(ledger, ledger.get(lost.id), "gen-lost", by="a person")
    assert ledger.admission.load().awaited == 2


# -- pauses ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", [what_of(tenant="shop"), what_of(model="google/veo3-fast")])
def test_a_pause_of_a_tenant_or_a_model_holds_those_and_no_others(ledger: Ledger, what: str) -> None:
    """And what was claimed before it is not bought after it."""
    queued(ledger, 3, tenant="shop", model="google/veo3-fast")
    (claimed,) = served(ledger, 1)
    others = queued(ledger, 3, tenant="other", model="google/veo3")
    ledger.pauses.pause(by="ann", reason="", what=what)

    assert {job.id for job in served(ledger)} == set(others)
    with pytest.raises(WrongState, match="paused"):
        steps.submitting(ledger, claimed)
    ledger.pauses.resume(what=what)
    assert len(served(ledger)) == 2


def test_a_job_of_a_paused_model_can_be_cancelled_and_expires(ledger: Ledger, clock: Clock) -> None:
    """It has left its line, and is not forgotten."""
    ledger.pauses.pause(by="ann", reason="", what=what_of(model="google/veo3"))
    cancelled, expired = queued(ledger, 2)
    assert served(ledger) == []

    steps.cancel_requested(ledger, ledger.get(cancelled))
    clock.advance(Retention().queue_ttl_s)

    assert [job.id for job in served(ledger)] == [expired]
    assert ledger.get(cancelled).state is State.CANCELLED


# -- place -------------------------------------------------------------------------------------------------------------


def test_a_jobs_place_is_exact_among_its_tenants_and_an_estimate_among_all(ledger: Ledger, clock: Clock) -> None:
    """With two tenants of equal weight, the third job of one comes after two or three of the other's."""
    for tenant in ("a", "b"):
        for _ in range(5):
            queued(ledger, tenant=tenant)
            clock.advance(0.01)
    third = ledger.get(sorted(ledger.page(tenant="a", limit=9))[2])

    assert ledger.admission.place(third) == Place(3, 6)
    served(ledger)
    assert ledger.admission.place(third) is None
