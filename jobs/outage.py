"""Sentences that say why Redis does not answer and what to do; they never contain a password."""

import socket
from typing import Final

import redis
from redis import exceptions
from redis.asyncio.sentinel import MasterNotFoundError as AsyncMasterNotFoundError
from redis.sentinel import MasterNotFoundError

_BY_CLASS: Final[tuple[tuple[type[redis.RedisError] | tuple[type[redis.RedisError], ...], str], ...]] = (
    (
        (MasterNotFoundError, AsyncMasterNotFoundError),
        (
            "no Sentinel names a living master: wait out a failover; if it lasts, mend the hosts and ?master= in "
            "RUSHES_REDIS__URL, or RUSHES_REDIS__SENTINEL_PASSWORD"
        ),
    ),
    (
        redis.AuthenticationError,
        (
            "Redis refuses the password: put the right one into RUSHES_REDIS__URL, or set it on the server; "
            "work goes on by itself"
        ),
    ),
    (
        exceptions.ReadOnlyError,
        (
            "this Redis is a read-only replica: let RUSHES_REDIS__URL point to the master (by Sentinels it does so by "
            "itself), or promote the replica; work goes on by itself"
        ),
    ),
    (
        exceptions.OutOfMemoryError,
        "Redis is full (maxmemory) and takes nothing new: raise its maxmemory or make room; work goes on by itself",
    ),
    (
        redis.BusyLoadingError,
        "Redis is reading its data from disk after a start: wait, work goes on by itself",
    ),
    (
        exceptions.MaxConnectionsError,
        "this process holds all the connections it may: run more processes with fewer threads each",
    ),
    (
        exceptions.MasterDownError,
        "this replica has lost its master: wait for a failover, or let RUSHES_REDIS__URL point to the master",
    ),
    (redis.TimeoutError, "Redis did not answer in time"),
)

_BY_CODE: Final = {
    "MISCONF": "Redis cannot write to its disk and takes nothing new: make room on the disk of the Redis server",
    "NOREPLICAS": "Redis takes nothing new while too few replicas follow it (min-replicas-to-write): bring one back",
}
"""Errors without a class in redis-py, by the server's error code."""


_REFUSALS: Final = (
    MasterNotFoundError,
    AsyncMasterNotFoundError,
    redis.AuthenticationError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    redis.BusyLoadingError,
    exceptions.MaxConnectionsError,
    exceptions.MasterDownError,
    exceptions.NoPermissionError,
)


def is_unreachable(error: BaseException | None) -> bool:
    """Whether no server answered, so that its address may be wrong, and nothing else is known."""
    if not isinstance(error, redis.ConnectionError | redis.TimeoutError) or isinstance(error, _REFUSALS):
        return False
    return not isinstance(error.__context__, FileNotFoundError)


def is_refusal(error: redis.RedisError) -> bool:
    """Whether the error proves that nothing was written: Redis refused the command, or there was no connection."""
    never_connected = isinstance(error.__context__, ConnectionRefusedError | socket.gaierror)
    return never_connected or isinstance(error, _REFUSALS) or str(error).partition(" ")[0] in _BY_CODE


def explained(error: redis.RedisError) -> str:
    """Explain in one sentence, without a full stop, what is wrong with Redis and what to do."""
    code = str(error).partition(" ")[0]
    if isinstance(error, exceptions.NoPermissionError) or code == "ACL":  # ACL failure in script; no class has it
        return f"Redis forbids its user something ({error}): `rushes doctor` says what to grant; work goes on by itself"
    if isinstance(error.__context__, FileNotFoundError):
        return "a file that RUSHES_REDIS__URL names for TLS (ssl_ca_certs, ssl_certfile, ssl_keyfile) is not here"
    known = next((sentence for kind, sentence in _BY_CLASS if isinstance(error, kind)), None)
    if known is not None:
        return known
    return _BY_CODE.get(code, f"{type(error).__name__}: {error}".rstrip("."))
