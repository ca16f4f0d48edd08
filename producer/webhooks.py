"""The use cases of webhook endpoints: add, list, rotate secrets, enable, disable, remove."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from config.connection import connect, retention
from config.settings import ConfigurationError, Settings
from config.webhook_endpoints import WEBHOOK_URL, Endpoint, Endpoints, address_problem, secret_of
from jobs.errors import FieldError, InvalidRequest
from jobs.events import SUBSCRIBABLE
from jobs.outbox import Outbox
from jobs.scripts import Scripts

MOST_OF_ALL: Final = 50
"""At most this many receivers get the events of all jobs: each event is put into the outbox of each."""

MOST_OF_A_TENANT: Final = 20
"""At most this many endpoints get the events of one tenant's jobs, beside those of all."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """A receiver's valid secrets: the current one, and others that are still valid for a while."""

    current: str
    others: tuple[str, ...] = ()


class Webhooks:
    """The use cases of endpoints.

    Every method raises LedgerUnavailable when Redis is unavailable, and UnknownEndpoint for an unknown id.
    """

    def __init__(self, settings: Settings, endpoints: Endpoints, outbox: Outbox) -> None:
        self._settings = settings
        self._endpoints = endpoints
        self._outbox = outbox

    def add(
        self, url: str, *, events: Sequence[str] = (), tenant: str | None = None, description: str = ""
    ) -> Endpoint:
        """Deliver every end from now on to this URL, or these `events`, of all jobs or of a `tenant`'s.

        Raises:
            InvalidRequest: the URL or an event is invalid, or there are too many endpoints.
            ConfigurationError: no key is set to derive secrets from.
        """
        self._keys()
        problems = [
            FieldError("event", f"{event!r} is not one of {', '.join(SUBSCRIBABLE)}")
            for event in events
            if event not in SUBSCRIBABLE
        ]
        problem = address_problem(url) or self._plain_http(url)
        if problem:
            problems.append(FieldError("url", problem))
        problems += self._too_many(tenant)
        if problems:
            raise InvalidRequest(tuple(problems))
        return self._endpoints.add(url, events=events, tenant=tenant, description=description)

    def all(self) -> list[Endpoint]:
        """List every endpoint, oldest first."""
        return self._endpoints.all()

    def get(self, endpoint_id: str) -> Endpoint:
        """Read an endpoint."""
        return self._endpoints.get(endpoint_id)

    def remove(self, endpoint_id: str) -> None:
        """Remove an endpoint with its outbox."""
        self._endpoints.remove(endpoint_id)
        self._outbox.forget(endpoint_id)

    def rotate(self, endpoint_id: str, *, keep_old_s: float) -> Endpoint:
        """Make a new secret; for `keep_old_s` seconds requests carry signatures of both."""
        self._keys()
        return self._endpoints.rotate(endpoint_id, keep_old_s=keep_old_s)

    def enable(self, endpoint_id: str) -> Endpoint:
        """Resume deliveries: those that waited, and events from now on.

        Raises:
            InvalidRequest: there are too many endpoints.
        """
        held = self._endpoints.get(endpoint_id)
        if held.disabled_at and (problems := self._too_many(held.tenant)):
            raise InvalidRequest(tuple(problems))
        return self._endpoints.enable(endpoint_id)

    def disable(self, endpoint_id: str) -> Endpoint:
        """Stop deliveries for now; those in the outbox wait."""
        return self._endpoints.disable(endpoint_id, "a person disabled it")

    def secrets(self, name: str) -> Secrets:
        """Derive the secrets of an endpoint, or (`webhook_url`) those of all requests' own addresses.

        Raises:
            ConfigurationError: no key is set to derive them from.
        """
        generations: Sequence[int] = (1,)
        if name != WEBHOOK_URL:
            generations = self._endpoints.get(name).generations(self._endpoints.now())
        current, *others = [secret_of(key, name, generation) for generation in generations for key in self._keys()]
        return Secrets(current, tuple(others))

    def _keys(self) -> tuple[bytes, ...]:
        keys = self._settings.webhooks.signing_keys
        if not keys:
            raise ConfigurationError(
                "RUSHES_WEBHOOKS__KEYS is not set, so no request can be signed. `openssl rand -hex 32` makes a key; "
                "workers need the same one."
            )
        return keys

    def _too_many(self, tenant: str | None) -> list[FieldError]:
        """Say that one more endpoint would be too many."""
        most, whose = (MOST_OF_ALL, "all jobs") if tenant is None else (MOST_OF_A_TENANT, f"the jobs of {tenant}")
        if self._outbox.subscribers(tenant) < most:
            return []
        return [FieldError("url", f"{most} receivers get the events of {whose} already: remove or disable an endpoint")]

    def _plain_http(self, url: str) -> str | None:
        plain = url.lower().startswith("http://") and not self._settings.webhooks.allow_private
        return "must begin with https:// (or set RUSHES_WEBHOOKS__ALLOW_PRIVATE)" if plain else None


def make_webhooks(settings: Settings) -> Webhooks:
    """Build the webhooks' use cases from the settings."""
    client, kept = connect(settings.redis, name="producer"), retention(settings)
    scripts = Scripts(client, retention=kept, clock=None, subscribers=())
    return Webhooks(settings, Endpoints(scripts), Outbox(scripts))
