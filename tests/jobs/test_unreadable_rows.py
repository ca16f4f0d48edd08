"""Rows that this version cannot read are left to newer versions by every reader, and hold up no other job."""

from collections.abc import Callable
from typing import Final

import pytest
import redis
import redis.asyncio

from jobs.breakers import Breaker, BreakerTerms
from jobs.delivery import Delivery, NotDelivered
from jobs.errors import LedgerUnavailable, UnreadableRow
from jobs.events import ENDS, Event
from jobs.job import Hold
from jobs.keyspace import PREFIX
from jobs.ledger import Ledger
from jobs.moves.delivery import NEWER_VERSION_S, RetryTerms, Timed, after_delivery
from jobs.states import State
from jobs.work_items import LEASE_S, Claim
from tests import steps
from tests.stage import Clock, outbox_of
from tests.steps import STORED, job_in

Damage = Callable[["redis.Redis", str], object]
DEEP: Final = "[" * 100_000


def _field(name: str, value: str | bytes) -> Damage:
    return lambda client, job_id: client.hset(f"rushes:job:{job_id}", name, value)


def _missing(name: str) -> Damage:
    return lambda client, job_id: client.hdel(f"rushes:job:{job_id}", name)


def _kind(add: Callable[["redis.Redis", str], object]) -> Damage:
    def replaced(client: "redis.Redis", job_id: str) -> None:
        client.delete(f"rushes:job:{job_id}")
        add(client, f"rushes:job:{job_id}")

    return replaced


ROWS: Final[dict[str, Damage]] = {
    "a new state": _field("state", "composing"),
    "a new hold": _field("hold", "moonstruck"),
    "a new reason": _field("reason", "bored"),
    "a new charge": _field("charged", "twice"),
    "a new family": _field("family", "quantum"),
    "a new artifact": _field("artifacts", "poster,hologram"),
    "no state": _missing("state"),
    "no turn": _missing("turn"),
    "no model": _missing("model"),
    "no deadline": _missing("deadline_s"),
    "a turn in words": _field("turn", "three"),
    "a turn of many digits": _field("turn", "9" * 5000),
    "polls in words": _field("polls", "many"),
    "doubts in words": _field("doubts", "many"),
    "a version in words": _field("version", "two"),
    "a time in words": _field("accepted_at", "today"),
    "a time that is none": _field("deadline_at", "nan"),
    "a time without end": _field("due_at", "inf"),
    "a sum beyond all money": _field("cost_usd", "1e300"),
    "a broken video": _field("video", '{"url": "https'),
    "a video of another kind": _field("video", "[1]"),
    "a video's number for its address": _field("video", '{"url": 5}'),
    "a deep video": _field("video", DEEP),
    "a stored file without a path": _field("stored", '{"size_bytes": 1}'),
    "media in words": _field("media", '{"width": "wide"}'),
    "media without end": _field("media", '{"duration_s": 1e999}'),
    "bytes": _field("state", b"\xff\xfe\x00"),
    "a string": _kind(lambda client, key: client.set(key, "a row of a later time")),
    "a list": _kind(lambda client, key: client.rpush(key, "a", "b")),
    "a sorted set": _kind(lambda client, key: client.zadd(key, {"a": 1})),
}

REQUESTS: Final = {
    "no model": '{"prompt": "x"}',
    "no JSON": "a request",
    "a list": "[]",
    "depth": DEEP,
    "parameters in a list": '{"model": "m", "prompt": "x", "parameters": [1]}',
    "labels of another kind": '{"model": "m", "prompt": "x", "metadata": {"a": {}}}',
    "a number for a prompt": '{"model": "m", "prompt": 5}',
    "NaN": '{"model": "m", "prompt": "x", "parameters": {"seed": NaN}}',
}


@pytest.fixture
def emitted() -> list[Event]:
    """The events that the ledger emits."""
    return []


@pytest.fixture
def ledger(client: "redis.Redis", clock: Clock, emitted: list[Event]) -> Ledger:
    """A ledger that emits its events to the test."""
    return Ledger(client, clock=clock, subscribers=[emitted.append])


