"""The outboxes: the script that writes an event mails it, and few slots make each receiver's deliveries."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pytest
import redis

from config.webhook_endpoints import Endpoints
from jobs.breakers import BreakerTerms
from jobs.delivery import Delivered, Delivery, DeliveryLine, NotDelivered, Outcome
from jobs.events import ENDS, SUBSCRIBABLE
from jobs.facts import Accepted
from jobs.job import Charged, Reason, Terms
from jobs.ledger import Ledger, new_job_id
from jobs.moves.delivery import RetryTerms, Timed, after_delivery, released
from jobs.outbox import Attempt, Outbox, ReceiverTerms
from jobs.queues import delivery_queue
from jobs.scripts import LOST_AFTER_S, Retention, Scripts, WakeUp
from jobs.states import State
from jobs.test_deliveries import TEST_EVENT, new_test_delivery_id
from jobs.work_items import LEASE_S, Claim, Item
from tests import steps
from tests.stage import Clock, a_request, outbox_of
from tests.steps import STORED, VIDEO, Poll, job_in

HOOK: Final = "shop:notify"
TERMS: Final = ReceiverTerms(width=2, longest_s=60, breaker=BreakerTerms(first_s=10, longest_s=25, after=3))
LINE: Final = DeliveryLine("job_1", "job.completed", delivered=True, tries=1, took_s=0.1, message="delivered")
EXPIRED: Final = steps.ended(State.EXPIRED, Reason.DEADLINE_PASSED, "late", Charged.YES, late_fetch_in_s=0)


@pytest.fixture
def outbox(client: "redis.Redis", clock: Clock, sent: list[WakeUp]) -> Outbox:
    """The outboxes of the same deployment."""
    return outbox_of(client, clock=clock, send_wake_up=sent.append)


@pytest.fixture
def endpoints(client: "redis.Redis", clock: Clock) -> Endpoints:
    """The webhook endpoints of the same deployment."""
    return Endpoints(Scripts(client, retention=Retention(), clock=clock, subscribers=()))


def claim(ledger: Ledger, receiver: str = HOOK, *, slot: str = "one", limit: int = 9) -> Sequence[Item]:
    """The deliveries that a slot claims."""
    wanted = Claim(queue=delivery_queue(receiver), limit=limit, slot=slot, width=TERMS.width, slow_s=TERMS.slow_s)
    return ledger.items.claim(wanted).items


def claimed(ledger: Ledger, receiver: str = HOOK, *, slot: str = "one") -> Item:
    """The one delivery that a slot claims."""
    (item,) = claim(ledger, receiver, slot=slot)
    return item


def attempt(
    ledger: Ledger, outbox: Outbox, item: Item, outcome: Outcome, *, slot: str = "one", took_s: float = 0.1
) -> float:
    """Write an attempt as a worker does; returns for how many seconds the receiver has been failing."""
    delivery = Delivery.of(item)
    ledger.apply(
        [(item, after_delivery(delivery, outcome, RetryTerms((5.0,) * 99), timed=Timed(1.0, took_s), spread=0.5))]
    )
    is_blameless = isinstance(outcome, NotDelivered) and outcome.is_blameless
    line = replace(LINE, job_id=item.id, delivered=isinstance(outcome, Delivered), took_s=took_s)
    return outbox.report(delivery.receiver, slot, [Attempt(line, is_blameless)], TERMS)


def deliver(ledger: Ledger, outbox: Outbox, item: Item, *, slot: str = "one") -> None:
    """The receiver accepts the delivery."""
    attempt(ledger, outbox, item, Delivered(), slot=slot)


def known_as_quick(ledger: Ledger, outbox: Outbox) -> None:
    """Make a first delivery, by which the receiver is known to be quick."""
    outbox.register({HOOK: ENDS})
    job_in(ledger, State.COMPLETED)
    deliver(ledger, outbox, claimed(ledger))


def events_of(item: Item) -> list[str]:
    """The names of the events that wait in a delivery."""
    return [line.split()[0] for line in item.events]


# -- mailing: by the script that writes the event -------------------------------------------------------------------


def test_the_script_that_ends_a_job_mails_its_end(ledger: Ledger, outbox: Outbox, clock: Clock) -> None:
    """Nobody can die between the two; the delivery has the event's turn and time."""
    outbox.register({HOOK: ENDS, "sql": ENDS})

    job = job_in(ledger, State.COMPLETED)

    for receiver in (HOOK, "sql"):
        item = claimed(ledger, receiver)
        assert item.job == job
        assert Delivery.of(item) == Delivery(receiver, job.id, "job.completed", job.turn, clock.now, tries=0)


