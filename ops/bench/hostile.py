"""`python -m ops.bench.hostile`: what a neighbour feels of each attack on the API.

A neighbour creates and gets jobs at an even pace, in peace and beside an attack by turns, so that other work of the
machine weighs on both alike; the table has the 99th percentiles of all rounds. Attackers run with the lowest
priority: in earnest they have machines of their own.
"""

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import redis
import requests
import typer
import uvicorn

from config.connection import connect
from config.settings import RedisSettings, load
from jobs.job import Terms, VideoRequest
from jobs.ledger import Ledger
from ops.bench.attacks import ATTACKS
from ops.bench.processes import process, server, until
from ops.stack.recipe import HOST, free_port
from producer.api.application import make_app
from producer.api.connection import Connection
from producer.api.picture_pool import PicturePool
from producer.api.pictures import PictureCheck
from producer.keys import Keys, Scope

PER_S: Final = 20
PER_MIN: Final = 1200
"""The rate limit of each key, twice the default."""

NOTHING_S: Final = 0.05
"""A percentile up to this is as good as quiet: on a busy machine a quiet one is at times as high."""

WITHIN: Final = 3.0
FULL: Final = "full"
ATTACKER: Final = "attacker"
NEIGHBOUR: Final = "neighbour"


@dataclass
class Felt:
    """What the neighbour measured: seconds of each create and get, and what failed."""

    create_s: list[float] = field(default_factory=list)
    get_s: list[float] = field(default_factory=list)
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Stage:
    """The API under attack."""

    port: int
    redis_url: str
    keys: Sequence[str]
    attackers_key: str
    silent_port: int
    job_id: str
    folder: Path


def main(
    *,
    seconds: Annotated[float, typer.Option(min=1, help="How long a round is, quiet and attacked.")] = 5,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each kind.")] = 5,
    only: Annotated[str, typer.Option(help="Kinds, comma-separated; empty: all.")] = "",
) -> None:
    """Measure each kind, and print the table; exit 1 if the neighbour felt one."""
    rows = []
    with TemporaryDirectory() as folder, _staged(Path(folder)) as stage:
        for kind in only.split(",") if only else [*ATTACKS, FULL]:
            rows.append(_row(kind, *_measured(stage, kind, seconds, rounds)))
            sys.stderr.write(f"{rows[-1][0]}\n")
    head = ["attack", "create, quiet", "attacked", "ratio", "get, quiet", "attacked", "ratio", "failures"]
    sys.stdout.write(f"| {' | '.join(head)} |\n|---|{'---:|' * 7}\n" + "".join(f"{line}\n" for line, _ in rows))
    raise typer.Exit(0 if all(is_met for _, is_met in rows) else 1)


def _measured(stage: Stage, kind: str, seconds: float, rounds: int) -> tuple[list[Felt], list[Felt]]:
    quiet, attacked = [], []
    for _ in range(rounds):
        quiet.append(_felt(stage, seconds))
        with _filled(stage) if kind == FULL else _attacked(stage, kind):
            attacked.append(_felt(stage, seconds, creates=kind != FULL))
    return quiet, attacked


def _row(kind: str, quiet: Sequence[Felt], attacked: Sequence[Felt]) -> tuple[str, bool]:
    failures = sum(each.failures for each in attacked)
    cells, is_met = ["Redis is full: no creates" if kind == FULL else ATTACKS[kind][0]], failures == 0
    for name in ("create_s", "get_s"):
        before, beside = _p99(quiet, name), _p99(attacked, name)
        cells += [_shown(before), _shown(beside), f"{beside / before:.1f}" if before and beside else "-"]
        is_met &= beside is None or before is None or beside <= max(WITHIN * before, NOTHING_S)
    return f"| {' | '.join(cells)} | {failures} |", is_met


