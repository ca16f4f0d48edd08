"""Connections that know whether a request can have left, and that wait for a reply no longer than they were told."""

import time
from collections.abc import Callable
from http.client import HTTPResponse
from io import BufferedReader, RawIOBase
from socket import socket
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.poolmanager import PoolManager


class PlainSession(requests.Session):
    """A session that takes nothing from the environment and leaves a redirect to its caller.

    With `allow_redirects=False`, requests still reads a redirect's whole body, whatever its length, and raises for a
    target that it cannot parse: after a purchase that would be an error without a meaning.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False  # no key from a .netrc, no proxy that changes under way

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 (requests' own signature)
        """Know of none."""
        return None


class PunctualAdapter(HTTPAdapter):
    """Never repeats a request, and gives a reply up after `reply_s`, however its bytes trickle."""

    def __init__(self, *, connections: int, reply_s: float) -> None:
        self._pools = _pools(reply_s, self._note_connected)
        super().__init__(pool_connections=4, pool_maxsize=connections, max_retries=never_again())

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Watch direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self._watch(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Watch connections through a proxy; they count once the tunnel stands."""
        manager = super().proxy_manager_for(*args, **kwargs)
        self._watch(manager)
        return manager

    def _watch(self, manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = self._pools

    def _note_connected(self) -> None:
        """Nothing is made of it here."""


class ConnectionWitness(PunctualAdapter):
    """Carries one purchase over a connection of its own, never repeats it, and remembers whether it connected.

    A pooled connection that the server has just closed fails in a way that proves nothing about a POST; a fresh one
    either connects or provably sent nothing.
    """

    def __init__(self, *, reply_s: float) -> None:
        self.connected = False
        super().__init__(connections=1, reply_s=reply_s)

    def _note_connected(self) -> None:
        self.connected = True


def never_again() -> Retry:
    """No repetition of any kind: what to repeat is decided where its meaning is known."""
    return Retry(total=0, connect=0, read=0, redirect=0, status=0, other=0)


class _BytesUntil(RawIOBase):
    """A socket's bytes up to a moment; past it TimeoutError, where a socket's own time-out begins anew each byte."""

    def __init__(self, sock: socket, raw: RawIOBase, until: float) -> None:
        self._sock, self._raw, self._until = sock, raw, until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the reply took too long in all")
        silence = self._sock.gettimeout()
        self._sock.settimeout(left if silence is None else min(left, silence))
        try:
            return self._raw.readinto(buffer)
        finally:
            self._sock.settimeout(silence)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _pools(reply_s: float, tell: Callable[[], None]) -> dict[str, type[HTTPConnectionPool]]:
    class Punctual(HTTPResponse):
        def __init__(self, sock: socket, *args: Any, **kwargs: Any) -> None:
            super().__init__(sock, *args, **kwargs)
            self.fp = BufferedReader(_BytesUntil(sock, self.fp.detach(), time.monotonic() + reply_s))

    class Plain(HTTPConnection):
        response_class = Punctual

        def connect(self) -> None:
            super().connect()
            tell()

    class Secured(HTTPSConnection):
        response_class = Punctual

        def connect(self) -> None:
            super().connect()
            tell()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecuredPool(HTTPSConnectionPool):
        ConnectionCls = Secured

    return {"http": PlainPool, "https": SecuredPool}
