"""`python -m ops.bench.admission`: what choosing the next purchase costs, by how much waits and how many tenants.

It queues jobs without a worker, then claims one after the other, as a worker's thread does at its dearest. The server's
CPU time is that of its process, so another program on the machine changes little.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
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


def main(*, claims: Annotated[int, typer.Option(min=1, max=100, help="Claims of one job in each case.")] = 90) -> None:
    """Measure and print a table."""
    typer.echo("| queued jobs | tenants | µs a claim | µs with limits | µs an acceptance |\n|---:|---:|---:|---:|---:|")
    for jobs, tenants in CASES:
        plain, accepting = _measured(jobs, tenants, claims, limited=False)
        limited, _ = _measured(jobs, tenants, claims, limited=True)
        typer.echo(f"| {jobs:,} | {tenants:,} | {plain:.0f} | {limited:.0f} | {accepting:.0f} |")


def _measured(jobs: int, tenants: int, claims: int, *, limited: bool) -> tuple[float, float]:
    """Return the server's CPU of a claim, and of an acceptance, in microseconds."""
    with tempfile.TemporaryDirectory(prefix="rushes-bench-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        os.environ["RUSHES_REDIS__URL"] = stack.enter_context(server(Path(name), OTHER_CORE))
        client = connect(load(beside_up=False).redis, name="bench")
        ledger = Ledger(client)
        if limited:
            ledger.admission.set("account", Limit(in_flight=1_000_000, per_min=1_000_000))
            ledger.admission.set(TENANTS, Limit(in_flight=1_000_000, per_min=1_000_000))
        before = _cpu_s(client)
        for requests in _requests(jobs, tenants):
            ledger.accept_many(requests)
        accepted = _cpu_s(client)
        for _ in range(claims):
            ledger.items.claim(Claim(queue=State.QUEUED), lease_s=LONG_S)
        return (_cpu_s(client) - accepted) * 1e6 / claims, (accepted - before) * 1e6 / jobs


def _requests(jobs: int, tenants: int) -> Iterator[list[tuple[VideoRequest, Terms]]]:
    request = VideoRequest("google/veo3", "a paper boat in the rain", {"duration": 8})
    for begin in range(0, jobs, AT_ONCE):
        yield [
            (request, Terms(tenant=f"t{number % tenants}", deadline_s=1000))
            for number in range(begin, min(begin + AT_ONCE, jobs))
        ]


def _cpu_s(client: "redis.Redis") -> float:
    used = client.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


if __name__ == "__main__":
    typer.run(main)
