"""Pictures that come with an order: known by their own bytes, and never fetched from where a stranger may not read.

The upstream fetches a picture's URL, not we; we check its beginning before the order is taken, so that a wrong one is
told at once. The request goes to the address that was checked, not to what the name may stand for a moment later.
"""

import base64
import binascii
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from itertools import islice
from time import monotonic
from typing import Any, Final
from urllib.parse import SplitResult, urljoin, urlsplit

from requests import PreparedRequest

from config.addresses import is_public
from config.replies import FinalResponse
from producer.api.problems import Code, Problem, Wrong
from producer.client.pictures import KINDS, SNIFFED_BYTES, as_data_url, kind_of

MOST_REDIRECTS: Final = 3
MOST_ADDRESSES: Final = 4
"""Addresses of one name that are tried; each gets an equal share of the time left."""

MOST_TOLD: Final = 4
"""Pictures that cannot be taken, until no more are checked: each may take its time."""

_PICTURES: Final = ("image_url", "tail_image_url", "last_image_url", "image_urls")
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class _Unfit(Exception):
    """The picture cannot be taken; the message says why."""


def read_file(name: str, data: bytes) -> str:
    """An uploaded picture as the upstream takes it.

    Raises:
        ValueError: no file is expected there, or it is no picture.
    """
    if name.partition("[")[0] not in {"input_reference", *_PICTURES}:
        raise ValueError(f"no file is expected here; give it as input_reference, or as one of {', '.join(_PICTURES)}")
    return as_data_url(data)


