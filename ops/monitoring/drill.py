"""`python -m ops.monitoring.drill`: makes each alarm's trouble, waits until it fires, mends it, waits for silence."""

import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from config.settings import load
from jobs.breakers import Breaker, name_of
from jobs.errors import LedgerUnavailable
from jobs.job import VideoRequest
from jobs.keyspace import PREFIX
from ops.monitoring.watched import Watched
from producer.service import make_service

WITHIN_S: Final = 90.0
"""A worker counts as gone after 30 s, and the clock is looked at every 30 s; all else is quicker."""

FILLED_BYTES: Final = 2**30
BOARDS: Final = tuple(Path(__file__).with_name("grafana") / name for name in ("fleet.json", "upstream.json"))
"""Those of metrics."""
RATE: Final = "$__rate_interval"
"""Grafana's variable for a range that holds some scrapes."""

JOBS_PER_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Blow:
    """A blow: which alarm it is for, what it is, how it is made and mended."""

    alarm: str
    what: str
    make: Callable[[], object]
    mend: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of a blow: seconds until its alarm fired, and until it was silent; None: it never was."""

    blow: Blow
    fired_s: float | None
    silent_s: float | None

    @property
    def is_good(self) -> bool:
        """Whether it fired, and fell silent."""
        return self.fired_s is not None and self.silent_s is not None


def blows(on: Watched) -> list[Blow]:
    """List the blows, in an order in which none leaves trouble for the next."""
    archive, away = on.archive, on.archive.with_name("away")
    ends, filled = on.folder / "deliveries", on.archive / "filled"
    polls_breaker = f"{PREFIX}breaker:{name_of(Breaker.POLL)}"

    def break_archive() -> None:
        archive.rename(away)
        archive.touch()

    def mend_archive() -> None:
        archive.unlink()
        away.rename(archive)

    def break_hook() -> None:
        ends.rename(on.folder / "delivered")
        ends.touch()  # a file, where the hook wants its folder

    def mend_hook() -> None:
        ends.unlink()
        (on.folder / "delivered").rename(ends)

    def fill_disk() -> None:
        with filled.open("wb") as out:
            os.posix_fallocate(out.fileno(), 0, FILLED_BYTES)

    def fill_redis() -> None:
        used = on.command("INFO", "memory")["used_memory"]
        on.command("CONFIG", "SET", "maxmemory", str(int(used * 1.05)))

    def unfill_redis() -> None:
        on.command("CONFIG", "SET", "maxmemory", "0")

    def set_clock_back() -> None:
        seconds, _ = on.command("TIME")
        on.command("HSET", "rushes:clock", "seen", str(int(seconds) + 3600))

    def lose_receipts() -> None:
        on.add_fault(submit="drop", times=3)
        on.add_fault(logs="503")

    return [
        Blow("RushesArchiveFull", "a large file fills the disk", fill_disk, filled.unlink),
        Blow("RushesRedisFull", "Redis's maxmemory is lowered", fill_redis, unfill_redis),
        Blow("RushesKeyBad", "the upstream answers 401", lambda: on.add_fault(submit="401"), on.heal_upstream),
        Blow("RushesCreditsGone", "the account is empty", lambda: on.add_fault(submit="403"), on.heal_upstream),
        Blow(
            "RushesUpstreamSick",
            "the upstream answers polls with 503",
            lambda: on.add_fault(poll="503"),
            on.heal_upstream,
        ),
        Blow("RushesDoubtsAgeing", "three replies are lost, and the log too", lose_receipts, on.heal_upstream),
        Blow("RushesArchiveUnreachable", "a file stands where the archive was", break_archive, mend_archive),
        Blow("RushesReceiverFailing", "the hook raises", break_hook, mend_hook),
        Blow("RushesPollsLate", "the worker gets a fifth of the CPU", on.throttle_worker, on.go_on),
        Blow("RushesJobsOverdue", "the worker hangs", on.freeze_worker, on.go_on),
        Blow("RushesRescuerSilent", "a worker's rescuer sleeps", on.start_silent_worker, on.kill_silent_worker),
        Blow("RushesClockJumped", "the ledger has seen a time an hour ahead", set_clock_back, lambda: None),
        Blow(
            "RushesUnreadable",
            "a foreign value under one of our keys",
            lambda: on.command("SET", polls_breaker, "a foreign value"),
            lambda: on.command("DEL", polls_breaker),
        ),
        Blow("RushesUnseen", "kill -9 the API", on.kill_api, on.start_api),
        Blow("RushesRedisGone", "kill -9 Redis", on.kill_redis, on.start_redis),
        Blow("RushesWorkersGone", "kill -9 every worker", on.kill_workers, on.tend),
    ]


def drill(
    *,
    only: Annotated[str, typer.Option(help="Alarms, comma separated; all by default.")] = "",
    keep: Annotated[bool, typer.Option(help="Keep the folder with logs and data.")] = False,
) -> None:
    """Fire every alarm by the blow that it is for; exit 1 if one does not fire or does not fall silent."""
    folder = Path(tempfile.mkdtemp(prefix="rushes-alarms-"))
    on = Watched(folder, 1, random.Random(1), log=_say)  # noqa: S311 (no secret)
    full_at = shutil.disk_usage(folder).free - FILLED_BYTES // 2
    with on.watched(archive_bytes=full_at), _jobs():
        chosen = [blow for blow in blows(on) if not only or blow.alarm in only.split(",")]
        _say(f"{'alarm':<26}{'blow':<44}{'fires':>8}{'silent':>8}")
        seen = [_strike(on, blow) for blow in chosen]
        _read_dashboards(on)
    if keep or not all(one.is_good for one in seen):
        _say(f"logs and data: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    raise typer.Exit(int(not all(one.is_good for one in seen)))


def _strike(on: Watched, blow: Blow) -> Seen:
    blow.make()
    fired_s = _waited(lambda: blow.alarm in on.firing())
    also = on.firing() - {blow.alarm}
    blow.mend()
    silent_s = _waited(lambda: blow.alarm not in on.firing())
    shown = "".join(f"{'never' if took is None else f'{took:.0f} s':>8}" for took in (fired_s, silent_s))
    _say(f"{blow.alarm:<26}{blow.what:<44}{shown}{'  with ' + ', '.join(sorted(also)) if also else ''}")
    return Seen(blow, fired_s, silent_s)


def _read_dashboards(on: Watched) -> None:
    """Evaluate every panel, and name those without data: some show trouble only."""
    for board in BOARDS:
        panels = json.loads(board.read_text())["panels"]
        found = {
            panel["title"]: any(on.evaluated(one["expr"].replace(RATE, "1m")) for one in panel["targets"])
            for panel in panels
        }
        empty = ", ".join(title for title, has_data in found.items() if not has_data)
        _say(f"dashboard {board.stem}: {sum(found.values())} of {len(found)} panels have data; not: {empty or 'none'}")


def _waited(condition: Callable[[], bool]) -> float | None:
    began = time.monotonic()
    while (took := time.monotonic() - began) < WITHIN_S:
        if condition():
            return took
        time.sleep(0.2)
    return None


@contextmanager
def _jobs() -> Iterator[None]:
    """Submit jobs, at a steady rate, while the block lasts."""
    service, over = make_service(load(beside_up=False)), threading.Event()

    def submit() -> None:
        while not over.wait(1 / JOBS_PER_S):
            with suppress(LedgerUnavailable):
                service.submit(VideoRequest("google/veo3", "a boat", {"duration": 4}))

    thread = threading.Thread(target=submit, name="jobs")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    typer.run(drill)
