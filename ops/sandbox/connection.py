"""The TCP connection of a request, for faults below HTTP: resets and early closes."""

import asyncio
import socket
import struct

from starlette.types import Receive, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

EXTENSION = "sandbox.connection"
NO_LINGER = struct.pack("ii", 1, 0)


class ExposedConnection(HttpToolsProtocol):
    """uvicorn's protocol, with its transport exposed to the application."""

    def on_message_begin(self) -> None:
        """Add the transport to each request's scope."""
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: {"transport": self.transport}}


async def reset(scope: Scope, receive: Receive) -> None:
    """Reset the TCP connection; unsent data is lost."""
    transport = transport_of(scope)
    raw = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    transport.abort()
    await disconnect(receive)


async def close(scope: Scope, receive: Receive) -> None:
    """Flush what was written and close, even if less was sent than announced."""
    transport_of(scope).close()
    await disconnect(receive)


def transport_of(scope: Scope) -> asyncio.Transport:
    """Return the request's transport."""
    transport: asyncio.Transport = scope["extensions"][EXTENSION]["transport"]
    return transport


async def disconnect(receive: Receive) -> None:
    """Wait until the server notices the disconnect, so that it does not try to reply."""
    while (await receive())["type"] != "http.disconnect":
        pass
