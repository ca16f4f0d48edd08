"""What keeps Redis from answering, told so that whoever reads it knows what to do; never with a password in it."""

from typing import Final

import redis
from redis.sentinel import MasterNotFoundError

_NO_MASTER: Final = (
    "no Sentinel in RUSHES_REDIS__URL names a living master: wait out a failover, which takes seconds; if it lasts, look "
    "at the Sentinels' addresses, ?master=, and RUSHES_REDIS__SENTINEL_PASSWORD"
)
_WRONG_PASSWORD: Final = "Redis refuses the password: put the right one into RUSHES_REDIS__URL, or set it on the server; work goes on by itself"
_READ_ONLY: Final = (
    "this Redis is a read-only replica: let RUSHES_REDIS__URL point to the master (by Sentinels it does so by itself), "
    "or promote the replica; work goes on by itself"
)
_OUT_OF_MEMORY: Final = (
    "Redis is full (maxmemory) and takes nothing new: raise its maxmemory or make room; work goes on by itself"
)
_LOADING: Final = "Redis is reading its data from disk after a restart: wait, work goes on by itself"
_NOT_ALLOWED: Final = (
    "Redis forbids this user a command or a key: grant the user in RUSHES_REDIS__URL all commands on rushes:*"
)
_DISK: Final = "Redis cannot write to its disk and takes nothing new: make room on the disk of the Redis server"
_TOO_FEW_REPLICAS: Final = (
    "Redis takes nothing new while too few replicas follow it (min-replicas-to-write): bring a replica back"
)
_TOO_MANY: Final = "this process holds all the connections it may: raise RUSHES_REDIS__MAX_CONNECTIONS"
_SILENT: Final = "Redis did not answer in time"

_BY_CODE: Final = {
    "MISCONF": _DISK,
    "NOREPLICAS": _TOO_FEW_REPLICAS,
    "MASTERDOWN": "this replica has lost its master: wait for a failover, or point RUSHES_REDIS__URL to the master",
}
"""Errors that redis-py has no class for, by the code that the server puts first."""


def told(error: redis.RedisError) -> str:
    """One sentence on what is wrong with Redis and what to do, without a full stop."""
    match error:
        case MasterNotFoundError():
            return _NO_MASTER
        case redis.AuthenticationError() | redis.exceptions.AuthenticationWrongNumberOfArgsError():
            return _WRONG_PASSWORD
        case redis.exceptions.ReadOnlyError():
            return _READ_ONLY
        case redis.exceptions.OutOfMemoryError():
            return _OUT_OF_MEMORY
        case redis.BusyLoadingError():
            return _LOADING
        case redis.exceptions.NoPermissionError():
            return _NOT_ALLOWED
        case redis.exceptions.MaxConnectionsError():
            return _TOO_MANY
        case redis.TimeoutError():
            return _SILENT
        case _:
            code, _, rest = str(error).partition(" ")
            return _BY_CODE.get(code, f"{type(error).__name__}: {code} {rest}".rstrip())
