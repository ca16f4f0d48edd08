"""Messages from the broker, read strictly: anybody who can write to Redis can send any message.

Celery and kombu read many fields of a message outside of every `try`, so that one wrong type ends a worker, and kombu
gives the message back to its queue for the next. Hence they are given only what `cleaned` wrote itself: uncompressed
JSON of a bounded size, with the fields that are needed and the types that they must have.
"""

import json
from base64 import b64encode
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import uuid4

from pydantic import AfterValidator, Base64Bytes, BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from jobs.reminders import QueueName

MOST_BYTES: Final = 64 * 1024
"""The largest message that carries a task or a control command; ours have about 1 KB."""

MOST_NEWS_BYTES: Final = 1024 * 1024
"""The largest event or reply to a control command; a worker's list of what it holds may be long."""

CONTROL: Final = "celery.pidbox"
"""The exchange of Celery's control commands."""

_YEARS: Final = range(2000, 2200)


class UnreadableMessage(ValueError):
    """A message that is dropped; the text says why in one line, without anything of its content."""


def _moment(text: str) -> str:
    if datetime.fromisoformat(text).year not in _YEARS:
        raise ValueError("no time that a task can wait for")
    return text


Word = Annotated[str, Field(max_length=255)]
Excerpt = Annotated[str, Field(max_length=2048)]
Moment = Annotated[str, Field(max_length=40), AfterValidator(_moment)]
Number = Annotated[int, Field(ge=0, lt=2**53)]
Plain = Excerpt | Annotated[int, Field(gt=-(2**53), lt=2**53)] | Annotated[float, Field(allow_inf_nan=False)] | None


class _Read(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class _TaskHeaders(_Read):
    """The headers of a task: what its request is built of, and what its retry hands on."""

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


class _NewsHeaders(_Read):
    """The headers of a control command, of a reply to one, and of an event."""

    clock: Number | None = None
    ticket: Word | None = None
    hostname: Word | None = None
    compression: None = None


class _Embedded(_Read):
    """What Celery would send after a task; none of ours has any."""

    callbacks: None = None
    errbacks: None = None
    chain: None = None
    chord: None = None


class _ReplyTo(_Read):
    exchange: Literal["reply.celery.pidbox"]
    routing_key: Word


class _Command(_Read):
    """A control command, but none that could stop, starve or redirect a worker: for these, signal its process."""

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


class _News(_Envelope):
    headers: _NewsHeaders


_ARGUMENTS: Final = TypeAdapter(tuple[list[Plain], dict[Word, Plain], _Embedded], config=ConfigDict(strict=True))
_COMMAND: Final = TypeAdapter(_Command)
_ANYTHING: Final = TypeAdapter(dict[str, JsonValue] | list[JsonValue])


def cleaned(raw: bytes, *, queue: str = "", exchange: str = "") -> bytes:
    """Write anew what `raw` says, as it lay in a queue or was published to an exchange.

    Raises:
        UnreadableMessage: it is none of the messages that belong there.
    """
    try:
        if queue in set(QueueName):
            return _message(_bounded(raw, MOST_BYTES), _Task, _ARGUMENTS, routing_key=queue)
        if exchange == CONTROL:
            return _message(_bounded(raw, MOST_BYTES), _News, _COMMAND)
        return _message(_bounded(raw, MOST_NEWS_BYTES), _News, _ANYTHING)
    except ValidationError as error:
        raise UnreadableMessage(_why(error)) from None


def _bounded(raw: bytes, most: int) -> bytes:
    if len(raw) > most:
        raise UnreadableMessage(f"more than {most} bytes")
    return raw


def _message(raw: bytes, kind: type[_Task | _News], body: TypeAdapter[Any], *, routing_key: str | None = None) -> bytes:
    envelope = kind.model_validate_json(raw)
    route = envelope.properties.delivery_info
    # A task's own route is not believed: what is not worked off goes back to where it came from.
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
