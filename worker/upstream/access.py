"""How the upstream is reached: its address, key and proxies; and what its replies may not carry further."""

from dataclasses import dataclass, replace
from typing import Final, Self, TypeVar

import certifi

from config.settings import UpstreamSettings
from jobs.facts import NoResult, NotBought, PollResult, Receipt
from producer.client.proxies import Proxies

SHORTEST_KEY: Final = 8
"""Redacting a shorter key would hide ordinary words; no real key is that short."""

MOST_REPLY_BYTES: Final = 1_048_576
"""The largest JSON reply that is read; real ones have a few KB."""

RETRY_AFTER_CEILING_S: Final = 600.0
"""The longest Retry-After that is obeyed: a mistaken one of a year must not park a job for a year."""

Fact = TypeVar("Fact", Receipt, PollResult)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamAccess:
    """The upstream's address, our key and the proxies, read once, so that they never change."""

    base_url: str
    key: str
    proxies: Proxies
    ca_file: str

    @classmethod
    def of(cls, settings: UpstreamSettings) -> Self:
        """Read the settings and the environment.

        Raises:
            ValueError: the key is missing or invalid, or the environment names an invalid proxy.
        """
        if settings.api_key is None:
            raise ValueError("RUSHES_UPSTREAM__API_KEY is not set: a worker cannot buy anything without it")
        key = settings.api_key.get_secret_value()
        if not (key.isascii() and key.isprintable() and key and " " not in key):
            raise ValueError("RUSHES_UPSTREAM__API_KEY is not a key: it is empty or holds a space or a line break")
        base_url = str(settings.base_url).rstrip("/")
        return cls(
            base_url=base_url,
            key=key,
            proxies=Proxies.of_environment(),
            ca_file=str(settings.ca_bundle) if settings.ca_bundle else certifi.where(),
        )

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of each request."""
        return {"Authorization": f"Bearer {self.key}", "Accept": "application/json"}

    def redacted(self, body: bytes) -> bytes:
        """Remove our key from a body: an error may quote it, and people read errors."""
        return body.replace(self.key.encode(), b"[key]") if len(self.key) >= SHORTEST_KEY else body

    def bounded(self, fact: Fact) -> Fact:
        """Cut the upstream's requested wait to the ceiling."""
        if isinstance(fact, NotBought | NoResult) and fact.retry_after_s is not None:
            return replace(fact, retry_after_s=min(fact.retry_after_s, RETRY_AFTER_CEILING_S))
        return fact
