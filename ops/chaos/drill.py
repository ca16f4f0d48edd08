"""`make chaos`: submits jobs while faults happen, waits until all jobs have ended, checks every invariant."""

import contextlib
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from config.settings import load
from jobs.errors import LedgerUnavailable
from jobs.job import Terms, VideoRequest
from jobs.ledger import new_job_id
from ops.chaos.deployment import Deployment
from ops.chaos.invariants import Invariant, examine
from ops.chaos.plan import schedule
from producer.receivers import make_receivers
from producer.service import Service, make_service

MEAN_GAP_S: Final = 4.0
CALM_STEP_S: Final = 0.5
SETTLE_S: Final = 120.0
SETTLE_S_A_MINUTE: Final = 10.0
"""Workers that die leave deliveries undone, so the longer the faults, the more deliveries remain."""


def drill(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long faults happen.")] = 1.5,
    *,
    seed: Annotated[int, typer.Option(help="The same seed gives the same faults.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Number of workers, alternating between two versions.")] = 3,
    per_s: Annotated[float, typer.Option(min=0.1, help="Jobs submitted per second.")] = 5.0,
    settle_s: Annotated[
        float | None,
        typer.Option(help="How long the remaining jobs may take after the faults; default 2 min and 10 s per minute."),
    ] = None,
    keep: Annotated[bool, typer.Option(help="Keep the folder with logs and data.")] = False,
) -> None:
    """Run one drill and print each invariant with its figures; exit 1 if one is broken."""
    folder = Path(tempfile.mkdtemp(prefix="rushes-chaos-"))
    deployment = Deployment(folder, workers, random.Random(seed), log=_say)  # noqa: S311 (a drill must be repeatable)
    _say(f"seed {seed}, {minutes:g} min, {workers} workers of two versions, logs in {folder}")
    with deployment.open():
        service = make_service(load(beside_up=False))
        accepted = _submit_under_faults(
            deployment, service, seed=seed, until=time.monotonic() + minutes * 60, per_s=per_s
        )
        _say(f"no more faults; {len(accepted)} jobs were accepted, {deployment.started} workers started")
        deployment.calm()
        took_s = _settled(deployment, service, settle_s or SETTLE_S + SETTLE_S_A_MINUTE * minutes)
        _say(f"settled after {took_s:.1f} s")
        with deployment.connection() as client:
            purchases = deployment.read("purchases")["by_client_request_id"]
            found = list(examine(service, client, load(beside_up=False), accepted, purchases, folder / "deliveries"))
    _print(found)
    failed = not all(invariant.kept for invariant in found)
    if keep or failed:
        _say(f"logs and data: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    raise typer.Exit(int(failed))


def _submit_under_faults(
    deployment: Deployment, service: Service, *, seed: int, until: float, per_s: float
) -> list[str]:
    """Submit at a steady rate while faults happen; returns the ids of the accepted jobs."""
    accepted: list[str] = []
    faults = schedule(seed, mean_gap_s=MEAN_GAP_S)
    scheduled = next(faults)
    fault_at, submit_at = time.monotonic() + scheduled.after_s, time.monotonic()
    while (now := time.monotonic()) < until:
        deployment.fill_up()
        if now >= fault_at:
            deployment.inject(scheduled.fault)
            scheduled = next(faults)
            fault_at = time.monotonic() + scheduled.after_s
        if now >= submit_at:
            submit_at = max(submit_at + 1 / per_s, now - 1)
            _submit(service, accepted)
        time.sleep(max(0.0, min(fault_at, submit_at, until) - time.monotonic()))
    return accepted


def _submit(service: Service, accepted: list[str]) -> None:
    """Submit one job, and once more with the same idempotency key if the reply was lost."""
    key = new_job_id()
    request = VideoRequest("google/veo3", f"take {key}", {"duration": 4})
    with contextlib.suppress(LedgerUnavailable):
        accepted.append(service.submit(request, Terms(idempotency_key=key)).job_id)
        return
    time.sleep(0.5)
    with contextlib.suppress(LedgerUnavailable):
        accepted.append(service.submit(request, Terms(idempotency_key=key)).job_id)


def _settled(deployment: Deployment, service: Service, settle_s: float) -> float:
    """Wait until every job has ended and every end was delivered, or the time is up."""
    started, receivers = time.monotonic(), make_receivers(load(beside_up=False))
    while time.monotonic() - started < settle_s:
        deployment.fill_up()
        with contextlib.suppress(LedgerUnavailable):
            unfinished = sum(count for state, count in service.counts().items() if not state.is_final)
            if not unfinished and not service.follow_ups() and not receivers.waiting():
                break
        time.sleep(CALM_STEP_S)
    return time.monotonic() - started


def _print(found: list[Invariant]) -> None:
    width = max(len(invariant.promise) for invariant in found)
    for invariant in found:
        _say(f"{'kept  ' if invariant.kept else 'BROKEN'}  {invariant.promise:<{width}}  {invariant.figure}")


def _say(line: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')}  {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    typer.run(drill)