def test_each_subscribed_event_arrives_once_and_in_order(ledger: Ledger, outbox: Outbox) -> None:
    """One delivery of a job holds all its events for a receiver, so that none overtakes another."""
    outbox.register({HOOK: SUBSCRIBABLE, "sql": ENDS})

    job = job_in(ledger, State.COMPLETED)

    happened = [entry.event for entry in ledger.job_log.of(job.id)]
    assert events_of(claimed(ledger)) == [event for event in happened if event != "job.polled"]
    assert events_of(claimed(ledger, "sql")) == ["job.completed"]


def test_events_are_delivered_one_after_the_other(ledger: Ledger, outbox: Outbox, clock: Clock) -> None:
    """A later event waits until the earlier one is delivered or given up, however long that takes."""
    outbox.register({HOOK: SUBSCRIBABLE})
    job_id = ledger.accept(a_request(), Terms(deadline_s=1000)).job_id
    first = claimed(ledger)
    steps.submitting(ledger, ledger.get(job_id))  # while the first is under way
    attempt(ledger, outbox, first, NotDelivered("no"))
    assert claim(ledger) == []

    clock.advance(5)
    again = claimed(ledger)
    assert (Delivery.of(again).event, Delivery.of(again).tries) == ("job.accepted", 1)
    attempt(ledger, outbox, again, NotDelivered("never", never=True))

    second = claimed(ledger)
    assert (Delivery.of(second).event, Delivery.of(second).tries) == ("job.submitting", 0)
    deliver(ledger, outbox, second)
    assert claim(ledger) == []
    assert outbox.waiting() == {}


def test_a_poll_is_never_mailed(ledger: Ledger, outbox: Outbox, client: "redis.Redis") -> None:
    """Ten thousand polls a second would be ten thousand deliveries, whatever a newer version subscribes to."""
    outbox.register({HOOK: ("job.polled", "job.rendered")})
    job = job_in(ledger, State.RENDERING)
    steps.polled(ledger, [Poll(job, "queued", 10)])
    assert outbox.waiting() == {}
    assert not client.exists(f"rushes:followups:{job.id}")

    steps.rendered(ledger, ledger.get(job.id), VIDEO)
    assert events_of(claimed(ledger)) == ["job.rendered"]


def test_what_is_no_jobs_event_is_mailed_to_nobody(ledger: Ledger, outbox: Outbox) -> None:
    """A delivery that mailed its own outcome would never end."""
    outbox.register({HOOK: ("job.completed", "delivery.succeeded", "delivery.failed")})
    job_in(ledger, State.COMPLETED)

    item = claimed(ledger)
    attempt(ledger, outbox, item, NotDelivered("no"))

    assert events_of(item) == ["job.completed"]
    assert outbox.waiting() == {HOOK: 1}
    assert outbox.status(HOOK).waiting == 1


def test_a_name_that_begins_like_another_gets_only_its_own_events(ledger: Ledger, outbox: Outbox) -> None:
    """Subscriptions are compared as whole words."""
    outbox.register({HOOK: ("job.submitted_twice", "job.store"), "sql": ("job.submitted",)})
    job_in(ledger, State.RENDERING)
    assert outbox.waiting() == {"sql": 1}


def test_a_tenants_receiver_gets_only_the_tenants_events(ledger: Ledger, outbox: Outbox, endpoints: Endpoints) -> None:
    """Another tenant's jobs are none of its business; the operator's receivers get all."""
    everyones, acmes = endpoints.add("https://a.example"), endpoints.add("https://b.example", tenant="acme")
    job_in(ledger, State.COMPLETED, terms=Terms(deadline_s=1000))
    job_in(ledger, State.COMPLETED, terms=Terms(deadline_s=1000, tenant="other"))
    job = job_in(ledger, State.COMPLETED, terms=Terms(deadline_s=1000, tenant="acme"))

    assert outbox.waiting() == {everyones.id: 3, acmes.id: 1}
    assert claimed(ledger, acmes.id).id == job.id