def unreadable(emitted: list[Event]) -> set[str]:
    """The jobs whose rows were reported."""
    return {event.job_id for event in emitted if event.name == "row.unreadable"}


@pytest.mark.parametrize("damage", ROWS.values(), ids=ROWS)
def test_a_row_is_left_to_a_newer_version(
    client: "redis.Redis", ledger: Ledger, clock: Clock, emitted: list[Event], damage: Damage
) -> None:
    """Lists, readers and claiming workers leave the row where it is, and read the next one."""
    strange, plain = job_in(ledger, State.RENDERING), job_in(ledger, State.RENDERING)
    damage(client, strange.id)
    clock.advance(60)
    before = client.dump(f"rushes:job:{strange.id}")

    assert [job.id for job, _ in ledger.get_many([strange.id, plain.id])] == [plain.id]
    assert ledger.states([strange.id, plain.id, "job_none"]) == {strange.id: None, plain.id: State.RENDERING}
    for read in (ledger.get, ledger.whole):
        with pytest.raises(UnreadableRow, match=strange.id):
            read(strange.id)
    assert [wake_up.queue for wake_up in ledger.items.rescue()] == [State.RENDERING]
    assert sorted(job.id for _ in range(2) for job in steps.claimed(ledger, State.RENDERING, limit=1)) == [plain.id]

    assert client.dump(f"rushes:job:{strange.id}") == before
    assert client.zscore("rushes:due:rendering", strange.id) is not None
    assert unreadable(emitted) == {strange.id}


