"""What follows an attempt to buy: nothing bought is lost, nothing unsent is put in doubt."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import redis

from config.connection import connect
from config.logs import JobFields
from config.settings import RedisSettings, Settings
from jobs.errors import LedgerUnavailable
from jobs.facts import Accepted
from jobs.job import Hold, Job
from jobs.keyspace import PREFIX
from jobs.ledger import Ledger
from jobs.states import State
from jobs.work_items import LEASE_S, Leased
from tests import steps
from tests.redis_servers import Cable
from tests.stage import Clock
from worker.claimed import contained
from worker.leases import Leases
from worker.purchase import Doubting, Purchases
from worker.runtime import policy
from worker.spool import Spool, Spooled

POLICY: Final = policy(Settings())


@pytest.fixture
def cable(redis_url: str) -> Iterator[Cable]:
    """The worker's way to Redis."""
    with Cable.laid(int(redis_url.rpartition(":")[2].partition("/")[0])) as cable:
        yield cable


@pytest.fixture
def purchases(client: "redis.Redis", cable: Cable, tmp_path: Path) -> Purchases:
    """A worker's purchases, by that way, on an empty Redis."""
    assert client.dbsize() == 0
    settings = RedisSettings.model_validate({"url": cable.url, "socket_timeout_s": 1.1})
    connection = connect(settings, name="test")
    ledger = Ledger(connection)
    steps.submitting(ledger, steps.job_in(ledger, State.QUEUED), lease_s=100)  # connected, and Redis knows the script
    return Purchases(ledger, Spool(tmp_path / "spool"), lambda _: POLICY)


@pytest.fixture
def job(client: "redis.Redis") -> Job:
    """A job that is to be bought now."""
    return steps.job_in(Ledger(client), State.QUEUED)


def logged(record: logging.LogRecord) -> str:
    """Return the line as a worker writes it."""
    JobFields().filter(record)
    return record.getMessage()


def test_an_intent_that_was_written_without_an_answer_goes_back_to_the_queue(
    purchases: Purchases, cable: Cable, client: "redis.Redis", job: Job
) -> None:
    """Nothing was sent for it, and this process knows it: no doubt, no hour of waiting, no person."""
    cable.deaf = True
    with pytest.raises(LedgerUnavailable):
        purchases.intend(job, worker="one")
    assert Ledger(client).get(job.id).state is State.SUBMITTING
    cable.deaf = False

    assert purchases.replay() == 1
    held = Ledger(client).get(job.id)
    assert (held.state, held.hold) == (State.QUEUED, Hold.NOT_DURABLE)


def test_an_intent_that_was_never_written_says_nothing_of_the_next_one(
    purchases: Purchases, cable: Cable, client: "redis.Redis", job: Job
) -> None:
    """The next try buys: it must not be called unsent, or it would be bought again."""
    cable.cut()
    with pytest.raises(LedgerUnavailable):
        purchases.intend(job, worker="one")
    cable.mend()
    bought = steps.submitting(Ledger(client), job, lease_s=100, worker="two", suffix="another")

    assert purchases.replay() == 1
    assert Ledger(client).get(job.id) == Ledger(client).get(bought.id)
    assert Ledger(client).get(job.id).state is State.SUBMITTING


def test_a_receipt_that_no_disk_takes_is_kept_in_memory_and_logged_with_what_to_type(
    purchases: Purchases,
    cable: Cable,
    client: "redis.Redis",
    job: Job,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Redis away and the disk full: should this process die as well, the line is where the purchase is known."""
    bought = purchases.intend(job, worker="one")
    cable.cut()
    (tmp_path / "spool").rmdir()
    (tmp_path / "spool").symlink_to("/dev/full")

    with caplog.at_level(logging.CRITICAL):
        purchases.settle(bought, Accepted("-a:b/c d", 3.36), POLICY)

    said = logged(caplog.records[-1])
    assert f"rushes adopt {job.id} -- '-a:b/c d'" in said
    assert f"request_id={bought.request_id}" in said

    cable.mend()
    assert purchases.replay() == 1
    assert Ledger(client).get(job.id).generation_id == "-a:b/c d"
    assert purchases.replay() == 0


def test_a_receipt_of_a_job_whose_row_is_gone_is_logged_whole(
    purchases: Purchases, job: Job, client: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    """A failover may lose the row while the request is out: a person must hear what was bought."""
    job = purchases.intend(job, worker="one")
    client.delete(f"{PREFIX}job:{job.id}")

    with contained("submit", job):
        purchases.settle(job, Accepted("gen-1", 3.0), POLICY)
        (line,) = [logged(record) for record in caplog.records if record.levelno == logging.CRITICAL]
    assert f"job={job.id}" in line
    assert "gen-1" in line


def test_a_receipt_that_no_row_can_hold_is_spooled_and_delays_no_other(
    purchases: Purchases, client: "redis.Redis", job: Job, tmp_path: Path
) -> None:
    """What was bought must stay known, and the receipts behind it must arrive."""
    strange = purchases.intend(job, worker="one")
    purchases.settle(strange, Accepted("half a pair: \ud800", 3.36), POLICY)
    other = purchases.intend(steps.job_in(Ledger(client), State.QUEUED), worker="one")
    Spool(tmp_path / "spool").keep(Spooled(other.id, str(other.request_id), Accepted("gen-2", 1.0)))

    assert purchases.replay() == 1
    assert Ledger(client).get(other.id).generation_id == "gen-2"
    assert [file.stem for file in (tmp_path / "spool").glob("*.json")] == [strange.request_id]


def test_a_purchase_is_put_in_doubt_when_its_workers_lease_ends_and_not_before(
    client: "redis.Redis", clock: Clock, tmp_path: Path
) -> None:
    """A slow POST is left alone while its worker lives; the receipt of one that only seemed dead still counts."""
    ledger = Ledger(client, clock=clock)
    leases, doubting = Leases(ledger.items), Doubting(ledger, POLICY)
    job = steps.submitting(ledger, steps.job_in(ledger, State.QUEUED), lease_s=LEASE_S)

    def doubted() -> int:
        claimed = ledger.items.claim(doubting.claim)
        doubting.doubt(claimed)
        return len(claimed.jobs)

    with leases.renewing([Leased(State.SUBMITTING, job.id, job.turn)], longest_s=600):
        for _ in range(5):
            clock.advance(LEASE_S - 1)
            leases.renew()
            assert doubted() == 0
    clock.advance(LEASE_S + 1)
    assert (doubted(), doubted()) == (1, 0)
    assert ledger.get(job.id).state is State.IN_DOUBT

    purchases = Purchases(ledger, Spool(tmp_path / "spool"), lambda _: POLICY)
    purchases.settle(job, Accepted("gen-1", 3.36), POLICY)
    bought = ledger.get(job.id)
    assert (bought.state, bought.generation_id) == (State.RENDERING, "gen-1")


@pytest.mark.parametrize("request_id", ["../job_a.1", "/tmp/job_a.1", ".job_a.1", "job_a\0.1", ""])
def test_a_request_id_that_is_no_name_makes_no_file(tmp_path: Path, request_id: str) -> None:
    """It stands in Redis; its receipt is then kept in memory and by the log, as where the disk is full."""
    spool = Spool(tmp_path / "spool")
    with pytest.raises(OSError, match="no file name"):
        spool.keep(Spooled("job_a", request_id, Accepted("gen", None)))
    assert [path.name for path in tmp_path.rglob("*")] == ["spool"]
