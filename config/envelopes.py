"""Validates messages from the broker strictly, because anybody who can write to Redis can send any message.

In Celery and kombu one wrong type ends a worker, and kombu returns the message for the next one. So they get only what
`cleaned` wrote: uncompressed JSON of bounded size, with the necessary fields in their types.
"""

import json
from base64 import b64encode
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import uuid4

from pydantic import AfterValidator, Base64Bytes, BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from jobs.queues import QueueName

MOST_BYTES: Final = 64 * 1024
"""The largest message of a task or a control command; ours have about 1 KB."""

MOST_EVENT_BYTES: Final = 1024 * 1024
"""The largest event or reply to a control command; a worker's list of tasks may be long."""

CONTROL: Final = "celery.pidbox"
"""The exchange of Celery's control commands."""

_YEARS: Final = range(2000, 2200)


class UnreadableMessage(ValueError):
    """The message is invalid and dropped; the text says why in one line, without the message's content."""


def _moment(text: str) -> str:
    if datetime.fromisoformat(text).year not in _YEARS:
        raise ValueError("no valid time")
    return text


Word = Annotated[str, Field(max_length=255)]
Excerpt = Annotated[str, Field(max_length=2048)]
Moment = Annotated[str, Field(max_length=40), AfterValidator(_moment)]
Number = Annotated[int, Field(ge=0, lt=2**53)]
Plain = Excerpt | Annotated[int, Field(gt=-(2**53), lt=2**53)] | Annotated[float, Field(allow_inf_nan=False)] | None


class _Read(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", defer_build=True)  # a producer reads no message


class _TaskHeaders(_Read):
    """The headers of a task: those of its request and its retry."""

    task: Word
    id: Annotated[Word, Field(min_length=1)]
    lang: Word | None = None
    root_id: Word | None = None
    parent_id: Word | None = None
    shadow: Word | None = None
    origin: Word | None = None
    eta: Moment | None = None
    expires: Moment | None = None
    retries: Number = 0
    argsrepr: Excerpt | None = None
    kwargsrepr: Excerpt | None = None
    ignore_result: bool = True
    compression: None = None


class _EventHeaders(_Read):
    """The headers of a control command, its reply, or an event."""

    clock: Number | None = None
    ticket: Word | None = None
    hostname: Word | None = None
    compression: None = None


class _Embedded(_Read):
    """Follow-up tasks of Celery's canvas; ours have none."""

    callbacks: None = None
    errbacks: None = None
    chain: None = None
    chord: None = None


class _ReplyTo(_Read):
    exchange: Literal["reply.celery.pidbox"]
    routing_key: Word


class _Command(_Read):
    """A control command that cannot stop, starve or redirect a worker; for that, signal its process."""

    method: Literal[
        "active",
        "active_queues",
        "clock",
        "conf",
        "disable_events",
        "enable_events",
        "heartbeat",
        "ping",
        "query_task",
        "registered",
        "report",
        "reserved",
        "revoked",
        "scheduled",
        "stats",
    ]
    arguments: dict[Word, JsonValue] | None = None
    destination: list[Word] | None = None
    pattern: None = None
    matcher: None = None
    ticket: Word | None = None
    reply_to: _ReplyTo | None = None


class _Route(_Read):
    exchange: Word = ""
    routing_key: Word = ""


class _Properties(_Read):
    body_encoding: Literal["base64"]
    delivery_info: _Route


class _Envelope(_Read):
    body: Base64Bytes
    content_type: Literal["application/json"] = Field(alias="content-type")
    content_encoding: Literal["utf-8"] = Field(alias="content-encoding")
    properties: _Properties


class _Task(_Envelope):
    headers: _TaskHeaders


class _Event(_Envelope):
    headers: _EventHeaders


_ARGUMENTS: Final = TypeAdapter(
    tuple[list[Plain], dict[Word, Plain], _Embedded], config=ConfigDict(strict=True, defer_build=True)
)
_COMMAND: Final = TypeAdapter(_Command)
_ANYTHING: Final = TypeAdapter(dict[str, JsonValue] | list[JsonValue], config=ConfigDict(defer_build=True))


def cleaned(raw: bytes, *, queue: str = "", exchange: str = "") -> bytes:
    """Validate a message from a queue or an exchange, and serialize it again.

    Raises:
        UnreadableMessage: it is not valid there.
    """
    try:
        if queue in set(QueueName):
            return _message(_bounded(raw, MOST_BYTES), _Task, _ARGUMENTS, routing_key=queue)
        if exchange == CONTROL:
            return _message(_bounded(raw, MOST_BYTES), _Event, _COMMAND)
        return _message(_bounded(raw, MOST_EVENT_BYTES), _Event, _ANYTHING)
    except ValidationError as error:
        raise UnreadableMessage(_why(error)) from None


def _bounded(raw: bytes, most: int) -> bytes:
    if len(raw) > most:
        raise UnreadableMessage(f"more than {most} bytes")
    return raw


def _message(
    raw: bytes, kind: type[_Task | _Event], body: TypeAdapter[Any], *, routing_key: str | None = None
) -> bytes:
    envelope = kind.model_validate_json(raw)
    route = envelope.properties.delivery_info
    # Ignore a task's own route: an unprocessed message must return to the queue it came from.
    where = route.model_dump() if routing_key is None else {"exchange": "", "routing_key": routing_key}
    message = {
        "body": b64encode(body.dump_json(body.validate_json(envelope.body))).decode(),
        "content-type": envelope.content_type,
        "content-encoding": envelope.content_encoding,
        "headers": envelope.headers.model_dump(exclude={"compression"}),
        "properties": {
            "body_encoding": "base64",
            "delivery_info": where,
            "delivery_tag": str(uuid4()),
            "priority": 0,
        },
    }
    return json.dumps(message, separators=(",", ":")).encode()


def _why(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(step) for step in first["loc"])
    return ascii(f"{where}: {first['msg']}"[:200])
