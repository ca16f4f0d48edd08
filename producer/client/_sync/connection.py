# Generated from `_async` by `make format`: change it there.
"""The connection to the API, which repeats a call while that is safe and may help."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from producer.client.errors import FIRST_REFUSAL, RushesError, Unreachable, refused
from producer.client.repeats import PAUSES_S, Pause, asked_s, may_help
from producer.client.transports import transport_to

if TYPE_CHECKING:
    import httpx2

_TIMEOUT_S: Final = 30.0


class Connection:
    """Connections to one API; they open on first use and are kept."""

    def __init__(self, base_url: str, api_key: str | None, pause: Pause | None) -> None:
        import time  # noqa: PLC0415 (importing this package costs little until it is used)

        import httpx2  # noqa: PLC0415 (as above)

        if api_key and not (api_key.isascii() and api_key.isprintable()):
            raise ValueError("api_key is not a key: it has the form that `rushes keys issue` prints, rushes_…")
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        transport = transport_to(base_url, httpx2.HTTPTransport)
        self._http = httpx2.Client(base_url=base_url, headers=headers, timeout=_TIMEOUT_S, transport=transport)
        self.lost = httpx2.TransportError
        self.pause = pause or time.sleep

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()

    def ask(self, method: str, path: str, *, timeout_s: float = _TIMEOUT_S, **request: Any) -> Any:
        """Make one logical call; returns the reply's JSON.

        Raises:
            Refused: the API refused the request for good.
            Unreachable: no usable reply came; the request may have arrived.
        """
        pauses_s = iter(PAUSES_S)
        while True:
            try:
                reply = self._http.request(method, path, timeout=timeout_s, **request)
            except self.lost as error:
                failure: RushesError = Unreachable(f"{method} {path}: {type(error).__name__}")
                wished_s = 0.0
            else:
                if reply.status_code < FIRST_REFUSAL:
                    return None if reply.status_code == HTTPStatus.NO_CONTENT else _parsed(reply.content)
                failure = refused(reply.status_code, reply.content)
                if not may_help(reply.status_code, reply.content):
                    raise failure
                wished_s = asked_s(reply.headers)
            pause_s = next(pauses_s, None)
            if pause_s is None:
                raise failure
            self.pause(max(pause_s, wished_s))

    @contextmanager
    def stream(
        self, path: str, headers: dict[str, str], *, timeout_s: float = _TIMEOUT_S
    ) -> Iterator["httpx2.Response"]:
        """Open a reply to read piece by piece. `lost` is raised when it breaks off, Refused when there is none."""
        with self._http.stream("GET", path, headers=headers, timeout=timeout_s) as reply:
            if reply.status_code >= FIRST_REFUSAL:
                raise refused(reply.status_code, reply.read())
            yield reply


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise Unreachable("the reply is not the API's: it is not JSON") from error
