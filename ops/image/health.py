"""`python -m ops.image.health worker|api|flower|sandbox`: exit 0 if this container works, else 1 and a sentence.

It runs every 30 s in every container, so it reads its few variables itself; importing all settings would double its
cost.
"""

import os
import socket
import sys
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Final

TIMEOUT_S: Final = 3.0
SEEN_WITHIN_S: Final = 30.0
MISSED_ROUNDS: Final = 5
RESCUE_EVERY_S: Final = 3.0
REDIS_URL: Final = "redis://127.0.0.1:6379/0"
PAGES: Final[Mapping[str, tuple[int, str]]] = {
    "api": (8000, "/healthz"),  # readiness is for load balancers
    "flower": (5555, "/healthcheck"),
    "sandbox": (8900, "/sandbox/health"),
}
"""The port and page of each role that serves HTTP."""


class Unhealthy(Exception):
    """This container does not work; the message says why."""


def worker() -> None:
    """Check that the worker's rescuer has written a sign of life to the ledger recently.

    `celery inspect ping` would cost a second, a broadcast to the whole fleet, and a reply from a busy main loop.
    """
    import redis  # noqa: PLC0415 (the other roles do not need it)

    from config.address import NotAnAddress, client_of  # noqa: PLC0415 (as above)
    from jobs.errors import LedgerUnavailable  # noqa: PLC0415 (as above)
    from jobs.ledger import Ledger  # noqa: PLC0415 (as above)

    name = f"worker@{socket.gethostname()}"
    # `NAME=` in a compose or .env file means not set.
    within_s = max(SEEN_WITHIN_S, MISSED_ROUNDS * float(os.environ.get("RUSHES_RESCUE__EVERY_S") or RESCUE_EVERY_S))
    url = os.environ.get("RUSHES_REDIS__URL") or REDIS_URL
    try:
        with client_of(
            url,
            sentinel_password=os.environ.get("RUSHES_REDIS__SENTINEL_PASSWORD") or None,
            decode_responses=True,
            socket_connect_timeout=TIMEOUT_S,
            socket_timeout=TIMEOUT_S,
        ) as client:
            seen = Ledger(client).workers(within_s=within_s)
    except NotAnAddress as error:
        raise Unhealthy(f"RUSHES_REDIS__URL is not a Redis address: {error}") from None
    except (LedgerUnavailable, redis.RedisError) as error:
        raise Unhealthy(f"the ledger cannot be used ({type(error).__name__})") from error
    if not any(worker_name.startswith(f"{name}.") for worker_name in seen):  # each process adds a token
        raise Unhealthy(f"{name} has not been seen for {within_s:g} s")


def server(port: int, path: str) -> None:
    """Check that this page of this container answers."""
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        raise Unhealthy(f"port {port} does not answer ({type(error).__name__})") from error
    finally:
        connection.close()
    if status != HTTPStatus.OK:
        raise Unhealthy(f"port {port} answers {status}")


def main(arguments: list[str], *, pages: Mapping[str, tuple[int, str]] = PAGES) -> int:
    """Check the named role; returns the exit code."""
    if len(arguments) != 1 or arguments[0] not in {"worker", *pages}:
        sys.stderr.write(f"usage: python -m ops.image.health {'|'.join(['worker', *pages])}\n")
        return 1
    (role,) = arguments
    try:
        worker() if role == "worker" else server(*pages[role])
    except Unhealthy as reason:
        sys.stderr.write(f"{reason}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