def test_a_requests_own_webhook_gets_the_ends_of_its_job(ledger: Ledger, outbox: Outbox) -> None:
    """It is no subscriber: its receiver stands in the job's row, and gets every end and nothing else."""
    terms = Terms(deadline_s=1000, webhook_receiver="url_1")
    job = job_in(ledger, State.RENDERING, terms=terms)
    job_in(ledger, State.RENDERING)
    assert outbox.waiting() == {}

    steps.end(ledger, job, EXPIRED)
    (late,) = steps.claimed_items(ledger, "late_fetch")
    steps.fetched_late(ledger, late, VIDEO, STORED)

    assert outbox.waiting() == {"url_1": 1}
    assert events_of(claimed(ledger, "url_1")) == ["job.expired", "job.fetched_late"]


def test_a_second_purchase_is_mailed_with_the_job_that_keeps_it(ledger: Ledger, outbox: Outbox) -> None:
    """Who books what is spent must learn of both."""
    outbox.register({HOOK: ("job.bought_twice", "job.accepted")})
    job = job_in(ledger, State.RENDERING, terms=Terms(deadline_s=1000, webhook_receiver="url_1"))
    deliver(ledger, outbox, claimed(ledger))
    new_id = new_job_id()

    ledger.bought_twice(job, Accepted("gen-2", 3.36), job_id=new_id)

    assert {item.id: events_of(item) for item in claim(ledger)} == {
        job.id: ["job.bought_twice"],
        new_id: ["job.accepted"],
    }
    steps.end(ledger, ledger.get(new_id), EXPIRED)
    assert claimed(ledger, "url_1").id == new_id, "its end goes to the same address"


def test_a_disabled_endpoint_gets_nothing_until_it_is_enabled(
    ledger: Ledger, outbox: Outbox, endpoints: Endpoints
) -> None:
    """What happened meanwhile is not mailed later; a person may have it delivered again."""
    endpoint = endpoints.add("https://a.example", events=["job.completed"])
    endpoints.disable(endpoint.id, "gone")
    job_in(ledger, State.COMPLETED)
    assert outbox.waiting() == {}

    endpoints.enable(endpoint.id)
    job_in(ledger, State.COMPLETED)
    assert outbox.waiting() == {endpoint.id: 1}

    endpoints.remove(endpoint.id)
    job_in(ledger, State.COMPLETED)
    assert outbox.waiting() == {endpoint.id: 1}


def test_a_hook_that_no_worker_names_any_more_gets_no_events(
    ledger: Ledger, outbox: Outbox, clock: Clock, endpoints: Endpoints
) -> None:
    """Its settings are gone; during a deploy, older workers that still name it keep it. Endpoints stay."""
    endpoint = endpoints.add("https://a.example")
    outbox.register({HOOK: ENDS, "sql": ENDS})
    clock.advance(Retention().retention_s - 1)
    outbox.register({"sql": ENDS})
    job_in(ledger, State.COMPLETED)
    assert set(outbox.waiting()) == {HOOK, "sql", endpoint.id}

    clock.advance(2)
    outbox.register({"sql": ENDS})
    job_in(ledger, State.COMPLETED)

    assert outbox.waiting() == {HOOK: 1, "sql": 2, endpoint.id: 2}


def test_a_burst_of_ends_is_one_wake_up_for_each_receiver(ledger: Ledger, outbox: Outbox, sent: list[WakeUp]) -> None:
    """The task that it wakes claims them all."""
    outbox.register({HOOK: ENDS, "sql": ENDS})
    jobs = [job_in(ledger, State.COMPLETED) for _ in range(5)]

    assert sorted(wake_up for wake_up in map(astuple_of_delivery, sent) if wake_up) == [
        (delivery_queue(HOOK), jobs[0].id, 0),
        (delivery_queue("sql"), jobs[0].id, 0),
    ]


