"""The TCP connection beneath a request, for the troubles that HTTP has no words for."""

import asyncio
import socket
import struct

from starlette.types import Receive, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

EXTENSION = "sandbox.connection"
NO_LINGER = struct.pack("ii", 1, 0)


class ExposedConnection(HttpToolsProtocol):
    """uvicorn's protocol, which lets the application have its transport."""

    def on_message_begin(self) -> None:
        """Pass the transport along with each request."""
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: {"transport": self.transport}}


async def reset(scope: Scope, receive: Receive) -> None:
    """Tear the connection down with a TCP reset; what was not sent is lost."""
    transport = transport_of(scope)
    raw = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    transport.abort()
    await gone(receive)


async def close(scope: Scope, receive: Receive) -> None:
    """Send what was written and hang up politely, however much was promised."""
    transport_of(scope).close()
    await gone(receive)


def transport_of(scope: Scope) -> asyncio.Transport:
    """The transport that carries this request."""
    transport: asyncio.Transport = scope["extensions"][EXTENSION]["transport"]
    return transport


async def gone(receive: Receive) -> None:
    """Wait until the server has noticed that the connection is no more, so that it does not try to reply."""
    while (await receive())["type"] != "http.disconnect":
        pass
