"""The render pool: low-priority processes that render, fed by a queue where the most urgent go first."""

import asyncio
import itertools
import json
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ops.sandbox.scene import Scene

AWAITED = 0  # due before all that is only foreseen


class RenderError(Exception):
    """A clip could not be rendered; the request that waits for it is told why."""


@dataclass(order=True, slots=True)
class Ticket:
    """One clip to be rendered, and its place in the queue."""

    due_ms: int
    place: int
    scene: Scene = field(compare=False)
    path: Path = field(compare=False)


class RenderPool:
    """Renders scenes, each once, in processes that start when there is work."""

    def __init__(self, processes: int) -> None:
        self.most = processes
        self.queue: asyncio.PriorityQueue[Ticket] = asyncio.PriorityQueue()
        self.places = itertools.count()
        self.awaited: dict[Path, asyncio.Future[None]] = {}
        self.rendering: set[Path] = set()
        self.workers: list[asyncio.Task[None]] = []
        self.processes: set[Process] = set()

    def develop(self, scene: Scene, path: Path, *, due_ms: int) -> asyncio.Future[None]:
        """Have a scene rendered to that path; a second call for it waits for the same clip, or hurries it."""
        known = self.awaited.get(path)
        if known is None or (due_ms == AWAITED and path not in self.rendering):
            self.queue.put_nowait(Ticket(due_ms, next(self.places), scene, path))
        if known is None:
            known = self.awaited[path] = asyncio.get_running_loop().create_future()
            known.add_done_callback(heard)
        if len(self.workers) < min(self.most, len(self.awaited)):
            self.workers.append(asyncio.create_task(self.work()))
        return known

    async def work(self) -> None:
        """Keep one process busy, and replace it when it dies."""
        process = await self.hire()
        while True:
            ticket = await self.queue.get()
            if ticket.path not in self.awaited or ticket.path in self.rendering:
                continue  # it was hurried, and another worker has or had it
            if process.returncode is not None:
                process = await self.hire()
            self.rendering.add(ticket.path)
            failed = await rendered(process, ticket)
            self.rendering.discard(ticket.path)
            settle(self.awaited.pop(ticket.path), failed)

    async def hire(self) -> Process:
        """Start a process."""
        command = (sys.executable, "-P", "-m", "ops.sandbox.render_process")  # -P: another `ops` may be in this folder
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
        self.processes.add(process)
        return process

    async def close(self) -> None:
        """Stop at once; half-rendered clips are lost, and rendered again when they are asked for."""
        for worker in self.workers:
            worker.cancel()
        await asyncio.gather(*self.workers, return_exceptions=True)
        for process in self.processes:
            await ended(process)


async def rendered(process: Process, ticket: Ticket) -> RenderError | None:
    """Have one clip rendered by that process; returns what went wrong, if anything."""
    order = json.dumps({"scene": ticket.scene.dumps(), "path": str(ticket.path)})
    try:
        complaint = (await exchange(process, order))["complaint"]
    except (OSError, ValueError) as died:
        await ended(process)
        return RenderError(f"the render process died ({died})")
    return RenderError(complaint) if complaint else None


async def exchange(process: Process, order: str) -> dict[str, str]:
    """One line in, one line out."""
    if process.stdin is None or process.stdout is None:
        raise OSError("it has no pipes")
    process.stdin.write(f"{order}\n".encode())
    await process.stdin.drain()
    answer: dict[str, str] = json.loads(await process.stdout.readline())
    return answer


async def ended(process: Process) -> None:
    """See to it that a process is no more."""
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def settle(waiting: asyncio.Future[None], failed: RenderError | None) -> None:
    """Tell those who wait, unless they have all gone."""
    if waiting.done():
        return
    if failed is None:
        waiting.set_result(None)
    else:
        waiting.set_exception(failed)


def heard(waiting: asyncio.Future[None]) -> None:
    """Retrieve a failure that nobody waits for, so that the loop does not complain about it."""
    if not waiting.cancelled():
        waiting.exception()