def astuple_of_delivery(wake_up: WakeUp) -> tuple[str, str, float] | None:
    """The wake-up, if it is for deliveries."""
    return (wake_up.queue, wake_up.job_id, wake_up.seconds) if wake_up.queue.startswith("deliver:") else None


# -- claiming: slots, width, speed, circuit breaker -----------------------------------------------------------------


def test_a_receiver_of_unknown_speed_gets_one_delivery_at_a_time(ledger: Ledger, outbox: Outbox) -> None:
    """However many deliveries wait for it, few threads are at risk, and the other receiver's are claimed meanwhile."""
    outbox.register({HOOK: ENDS, "sql": ENDS})
    for _ in range(5):
        job_in(ledger, State.COMPLETED)

    assert len(claim(ledger, slot="one")) == 1
    assert claim(ledger, slot="two") == []
    assert len(claim(ledger, "sql", slot="two")) == 1


def test_a_quick_receiver_is_delivered_many_at_once_by_as_many_slots_as_it_may_have(
    ledger: Ledger, outbox: Outbox
) -> None:
    """A message for each would cost more than the delivery; more slots than `width` it never gets."""
    known_as_quick(ledger, outbox)
    for _ in range(9):
        job_in(ledger, State.COMPLETED)

    assert [len(claim(ledger, slot=slot, limit=3)) for slot in ("one", "two", "three")] == [3, 3, 0]
    assert outbox.status(HOOK).under_way == 2
    assert len(claim(ledger, slot="one", limit=3)) == 3, "a slot may go on claiming"


def test_a_slow_receiver_has_one_slot(ledger: Ledger, outbox: Outbox) -> None:
    """The other threads serve the quick ones."""
    known_as_quick(ledger, outbox)
    for _ in range(4):
        job_in(ledger, State.COMPLETED)
    attempt(ledger, outbox, claim(ledger, limit=1)[0], Delivered(), took_s=9)

    assert len(claim(ledger, slot="one")) == 1
    assert claim(ledger, slot="two") == []


def test_a_slot_whose_worker_died_is_free_when_its_lease_ends(ledger: Ledger, outbox: Outbox, clock: Clock) -> None:
    """Nobody wrote how the delivery went, so it is repeated; a worker that comes back too late changes nothing."""
    outbox.register({HOOK: ENDS})
    job_in(ledger, State.COMPLETED)
    lost = claimed(ledger, slot="dead")
    clock.advance(LEASE_S - 0.1)
    assert claim(ledger, slot="alive") == []

    clock.advance(0.1)
    assert outbox.status(HOOK).under_way == 0
    (rescued,) = ledger.items.rescue([delivery_queue(HOOK)])
    assert rescued.queue == delivery_queue(HOOK)
    again = claimed(ledger, slot="alive")

    attempt(ledger, outbox, lost, Delivered(), slot="dead")
    assert outbox.waiting() == {HOOK: 1}
    deliver(ledger, outbox, again, slot="alive")
    assert outbox.waiting() == {}


def test_a_renewed_slot_is_kept_for_as_long_as_the_delivery_takes(ledger: Ledger, outbox: Outbox, clock: Clock) -> None:
    """A hook may take minutes; no other slot starts meanwhile."""
    outbox.register({HOOK: ENDS})
    for _ in range(2):
        job_in(ledger, State.COMPLETED)
    claimed(ledger, slot="busy")

    for _ in range(5):
        clock.advance(LEASE_S - 1)
        ledger.items.renew([], [(HOOK, "busy"), (HOOK, "never claimed")])
        assert claim(ledger, slot="other") == []
    assert outbox.status(HOOK).under_way == 1


def test_what_is_given_back_is_due_at_once_and_costs_no_try(ledger: Ledger, outbox: Outbox) -> None:
    """The batch took longer than a second: others go on with the rest."""
    outbox.register({HOOK: ENDS})
    job_in(ledger, State.COMPLETED)
    item = claimed(ledger)

    ledger.move(item, released())
    outbox.report(HOOK, "one", [], TERMS)

    assert (claimed(ledger, slot="two").tries, outbox.log(HOOK)) == (0, [])


