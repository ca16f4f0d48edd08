"""What Prometheus reads from a real worker."""

import psutil
import requests

from jobs.job import VideoRequest
from ops.stack.recipe import free_port
from tests.monitoring import Series, checked, promtool, scraped, series_in
from tests.stage import Stage, a_request, eventually

JOBS = 3


def ended(stage: Stage, address: str) -> Series:
    """Submit some jobs, wait for their ends, and scrape the worker."""
    service = stage.service
    for job_id in [service.submit(a_request(duration=4)).job_id for _ in range(JOBS)]:
        assert stage.ended(job_id).stored is not None
    return series_in(scraped(address))


@promtool
def test_a_worker_counts_what_it_did(stage: Stage) -> None:
    """Each figure that an alarm or a dashboard uses, by jobs that a real worker bought, polled and stored."""
    address = f"127.0.0.1:{free_port()}"
    stage.environment["RUSHES_HOOKS__CALL"] = "ops.chaos.witness:ended"
    stage.environment["RUSHES_CHAOS_DELIVERIES"] = str(stage.folder / "ends")
    with stage.worker(RUSHES_WORKER__METRICS_LISTEN=address):
        found = ended(stage, address)
        eventually(
            lambda: series_in(scraped(address))["rushes_deliveries_total{kind=hook,outcome=succeeded}"] == JOBS,
            what="the deliveries",
        )
        assert checked("check", "metrics", stdin=scraped(address)) == ""
        eventually(
            lambda: any(worker.late_s is not None for worker in stage.ledger.workers_seen(within_s=60)),
            what="how late its polls were",
        )

    assert found["rushes_upstream_requests_total{account=default,kind=submit,outcome=accepted}"] == JOBS
    assert found["rushes_upstream_request_seconds_count{account=default,kind=submit}"] == JOBS
    assert found["rushes_upstream_requests_total{account=default,kind=poll,outcome=finished}"] == JOBS
    assert found["rushes_lateness_seconds_count{queue=rendering}"] >= JOBS
    assert found["rushes_events_total{event=job.completed}"] == JOBS
    assert found["rushes_jobs_ended_total{reason=,state=completed}"] == JOBS
    assert found["rushes_accept_to_stored_seconds_count{}"] == JOBS
    assert found["rushes_bought_usd_total{}"] > 0
    assert found["rushes_downloads_total{outcome=stored}"] == JOBS
    assert found["rushes_download_bytes_total{}"] > 0
    assert found["rushes_archive_free_bytes{}"] > 0
    assert found["rushes_tasks_total{outcome=worked,task=rushes.submit}"] > 0
    assert found["rushes_wake_ups_sent_total{task=rushes.poll}"] > 0
    assert found["rushes_redis_seconds_count{script=claim}"] > 0
    assert found["rushes_rescue_timestamp_seconds{}"] > 0
    assert (found["rushes_threads{}"], found["process_resident_memory_bytes{}"] > 0) == (4, True)


def test_a_rescued_wake_up_and_a_lost_reply_are_counted(stage: Stage) -> None:
    """What heals itself is seen all the same."""
    address = f"127.0.0.1:{free_port()}"
    stage.sandbox.add_fault(submit="drop", times=1)
    with stage.worker(RUSHES_WORKER__METRICS_LISTEN=address):
        stage.ledger.accept(VideoRequest("google/veo3", "a boat", {"duration": 4}))  # nobody sends its wake-up
        eventually(
            lambda: series_in(scraped(address))["rushes_events_total{event=job.adopted}"] == 1, what="the adoption"
        )
        found = series_in(scraped(address))

    assert found["rushes_wake_ups_rescued_total{task=rushes.submit}"] == 1
    assert found["rushes_upstream_requests_total{account=default,kind=submit,outcome=unknown}"] == 1
    assert found["rushes_upstream_requests_total{account=default,kind=log,outcome=read}"] >= 1
    assert found["rushes_events_total{event=job.in_doubt}"] == 1


def test_a_restarted_worker_waits_for_its_predecessors_port(stage: Stage) -> None:
    """The old one finishes its purchases meanwhile; the new one works at once, and is seen once the old one is gone."""
    address = f"127.0.0.1:{free_port()}"
    stage.environment["RUSHES_WORKER__METRICS_LISTEN"] = address
    with stage.worker() as old, stage.worker(name="two") as new:
        eventually(lambda: f"metrics cannot be served at {address} yet" in new.said(), what="the warning")
        first = series_in(scraped(address))["process_start_time_seconds{}"]
        old.terminate()
        eventually(lambda: _is_served(address), what="the new one's metrics")
        assert series_in(scraped(address))["process_start_time_seconds{}"] > first


def test_without_the_setting_a_worker_listens_nowhere(stage: Stage) -> None:
    """Metrics have no password."""
    with stage.worker() as worker:
        sockets = psutil.Process(worker.process.pid).net_connections()
    assert sockets
    assert not [socket for socket in sockets if socket.status == psutil.CONN_LISTEN]


def _is_served(address: str) -> bool:
    try:
        return bool(scraped(address))
    except requests.ConnectionError:
        return False
