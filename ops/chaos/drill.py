"""`make chaos`: jobs are submitted while everything dies; then it is quiet, and every invariant is counted."""

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
from jobs.job import VideoRequest
from jobs.ledger import new_job_id
from ops.chaos.invariants import Invariant, examine
from ops.chaos.plan import strikes
from ops.chaos.theatre import Theatre
from producer.receivers import make_receivers
from producer.service import Service, make_service

MEAN_GAP_S: Final = 4.0
CALM_STEP_S: Final = 0.5
SETTLE_S: Final = 120.0
SETTLE_S_A_MINUTE: Final = 10.0
"""Deliveries die with their workers again and again in a storm: what is still to be told grows with its length."""


def drill(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long blows fall.")] = 1.5,
    *,
    seed: Annotated[int, typer.Option(help="The same seed deals the same blows.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="How many workers, of two versions by turns.")] = 3,
    per_s: Annotated[float, typer.Option(min=0.1, help="Jobs submitted a second.")] = 5.0,
    settle_s: Annotated[
        float | None, typer.Option(help="How long the rest may take once it is quiet; 2 min and 10 s a minute.")
    ] = None,
    keep: Annotated[bool, typer.Option(help="Keep the folder with logs and data.")] = False,
) -> None:
    """Play one drill and print each invariant with its figure; exit 1 if one did not hold."""
    folder = Path(tempfile.mkdtemp(prefix="rushes-chaos-"))
    theatre = Theatre(folder, workers, random.Random(seed), log=_say)  # noqa: S311 (a drill must be repeatable)
    _say(f"seed {seed}, {minutes:g} min, {workers} workers of two versions, logs in {folder}")
    with theatre.open():
        service = make_service(load(beside_up=False))
        accepted = _storm(theatre, service, seed=seed, until=time.monotonic() + minutes * 60, per_s=per_s)
        _say(f"quiet now; {len(accepted)} jobs were accepted, {theatre.started} workers started")
        theatre.calm()
        took_s = _settled(theatre, service, accepted, settle_s or SETTLE_S + SETTLE_S_A_MINUTE * minutes)
        _say(f"settled after {took_s:.1f} s")
        with theatre.connection() as client:
            purchases = theatre.read("purchases")["by_client_request_id"]
            found = list(examine(service, client, load(beside_up=False), accepted, purchases, folder / "told"))
    _print(found)
    failed = not all(invariant.held for invariant in found)
    if keep or failed:
        _say(f"logs and data: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    raise typer.Exit(int(failed))


def _storm(theatre: Theatre, service: Service, *, seed: int, until: float, per_s: float) -> list[str]:
    """Submit at a steady rate while the blows fall; returns the ids of the jobs that were accepted."""
    accepted: list[str] = []
    blows = strikes(seed, mean_gap_s=MEAN_GAP_S)
    strike = next(blows)
    strike_at, submit_at = time.monotonic() + strike.after_s, time.monotonic()
    while (now := time.monotonic()) < until:
        theatre.fill_up()
        if now >= strike_at:
            theatre.strike(strike.blow)
            strike = next(blows)
            strike_at = time.monotonic() + strike.after_s
        if now >= submit_at:
            submit_at = max(submit_at + 1 / per_s, now - 1)
            _submit(service, accepted)
        time.sleep(max(0.0, min(strike_at, submit_at, until) - time.monotonic()))
    return accepted


def _submit(service: Service, accepted: list[str]) -> None:
    """One job. A producer that did not hear the answer asks again with the same key, as a good one does."""
    key = new_job_id()
    request = VideoRequest("google/veo3", f"take {key}", {"duration": 4})
    with contextlib.suppress(LedgerUnavailable):
        accepted.append(service.submit(request, idempotency_key=key).job_id)
        return
    time.sleep(0.5)
    with contextlib.suppress(LedgerUnavailable):
        accepted.append(service.submit(request, idempotency_key=key).job_id)


def _settled(theatre: Theatre, service: Service, accepted: list[str], settle_s: float) -> float:
    """Wait until every job has ended and every end was told, or the time is up."""
    started, receivers = time.monotonic(), make_receivers(load(beside_up=False))
    while time.monotonic() - started < settle_s:
        theatre.fill_up()
        with contextlib.suppress(LedgerUnavailable):
            unfinished = [job for job, _ in service.get_many(accepted) if not job.is_final]
            if not unfinished and not service.follow_ups() and not receivers.waiting():
                break
        time.sleep(CALM_STEP_S)
    return time.monotonic() - started


def _print(found: list[Invariant]) -> None:
    width = max(len(invariant.promise) for invariant in found)
    for invariant in found:
        _say(f"{'held  ' if invariant.held else 'BROKEN'}  {invariant.promise:<{width}}  {invariant.figure}")


def _say(line: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')}  {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    typer.run(drill)
