"""`python -m ops.bench.parts`: the CPU of each step of a job alone, in one thread.

It makes a worker's calls in sequence against the bench's upstream and server, without Celery, threads or an event loop.
What `make bench` measures beyond their sum is the overhead of a busy process.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Final

import typer

from config.connection import connect
from config.settings import Settings, load
from config.store import open_store
from jobs.facts import Accepted, Fetched
from jobs.job import Family, Job, Stored, Terms, Video, VideoRequest
from jobs.ledger import Durability, Ledger, new_job_id
from jobs.moves.download import completed
from jobs.moves.poll import polled, rendered
from jobs.moves.purchase import submitted, submitting
from jobs.states import State
from jobs.work_items import Claim
from ops.bench.processes import Upstream, server
from worker.archive.archive import Archive
from worker.archive.permits import download_permits
from worker.runtime import policy
from worker.upstream.access import UpstreamAccess
from worker.upstream.client import Upstream as Buyer

OTHER_CORE: Final = 1
BATCH: Final = 100
REQUEST: Final = VideoRequest("google/veo3", "a paper boat in the rain", {"duration": 8})
STORED: Final = Stored("2026/01/01/x.mp4", 1, "0" * 64, "video/mp4")


def main(*, jobs: Annotated[int, typer.Option(min=BATCH, help="Repetitions of each.")] = 500) -> None:
    """Measure and print a table."""
    with tempfile.TemporaryDirectory(prefix="rushes-parts-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        folder = Path(name)
        os.environ["RUSHES_REDIS__URL"] = stack.enter_context(server(folder, OTHER_CORE))
        upstream = stack.enter_context(Upstream.started(folder, OTHER_CORE))
        os.environ["RUSHES_UPSTREAM__BASE_URL"] = upstream.url
        os.environ["RUSHES_UPSTREAM__API_KEY"] = "bench-key"
        os.environ["RUSHES_STATE_DIR"] = str(folder / "state")
        upstream.set(polls=0, render_s=1e9, interval_s=1.0)
        typer.echo("| part | µs CPU |\n|---|---:|")
        for part, cost_us in _parts(load(beside_up=False), jobs):
            typer.echo(f"| {part} | {cost_us:,.0f} |")


def _parts(settings: Settings, many: int) -> Iterator[tuple[str, float]]:
    ledger = Ledger(connect(settings.redis, name="parts"), durability=Durability(1.0, 0))
    for _ in range(many):
        ledger.accept(REQUEST, Terms(deadline_s=1000))
    queued = iter(_claimed(ledger, State.QUEUED, many))
    intended: list[Job] = []
    yield "intent, on disk", _cpu_us(lambda: intended.append(_intend(ledger, next(queued))), many)
    buyer = Buyer(UpstreamAccess.of(settings.upstream), settings.upstream)
    ids: list[str] = []
    yield "POST (requests, a new connection)", _cpu_us(lambda: ids.append(_bought(buyer)), many)
    buying = iter(intended)
    yield "receipt", _cpu_us(lambda: _receive(ledger, next(buying)), many)

    batches = many // BATCH
    yield "one poll's share of claiming and writing back", _cpu_us(lambda: _poll_again(ledger), batches) / BATCH
    found = Video("http://127.0.0.1/x.mp4")
    done = [(job, rendered(job, found)) for job in _claimed(ledger, State.RENDERING, many)]
    yield "one found video's share of writing back", _cpu_us(lambda: ledger.apply(done), 1) / len(done)

    fetching = iter(_claimed(ledger, State.STORING, many))
    archive, end = _archive(settings), completed(STORED, None, took_s=100.0, policy=policy(settings))
    yield "download of 64 KB (requests, kept alive), fsync", _cpu_us(lambda: _fetch(archive, ids[0], settings), many)
    yield "the end", _cpu_us(lambda: ledger.move(next(fetching), end), many)


def _bought(buyer: Buyer) -> str:
    receipt = buyer.submit(REQUEST, Family.UNIVERSAL, "job_1.1")
    assert isinstance(receipt, Accepted), receipt
    return receipt.generation_id


def _intend(ledger: Ledger, job: Job) -> Job:
    return ledger.intend(job, submitting(job, lease_s=60, worker="parts", suffix="1"))


def _receive(ledger: Ledger, job: Job) -> None:
    ledger.move(job, submitted(job, "gen-1", cost_usd=3.0, first_poll_s=0))


def _claimed(ledger: Ledger, state: State, many: int) -> list[Job]:
    return [one.job for one in ledger.items.claim(Claim(queue=state, limit=many, fence=False)).jobs]


def _poll_again(ledger: Ledger) -> None:
    claimed = _claimed(ledger, State.RENDERING, BATCH)
    ledger.apply([(job, polled(job, "generating", wait_s=0.0, pending=True)) for job in claimed])


def _archive(settings: Settings) -> Archive:
    permits = download_permits(private=True, upstream=settings.upstream.base_url.host or "")
    return Archive(open_store(settings), settings.archive_dir, settings.archive, permits=permits)


def _fetch(archive: Archive, generation_id: str, settings: Settings) -> None:
    found = archive.fetch(new_job_id(), 1, Video(f"{settings.upstream.base_url}films/{generation_id}.mp4"))
    assert isinstance(found, Fetched), found


def _cpu_us(act: Callable[[], object], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        act()
    return (time.process_time() - began) / times * 1e6


if __name__ == "__main__":
    typer.run(main)
