"""`python -m ops.image.health worker|api|flower|sandbox`: exit 0 if this container works, else 1 and a sentence.

It runs every half minute in every container, so it reads the few variables it needs by itself: the whole tree of
settings would double its cost.
"""

import os
import socket
import sys
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Final

TIMEOUT_S: Final = 3.0
FLOWER_PORT: Final = 5555
SANDBOX_PORT: Final = 8900
API_PORT: Final = 8000
SEEN_WITHIN_S: Final = 30.0
MISSED_ROUNDS: Final = 5
RESCUE_EVERY_S: Final = 3.0
REDIS_URL: Final = "redis://127.0.0.1:6379/0"


class Unhealthy(Exception):
    """This container does not do its work; the message says how it shows."""


def worker() -> None:
    """A worker is at work if its rescuer told the ledger so a moment ago.

    The ledger is asked instead of the worker: `celery inspect ping` costs a second, a broadcast to the whole fleet, and
    an answer from a main loop that may be busy for good reason.
    """
    import redis  # noqa: PLC0415 (the other roles have no use for it)

    from config.address import NotAnAddress, client_of  # noqa: PLC0415 (as above)
    from jobs.errors import LedgerUnavailable  # noqa: PLC0415 (as above)
    from jobs.ledger import Ledger  # noqa: PLC0415 (as above)

    name = f"worker@{socket.gethostname()}"
    # `NAME=` in a compose or .env file means: not set.
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
        raise Unhealthy(f"the ledger cannot be asked ({type(error).__name__})") from error
    if not any(worker_name.startswith(f"{name}.") for worker_name in seen):  # each process adds a token of its own
        raise Unhealthy(f"{name} has not been seen for {within_s:g} s")


def flower() -> None:
    """Flower answers."""
    _serves(FLOWER_PORT, "/healthcheck")


def api() -> None:
    """The API answers; whether it is ready is for a load balancer to ask."""
    _serves(API_PORT, "/healthz")


def sandbox() -> None:
    """The sandbox answers."""
    _serves(SANDBOX_PORT, "/sandbox/health")


ROLES: Final[Mapping[str, Callable[[], None]]] = {
    "worker": worker,
    "api": api,
    "flower": flower,
    "sandbox": sandbox,
}


def main(arguments: list[str]) -> int:
    """Check the role that is named; returns the exit code."""
    if len(arguments) != 1 or arguments[0] not in ROLES:
        sys.stderr.write(f"usage: python -m ops.image.health {'|'.join(ROLES)}\n")
        return 1
    try:
        ROLES[arguments[0]]()
    except Unhealthy as reason:
        sys.stderr.write(f"{reason}\n")
        return 1
    return 0


def _serves(port: int, path: str) -> None:
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
