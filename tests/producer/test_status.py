"""The status at a glance: what is in flight, what holds it, and what needs a person."""

import io

import pytest
import redis
from rich.console import Console

from config.settings import Settings
from jobs.admission import LONGEST_LINE
from jobs.breakers import Breaker, BreakerTerms
from jobs.job import Hold, Terms
from jobs.ledger import Ledger
from jobs.states import State
from producer.cli.status import screen
from producer.receivers import make_receivers
from producer.service import make_service
from producer.status import StatusView, status_of
from tests import steps
from tests.stage import a_request, outbox_of
from tests.steps import job_in

TERMS = BreakerTerms(first_s=30, longest_s=60, after=1)


@pytest.fixture
def settings(redis_url: str) -> Settings:
    """A producer's settings over this test's Redis."""
    return Settings.model_validate({"redis": {"url": redis_url}})


@pytest.fixture
def now_ledger(client: "redis.Redis") -> Ledger:
    """The ledger by Redis's own clock."""
    return Ledger(client)


def read(settings: Settings, *, tenant: str | None = None) -> StatusView:
    """The status as each face reads it."""
    return status_of(make_service(settings), make_receivers(settings), settings, tenant=tenant)


def shown(status: StatusView, width: int = 80) -> str:
    """The screen as a terminal of this width shows it."""
    out = Console(file=io.StringIO(), width=width, color_system=None)
    out.print(screen(status))
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def test_jobs_are_counted_by_state_and_by_tenant_whatever_becomes_of_them(
    settings: Settings, now_ledger: Ledger, client: "redis.Redis"
) -> None:
    """Each move moves both counts; an erased job is in none."""
    for tenant in ("shop", "shop", "film", None):
        job_in(now_ledger, State.QUEUED, terms=Terms(tenant=tenant))
    for state in (State.RENDERING, State.FAILED, State.COMPLETED):
        job_in(now_ledger, state, terms=Terms(tenant="shop"))
    now_ledger.erase(job_in(now_ledger, State.CANCELLED, terms=Terms(tenant="gone")))

    status = read(settings)

    assert {state: count for state, count in status["states"].items() if count} == {
        "queued": 4,
        "rendering": 1,
        "completed": 1,
        "failed": 1,
    }
    assert status["tenants"] == [
        {"tenant": "shop", "states": {"queued": 2, "rendering": 1, "completed": 1, "failed": 1}},
        {"tenant": None, "states": {"queued": 1}},
        {"tenant": "film", "states": {"queued": 1}},
    ]
    (account,) = status["accounts"]
    assert account["in_flight"] == 2, "the cancelled job's generation may still run"
    assert sum(map(int, client.hgetall("rushes:index:tallies").values())) == client.zcard("rushes:index:all")


def test_a_tenants_status_is_its_own(settings: Settings, now_ledger: Ledger) -> None:
    """Nothing shows what others do, nor the machines."""
    job_in(now_ledger, State.RENDERING, terms=Terms(tenant="shop"))
    job_in(now_ledger, State.RENDERING, terms=Terms(tenant="film"))
    now_ledger.worker_seen("one@test", "1.0")

    status = read(settings, tenant="shop")

    assert status["states"][State.RENDERING] == 1
    assert status["accounts"] == [{"account": "default", "in_flight": 1, "most_in_flight": None, "learnt": None}]
    assert (status["tenants"], status["queues"], status["doubts"]) == (None, None, None)
    assert (status["receivers"], status["workers"]) == (None, None)
    assert status["trouble"] == []


def test_an_empty_account_is_a_sentence_that_says_what_to_do(settings: Settings, now_ledger: Ledger) -> None:
    """An operator whose key ran out of credits at night reads it in the first line."""
    now_ledger.breakers.refused(Breaker.SUBMIT, Hold.OUT_OF_CREDITS, "402 no credits left", terms=TERMS)
    now_ledger.worker_seen("one@test", "1.0")

    status = read(settings)

    (hold,) = status["holds"]
    assert (hold["holds"], hold["by"]) == ("purchases", "out_of_credits")
    assert 0 < (hold["until"] or 0) - status["at"] <= 30
    first = " ".join(shown(status, 400).splitlines()[0].split())
    assert first.startswith("All purchases wait (out_of_credits): 402 no credits left. Top up the upstream account, ")
    assert "`rushes queue try`" in first
    assert "The next try is in" in first


def test_a_pause_lasts_until_a_person_ends_it(settings: Settings, now_ledger: Ledger) -> None:
    """The command that ends it is in the sentence."""
    now_ledger.pauses.pause(by="ops", reason="the budget is used up")

    (hold,) = read(settings)["holds"]

    assert (hold["by"], hold["until"]) == ("pause", None)
    assert hold["sentence"] == "Buying is paused by ops: the budget is used up. `rushes queue resume` goes on."