def test_what_failed_waits_for_its_own_time_and_holds_up_nothing(ledger: Ledger, outbox: Outbox, clock: Clock) -> None:
    """One poisonous job must not stand before the next."""
    outbox.register({HOOK: ENDS})
    bad = job_in(ledger, State.COMPLETED)
    attempt(ledger, outbox, claimed(ledger), NotDelivered("no", retry_after_s=300))
    good = job_in(ledger, State.COMPLETED)
    item = claimed(ledger)
    assert item.id == good.id
    deliver(ledger, outbox, item)
    assert claim(ledger) == []

    clock.advance(300)
    again = claimed(ledger)
    assert (again.id, again.tries) == (bad.id, 1)


def test_a_receiver_that_keeps_failing_is_held_and_then_tried_by_one(
    ledger: Ledger, outbox: Outbox, clock: Clock, sent: list[WakeUp]
) -> None:
    """Waiting for its circuit breaker costs no tries; the first success opens every slot again."""
    known_as_quick(ledger, outbox)
    for _ in range(6):
        job_in(ledger, State.COMPLETED)
    for _ in range(3):
        attempt(ledger, outbox, claim(ledger, limit=1)[0], NotDelivered("no", retry_after_s=3600))
    clock.advance(LOST_AFTER_S)
    sent.clear()
    assert claim(ledger) == []
    assert [wake_up.seconds for wake_up in sent] == [8], "a claim at an open breaker arms its end"
    assert ledger.items.rescue([delivery_queue(HOOK)]) == []

    clock.advance(8)
    (trial,) = claim(ledger)
    assert claim(ledger, slot="two") == [], "half-open: one delivery decides"
    attempt(ledger, outbox, trial, NotDelivered("no"))
    clock.advance(19)
    assert claim(ledger) == [], "the second time it is open twice as long"

    clock.advance(1)
    deliver(ledger, outbox, claimed(ledger))
    assert outbox.status(HOOK).failures == 0
    assert [len(claim(ledger, slot=slot, limit=1)) for slot in ("one", "two")] == [1, 1]


# -- reports --------------------------------------------------------------------------------------------------------


def test_a_report_arms_the_wake_up_for_what_is_due_next(
    ledger: Ledger, outbox: Outbox, clock: Clock, sent: list[WakeUp]
) -> None:
    """The slot is free again: what came meanwhile, or waits for its next try, is claimed in time."""
    outbox.register({HOOK: ENDS})
    job_in(ledger, State.COMPLETED)
    item = claimed(ledger)
    job_in(ledger, State.COMPLETED)  # its wake-up found no free slot
    assert claim(ledger, slot="two") == []
    sent.clear()

    deliver(ledger, outbox, item)

    assert [(wake_up.queue, wake_up.seconds) for wake_up in sent] == [(delivery_queue(HOOK), 0)]
    attempt(ledger, outbox, claimed(ledger), NotDelivered("no"))
    assert [wake_up.seconds for wake_up in sent[1:]] == [5]
    assert ledger.now() == clock.now


def test_what_is_known_of_a_receivers_failures_lives_as_long_as_its_deliveries(
    ledger: Ledger, outbox: Outbox, clock: Clock, client: "redis.Redis"
) -> None:
    """Failures that are hours apart are in a row, if nothing between them was delivered."""
    outbox.register({HOOK: ENDS})
    failing = []
    for _ in range(3):
        job_in(ledger, State.COMPLETED)
        failing.append(attempt(ledger, outbox, claimed(ledger), NotDelivered("no", retry_after_s=80_000)))
        clock.advance(5000)
    status = outbox.status(HOOK)
    assert failing == [0, 5000, 10_000]
    assert (status.failures, status.failing_since) == (3, clock.now - 15_000)
    assert status.open_until == clock.now - 4990
    life_s = Retention().retention_s
    assert life_s - 60 < client.ttl(f"rushes:breaker:receiver:{HOOK}") <= life_s

    job_in(ledger, State.COMPLETED)
    deliver(ledger, outbox, claimed(ledger))
    status = outbox.status(HOOK)
    assert (status.failures, status.failing_since, status.open_until) == (0, None, None)
    assert not client.exists(f"rushes:breaker:receiver:{HOOK}")