@pytest.mark.parametrize("damage", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("fence", [True, False])
@pytest.mark.parametrize("state", [State.SUBMITTING, State.IN_DOUBT, State.STORING])
def test_a_row_keeps_no_other_from_being_claimed(
    client: "redis.Redis", ledger: Ledger, clock: Clock, state: State, damage: Damage, fence: bool
) -> None:
    """A purchase is put in doubt, and a video is fetched, whatever stands in another's row; that waits on a lease."""
    strange, plain = job_in(ledger, state), job_in(ledger, state)
    damage(client, strange.id)
    clock.advance(100)

    assert [job.id for job in steps.claimed(ledger, state, fence=fence)] == [plain.id]
    assert steps.claimed(ledger, state, fence=fence) == []
    assert client.zscore(f"rushes:due:{state}", strange.id) == clock.now + LEASE_S


@pytest.mark.parametrize("text", REQUESTS.values(), ids=REQUESTS)
def test_a_request_is_left_to_a_newer_version(
    client: "redis.Redis", ledger: Ledger, emitted: list[Event], text: str
) -> None:
    """It is not bought as something else, and it stops no list."""
    strange, plain = job_in(ledger, State.RENDERING), job_in(ledger, State.RENDERING)
    client.set(f"rushes:request:{strange.id}", text)

    assert [job.id for job, _ in ledger.get_many([strange.id, plain.id])] == [plain.id]
    assert [job.id for job, _ in ledger.with_requests([strange, plain])] == [plain.id]
    for read in (ledger.request, ledger.whole):
        with pytest.raises(UnreadableRow):
            read(strange.id)
    assert unreadable(emitted) == {strange.id}


@pytest.mark.anyio
async def test_the_event_loop_gets_the_same_error(
    client: "redis.Redis", clock: Clock, on_loop: "redis.asyncio.Redis"
) -> None:
    """The API answers that it cannot be read now, not with an error of its own."""
    ledger = Ledger(client, clock=clock, on_loop=on_loop)
    strange = job_in(ledger, State.RENDERING)
    client.hset(f"rushes:job:{strange.id}", "state", "composing")

    with pytest.raises(UnreadableRow):
        await ledger.whole_async(strange.id)


def test_a_row_is_reported_once(client: "redis.Redis", ledger: Ledger, emitted: list[Event]) -> None:
    """It is met at every step of every worker; a line each time would drown the rest."""
    strange = job_in(ledger, State.RENDERING)
    client.hset(f"rushes:job:{strange.id}", "state", "composing")
    for _ in range(3):
        ledger.get_many([strange.id])

    assert [event.name for event in emitted].count("row.unreadable") == 1


def test_an_unreadable_row_is_not_a_redis_that_is_away(client: "redis.Redis", ledger: Ledger) -> None:
    """Code that stops a step when Redis is away also stops it here, and writes nothing."""
    strange = job_in(ledger, State.RENDERING)
    client.hset(f"rushes:job:{strange.id}", "state", "composing")

    with pytest.raises(LedgerUnavailable, match="newer version"):
        ledger.get(strange.id)


@pytest.mark.parametrize(
    "line",
    [
        "1-0 job.dreamt composing 3 1800000000.000 {}",
        "1-0 job.polled rendering three 1800000000.000 {}",
        "1-0 job.polled rendering 3 1800000000.000 {",
        "one word",
    ],
)
def test_a_job_log_is_read_but_for_what_a_newer_version_wrote(
    client: "redis.Redis", ledger: Ledger, emitted: list[Event], line: str
) -> None:
    """A watcher of the job receives the rest of its events."""
    job = job_in(ledger, State.RENDERING)
    whole = ledger.job_log.of(job.id)
    client.rpush(f"rushes:log:{job.id}", line)

    assert ledger.job_log.of(job.id) == whole
    assert ledger.job_log.of_many([job.id]) == {job.id: whole}
    assert unreadable(emitted) == {job.id}


def test_the_event_stream_goes_on_behind_what_a_newer_version_wrote(client: "redis.Redis", ledger: Ledger) -> None:
    """One unknown word would otherwise end every watcher."""
    cursor = ledger.job_log.newest()
    client.xadd(
        "rushes:events",
        {"job": "job_1", "event": "job.dreamt", "state": "composing", "turn": "1", "at": "1", "data": "{}"},
    )
    job = job_in(ledger, State.RENDERING)

    batch = ledger.job_log.after(cursor, block_s=1)

    assert {job_id for job_id, _ in batch.entries} == {job.id}
    assert batch.cursor == ledger.job_log.newest()


def quick(client: "redis.Redis", receiver: str) -> None:
    """Make a receiver known as quick, so that its deliveries are claimed together."""
    client.hset(f"rushes:health:{receiver}", "took_s", "0.1")
    client.expire(f"rushes:health:{receiver}", 60)


@pytest.mark.parametrize(
    "damage",
    [
        lambda client, key: client.hset(key, "turn", "three"),
        lambda client, key: client.hset(key, "tries", "many"),
        lambda client, key: client.hset(key, "events", "a later form"),
        lambda client, key: client.hdel(key, "events"),
        lambda client, key: (client.delete(key), client.set(key, "x", ex=60)),
    ],
    ids=["turn", "tries", "events", "no events", "no hash"],
)
def test_a_delivery_of_a_newer_version_holds_up_no_other(
    client: "redis.Redis", ledger: Ledger, clock: Clock, damage: Callable[["redis.Redis", str], object]
) -> None:
    """It waits in its outbox; the receiver gets the others."""
    outbox = outbox_of(client, clock=clock)
    for job_id in ("job_1", "job_2"):
        outbox.mail(job_id, {"hook": ["job.completed"]})
        clock.advance(1)
    damage(client, "rushes:item:deliver:hook:job_1")
    quick(client, "hook")

    claimed = {item.id: item for item in steps.claimed_items(ledger, "deliver:hook")}

    assert Delivery.of(claimed["job_2"]).event == "job.completed"
    steps.described(ledger, claimed["job_2"], [], None)  # any move ends it
    assert outbox.waiting() == {"hook": 1}
    assert client.zscore("rushes:due:deliver:hook", "job_1") == clock.now + LEASE_S


def test_a_receivers_log_and_standing_are_read_but_for_what_is_strange(client: "redis.Redis", clock: Clock) -> None:
    """A list of receivers must not fail for one of them."""
    outbox = outbox_of(client, clock=clock)
    client.xadd("rushes:deliveries:hook", {"at": "1", "line": '{"of": "a later time"}'})
    client.hset("rushes:health:hook", mapping={"took_s": "long"})
    client.hset("rushes:breaker:receiver:hook", mapping={"failures": "many"})
    client.expire("rushes:deliveries:hook", 60)
    client.expire("rushes:health:hook", 60)
    client.expire("rushes:breaker:receiver:hook", 60)

    assert outbox.log("hook") == []
    assert (outbox.status("hook").failures, outbox.status("hook").took_s) == (0, None)


def test_a_breaker_that_a_newer_version_opened_is_open(client: "redis.Redis", ledger: Ledger) -> None:
    """The breaker holds, whatever the newer version calls its reason."""
    ledger.breakers.refused(Breaker.SUBMIT, Hold.BAD_KEY, "no", terms=BreakerTerms(first_s=5, longest_s=60, after=1))
    client.hset("rushes:breaker:default:submit", "hold", "moonstruck")

    refused = ledger.breakers.ask(Breaker.SUBMIT, trial_s=10, again_s=2)

    assert refused is not None
    assert refused.wait_s > 0
    assert Breaker.SUBMIT in ledger.breakers.currently_open()


@pytest.mark.parametrize(
    "damage",
    [
        lambda client, job_id: client.hset(f"rushes:job:{job_id}", "reason", "bored"),
        lambda client, job_id: client.set(f"rushes:request:{job_id}", "a request", ex=60),
        lambda client, job_id: (client.delete(f"rushes:job:{job_id}"), client.set(f"rushes:job:{job_id}", "x", ex=60)),
    ],
    ids=["a new reason", "a new request", "a string"],
)
def test_a_follow_up_of_a_job_that_cannot_be_read_says_so(
    client: "redis.Redis", ledger: Ledger, clock: Clock, damage: Damage
) -> None:
    """The worker leaves it to a newer one; the others of its batch are worked off."""
    outbox_of(client, clock=clock).register({"hook": ENDS})
    strange, plain = job_in(ledger, State.STORING), job_in(ledger, State.STORING)
    for job in (strange, plain):
        steps.completed(ledger, job, STORED)
    damage(client, strange.id)
    quick(client, "hook")

    claimed = {item.id: item for item in steps.claimed_items(ledger, "deliver:hook")}

    assert {job_id: item.is_unreadable for job_id, item in claimed.items()} == {strange.id: True, plain.id: False}
    assert claimed[plain.id].job is not None


def test_what_waits_for_a_newer_version_uses_up_no_try(client: "redis.Redis", ledger: Ledger, clock: Clock) -> None:
    """Else the delivery would be given up before a newer worker could read its job."""
    outbox = outbox_of(client, clock=clock)
    outbox.mail("job_1", {"hook": ["job.completed"]})
    once = RetryTerms.doubling(1, 1, attempts=1)
    for _ in range(3):
        (item,) = steps.claimed_items(ledger, "deliver:hook")
        assert item.tries == 0
        ledger.move(
            item,
            after_delivery(Delivery.of(item), NotDelivered("newer", later=True), once, timed=Timed(1, 0), spread=0),
        )
        clock.advance(NEWER_VERSION_S)
    assert outbox.waiting() == {"hook": 1}


def test_a_row_in_a_newer_versions_state_gets_no_event_of_ours(ledger: Ledger, client: "redis.Redis") -> None:
    """It is claimed again and again until a newer worker comes: its log must not fill with beginnings."""
    job = steps.job_in(ledger, State.STORING)
    client.hset(f"{PREFIX}job:{job.id}", "state", "from_the_future")
    before = client.llen(f"{PREFIX}log:{job.id}")

    claimed = ledger.items.claim(Claim(queue=State.STORING, event="job.storing"))

    assert claimed.jobs == []
    assert client.llen(f"{PREFIX}log:{job.id}") == before
