"""kombu's Redis transport, for which a message that nobody can read is no reason to end a worker.

Whoever can write to a queue could end every worker, one message each: kombu decodes a message outside of the borders
within which Celery throws bad ones away, so that broken JSON or base64 goes up through the event loop.
"""

import logging
from typing import Any, Final
from uuid import uuid4

from kombu.transport import TRANSPORT_ALIASES, redis, virtual

log = logging.getLogger("rushes.transport")

SHOWN: Final = 200
"""How much of an unreadable message is told."""


class ReadableMessage(virtual.Message):
    """A message; one that cannot be read stands empty, and Celery throws it away as one that it does not know."""

    def __init__(self, payload: Any, channel: Any = None, **kwargs: Any) -> None:
        try:
            super().__init__(payload, channel=channel, **kwargs)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("message.unreadable error=%s message=%.*r", type(error).__name__, SHOWN, payload)
            super().__init__(_empty(), channel=channel, **kwargs)


class _Channel:
    """What both kinds of channel do differently from kombu's."""

    _sender: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        """One client for all that a channel sends over its pool: kombu makes one anew for each message."""
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]  # stands before a channel, which has it
        if self._sender is None or self._sender.connection_pool is not self.pool:  # type: ignore[attr-defined]  # as above
            self._sender = super()._create_client()  # type: ignore[misc]  # as above
        return self._sender

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # stands before a channel, which has it
        except ValueError as error:  # it is no JSON, and gone from its queue
            log.warning("message.unreadable error=%s", type(error).__name__)
            return True


class Channel(_Channel, redis.Channel):
    """A channel of one server."""

    Message = ReadableMessage


class SentinelChannel(_Channel, redis.SentinelChannel):
    """A channel of whichever server the Sentinels name."""

    Message = ReadableMessage


class Transport(redis.Transport):
    """One server."""

    Channel = Channel


class SentinelTransport(redis.SentinelTransport):
    """Whichever server the Sentinels name."""

    Channel = SentinelChannel


def register() -> None:
    """Have kombu take these for its own, also when it turns from one Sentinel's URL to the next."""
    ours = f"{__name__}:{Transport.__name__}"
    TRANSPORT_ALIASES.update(redis=ours, rediss=ours, sentinel=f"{__name__}:{SentinelTransport.__name__}")


def _empty() -> dict[str, Any]:
    properties = {"delivery_tag": str(uuid4()), "delivery_info": {"exchange": "", "routing_key": ""}}
    return {"body": "{}", "headers": {}, "content-type": "application/json", "properties": properties}
