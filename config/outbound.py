"""The way out: requests that are sent once, go only to addresses that they may, and take no longer than they may.

Here and nowhere else a stranger's URL is resolved, judged and pinned: for videos, webhooks and the check of pictures.
"""

import socket as sockets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import BufferedReader, RawIOBase
from socket import socket
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import default_headers
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.contrib.socks import SOCKSConnection, SOCKSHTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, LocationParseError, NameResolutionError
from urllib3.poolmanager import PoolManager

from config.replies import FinalResponse
from config.sending import sending_s
from producer.client.proxies import Proxies

Permits = Callable[[str], bool]
"""Whether a connection may be made to this address; a name is resolved before it is asked."""


_USUAL_HEADERS: Final = dict(default_headers())
"""requests' own name, and the encodings that it reads."""

MOST_ADDRESSES: Final = 4
"""Addresses of one name that are tried; each gets an equal share of the time left."""


class AddressRefused(HTTPError):
    """No connection was made: the name leads to addresses that are not permitted."""


class PunctualAdapter(HTTPAdapter):
    """Sends one request as given, never repeats it, and gives its reply up after `reply_s`, however it trickles.

    Without a session, which would read a redirect's whole body, raise for a target that it cannot parse, keep cookies
    and ask the environment.

    With `permits`, it connects to permitted addresses only, and to the very address that was judged. One that is not
    permitted is passed over, or, if it is `strict`, refuses the name; the time to connect covers TLS, too. A proxy (of
    the environment, unless `proxies` are given) resolves names itself; an address in the URL is judged before it too.
    """

    def __init__(
        self,
        *,
        connections: int,
        reply_s: float,
        permits: Permits | None = None,
        strict: bool = False,
        proxies: Proxies | None = None,
        sending_s: Callable[[int], float] = sending_s,
    ) -> None:
        self._permits = permits
        self._proxies = Proxies.of_environment() if proxies is None else proxies
        self._pools = _pools(
            _Terms(reply_s, self._note_connected, sending_s, permits, strict=strict), _Connection, _SecuredConnection
        )
        proxied = _Terms(reply_s, self._note_connected, sending_s, None)
        self._proxied_pools = _pools(proxied, _Connection, _SecuredConnection)
        self._socks_pools = _pools(proxied, _SocksConnection, _SecuredSocksConnection)
        super().__init__(pool_connections=4, pool_maxsize=connections, max_retries=never_again())

    def ask(
        self,
        method: str,
        url: str,
        *,
        timeout: tuple[float, float],
        headers: Mapping[str, str],
        params: Mapping[str, str] | None = None,
        json: object = None,
        data: bytes | None = None,
        verify: bool | str = True,
    ) -> requests.Response:
        """The reply to one request, its body unread; `timeout` is for the connection and for each silence, in seconds.

        Sending has a time of its own, by size (config/sending.py).

        Raises:
            requests.RequestException, ValueError: there is none.
            AddressRefused: it may not be asked for.
        """
        if not url.lower().startswith(("http://", "https://")):
            raise requests.exceptions.InvalidSchema("neither http nor https")
        proxy = self._proxies.for_url(url)
        if proxy and self._permits:
            _check_literal(url, self._permits)
        merged = CaseInsensitiveDict(_USUAL_HEADERS)
        merged.update(headers)
        request = requests.PreparedRequest()  # by its steps, of which cookies are none
        request.prepare_method(method)
        request.prepare_url(url, params)
        request.prepare_headers(merged)
        request.prepare_body(data, None, json)
        if "@" in url:
            request.prepare_auth(None, url)
        return self.send(request, stream=True, timeout=timeout, verify=verify, proxies={"all": proxy} if proxy else {})

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Watch direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Watch connections through a proxy; they count once the tunnel stands."""
        manager: PoolManager = super().proxy_manager_for(proxy, **kwargs)
        pools = self._socks_pools if proxy.startswith("socks") else self._proxied_pools
        manager.pool_classes_by_scheme = pools  # type: ignore[assignment]  # is only called
        return manager

    def _note_connected(self) -> None:
        """Nothing is made of it here."""


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


def _check_literal(url: str, permits: Permits) -> None:
    """Judge an address that stands in the URL itself, in any notation; names are the proxy's to resolve."""
    host = urlsplit(url).hostname or ""
    if ":" not in host:
        try:
            host = sockets.inet_ntoa(sockets.inet_aton(host))
        except OSError:
            return
    if not permits(host):
        raise AddressRefused(host)


def location_of(response: requests.Response) -> str:
    """Where a redirect leads: header bytes arrive as Latin-1, whatever they were."""
    return response.headers.get("location", "").encode("latin-1").decode(errors="replace")


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a pool's connections share: the time for a whole reply, what a connection calls, the permitted addresses."""

    reply_s: float
    connected: Callable[[], None]
    sending_s: Callable[[int], float]
    permits: Permits | None
    strict: bool = False


