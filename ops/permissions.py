"""The minimal permissions of our Redis user, and which of them a server refuses.

Workers, API, command line and Flower share one user: the one in RUSHES_REDIS__URL.
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
    "scard": (_KEY,),
    "script|exists": ("0" * 40,),
    "script|load": ("return 1",),
    "select": ("0",),
    "set": _HASH,
    "smembers": (_KEY,),
    "srandmember": (_KEY, "1"),
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
    "zrank": _HASH,
    "zrandmember": (_KEY,),
    "zrange": (_KEY, "0", "0"),
    "zrangebylex": (_KEY, "-", "+"),
    "zrangebyscore": (_KEY, "0", "0"),
    "zrem": _HASH,
    "zremrangebyscore": (_KEY, "0", "0"),
    "zrevrangebylex": (_KEY, "+", "-"),
    "zscore": _HASH,
}
"""Every command that code or scripts use, with valid arguments."""

NEWER: Final[Mapping[str, Sequence[str]]] = {
    "client|setinfo": ("LIB-NAME", "rushes"),
    "waitaof": ("0", "0", "1"),
}
"""Commands since Redis 7.2; an older server refuses rules that name them."""

_OF_A_COMMAND: Final = "permissions to run"
"""A refusal of a command contains this, one of a key or channel does not."""

_NOT_QUEUED: Final = ("multi", "exec")
_CHANNELS: Final = ("psubscribe", "publish", "punsubscribe")


def channels(db: int) -> tuple[str, str]:
    """Return the channels of Celery's broadcasts and events; PSUBSCRIBE needs a rule equal to its pattern."""
    return f"{KEY_PREFIX}/{db}.celery.pidbox", f"{KEY_PREFIX}/{db}.celeryev/*"


def rules(db: int, *, newer: bool = True) -> list[str]:
    """Return the ACL SETUSER rules for a user without permissions; `newer`: the server is Redis 7.2 or newer."""
    commands = sorted({*COMMANDS, *(NEWER if newer else ())})
    return [KEYS, *(f"&{channel}" for channel in channels(db)), *(f"+{command}" for command in commands)]


def missing(client: "redis.Redis", db: int) -> list[str]:
    """Find the rules that this user lacks, by queueing each command in a transaction that is never executed."""
    connection: Any = client.connection_pool.get_connection()
    try:
        return list(dict.fromkeys(_missing(connection, db)))
    finally:
        connection.disconnect()  # discards the transaction
        client.connection_pool.release(connection)


def _missing(connection: Any, db: int) -> Iterator[str]:
    if _refusal(connection, "MULTI"):
        yield "+multi"  # without MULTI the commands would be executed
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
    """Send a command; returns the server's message if the user lacks permission, else an empty string."""
    connection.send_command(*command)
    try:
        connection.read_response()
    except (redis.exceptions.NoPermissionError, redis.exceptions.ExecAbortError) as error:
        return str(error)  # a forbidden EXEC aborts its transaction with the reason
    except redis.ResponseError:
        pass  # unknown to this server, or refused by a replica
    return ""
