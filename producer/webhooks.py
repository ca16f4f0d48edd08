"""What can be done about webhook endpoints: adding, showing, rotating their secrets, removing."""

from collections.abc import Sequence
from dataclasses import dataclass

from config.connection import connect, retention
from config.settings import ConfigurationError, Settings
from jobs.errors import FieldError, InvalidRequest
from jobs.outbox import Outbox
from jobs.result import ENDS
from jobs.scripts import Scripts
from jobs.webhooks import ORDERED, Endpoint, Endpoints, address_problem, secret_of


@dataclass(frozen=True, slots=True)
class Secrets:
    """A receiver's secrets that are valid now, the one to use first; the other goes when its time is up."""

    current: str
    others: tuple[str, ...] = ()


class Webhooks:
    """The use cases around endpoints.

    Every method raises LedgerUnavailable when Redis cannot be asked, and UnknownEndpoint for an id that there is not.
    """

    def __init__(self, settings: Settings, endpoints: Endpoints, outbox: Outbox) -> None:
        self._settings = settings
        self._endpoints = endpoints
        self._outbox = outbox

    def add(
        self, url: str, *, events: Sequence[str] = (), tenant: str | None = None, description: str = ""
    ) -> Endpoint:
        """Tell this address of every end, or of `events` or a tenant's jobs only, from the next job that ends.

        Raises:
            InvalidRequest: the address or an event cannot stand as it is.
            ConfigurationError: there is no key that secrets could derive from.
        """
        self._keys()
        problems = [
            FieldError("event", f"{event!r} is not one of {', '.join(ENDS)}") for event in events if event not in ENDS
        ]
        problem = address_problem(url) or self._plain_http(url)
        if problem:
            problems.append(FieldError("url", problem))
        if problems:
            raise InvalidRequest(tuple(problems))
        return self._endpoints.add(url, events=events, tenant=tenant, description=description)

    def all(self) -> list[Endpoint]:
        """Every endpoint, in the order in which they were added."""
        return self._endpoints.all()

    def get(self, endpoint_id: str) -> Endpoint:
        """The endpoint as it stands."""
        return self._endpoints.get(endpoint_id)

    def remove(self, endpoint_id: str) -> None:
        """Tell it nothing more, and forget what it was still to be told."""
        self._endpoints.remove(endpoint_id)
        self._outbox.forget(endpoint_id)

    def rotate(self, endpoint_id: str, *, keep_old_s: float) -> Endpoint:
        """Give it a new secret; for `keep_old_s` requests are signed with both."""
        self._keys()
        return self._endpoints.rotate(endpoint_id, keep_old_s=keep_old_s)

    def enable(self, endpoint_id: str) -> Endpoint:
        """Tell it again: what waited for it, and what ends from now on."""
        return self._endpoints.enable(endpoint_id)

    def disable(self, endpoint_id: str) -> Endpoint:
        """Tell it nothing for now; what it was still to be told waits."""
        return self._endpoints.disable(endpoint_id, "a person disabled it")

    def secrets(self, name: str) -> Secrets:
        """The secrets of an endpoint, or (`ordered`) those of the addresses that orders bring along.

        Raises:
            ConfigurationError: there is no key that they could derive from.
        """
        generations: Sequence[int] = (1,)
        if name != ORDERED:
            generations = self._endpoints.get(name).generations(self._outbox.now())
        current, *others = [secret_of(key, name, generation) for generation in generations for key in self._keys()]
        return Secrets(current, tuple(others))

    def _keys(self) -> tuple[bytes, ...]:
        keys = self._settings.webhooks.signing_keys
        if not keys:
            raise ConfigurationError(
                "RUSHES_WEBHOOKS__KEYS is not set: no request could be signed. `openssl rand -hex 32` makes a key; the "
                "workers need the same."
            )
        return keys

    def _plain_http(self, url: str) -> str | None:
        plain = url.lower().startswith("http://") and not self._settings.webhooks.allow_private
        return "must begin with https:// (or set RUSHES_WEBHOOKS__ALLOW_PRIVATE)" if plain else None


def make_webhooks(settings: Settings) -> Webhooks:
    """The parts, poured together."""
    client, kept = connect(settings.redis, name="producer"), retention(settings)
    scripts = Scripts(client, retention=kept, clock=None, subscribers=())
    return Webhooks(settings, Endpoints(scripts), Outbox(client, retention=kept))
