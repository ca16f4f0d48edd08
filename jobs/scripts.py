"""Runs the ledger's scripts: loaded once, with named arguments, their refusals mapped to our errors."""

import functools
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final, ParamSpec, TypeVar

import redis
import redis.asyncio
from redis.commands.core import AsyncScript, Script

from jobs import outage
from jobs.errors import (
    IdempotencyConflict,
    IdTaken,
    InputsFull,
    JobError,
    LedgerRefused,
    LedgerUnavailable,
    StaleTurn,
    UnknownJob,
    UnreadableRow,
    WrongState,
)
from jobs.events import Event, Subscriber
from jobs.keyspace import PREFIX
from jobs.log_fields import about

log = logging.getLogger("rushes.events")

_REFUSALS: Final[Mapping[str, type[JobError]]] = {
    "UNKNOWN_JOB": UnknownJob,
    "STALE_TURN": StaleTurn,
    "WRONG_STATE": WrongState,
    "IDEMPOTENCY_CONFLICT": IdempotencyConflict,
    "ID_TAKEN": IdTaken,
    "INPUTS_FULL": InputsFull,
}

_OF_A_ROW: Final = ("WRONGTYPE", "user_script")
"""Prefixes of errors that a key's content causes, not an outage: a wrong type, or a value that a script can't use."""

_REFUSED_WHEN_FULL: Final = frozenset({"accept", "retry", "mail", "endpoint", "reuse_find", "reserve_input"})
"""The scripts that a Redis without memory refuses. All others help jobs to end, which makes room."""

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_COMPACT: Final = json.JSONEncoder(separators=(",", ":"))
"""Made once: `json.dumps` makes one for each text."""

_REMEMBERED: Final = 1000
"""A process remembers this many reported unreadable rows."""

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things stay in the ledger, in seconds, and how many entries a job log and the stream keep.

    `deadline_s` bounds a generation whose terms name no deadline.
    """

    retention_s: float = 7 * 86400
    queue_ttl_s: float = 86400
    idempotency_s: float = 86400
    deadline_s: float = 1000
    job_log_entries: int = 1000
    stream_entries: int = 50_000


def asks_redis(method: Callable[P, R]) -> Callable[P, R]:
    """Map Redis's errors to ours: a script's refusal by its first word, all else to LedgerUnavailable."""

    @functools.wraps(method)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except redis.RedisError as error:
            raise refusal_of(error) from error

    return asked


def awaits_redis(method: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Map the errors of a method that asks from the event loop, as `asks_redis` does."""

    @functools.wraps(method)
    async def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await method(*args, **kwargs)
        except redis.RedisError as error:
            raise refusal_of(error) from error

    return asked


def refusal_of(error: redis.RedisError) -> JobError:
    """Return the error that callers of the ledger get for one of Redis's."""
    word, _, rest = str(error).partition(" ")
    if refusal := _REFUSALS.get(word):
        return refusal(rest)
    if word.startswith(_OF_A_ROW):
        return UnreadableRow(str(error)[:200])
    kind = LedgerRefused if outage.is_refusal(error) else LedgerUnavailable
    return kind(outage.explained(error))


@dataclass(frozen=True, slots=True)
class WakeUp:
    """A wake-up to send: for which queue, the job that causes it, and in how many seconds it must ring.

    `rings`: the moment by Redis's clock, as the ledger remembers it.
    """

    queue: str
    job_id: str
    seconds: float
    rings: str = field(default="", compare=False)


SendWakeUp = Callable[[WakeUp], object]

TimeRoundTrip = Callable[[str], AbstractContextManager[object]]
"""Times the block as a round trip of a script."""

SLOT_S: Final = 0.25
"""Wake-ups ring on a grid of this many seconds."""

LOST_AFTER_S: Final = 2.0
"""A wake-up that is overdue by this many seconds is lost."""


