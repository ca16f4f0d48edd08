"""The least that Redis must permit our user, and which of it a server refuses.

All parts share one user: workers, API, command line and Flower have the address in RUSHES_REDIS__URL.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import redis

from config.celery_app import KEY_PREFIX
from jobs.keyspace import PREFIX

KEYS: Final = f"~{PREFIX}*"
_KEY: Final = f"{KEY_PREFIX}doctor"
_MEMBER: Final = (_KEY, "0", "x")
_HASH: Final = (_KEY, "x")

COMMANDS: Final[Mapping[str, Sequence[str]]] = {
    "brpop": (_KEY, "1"),
    "client|setname": ("rushes-doctor",),
    "command|docs": ("GET",),
    "del": (_KEY,),
    "evalsha": ("0" * 40, "0"),
    "exec": (),
    "exists": (_KEY,),
    "expire": (_KEY, "1"),
    "get": (_KEY,),
    "hdel": _HASH,
    "hget": _HASH,
    "hgetall": (_KEY,),
    "hincrby": (_KEY, "x", "1"),
    "hmget": _HASH,
    "hset": (_KEY, "x", "1"),
    "hsetnx": (_KEY, "x", "1"),
    "incrby": (_KEY, "1"),  # which redis-py sends for incr
    "info": ("server",),
    "llen": (_KEY,),
    "lpush": _HASH,
    "lrange": (_KEY, "0", "0"),
    "ltrim": (_KEY, "0", "0"),
    "mget": (_KEY,),
    "multi": (),
    "pexpire": (_KEY, "1"),
    "ping": (),
    "psubscribe": (),
    "pttl": (_KEY,),
    "publish": (),
    "punsubscribe": (),
    "rpush": _HASH,
    "sadd": _HASH,
    "script|exists": ("0" * 40,),
    "script|load": ("return 1",),
    "select": ("0",),
    "set": _HASH,
    "smembers": (_KEY,),
    "srem": _HASH,
    "time": (),
    "xadd": (_KEY, "*", "x", "1"),
    "xinfo|stream": (_KEY,),
    "xrange": (_KEY, "-", "+"),
    "xread": ("STREAMS", _KEY, "0"),
    "xrevrange": (_KEY, "+", "-"),
    "zadd": _MEMBER,
    "zcard": (_KEY,),
    "zcount": (_KEY, "0", "0"),
    "zrange": (_KEY, "0", "0"),
    "zrangebylex": (_KEY, "-", "+"),
    "zrangebyscore": (_KEY, "0", "0"),
    "zrem": _HASH,
    "zremrangebyscore": (_KEY, "0", "0"),
    "zrevrangebylex": (_KEY, "+", "-"),
    "zscore": _HASH,
}
"""Every command that is sent or used in a script, with arguments that it takes."""

NEWER: Final[Mapping[str, Sequence[str]]] = {
    "client|setinfo": ("LIB-NAME", "rushes"),
    "waitaof": ("0", "0", "1"),
}
"""Those that Redis knows since 7.2; an older one refuses a rule that names them."""

_OF_A_COMMAND: Final = "permissions to run"
"""So a refusal begins that is not of a key or a channel."""

_NOT_QUEUED: Final = ("multi", "exec")
_CHANNELS: Final = ("psubscribe", "publish", "punsubscribe")


def channels(db: int) -> tuple[str, str]:
    """Celery's broadcasts and its events. A subscription by pattern needs a rule that is literally its pattern."""
    return f"{KEY_PREFIX}/{db}.celery.pidbox", f"{KEY_PREFIX}/{db}.celeryev/*"


def rules(db: int, *, newer: bool = True) -> list[str]:
    """What ACL SETUSER must be told of a user that may do nothing yet; `newer`: the server is Redis 7.2 or newer."""
    commands = sorted({*COMMANDS, *(NEWER if newer else ())})
    return [KEYS, *(f"&{channel}" for channel in channels(db)), *(f"+{command}" for command in commands)]


def missing(client: "redis.Redis", db: int) -> list[str]:
    """The rules that this user lacks, found by queueing each command in a transaction that is never executed."""
    connection: Any = client.connection_pool.get_connection()
    try:
        return list(dict.fromkeys(_missing(connection, db)))
    finally:
        connection.disconnect()  # which forgets the transaction
        client.connection_pool.release(connection)


def _missing(connection: Any, db: int) -> Iterator[str]:
    if _refusal(connection, "MULTI"):
        yield "+multi"  # whatever follows would be done, not queued
        return
    if _refusal(connection, "EXEC"):
        yield "+exec"
    _refusal(connection, "MULTI")
    for rule, arguments in {**COMMANDS, **NEWER}.items():
        if rule not in {*_NOT_QUEUED, *_CHANNELS} and (refusal := _refusal(connection, *rule.split("|"), *arguments)):
            yield f"+{rule}" if _OF_A_COMMAND in refusal else KEYS
    for channel in channels(db):
        for command, *rest in (("psubscribe", channel), ("publish", channel, "{}"), ("punsubscribe", channel)):
            if refusal := _refusal(connection, command, *rest):
                yield f"+{command}" if _OF_A_COMMAND in refusal else f"&{channel}"


def _refusal(connection: Any, *command: str) -> str:
    """Why the user may not do this, in the server's words; empty if nothing but its permission was asked for."""
    connection.send_command(*command)
    try:
        connection.read_response()
    except (redis.exceptions.NoPermissionError, redis.exceptions.ExecAbortError) as error:
        return str(error)  # an EXEC that is forbidden aborts its transaction, and says why
    except redis.ResponseError:
        pass  # unknown to this server, or a replica's
    return ""