@pytest.mark.parametrize(
    "outcome", [NotDelivered("the row is no longer kept", never=True), NotDelivered("newer", later=True)]
)
def test_what_is_not_the_receivers_fault_does_not_hold_it(
    ledger: Ledger, outbox: Outbox, outcome: NotDelivered
) -> None:
    """A job that is forgotten, or that only a newer version can read, says nothing of the receiver."""
    outbox.register({HOOK: ENDS})
    for _ in range(4):
        job_in(ledger, State.COMPLETED)
        attempt(ledger, outbox, claimed(ledger), outcome)
    status = outbox.status(HOOK)
    assert (status.failures, status.failing_since) == (0, None)
    assert len(outbox.log(HOOK)) == 4


def test_one_job_that_fails_again_and_again_says_nothing_of_the_receiver(
    ledger: Ledger, outbox: Outbox, clock: Clock
) -> None:
    """Else a single bad record would stop everybody's deliveries in a quiet hour."""
    outbox.register({HOOK: ENDS})
    job_in(ledger, State.COMPLETED)
    for _ in range(10):
        attempt(ledger, outbox, claimed(ledger), NotDelivered("no"))
        clock.advance(5)

    assert outbox.status(HOOK).failures == 1
    assert len(claim(ledger)) == 1


def test_the_average_latency_follows_the_latest_deliveries(ledger: Ledger, outbox: Outbox) -> None:
    """A receiver that became quick again has all its slots soon, and one slow answer takes none away."""
    outbox.register({HOOK: ENDS})
    averages = []
    for took_s in (1.0, 3.0, 1.0):
        job_in(ledger, State.COMPLETED)
        attempt(ledger, outbox, claimed(ledger), Delivered(), took_s=took_s)
        averages.append(outbox.status(HOOK).took_s)
    assert averages == [1.0, 1.6, 1.42]


def test_every_delivery_is_in_the_receivers_log_newest_first(ledger: Ledger, outbox: Outbox, clock: Clock) -> None:
    """Support reads this log first."""
    outbox.register({HOOK: ENDS})
    job_in(ledger, State.COMPLETED)
    attempt(ledger, outbox, claimed(ledger), NotDelivered("no"))
    clock.advance(5)
    deliver(ledger, outbox, claimed(ledger))

    assert [(line.delivered, line.at) for line in outbox.log(HOOK, limit=2)] == [
        (True, clock.now),
        (False, clock.now - 5),
    ]


def test_the_log_is_bounded(outbox: Outbox, client: "redis.Redis") -> None:
    """A receiver of millions of events must not fill Redis."""
    for _ in range(50):
        outbox.report(HOOK, "one", [Attempt(LINE)] * 10, TERMS)

    assert client.xlen(f"rushes:deliveries:{HOOK}") < 400
    assert client.ttl(f"rushes:deliveries:{HOOK}") > 0


# -- redelivery, test deliveries, removed receivers -----------------------------------------------------------------


def test_a_person_can_have_a_job_delivered_again_at_once(
    ledger: Ledger, outbox: Outbox, clock: Clock, sent: list[WakeUp]
) -> None:
    """A delivered event is delivered again, to a receiver that had not subscribed to it as well."""
    outbox.register({HOOK: ENDS})
    job = job_in(ledger, State.COMPLETED)
    deliver(ledger, outbox, claimed(ledger))
    sent.clear()

    outbox.mail(job.id, {HOOK: ["job.completed", "job.fetched_late"], "sql": ["job.completed"], "none": []}, at=7.0)

    assert {wake_up.queue for wake_up in sent} == {delivery_queue(HOOK), delivery_queue("sql")}
    item = claimed(ledger)
    assert events_of(item) == ["job.completed", "job.fetched_late"]
    assert Delivery.of(item) == Delivery(HOOK, job.id, "job.completed", 0, 7.0, tries=0)
    assert outbox.waiting() == {HOOK: 1, "sql": 1}
    assert clock.now > 7


