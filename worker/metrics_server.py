"""Serves a worker's metrics over HTTP, a few requests at once and none for long: strangers take little of a process."""

import contextlib
import socket
from threading import Thread
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import ThreadingWSGIServer, make_wsgi_app

CONNECTIONS: Final = 16
"""Of one more, the oldest is closed: a scrape takes milliseconds."""

SILENCE_S: Final = 10.0
"""A client that neither sends nor reads for so long is cut off."""


class _Server(ThreadingWSGIServer):
    """Answers each connection in a thread, the newest `CONNECTIONS` of them."""

    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self._open = list[socket.socket]()
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own."""
        self._open.append(request)
        if len(self._open) > CONNECTIONS:
            with contextlib.suppress(OSError, IndexError):  # it has just ended
                self._open.pop(0).shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        """Close an answered connection."""
        with contextlib.suppress(ValueError):  # it was the oldest
            self._open.remove(request)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away, or sent nonsense."""


class _Handler(WSGIRequestHandler):
    """Answers one request."""

    timeout = SILENCE_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the library's own name)
        """Log nothing."""


def serve(host: str, port: int, registry: CollectorRegistry) -> WSGIServer:
    """Serve the metrics from a thread; return the server.

    Raises:
        OSError: the address cannot be bound.
    """
    server = make_server(host, port, make_wsgi_app(registry), _Server, _Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return server
