"""The server process: socket, signals, readiness, shutdown."""

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
from ops.sandbox.connection import ExposedConnection
from ops.sandbox.generation_file import GenerationFile
from ops.sandbox.render_pool import RenderPool
from ops.sandbox.settings import SandboxSettings

BACKLOG = 2048
IDLE_S = 75  # a connection is kept alive between two polls of a client


class CannotListenError(Exception):
    """The address cannot be bound; the message says what to do."""


class Server(uvicorn.Server):
    """uvicorn's server, which announces when it listens and aborts open requests when it stops."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self.announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then call `announce`."""
        await super().startup(sockets)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        self.announce()

    def stop(self) -> None:
        """Abort all connections: a hung request must not delay the end, and must not get a made-up reply."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)  # the aborted replies are intended
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        self.should_exit = self.force_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `startup`: uvicorn would raise them again at the end, and the exit code would not be 0."""
        yield


def run(settings: SandboxSettings, announce: Callable[[str], None], ready_file: Path | None = None) -> None:
    """Serve until SIGINT or SIGTERM."""
    with ExitStack() as stack:
        listener = stack.enter_context(listening(settings.host, settings.port))
        url = base_url(listener, settings.host)
        generation_file = (
            stack.enter_context(GenerationFile(settings.state_dir / "generations.jsonl"))
            if settings.state_dir
            else None
        )
        clips = settings.state_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rushes-sandbox-")))

        def ready() -> None:
            announce(url)
            if ready_file:
                write_whole(ready_file, url)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, generation_file, clips / "clips", listener, ready))


async def serve(
    settings: SandboxSettings,
    generation_file: GenerationFile | None,
    clips: Path,
    listener: socket.socket,
    ready: Callable[[], None],
) -> None:
    """Build the application and serve it on a listening socket."""
    render_pool = RenderPool(settings.render_processes)
    server = Server(configured(application(settings, generation_file, clips, render_pool)), ready)
    try:
        await server.serve(sockets=[listener])
    finally:
        await render_pool.close()


def configured(app: ASGIApp) -> uvicorn.Config:
    """Configure uvicorn without logs, lifespan and other costs that the sandbox does not need."""
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
    """Listen on that address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
            yield listener
    except OSError as refused:
        raise CannotListenError(explain(refused, host, port)) from refused


def explain(refused: OSError, host: str, port: int) -> str:
    """Explain the error in a sentence."""
    if refused.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use: stop what listens there, or choose another with --port."
    return f"The sandbox cannot listen on {host}:{port}: {refused.strerror}."


def base_url(listener: socket.socket, host: str) -> str:
    """Return the URL for clients on this machine."""
    port = listener.getsockname()[1]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return f"http://127.0.0.1:{port}"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def write_whole(path: Path, text: str) -> None:
    """Write a file atomically."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text)
    unfinished.replace(path)