def test_a_redelivery_of_what_still_waits_is_its_next_try_now(ledger: Ledger, outbox: Outbox) -> None:
    """It is not mailed twice; its tries begin anew."""
    outbox.register({HOOK: ENDS})
    job = job_in(ledger, State.COMPLETED)
    attempt(ledger, outbox, claimed(ledger), NotDelivered("no", retry_after_s=7200))
    assert claim(ledger) == []

    outbox.mail(job.id, {HOOK: ["job.completed"]})

    item = claimed(ledger)
    assert (events_of(item), item.tries) == (["job.completed"], 0)


def test_a_redelivery_during_a_delivery_waits_for_its_outcome(ledger: Ledger, outbox: Outbox, clock: Clock) -> None:
    """No second slot sends the same event at the same time; a dead worker's delivery is made at the lease's end."""
    outbox.register({HOOK: ENDS})
    known_as_quick(ledger, outbox)
    job = job_in(ledger, State.COMPLETED)
    under_way = claimed(ledger, slot="one")

    outbox.mail(job.id, {HOOK: ["job.completed"]})

    assert claim(ledger, slot="two") == []
    clock.advance(LEASE_S)
    assert claimed(ledger, slot="two").turn > under_way.turn


def test_a_test_delivery_needs_no_job(ledger: Ledger, outbox: Outbox, client: "redis.Redis") -> None:
    """A person tests a receiver's setup without a video; no row is made up for it."""
    test_id = new_test_delivery_id()
    outbox.mail(test_id, {HOOK: [TEST_EVENT]})

    item = claimed(ledger)
    assert (item.id, item.job, events_of(item)) == (test_id, None, [TEST_EVENT])
    deliver(ledger, outbox, item)

    assert outbox.waiting() == {}
    assert not client.exists(f"rushes:job:{test_id}", f"rushes:log:{test_id}", f"rushes:followups:{test_id}")


def test_a_receiver_that_is_removed_is_forgotten(ledger: Ledger, outbox: Outbox, client: "redis.Redis") -> None:
    """Nobody looks into its backlog any more; its log stays for its life."""
    outbox.register({HOOK: ENDS, "sql": ENDS})
    for _ in range(2):
        job_in(ledger, State.COMPLETED)
    attempt(ledger, outbox, claimed(ledger), NotDelivered("no"))

    outbox.forget(HOOK)

    assert outbox.waiting() == {"sql": 2}
    assert claim(ledger) == []
    assert [key for key in client.scan_iter("*") if HOOK in key] == [f"rushes:deliveries:{HOOK}"]
    assert ledger.items.rescue([delivery_queue(HOOK)]) == []


def test_an_erased_jobs_deliveries_go_with_it(ledger: Ledger, outbox: Outbox) -> None:
    """Its request is gone, so that nothing can be delivered; a worker that is busy with one finds it gone."""
    outbox.register({HOOK: ENDS})
    job, other = job_in(ledger, State.COMPLETED), job_in(ledger, State.COMPLETED)
    under_way = claimed(ledger)
    ledger.erase(job)
    attempt(ledger, outbox, under_way, NotDelivered("no"))

    assert outbox.waiting() == {HOOK: 1}
    assert claimed(ledger).id == other.id


def test_a_delivery_that_expired_with_its_job_leaves_the_outbox(
    ledger: Ledger, outbox: Outbox, client: "redis.Redis"
) -> None:
    """There is nothing to deliver any more, and nobody stumbles over it."""
    known_as_quick(ledger, outbox)
    forgotten, job = job_in(ledger, State.COMPLETED), job_in(ledger, State.COMPLETED)
    client.delete(f"rushes:item:{delivery_queue(HOOK)}:{forgotten.id}")

    assert claimed(ledger).id == job.id
    assert outbox.waiting() == {HOOK: 1}


def test_a_mailed_delivery_has_a_life(ledger: Ledger, outbox: Outbox, client: "redis.Redis") -> None:
    """Nothing may stay in Redis for ever, even if its receiver never comes back."""
    outbox.register({HOOK: SUBSCRIBABLE})
    job = job_in(ledger, State.COMPLETED)

    for key in (f"rushes:item:{delivery_queue(HOOK)}:{job.id}", f"rushes:followups:{job.id}"):
        assert 0 < client.ttl(key) <= Retention().retention_s
