"""A connection to the API that loses what it is set to lose."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self
from urllib.parse import urlsplit


class Flaky:
    """Passes bytes on both ways. A reply that is to be lost is read, and then the connection is cut."""

    def __init__(self, listener: socket.socket, target: tuple[str, int]) -> None:
        self._listener = listener
        self._target = target
        self._to_lose = 0
        self._open: list[socket.socket] = []
        self.lost = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @classmethod
    @contextmanager
    def before(cls, url: str) -> Iterator[Self]:
        """One before an API."""
        place = urlsplit(url)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            flaky = cls(listener, (str(place.hostname), int(place.port or 80)))
            thread = threading.Thread(target=flaky._accept)
            thread.start()
            try:
                yield flaky
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                flaky.cut()
                thread.join()

    def lose_replies(self, count: int) -> None:
        """The next replies do not arrive; their requests do."""
        self._to_lose = count

    def cut(self) -> None:
        """Cut every connection."""
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._open += [near, far]
                for arguments in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self._pass_on, args=arguments, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, is_reply: bool) -> None:
        with suppress(OSError), source, sink:
            while data := source.recv(65_536):
                if is_reply and self._to_lose:
                    self._to_lose -= 1
                    self.lost += 1
                    sink.shutdown(socket.SHUT_RDWR)
                    source.shutdown(socket.SHUT_RDWR)
                    return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