def _permitted(connection: HTTPConnection, permits: Permits, *, strict: bool) -> Sequence[str]:
    """The addresses behind the connection's name that it may use; raises as urllib3 does for a name without any."""
    name, port = connection._dns_host, connection.port  # noqa: SLF001 (where urllib3 keeps the name that it resolves)
    try:
        found = sockets.getaddrinfo(name.strip("[]"), port, type=sockets.SOCK_STREAM)
    except sockets.gaierror as error:
        raise NameResolutionError(name, connection, error) from error
    except UnicodeError:
        raise LocationParseError(f"{name!r}, label empty or too long") from None
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    permitted = [address for address in addresses if permits(address)]
    refused = [address for address in addresses if address not in permitted]
    if not permitted or (strict and refused):
        raise AddressRefused(f"{name} leads to {refused[0] if refused else 'nowhere'}")
    return permitted[:MOST_ADDRESSES]


def _connect_permitted(
    connection: HTTPConnection, addresses: Sequence[str], connect: Callable[[], socket], *, until: float
) -> socket:
    """Connect to the first address that answers; name, certificate and Host header stay those of the URL."""
    name, timeout, refused = connection._dns_host, connection.timeout, None  # noqa: SLF001 (as above)
    for place, address in enumerate(addresses):
        connection._dns_host = address  # noqa: SLF001 (as above)
        connection.timeout = max(until - time.monotonic(), 0.001) / (len(addresses) - place)
        try:
            return connect()
        except ConnectTimeoutError as error:  # of which urllib3 makes a refused one a kind
            refused = error
        finally:
            connection._dns_host, connection.timeout = name, timeout  # noqa: SLF001 (as above)
    assert refused is not None
    raise refused


class _Fuse:
    """Ends a connection at a moment, however its bytes trickle: a socket's own time-out begins anew with each."""

    def __init__(self, sock: socket, until: float) -> None:
        self._twin = sock.dup()  # TLS takes the socket's own descriptor away from it
        self._timer = threading.Timer(max(until - time.monotonic(), 0.001), self._end)
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        with suppress(OSError):  # it may have ended by itself a moment ago
            self._twin.shutdown(sockets.SHUT_RDWR)

    def defuse(self) -> None:
        """Let it be."""
        self._timer.cancel()
        self._twin.close()


class _PunctualResponse(FinalResponse):
    def __init__(self, sock: socket, *args: Any, reply_s: float, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = BufferedReader(_BytesUntil(sock, self.fp.detach(), time.monotonic() + reply_s))


class _Connection(HTTPConnection):
    def __init__(self, *args: Any, terms: _Terms, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._terms = terms
        self.response_class = partial(_PunctualResponse, reply_s=terms.reply_s)  # type: ignore[assignment]  # as above

        self._fuse: _Fuse | None = None

    def _new_conn(self) -> socket:
        permits = self._terms.permits
        if permits is None:
            return super()._new_conn()
        assert isinstance(self.timeout, int | float)
        until = time.monotonic() + self.timeout
        addresses = _permitted(self, permits, strict=self._terms.strict)
        sock = _connect_permitted(self, addresses, super()._new_conn, until=until)
        sock.settimeout(self.timeout)
        if isinstance(self, HTTPSConnection):
            self._fuse = _Fuse(sock, until)
        return sock

    def connect(self) -> None:
        try:
            super().connect()
        finally:
            if self._fuse:
                self._fuse.defuse()
        self._terms.connected()

    def send(self, data: Any) -> None:
        """Give sending a time of its own: the time to connect would end a large body on a slow uplink, in doubt."""
        if self.sock is None:
            self.connect()
        if isinstance(data, bytes):
            self.sock.settimeout(self._terms.sending_s(len(data)))  # for all of it: sendall counts from its start
        super().send(data)


class _SecuredConnection(_Connection, HTTPSConnection):
    pass


class _SocksConnection(_Connection, SOCKSConnection):  # type: ignore[misc]  # a SOCKS socket is a socket
    pass


class _SecuredSocksConnection(_Connection, SOCKSHTTPSConnection):  # type: ignore[misc]  # as above
    pass


class _Pool(HTTPConnectionPool):
    def __init__(self, *args: Any, terms: _Terms, connection: type[_Connection], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn_kw["terms"] = terms
        self.ConnectionCls = connection


class _SecuredPool(_Pool, HTTPSConnectionPool):
    pass


def _pools(
    terms: _Terms, plain: type[_Connection], secured: type[_Connection]
) -> dict[str, Callable[..., HTTPConnectionPool]]:
    return {
        "http": partial(_Pool, terms=terms, connection=plain),
        "https": partial(_SecuredPool, terms=terms, connection=secured),
    }
