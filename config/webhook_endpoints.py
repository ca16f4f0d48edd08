"""Webhook endpoints and their subscriptions. Secrets derive from a key that is not in Redis."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final, cast
from urllib.parse import urlsplit

from ulid import ULID

from jobs.errors import UnknownEndpoint
from jobs.events import ENDS, Event
from jobs.job_log import STREAM_CLOCK_S
from jobs.keyspace import PREFIX
from jobs.queues import DATABASE, list_of
from jobs.scripts import Scripts, asks_redis

LONGEST_URL: Final = 2048
WEBHOOK_URL: Final = "webhook_url"
"""The name that the one secret of all requests' own addresses derives from."""

_KEY: Final = f"{PREFIX}webhooks"
_ENDPOINT: Final = "wh_"
_ORIGIN: Final = "url_"
MOST_ORIGINS: Final = 1024
MOST_ORIGINS_OF_A_TENANT: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A URL and what it receives: `events` (none: every end) of one `tenant`'s jobs or of all.

    `generation` counts its secrets; the one before is valid until `previous_until`, in seconds since the epoch.
    """

    id: str
    url: str
    created_at: float
    events: tuple[str, ...] = ()
    tenant: str | None = None
    description: str = ""
    generation: int = 1
    previous_until: float | None = None
    disabled_at: float | None = None
    disabled_why: str | None = None

    @property
    def missed_since(self) -> str | None:
        """A cursor of the event stream just before the first end that it missed while disabled."""
        return f"{int((self.disabled_at - STREAM_CLOCK_S) * 1000)}-0" if self.disabled_at else None

    @property
    def subscription(self) -> tuple[str, ...]:
        """The events that it receives."""
        return self.events or ENDS

    def covers(self, tenant: str | None) -> bool:
        """Whether it receives a tenant's jobs."""
        return self.tenant is None or self.tenant == tenant

    def subscribed(self, events: Sequence[str], tenant: str | None = None) -> tuple[str, ...]:
        """Select the events of a tenant's job that it receives; none while it is disabled."""
        if self.disabled_at or not self.covers(tenant):
            return ()
        return tuple(event for event in events if not self.events or event in self.events)

    def generations(self, now: float) -> tuple[int, ...]:
        """The generations of its secret that are valid now, the newest first."""
        both = self.previous_until is not None and now < self.previous_until
        return (self.generation, self.generation - 1) if both else (self.generation,)


class Endpoints:
    """The endpoints as this deployment keeps them.

    Raises:
        UnknownEndpoint: there is none of that id.
        LedgerUnavailable: Redis could not be used.
    """

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @asks_redis
    def add(
        self, url: str, *, events: Sequence[str] = (), tenant: str | None = None, description: str = ""
    ) -> Endpoint:
        """Keep a new one."""
        endpoint = Endpoint(
            id=f"{_ENDPOINT}{str(ULID()).lower()}",
            url=url,
            created_at=self._scripts.now(),
            events=tuple(events),
            tenant=tenant,
            description=description,
        )
        self._write(endpoint.id, None, endpoint)
        return endpoint

    @asks_redis
    def now(self) -> float:
        """Read Redis's clock, in seconds since the epoch."""
        return self._scripts.now()

    @asks_redis
    def all(self) -> list[Endpoint]:
        """Every endpoint, in the order in which they were added."""
        kept = cast("dict[str, str]", self._scripts.redis.hgetall(_KEY))
        return [_read(kept[name]) for name in sorted(kept)]

    @asks_redis
    def get(self, endpoint_id: str) -> Endpoint:
        """The endpoint as it stands."""
        return _read(self._text(endpoint_id))

    @asks_redis
    def remove(self, endpoint_id: str) -> None:
        """Forget it."""
        text = self._text(endpoint_id)
        while not self._write(endpoint_id, text, None):
            text = self._text(endpoint_id)

    def rotate(self, endpoint_id: str, *, keep_old_s: float) -> Endpoint:
        """Give it a new secret; the one before stays valid for `keep_old_s`."""
        until = self._scripts.now() + keep_old_s
        return self._change(
            endpoint_id, lambda held: replace(held, generation=held.generation + 1, previous_until=until)
        )

    def disable(self, endpoint_id: str, why: str) -> Endpoint:
        """Stop its deliveries until a person enables it; the event is emitted once, whichever slots fail."""
        held = self.get(endpoint_id)
        if held.disabled_at:
            return held
        now = self._scripts.now()
        changed = self._change(endpoint_id, lambda held: replace(held, disabled_at=now, disabled_why=why))
        self._scripts.emit(Event("webhook.disabled", "-", 0, {"endpoint": endpoint_id, "why": why}))
        return changed

    def enable(self, endpoint_id: str) -> Endpoint:
        """Resume its deliveries."""
        return self._change(endpoint_id, lambda held: replace(held, disabled_at=None, disabled_why=None))

    @asks_redis
    def _change(self, endpoint_id: str, change: Callable[[Endpoint], Endpoint]) -> Endpoint:
        """Write a change, unless somebody else's came between: then it is made anew."""
        while True:
            text = self._text(endpoint_id)
            changed = change(_read(text))
            if self._write(endpoint_id, text, changed):
                return changed

    def _write(self, endpoint_id: str, before: str | None, after: Endpoint | None) -> bool:
        """Write an endpoint (None: remove it) with its subscription; False: somebody else changed it meanwhile."""
        subject = after or _read(before or "{}")
        done = self._scripts.run(
            "endpoint",
            id=endpoint_id,
            before=before,
            after=_serialized(after) if after else None,
            list=list_of(subject.tenant),
            events=",".join(after.subscription) if after and not after.disabled_at else None,
        )
        return bool(done)

    def _text(self, endpoint_id: str) -> str:
        text = cast("str | None", self._scripts.redis.hget(_KEY, endpoint_id))
        if text is None:
            raise UnknownEndpoint(endpoint_id)
        return text


