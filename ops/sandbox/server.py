"""The server process: its socket, its signals, its announcement, its end."""

import asyncio
import errno
import logging
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import uvicorn
import uvloop
from starlette.types import ASGIApp

from ops.sandbox.app import application
from ops.sandbox.book import Book
from ops.sandbox.connection import ExposedConnection
from ops.sandbox.render_pool import RenderPool
from ops.sandbox.settings import SandboxSettings

BACKLOG = 2048
IDLE_S = 75  # a kept-alive connection outlives a client's pause between two polls


class CannotListenError(Exception):
    """The address cannot be had; its message tells the operator what to do."""


class Server(uvicorn.Server):
    """uvicorn's server that says when it listens, and drops what is in flight when it is told to stop."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self.announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        self.announce()

    def stop(self) -> None:
        """End quickly: a hung request must not keep the sandbox alive, and gets no reply rather than a made-up one."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)  # cut replies are meant, not errors
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        self.should_exit = self.force_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `startup`: uvicorn would raise them again at the end, and the exit code were not 0."""
        yield


def run(settings: SandboxSettings, announce: Callable[[str], None], ready_file: Path | None = None) -> None:
    """Serve until SIGINT or SIGTERM."""
    with ExitStack() as stack:
        listener = stack.enter_context(listening(settings.host, settings.port))
        url = base_url(listener, settings.host)
        book = stack.enter_context(Book(settings.state_dir / "generations.jsonl")) if settings.state_dir else None
        clips = settings.state_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rushes-sandbox-")))

        def ready() -> None:
            announce(url)
            if ready_file:
                write_whole(ready_file, url)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, book, clips / "clips", listener, ready))


async def serve(
    settings: SandboxSettings, book: Book | None, clips: Path, listener: socket.socket, ready: Callable[[], None]
) -> None:
    """Build the application and serve it on a socket that listens already."""
    render_pool = RenderPool(settings.render_processes)
    server = Server(configured(application(settings, book, clips, render_pool)), ready)
    try:
        await server.serve(sockets=[listener])
    finally:
        await render_pool.close()


def configured(app: ASGIApp) -> uvicorn.Config:
    """Everything that costs time and tells nobody anything is off."""
    return uvicorn.Config(
        app,
        http=ExposedConnection,
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level=logging.ERROR,
        access_log=False,
        server_header=False,
        timeout_keep_alive=IDLE_S,
        backlog=BACKLOG,
    )


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket bound to that address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
            yield listener
    except OSError as refused:
        raise CannotListenError(why(refused, host, port)) from refused


def why(refused: OSError, host: str, port: int) -> str:
    """The reason in a sentence."""
    if refused.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is taken: stop what listens there, or choose another with --port."
    return f"The sandbox cannot listen on {host}:{port}: {refused.strerror}."


def base_url(listener: socket.socket, host: str) -> str:
    """Where clients on this machine find us."""
    port = listener.getsockname()[1]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return f"http://127.0.0.1:{port}"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def write_whole(path: Path, text: str) -> None:
    """Write a file so that no reader ever sees half of it."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text)
    unfinished.replace(path)