class Scripts:
    """The ledger's access to Redis: one client, one clock, one list of event subscribers, one sender of wake-ups.

    An event loop has a client of its own, `on_loop`.
    """

    def __init__(
        self,
        client: "redis.Redis",
        *,
        retention: Retention,
        clock: Callable[[], float] | None,
        subscribers: Sequence[Subscriber],
        on_loop: "redis.asyncio.Redis | None" = None,
        send_wake_up: SendWakeUp | None = None,
        round_trip: TimeRoundTrip = nullcontext,
    ) -> None:
        self.redis = client
        self._round_trip = round_trip
        self._send_wake_up = send_wake_up
        self._on_loop = on_loop
        self.retention = retention
        self._clock = clock
        self._subscribers = tuple(subscribers)
        self._loaded: dict[str, Script] = {}
        self._loaded_on_loop: dict[str, AsyncScript] = {}
        self._unreadable: dict[str, Mapping[str, str]] = {}

    @property
    def on_loop(self) -> "redis.asyncio.Redis":
        """The event loop's client."""
        assert self._on_loop is not None, "made without a client for the event loop"
        return self._on_loop

    def run(self, verb: str, /, *more: str, **named: Any) -> Any:
        """Run one script; arguments that are None are left out. `more`: further JSON texts, if the script takes any."""
        script, texts = self._script(verb), [self._arguments(named), *more]
        with self._round_trip(verb):
            return script(keys=[], args=texts)

    def run_and(self, command: Sequence[str | int], verb: str, /, *more: str, **named: Any) -> tuple[Any, Any]:
        """Run one script, and then a command on the same connection, in one round trip.

        The script's refusal is raised; an error of the command stands in its place.
        """
        script, texts = self._script(verb), (self._arguments(named), *more)
        with self._round_trip(verb):
            answer, then = self._piped(script, [texts], command)
        if isinstance(answer, redis.exceptions.NoScriptError):
            self.redis.script_load(script.script)
            answer, then = self._piped(script, [texts], command)
        if isinstance(answer, redis.RedisError):
            raise answer
        return answer, then

    async def run_async(self, verb: str, /, **named: Any) -> Any:
        """Run one script from the event loop."""
        return await self._script_on_loop(verb)(keys=[], args=[self._arguments(named)])

    def run_many(self, verb: str, calls: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Run one script many times in one round trip; a refused call has its error in its place."""
        script, texts = self._script(verb), [(self._arguments(named),) for named in calls]
        answers = self._piped(script, texts)
        if any(isinstance(answer, redis.exceptions.NoScriptError) for answer in answers):
            self.redis.script_load(script.script)  # none of them ran
            answers = self._piped(script, texts)
        return [refusal_of(answer) if isinstance(answer, redis.RedisError) else answer for answer in answers]

    def _piped(self, script: Script, calls: Sequence[Sequence[str]], *commands: Sequence[str | int]) -> list[Any]:
        pipe = self.redis.pipeline(transaction=False)
        for texts in calls:
            pipe.evalsha(script.sha, 0, *texts)
        for command in commands:
            pipe.execute_command(*command)  # type: ignore[no-untyped-call]  # what redis-py has no method of its own for
        return pipe.execute(raise_on_error=False)

    def _arguments(self, named: Mapping[str, Any]) -> str:
        arguments = {
            "prefix": PREFIX,
            "retention_s": self.retention.retention_s,
            "job_log_cap": self.retention.job_log_entries,
            "stream_cap": self.retention.stream_entries,
            "slot_s": SLOT_S,
            "lost_after_s": LOST_AFTER_S,
            "now": self._clock() if self._clock else None,
            **named,
        }
        present = {name: value for name, value in arguments.items() if value is not None}
        return _COMPACT.encode(present)

    def now(self) -> float:
        """The time by the fleet's one clock, in seconds since the epoch."""
        return self._clock() if self._clock else _seconds(self.redis.time())

    def time_of(self, answer: tuple[int, int]) -> float:
        """Convert the reply of a TIME command; a test's own clock wins."""
        return self._clock() if self._clock else _seconds(answer)

    def emit(self, event: Event) -> None:
        """Pass the job log's event to the subscribers; an error of theirs is logged and hurts no job."""
        for subscriber in self._subscribers:
            try:
                subscriber(event)
            except Exception:  # the event is written: a subscriber must not undo or repeat it
                with about(event.job_id, event.turn, event.job):
                    log.exception("a subscriber failed at event=%s", event.name)

    def wake(self, wake_ups: Iterable[WakeUp]) -> None:
        """Send wake-ups; one that is not sent is sent by the rescuer."""
        if self._send_wake_up is not None:
            for wake_up in wake_ups:
                self._send_wake_up(wake_up)

    def unreadable(self, job_id: str, error: Exception) -> None:
        """Report, once in a process, a row, request or entry that this version cannot read."""
        data = {"error": str(error)[:200]}
        if self._unreadable.get(job_id) != data:
            self._unreadable = {**self._unreadable, job_id: data} if len(self._unreadable) < _REMEMBERED else {}
            self.emit(Event("row.unreadable", job_id, 0, data))

    def _script(self, verb: str) -> Script:
        if verb not in self._loaded:
            self._loaded[verb] = self.redis.register_script(_text(verb))
        return self._loaded[verb]

    def _script_on_loop(self, verb: str) -> AsyncScript:
        if verb not in self._loaded_on_loop:
            self._loaded_on_loop[verb] = self.on_loop.register_script(_text(verb))
        return self._loaded_on_loop[verb]


def _seconds(time: tuple[int, int]) -> float:
    seconds, micros = time
    return seconds + micros / 1e6


def _text(verb: str) -> str:
    folder = resources.files("jobs") / "lua"
    flags = "" if verb in _REFUSED_WHEN_FULL else "#!lua flags=allow-oom\n"
    return flags + "".join((folder / f"{name}.lua").read_text() for name in ("prelude", "admission", verb))


def wake_ups_of(answer: Iterable[tuple[str, str, str, str]]) -> list[WakeUp]:
    """Read the wake-ups that a script wants sent."""
    return [WakeUp(queue, job_id, float(seconds), rings) for queue, job_id, seconds, rings in answer]


def to_json(data: Mapping[str, Any]) -> str:
    """Serialize an event's data for the job log."""
    return _ENCODER.encode(data)