def test_a_doubt_that_needs_a_person_comes_with_the_commands(settings: Settings, now_ledger: Ledger) -> None:
    """One that is still being looked into does not."""
    job_in(now_ledger, State.IN_DOUBT)
    asked = job_in(now_ledger, State.IN_DOUBT)
    steps.needs_attention(now_ledger, asked)

    status = read(settings)

    (doubt,) = status["doubts"] or []
    assert doubt["id"] == asked.id
    printed = shown(status)
    for command in (f"adopt {asked.id} GENERATION", f"resolve {asked.id} --resubmit", f"resolve {asked.id} --give-up"):
        assert f"rushes {command}\n" in printed, "whole, to be copied"


def test_the_oldest_overdue_item_of_each_queue_is_shown(settings: Settings, client: "redis.Redis") -> None:
    """The most overdue queue comes first."""
    ledger = Ledger(client)
    job_in(ledger, State.RENDERING, first_poll_s=500)
    late = job_in(ledger, State.QUEUED)
    client.zadd("rushes:due:queued", {late.id: ledger.now() - 90})

    first, second = read(settings)["queues"] or []

    assert (first["queue"], first["items"], first["due"]) == ("queued", 1, 1)
    assert 90 <= first["overdue_s"] < 120
    assert (second["queue"], second["due"], second["overdue_s"]) == ("rendering", 0, 0)


def test_a_receivers_backlog_is_shown(settings: Settings, now_ledger: Ledger, client: "redis.Redis") -> None:
    """Deliveries that nobody takes are noticed."""
    outbox_of(client).mail(job_in(now_ledger, State.COMPLETED).id, {"shop:ready": ["job.completed"]})

    assert read(settings)["receivers"] == [
        {"receiver": "shop:ready", "waiting": 1, "failing_since": None, "open_until": None}
    ]


def test_a_worker_is_shown_with_its_version_until_it_is_gone(settings: Settings, client: "redis.Redis") -> None:
    """Two versions at once are worth a sentence; none at all is trouble."""
    ledger = Ledger(client)
    now = ledger.now()
    Ledger(client, clock=lambda: now - 100).worker_seen("gone@test", "0.9")
    status = read(settings)
    assert status["workers"] == []
    assert "No worker is running: jobs wait. The last one, gone@test, was seen 100 s ago." in status["trouble"][0]

    ledger.worker_seen("one@test", "1.0")
    assert [(worker["worker"], worker["version"]) for worker in read(settings)["workers"] or ()] == [
        ("one@test", "1.0")
    ]
    assert read(settings)["trouble"] == []

    ledger.worker_seen("two@test", "1.1")
    assert read(settings)["trouble"] == ["The workers run 2 versions: 1.0, 1.1."]


def test_a_paid_video_that_cannot_be_stored_is_trouble(settings: Settings, now_ledger: Ledger) -> None:
    """A full disk is a person's to mend."""
    now_ledger.worker_seen("one@test", "1.0")
    job = job_in(now_ledger, State.STORING)
    steps.store_failed(now_ledger, job, 60, "the archive's disk is full")

    (sentence,) = read(settings)["trouble"]

    assert sentence.startswith(
        f"{job.id}: Its video is paid for and waits for its download: the archive's disk is full."
    )


def test_many_jobs_cost_no_more_than_few(settings: Settings, now_ledger: Ledger, client: "redis.Redis") -> None:
    """It is read from counters and heads of indexes: the same number of commands, whatever there is."""

    def commands() -> int:
        before = int(client.info("stats")["total_commands_processed"])
        status_of(service, receivers, settings)
        return int(client.info("stats")["total_commands_processed"]) - before

    service, receivers = make_service(settings), make_receivers(settings)
    for state in (State.QUEUED, State.RENDERING, State.STORING, State.IN_DOUBT):
        job_in(now_ledger, state)
    now_ledger.accept_many([(a_request(), Terms(tenant=f"t{n}")) for n in range(LONGEST_LINE)])
    commands()  # connects
    few = commands()
    now_ledger.accept_many([(a_request(), Terms(tenant=f"t{n % 100}")) for n in range(300)])
    assert commands() == few


def test_how_late_polls_are_is_shown_for_each_worker(settings: Settings, client: "redis.Redis") -> None:
    """Before a queue is overdue; a worker that polls nothing for a while has no lateness."""
    ledger = Ledger(client)
    ledger.worker_seen("one@test", "1.0", late_s=0.25)
    ledger.worker_seen("two@test", "1.0")
    ledger.worker_seen("one@test", "1.0")

    status = read(settings)

    assert {worker["worker"]: worker["late_s"] for worker in status["workers"] or ()} == {
        "one@test": 0.25,
        "two@test": None,
    }
    assert "its polls at most 0.2 s late" in shown(status, 120)
    assert 0 < client.ttl("rushes:late:one@test") <= 60
