"""The render pool: low-priority processes that render clips from a queue, the most urgent first."""

import asyncio
import itertools
import json
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ops.sandbox.scene import Scene

URGENT = 0  # before every clip that is rendered ahead


class RenderError(Exception):
    """A clip could not be rendered; the message goes to the waiting request."""


@dataclass(order=True, slots=True)
class Ticket:
    """A queued clip."""

    due_ms: int
    place: int
    scene: Scene = field(compare=False)
    path: Path = field(compare=False)


class RenderPool:
    """Renders each scene once, in processes that start on demand."""

    def __init__(self, processes: int) -> None:
        self.max_processes = processes
        self.queue: asyncio.PriorityQueue[Ticket] = asyncio.PriorityQueue()
        self.places = itertools.count()
        self.pending: dict[Path, asyncio.Future[None]] = {}
        self.rendering: set[Path] = set()
        self.workers: list[asyncio.Task[None]] = []
        self.processes: set[Process] = set()

    def render(self, scene: Scene, path: Path, *, due_ms: int) -> asyncio.Future[None]:
        """Queue a scene for rendering; a second call returns the same future and may make the clip urgent."""
        known = self.pending.get(path)
        if known is None or (due_ms == URGENT and path not in self.rendering):
            self.queue.put_nowait(Ticket(due_ms, next(self.places), scene, path))
        if known is None:
            known = self.pending[path] = asyncio.get_running_loop().create_future()
            known.add_done_callback(retrieve_exception)
        if len(self.workers) < min(self.max_processes, len(self.pending)):
            self.workers.append(asyncio.create_task(self.work()))
        return known

    async def work(self) -> None:
        """Render queued clips in one process, and replace it when it dies."""
        process = await self.start_process()
        while True:
            ticket = await self.queue.get()
            if ticket.path not in self.pending or ticket.path in self.rendering:
                continue  # it was queued again as urgent, and another worker took it
            if process.returncode is not None:
                process = await self.start_process()
            self.rendering.add(ticket.path)
            failed = await rendered(process, ticket)
            self.rendering.discard(ticket.path)
            settle(self.pending.pop(ticket.path), failed)

    async def start_process(self) -> Process:
        """Start a process."""
        command = (sys.executable, "-P", "-m", "ops.sandbox.render_process")  # -P: another `ops` may be in this folder
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
        self.processes.add(process)
        return process

    async def close(self) -> None:
        """Stop at once; unfinished clips are lost and rendered again on demand."""
        for worker in self.workers:
            worker.cancel()
        await asyncio.gather(*self.workers, return_exceptions=True)
        for process in self.processes:
            await kill(process)


async def rendered(process: Process, ticket: Ticket) -> RenderError | None:
    """Render one clip in that process; returns the error, if any."""
    request = json.dumps({"scene": ticket.scene.dumps(), "path": str(ticket.path)})
    try:
        error = (await exchange(process, request))["error"]
    except (OSError, ValueError) as died:
        await kill(process)
        return RenderError(f"the render process died ({died})")
    return RenderError(error) if error else None


async def exchange(process: Process, request: str) -> dict[str, str]:
    """Write one line and read one line."""
    if process.stdin is None or process.stdout is None:
        raise OSError("it has no pipes")
    process.stdin.write(f"{request}\n".encode())
    await process.stdin.drain()
    answer: dict[str, str] = json.loads(await process.stdout.readline())
    return answer


async def kill(process: Process) -> None:
    """Kill a process and wait for its end."""
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def settle(waiting: asyncio.Future[None], failed: RenderError | None) -> None:
    """Set the future's result, unless it is cancelled."""
    if waiting.done():
        return
    if failed is None:
        waiting.set_result(None)
    else:
        waiting.set_exception(failed)


def retrieve_exception(waiting: asyncio.Future[None]) -> None:
    """Retrieve an error that nobody awaits, so that the loop does not warn about it."""
    if not waiting.cancelled():
        waiting.exception()
