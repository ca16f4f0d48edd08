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
from ops.chaos.limits import CAP, Operator, examine_limits
from ops.chaos.plan import schedule
from producer.receivers import make_receivers
from producer.service import Service, make_service

MEAN_GAP_S: Final = 4.0
CALM_STEP_S: Final = 0.5
SETTLE_S: Final = 120.0
SETTLE_S_A_MINUTE: Final = 10.0
"""Workers that die leave deliveries undone, so the longer the faults, the more deliveries remain."""

SETTLE_LIMITED: Final = 5
"""With a cap more is submitted than can be bought, so that all tenants have jobs waiting."""


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
    limits: Annotated[bool, typer.Option(help="With tenants, limits, pauses and cancels.")] = False,
    keep: Annotated[bool, typer.Option(help="Keep the folder with logs and data.")] = False,
) -> None:
    """Run one drill and print each invariant with its figures; exit 1 if one is broken."""
    folder = Path(tempfile.mkdtemp(prefix="rushes-chaos-"))
    rng = random.Random(seed)  # noqa: S311 (a drill must be repeatable)
    deployment = Deployment(folder, workers, rng, log=_say, in_flight=CAP if limits else 0)
    _say(f"seed {seed}, {minutes:g} min, {workers} workers of two versions, logs in {folder}")
    with deployment.open():
        service, accepted = make_service(load(beside_up=False)), list[str]()
        operator = Operator(service, random.Random(seed), accepted) if limits else None  # noqa: S311 (as above)
        if operator:
            operator.start()
        until = time.monotonic() + minutes * 60
        _submit_under_faults(deployment, service, accepted, operator, seed=seed, until=until, per_s=per_s)
        _say(f"no more faults; {len(accepted)} jobs were accepted, {deployment.started} workers started")
        deployment.calm()
        if operator:
            operator.resume()
        patience = SETTLE_LIMITED if limits else 1
        settled = _settled(deployment, service, settle_s or patience * (SETTLE_S + SETTLE_S_A_MINUTE * minutes))
        with deployment.connection() as client:
            purchases = deployment.read("purchases")["by_client_request_id"]
            found = [settled]
            found += examine(service, client, load(beside_up=False), accepted, purchases, folder / "deliveries")
            if operator:
                generations = folder / "sandbox" / "generations.jsonl"
                found += examine_limits(service, accepted, operator.pauses, generations)
    _print(found)
    failed = not all(invariant.kept for invariant in found)
    if keep or failed:
        _say(f"logs and data: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    raise typer.Exit(int(failed))


def _submit_under_faults(
    deployment: Deployment,
    service: Service,
    accepted: list[str],
    operator: Operator | None,
    *,
    seed: int,
    until: float,
    per_s: float,
) -> None:
    """Submit at a steady rate while faults happen; adds the ids of the accepted jobs."""
    began = time.monotonic()
    faults = schedule(seed, mean_gap_s=MEAN_GAP_S)
    scheduled = next(faults)
    fault_at, submit_at = time.monotonic() + scheduled.after_s, time.monotonic()
    while (now := time.monotonic()) < until:
        deployment.tend()
        if now >= fault_at:
            deployment.inject(scheduled.fault)
            scheduled = next(faults)
            fault_at = time.monotonic() + scheduled.after_s
        if now >= submit_at:
            submit_at = max(submit_at + 1 / per_s, now - 1)
            _submit(service, accepted, tenant=operator.tenant() if operator else None)
        if operator:
            operator.step(now - began)
        time.sleep(max(0.0, min(fault_at, submit_at, until) - time.monotonic()))


def _submit(service: Service, accepted: list[str], *, tenant: str | None) -> None:
    """Submit one job, and once more with the same idempotency key if the reply was lost."""
    key = new_job_id()
    request, terms = (
        VideoRequest("google/veo3", f"take {key}", {"duration": 4}),
        Terms(idempotency_key=key, tenant=tenant),
    )
    with contextlib.suppress(LedgerUnavailable):
        accepted.append(service.submit(request, terms).job_id)
        return
    time.sleep(0.5)
    with contextlib.suppress(LedgerUnavailable):
        accepted.append(service.submit(request, terms).job_id)


def _settled(deployment: Deployment, service: Service, settle_s: float) -> Invariant:
    """Wait until every job has ended and every end was delivered, or the time is up."""
    started, receivers, is_settled = time.monotonic(), make_receivers(load(beside_up=False)), False
    while time.monotonic() - started < settle_s:
        deployment.tend()
        with contextlib.suppress(LedgerUnavailable):
            unfinished = sum(count for state, count in service.counts().items() if not state.is_final)
            is_settled = not unfinished and not service.follow_ups() and not receivers.waiting()
            if is_settled:
                break
        time.sleep(CALM_STEP_S)
    took_s = time.monotonic() - started
    return Invariant("everything was done soon after the last fault", is_settled, f"{took_s:.0f} of {settle_s:.0f} s")


def _print(found: list[Invariant]) -> None:
    width = max(len(invariant.promise) for invariant in found)
    for invariant in found:
        _say(f"{'kept  ' if invariant.kept else 'BROKEN'}  {invariant.promise:<{width}}  {invariant.figure}")


def _say(line: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')}  {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    typer.run(drill)