def secret_of(key: bytes, name: str, generation: int) -> str:
    """Derive the secret for this name from the deployment's key, in the format of Standard Webhooks."""
    derived = hmac.digest(key, f"rushes.webhook.{name}.{generation}".encode(), hashlib.sha256)
    return f"whsec_{base64.b64encode(derived).decode()}"


def is_endpoint(receiver: str) -> bool:
    """Whether a receiver's name is that of an endpoint."""
    return receiver.startswith(_ENDPOINT)


class ReceiverKind(StrEnum):
    """A kind of receiver."""

    HOOK = "hook"
    SQL = "sql"
    WEBHOOK = "webhook"


def kind_of(receiver: str) -> ReceiverKind:
    """Return a receiver's kind, by its name."""
    if is_endpoint(receiver) or is_origin(receiver):
        return ReceiverKind.WEBHOOK
    return ReceiverKind.SQL if receiver == DATABASE else ReceiverKind.HOOK


def is_origin(receiver: str) -> bool:
    """Whether a receiver's name stands for the server of requests' own addresses."""
    return receiver.startswith(_ORIGIN)


def origin_of(url: str, tenant: str | None) -> str:
    """Name the receiver of a request's `webhook_url`: by its server, so that another's failures hardly ever delay it.

    Servers share a bounded number of receivers, those of a tenant few: each may hold a thread while it fails.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    server = f"{parts.scheme}://{parts.hostname}:{port}".lower()
    number = int.from_bytes(hashlib.sha256(server.encode()).digest()[:8]) % (
        MOST_ORIGINS if tenant is None else MOST_ORIGINS_OF_A_TENANT
    )
    return f"{owner_name(tenant)}_{number}"


def owner_name(tenant: str | None) -> str:
    """Name the owner of a tenant's webhooks, or of the deployment's own, as the receivers of requests' addresses do."""
    return f"{_ORIGIN}{hashlib.sha256((tenant or '').encode()).hexdigest()[:16]}"


def owner_of_origin(receiver: str) -> str:
    """Return the owner that a receiver of requests' addresses names."""
    return receiver.rpartition("_")[0]


def address_problem(url: Any) -> str | None:
    """Say what is wrong with a webhook's URL, without resolving its host; None: it is valid."""
    if not (isinstance(url, str) and len(url) <= LONGEST_URL and re.fullmatch(r"[!-~]+", url)):
        return f"must be an http or https URL in ASCII of up to {LONGEST_URL} characters"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "is not a URL that can be read"
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname:
        return "must begin with https:// and name a host"
    if parts.username is not None or parts.password is not None:
        return "may hold no user or password: it would be logged where URLs are"
    return None


def _serialized(endpoint: Endpoint) -> str:
    return json.dumps(asdict(endpoint), separators=(",", ":"))


def _read(text: str) -> Endpoint:
    """Read an endpoint; fields of a newer version are ignored."""
    raw: dict[str, Any] = json.loads(text)
    known = {name: raw[name] for name in Endpoint.__dataclass_fields__ if name in raw}
    return Endpoint(**{**known, "events": tuple(raw.get("events", ()))})
