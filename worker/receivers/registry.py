"""The registry: every receiver that this worker can call, by name."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from config.webhook_endpoints import (
    WEBHOOK_URL,
    Endpoint,
    Endpoints,
    is_endpoint,
    is_origin,
    owner_name,
    owner_of_origin,
    secret_of,
)
from jobs.errors import UnknownEndpoint
from jobs.events import ENDS
from worker.receivers.outcome import Receiver
from worker.receivers.webhooks import WebhookReceiver, WebhookSender

_FIRST: Final = (1,)


class ReceiverRegistry:
    """Finds receivers: those of the settings, webhook endpoints, and webhook addresses of requests."""

    def __init__(
        self,
        receivers: Mapping[str, Receiver],
        endpoints: Endpoints,
        sender: WebhookSender,
        now: Callable[[], float],
    ) -> None:
        self._receivers = dict(receivers)
        self._endpoints = endpoints
        self._sender = sender
        self._now = now
        self._owners: dict[str, str] = {}

    def find(self, name: str) -> Receiver | None:
        """Return the receiver of that name; None if this worker knows none, or if it is disabled."""
        if is_origin(name):
            return WebhookReceiver(self._sender, None, self._secrets(WEBHOOK_URL, _FIRST))
        return self._endpoint(name) if is_endpoint(name) else self._receivers.get(name)

    def owner_of(self, name: str) -> str | None:
        """Return the owner of a webhook's receiver, which never changes; None: it is no webhook, or is gone."""
        if is_origin(name):
            return owner_of_origin(name)
        if is_endpoint(name) and name not in self._owners:
            with suppress(UnknownEndpoint):
                self._owners[name] = owner_name(self._endpoints.get(name).tenant)
        return self._owners.get(name)

    @property
    def subscriptions(self) -> Mapping[str, Sequence[str]]:
        """The receivers of the settings, and the events that they get; endpoints are subscribed when they are added."""
        return dict.fromkeys(self._receivers, ENDS)

    def disable(self, name: str, why: str) -> None:
        """Disable an endpoint and emit the event."""
        with suppress(UnknownEndpoint):  # removed meanwhile
            self._endpoints.disable(name, why)

    def _endpoint(self, name: str) -> Receiver | None:
        try:
            endpoint = self._endpoints.get(name)
        except UnknownEndpoint:
            return None
        return None if endpoint.disabled_at else self._receiver(endpoint)

    def _receiver(self, endpoint: Endpoint) -> Receiver:
        secrets = self._secrets(endpoint.id, endpoint.generations(self._now()))
        return WebhookReceiver(self._sender, endpoint.url, secrets)

    def _secrets(self, name: str, generations: Sequence[int]) -> list[str]:
        keys = self._sender.settings.signing_keys
        return [secret_of(key, name, generation) for generation in generations for key in keys]