def _shown(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"


def _p99(rounds: Sequence[Felt], name: str) -> float | None:
    found = sorted(seconds for each in rounds for seconds in getattr(each, name))
    return found[int(len(found) * 0.99)] if found else None


def _felt(stage: Stage, seconds: float, *, creates: bool = True) -> Felt:
    """Create and get jobs at an even pace; a request that the server is late for delays none of the next."""
    felt = Felt()
    threads, began, number = [], time.monotonic(), 0
    while (at := number / PER_S) < seconds:
        time.sleep(max(began + at - time.monotonic(), 0))
        key = stage.keys[number % len(stage.keys)]
        threads.append(threading.Thread(target=_ask, args=(stage, key, felt, creates)))
        threads[-1].start()
        number += 1
    for thread in threads:
        thread.join()
    return felt


def _ask(stage: Stage, key: str, felt: Felt, creates: bool) -> None:
    began, job_id = time.monotonic(), stage.job_id
    try:
        if creates:
            job_id = json.loads(_sent(stage, key, "POST", "/v1/videos", '{"prompt":"a paper boat"}'))["id"]
            felt.create_s.append(time.monotonic() - began)
            began = time.monotonic()
        _sent(stage, key, "GET", f"/v1/videos/{job_id}")
        felt.get_s.append(time.monotonic() - began)
    except (OSError, HTTPException, ValueError, KeyError) as error:
        felt.failures += 1
        sys.stderr.write(f"failed: {type(error).__name__} {error}\n")


def _sent(stage: Stage, key: str, method: str, path: str, body: str | None = None) -> bytes:
    connection = HTTPConnection(HOST, stage.port, timeout=60)
    try:
        connection.request(method, path, body, {"authorization": f"Bearer {key}", "content-type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status >= 300:  # noqa: PLR2004 (above are errors)
        raise ValueError(f"{response.status} {answer[:200]!r}")
    return answer


@contextmanager
def _attacked(stage: Stage, kind: str) -> Iterator[None]:
    command = [sys.executable, "-m", "ops.bench.attacks", kind, str(stage.port), stage.attackers_key]
    with process(["nice", "-n", "19", *command, str(stage.silent_port)], stage.folder / "attack.log"):
        time.sleep(1)
        yield
    time.sleep(1)


@contextmanager
def _filled(stage: Stage) -> Iterator[None]:
    """Fill Redis to its last byte, and empty it again."""
    with redis.Redis.from_url(stage.redis_url) as client:
        used = int(client.info("memory")["used_memory"])
        client.config_set("maxmemory", used)
        try:
            yield
        finally:
            client.config_set("maxmemory", 0)


@contextmanager
def _staged(folder: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        redis_url = stack.enter_context(server(folder, None))
        silent = stack.enter_context(socket.create_server((HOST, 0), backlog=1000))
        port = free_port()
        environment = {
            "RUSHES_REDIS__URL": redis_url,
            "RUSHES_STATE_DIR": str(folder / "state"),
            "RUSHES_API__PORT": str(port),
            "RUSHES_API__REQUESTS_PER_MIN": str(PER_MIN),
        }
        command = [sys.executable, "-c", "from ops.bench import hostile; hostile.serve()"]
        stack.enter_context(process(command, folder / "api.log", environment=environment))
        until(lambda: _answers(f"http://{HOST}:{port}/healthz"), "the API's start")
        with connect(RedisSettings.model_validate({"url": redis_url}), name="bench") as client:
            scopes = [Scope.SUBMIT, Scope.READ]
            keys = [Keys(client).issue(NEIGHBOUR, scopes).token for _ in range(4)]
            attackers_key = Keys(client).issue(ATTACKER, scopes).token
            some = [(VideoRequest("some/body", "a boat"), Terms(tenant=ATTACKER, due_in_s=3600))] * 500
            for _ in range(4):
                Ledger(client).accept_many(some)
            job_id = Ledger(client).accept(VideoRequest("some/body", "a boat"), Terms(tenant=NEIGHBOUR)).job_id
        yield Stage(port, redis_url, keys, attackers_key, silent.getsockname()[1], job_id, folder)


def serve() -> None:
    """Serve the API as `python -m producer.api` does, but take this machine's pictures for the public internet."""
    settings = load()
    app = make_app(settings)
    check = PictureCheck(settings.queue.request_bytes, permits=lambda _: True).check
    app.state.parts = replace(app.state.parts, pictures=PicturePool(check))
    uvicorn.run(
        app, host=HOST, port=settings.api.port, http=Connection, ws="none", limit_concurrency=10_000, log_config=None
    )


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=1).ok
    except requests.RequestException:
        return False


if __name__ == "__main__":
    typer.run(main)