def retyped(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, each picture in a data URL under the media type of its bytes, which the upstream goes by."""
    return {name: _retyped(value) if name in _PICTURES else value for name, value in parameters.items()}


def _retyped(value: Any) -> Any:
    if isinstance(value, list):
        return [_retyped(each) for each in value]
    if not isinstance(value, str) or value[:5].lower() != "data:":
        return value
    with suppress(_Unfit):
        if kind := kind_of(_decoded(value)):
            return f"data:{kind};base64,{value.rpartition(',')[2]}"
    return value


def pictures_in(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each picture of an order, with the name of its field."""
    for name in _PICTURES:
        given = parameters.get(name)
        for value in given if isinstance(given, list) else [given]:
            if isinstance(value, str):
                yield name, value


@dataclass(frozen=True, slots=True)
class PictureCheck:
    """Checks the beginning of a picture, wherever it is. `allows` judges each address before it is spoken to."""

    most_bytes: int
    within_s: float = 10.0
    allows: Callable[[str], bool] = is_public
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Refuse an order whose pictures are none, too large, or not on the public internet.

        Raises:
            Problem: naming the field, and why.
        """
        reasons = ((name, self._why(picture)) for name, picture in pictures_in(parameters))
        found = list(islice((Wrong(f"body.{name}", why) for name, why in reasons if why), MOST_TOLD))
        if found:
            raise Problem(Code.INVALID_REQUEST, "Mend what `errors` names; nothing was submitted.", errors=found)

    def _why(self, picture: str) -> str | None:
        """Why a picture cannot be taken."""
        try:
            beginning = self._seen(picture) if picture[:8].lower() == "https://" else _decoded(picture)
        except _Unfit as unfit:
            return str(unfit)
        return None if kind_of(beginning) else f"must lead to a picture: {KINDS}, by its content"

    def _seen(self, url: str) -> bytes:
        """The first bytes at the end of the redirects; each hop is judged like the first."""
        for _ in range(MOST_REDIRECTS + 1):
            place = _place(url)
            connection = _Pinned(place, self._addresses(place), self.tls, within_s=self.within_s)
            try:
                response = connection.ask()
                if response.status not in _REDIRECTS:
                    return self._beginning(response)
                url = urljoin(url, _location(response))
            except (OSError, HTTPException, ValueError) as error:
                raise _Unfit(f"cannot be fetched ({type(error).__name__})") from error
            finally:
                connection.end()
        raise _Unfit(f"redirects more than {MOST_REDIRECTS} times")

    def _addresses(self, place: SplitResult) -> list[str]:
        """The name's addresses, each once; one that is not allowed refuses the name."""
        try:
            found = socket.getaddrinfo(place.hostname, place.port or 443, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise _Unfit("its host is not known") from error
        addresses = list(dict.fromkeys(str(address[4][0]) for address in found))
        if not addresses or not all(map(self.allows, addresses)):
            raise _Unfit("is not on the public internet")
        return addresses[:MOST_ADDRESSES]

    def _beginning(self, response: HTTPResponse) -> bytes:
        if response.status not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
            raise _Unfit(f"cannot be fetched (its server answers {response.status})")
        if response.length is not None and response.length > self.most_bytes:
            raise _Unfit(f"may have {self.most_bytes} bytes; it has {response.length}")
        return response.read(SNIFFED_BYTES)


class _Pinned(HTTPSConnection):
    """A connection to one of some addresses, whatever the host's name stands for, that ends in bounded time."""

    response_class = FinalResponse

    def __init__(self, place: SplitResult, addresses: Sequence[str], tls: ssl.SSLContext, *, within_s: float) -> None:
        assert place.hostname is not None
        super().__init__(place.hostname, place.port or 443, timeout=within_s, context=tls)
        self._path = (place.path or "/") + (f"?{place.query}" if place.query else "")
        self._addresses = addresses
        self._tls = tls
        self._until = monotonic() + within_s
        self._response: HTTPResponse | None = None
        self._end = threading.Timer(within_s, self._cut)

    def ask(self) -> HTTPResponse:
        """Ask for the file; only its beginning is read."""
        self._end.start()
        self.request("GET", self._path, headers={"accept": "image/*", "user-agent": "rushes"})
        self._response = self.getresponse()
        return self._response

    def connect(self) -> None:
        """To the first judged address that answers, as the host that was named."""
        raw = self._connected()
        raw.settimeout(self.timeout)
        self.sock = raw  # so that it can be cut in the middle of the handshake
        self.sock = self._tls.wrap_socket(raw, server_hostname=self.host)

    def _connected(self) -> socket.socket:
        for left in range(len(self._addresses), 0, -1):
            wait_s = max(self._until - monotonic(), 0.001) / left
            try:
                return socket.create_connection((self._addresses[-left], self.port), timeout=wait_s)
            except OSError:
                if left == 1:
                    raise
        raise AssertionError("a name without addresses was refused before")

    def end(self) -> None:
        """Close it."""
        self._end.cancel()
        if self._response is not None:
            self._response.close()  # it holds the socket, too
        self.close()

    def _cut(self) -> None:
        if self.sock is not None:
            with suppress(OSError):  # it may have ended by itself a moment ago
                self.sock.shutdown(socket.SHUT_RDWR)


def _place(url: str) -> SplitResult:
    """Where a URL leads, in ASCII: names by IDNA, other letters percent-encoded, as a browser would ask."""
    request = PreparedRequest()
    try:
        request.prepare_url(url, None)
        place = urlsplit(request.url or "")
        _ = place.port  # judged when it is read
    except ValueError as error:  # requests' InvalidURL is one
        raise _Unfit("is no URL") from error
    if place.scheme.lower() != "https" or not place.hostname or place.username:
        raise _Unfit("must be, and stay, an https URL without a user")
    return place


def _location(redirect: HTTPResponse) -> str:
    """Where it leads: header bytes arrive as Latin-1, whatever they were."""
    return redirect.headers.get("location", "").encode("latin-1").decode(errors="replace")


def _decoded(picture: str) -> bytes:
    """The first bytes of a picture in base64, with or without the head of a data URL."""
    encoded = picture.rpartition(",")[2] if picture[:5].lower() == "data:" else picture
    try:
        return base64.b64decode("".join(encoded[:64].split())[:24], validate=True)
    except (binascii.Error, ValueError) as error:
        raise _Unfit("must be an https URL, or a picture in base64") from error
