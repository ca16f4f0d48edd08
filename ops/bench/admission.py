"""`python -m ops.bench.admission`: what choosing the next purchase costs, by how much waits and how many tenants.

It queues jobs without a worker, then claims one after the other, as a worker's thread does at its dearest. The server's
CPU time is that of its process, so another program on the machine changes little.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Final

import redis
import typer

from config.connection import connect
from config.settings import load
from jobs.admission import TENANTS, Limit
from jobs.job import Terms, VideoRequest
from jobs.ledger import Ledger
from jobs.states import State
from jobs.work_items import Claim
from ops.bench.processes import server

OTHER_CORE: Final = 1
AT_ONCE: Final = 500
LONG_S: Final = 3600.0
"""Leases of claimed jobs must not end while others are claimed."""

CASES: Final = ((100, 1), (100, 3), (10_000, 3), (100_000, 1000))
"""Queued jobs, and the tenants whose they are."""
CLAIMS: Final = 90
"""In one round, after which as many jobs are accepted again."""


def main(*, rounds: Annotated[int, typer.Option(min=1, help="Rounds of 90 claims, whose median counts.")] = 11) -> None:
    """Measure and print a table."""
    plain, limited = _measured(rounds, limited=False), _measured(rounds, limited=True)
    typer.echo("| queued jobs | tenants | µs a claim | µs with limits | µs an acceptance |\n|---:|---:|---:|---:|---:|")
    for (jobs, tenants), (claim, acceptance), (limited_claim, _) in zip(CASES, plain, limited, strict=True):
        typer.echo(f"| {jobs:,} | {tenants:,} | {claim:.0f} | {limited_claim:.0f} | {acceptance:.0f} |")


def _measured(rounds: int, *, limited: bool) -> list[tuple[float, float]]:
    """Return the servers' CPU of a claim, and of an acceptance, in microseconds, for each case.

    The cases take turns, so that all of them meet the machine's slow moments.
    """
    with ExitStack() as stack:
        queues = [stack.enter_context(_queue(limited=limited)) for _ in CASES]
        accepting = [
            _cpu_us(client, partial(_accept, ledger, jobs, tenants)) / jobs
            for (client, ledger), (jobs, tenants) in zip(queues, CASES, strict=True)
        ]
        claiming: list[list[float]] = [[] for _ in CASES]
        for _ in range(rounds):
            for (client, ledger), (_, tenants), figures in zip(queues, CASES, claiming, strict=True):
                figures.append(_cpu_us(client, partial(_claim, ledger)) / CLAIMS)
                _accept(ledger, CLAIMS, tenants)
        return list(zip(map(median, claiming), accepting, strict=True))


@contextmanager
def _queue(*, limited: bool) -> Iterator[tuple["redis.Redis", Ledger]]:
    """Yield an empty queue, on a server of its own."""
    with tempfile.TemporaryDirectory(prefix="rushes-bench-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        os.environ["RUSHES_REDIS__URL"] = stack.enter_context(server(Path(name), OTHER_CORE))
        client = connect(load(beside_up=False).redis, name="bench")
        ledger = Ledger(client)
        if limited:
            ledger.admission.set("account", Limit(in_flight=1_000_000, per_min=1_000_000))
            ledger.admission.set(TENANTS, Limit(in_flight=1_000_000, per_min=1_000_000))
        yield client, ledger


def _claim(ledger: Ledger) -> None:
    for _ in range(CLAIMS):
        ledger.items.claim(Claim(queue=State.QUEUED), lease_s=LONG_S)


def _accept(ledger: Ledger, jobs: int, tenants: int) -> None:
    for requests in _requests(jobs, tenants):
        ledger.accept_many(requests)


def _requests(jobs: int, tenants: int) -> Iterator[list[tuple[VideoRequest, Terms]]]:
    request = VideoRequest("google/veo3", "a paper boat in the rain", {"duration": 8})
    for begin in range(0, jobs, AT_ONCE):
        yield [
            (request, Terms(tenant=f"t{number % tenants}", deadline_s=1000))
            for number in range(begin, min(begin + AT_ONCE, jobs))
        ]


def _cpu_us(client: "redis.Redis", work: Callable[[], None]) -> float:
    """Return how much of the server's CPU some work takes."""
    before = _cpu_s(client)
    work()
    return (_cpu_s(client) - before) * 1e6


def _cpu_s(client: "redis.Redis") -> float:
    used = client.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


if __name__ == "__main__":
    typer.run(main)
