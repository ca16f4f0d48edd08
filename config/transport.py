"""kombu's Redis transport, changed so that no message can end a worker.

`config/envelopes.py` validates every message; one that still fails inside Celery is dropped with its traceback.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis, virtual
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from config.envelopes import UnreadableMessage, cleaned

log = logging.getLogger("rushes.transport")

_PUSH_WHEN_FULL = "#!lua flags=allow-oom\nreturn redis.call('LPUSH', KEYS[1], unpack(ARGV))"


def _clean(raw: bytes, **where: str) -> bytes | None:
    """Validate a message; log and return None if it is invalid."""
    try:
        return cleaned(raw, **where)
    except UnreadableMessage as error:
        place = where.get("queue") or where.get("exchange")
        log.warning("message.unreadable dropped from=%.60r bytes=%d why=%s", place, len(raw), error)
        return None


class _Subscription(redis.PrefixedRedisPubSub):
    """The subscription to control commands and events."""

    def parse_response(self, *args: Any, **kwargs: Any) -> Any:
        """Read a response; drop an invalid publication."""
        response = super().parse_response(*args, **kwargs)
        if not response or not response[0].endswith(b"message"):
            return response
        *about, raw = response
        # `/0.celeryev/worker.heartbeat`: a database, an exchange, and perhaps a routing key
        exchange = about[-1].decode(errors="replace").partition(".")[2].partition("/")[0]
        message = _clean(raw, exchange=exchange)
        return message and [*about, message]


class _Reader(redis.PrefixedStrictRedis):
    """A channel's client."""

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        """Read a response; drop an invalid message, which has left its queue."""
        reply = super().parse_response(connection, command_name, **options)
        if command_name != "BRPOP" or not reply:
            return reply
        queue, raw = reply
        message = _clean(raw, queue=queue.decode(errors="replace"))
        return message and (queue, message)

    def lpush(self, name: Any, *values: Any) -> Any:
        """Push messages; a full Redis takes them too, as the jobs that they wake make room by ending."""
        try:
            return super().lpush(name, *values)
        except OutOfMemoryError:
            push = self.register_script(_PUSH_WHEN_FULL)
            return push(keys=[name], args=values)

    def pubsub(self, **kwargs: Any) -> _Subscription:
        """Make a subscription that validates too."""
        return _Subscription(self.connection_pool, global_keyprefix=self.global_keyprefix, **kwargs)


class _Unacked(virtual.QoS):
    """The messages that a worker has not worked off, which it gives back when it stops or loses the broker."""

    def restore_unacked(self) -> Any:
        """Give them back; those that the broker does not take are no loss, as the due times are in the ledger.

        Left alone, kombu would print "UNABLE TO RESTORE" and dump them to a file.
        """
        unrestored: Any = super().restore_unacked()
        if unrestored:
            log.info("%d wake-ups were not given back to the broker; the rescuer sends them again", len(unrestored))
        return []


class _Channel:
    """The changes to both of kombu's channels."""

    _sender: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.QoS: Any = _Unacked  # of a channel without ack emulation

    def _get_client(self) -> Any:
        return partial(_Reader, global_keyprefix=self.global_keyprefix)  # type: ignore[attr-defined]  # a channel has it

    def _create_client(self, asynchronous: bool = False) -> Any:
        """Reuse one client per channel and pool; kombu makes one per message."""
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]  # mixed into a channel, which has it
        if self._sender is None or self._sender.connection_pool is not self.pool:  # type: ignore[attr-defined]  # as above
            self._sender = super()._create_client()  # type: ignore[misc]  # as above
        return self._sender

    def _queue_bind(self, *args: Any, **kwargs: Any) -> None:
        """Bind a queue; a full Redis refuses it, but has the bindings that were made before."""
        with suppress(OutOfMemoryError):
            super()._queue_bind(*args, **kwargs)  # type: ignore[misc]  # as above

    def maybe_refresh_binding_expiry(self) -> None:
        """Keep the bindings of control queues; kombu would print a traceback each second that Redis refuses it."""
        with suppress(ResponseError):
            super().maybe_refresh_binding_expiry()  # type: ignore[misc]  # as above

    def _size(self, queue: str) -> int:
        """Count a queue's messages, outside of a transaction, as a full Redis refuses any command inside one."""
        keys = [self._q_for_pri(queue, priority) for priority in self.priority_steps]  # type: ignore[attr-defined]  # as above
        with self.conn_or_acquire() as client:  # type: ignore[attr-defined]  # as above
            return sum(client.llen(key) for key in keys)

    def basic_consume(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        """Consume; an error of a message in Celery ends only that message."""
        contained = partial(_contained, kwargs.pop("callback"))
        return super().basic_consume(queue, *args, callback=contained, **kwargs)  # type: ignore[misc]  # as above


def _contained(callback: Callable[[Any], Any], message: Any) -> Any:
    try:
        return callback(message)
    except (RedisError, OSError):  # a connection error, not the message's
        raise
    except Exception:
        log.exception("message.unreadable dropped id=%.60r", message.headers.get("id"))
        if not message.acknowledged:
            message.reject()


class Channel(_Channel, redis.Channel):
    """A channel of one server."""


class SentinelChannel(_Channel, redis.SentinelChannel):
    """A channel of the Sentinels' master."""


class Transport(redis.Transport):
    """One server."""

    Channel = Channel


class SentinelTransport(redis.SentinelTransport):
    """The Sentinels' master."""

    Channel = SentinelChannel


def register() -> None:
    """Register these as kombu's transports, also for each Sentinel's URL."""
    ours = f"{__name__}:{Transport.__name__}"
    TRANSPORT_ALIASES.update(redis=ours, rediss=ours, sentinel=f"{__name__}:{SentinelTransport.__name__}")
