"""Sessions of the page: signing in turns an API key into a cookie, which is worth nothing once the key has ended.

    rushes:session:<digest>   string   the key's id and the digest of its secret   LIFE_S

Redis holds a digest of the cookie and of the key's secret: who reads it can neither sign in nor call the API.
"""

import hashlib
import secrets
from typing import Final

import redis.asyncio

from jobs.keyspace import PREFIX
from jobs.scripts import awaits_redis
from producer.keys import Admitted, Credentials, Keys, credentials_of

LIFE_S: Final = 12 * 3600


class Sessions:
    """Opens, admits and ends sessions. Every method raises LedgerUnavailable when Redis is unavailable."""

    def __init__(self, keys: Keys, on_loop: "redis.asyncio.Redis", *, per_min: int) -> None:
        """Use `on_loop`, the event loop's client; a session's requests count against its key's `per_min`."""
        self._keys = keys
        self._redis = on_loop
        self._per_min = per_min

    async def open(self, token: str) -> tuple[str, Admitted] | None:
        """Return a new session's cookie, and the key with its quota; None: the token is no good key's."""
        admitted = await self._keys.admit(token, per_min=self._per_min)
        if admitted is None:
            return None
        cookie = secrets.token_urlsafe(32)
        await self._store(cookie, credentials_of(token))
        return cookie, admitted

    async def admit(self, cookie: str, *, cost: int = 1) -> Admitted | None:
        """Return the session's key and quota; None: there is no such session, or its key has ended."""
        found = await self._read(cookie)
        if found is None:
            return None
        return await self._keys.admit_again(found, per_min=self._per_min, cost=cost)

    @awaits_redis
    async def end(self, cookie: str) -> None:
        """Sign out."""
        await self._redis.delete(_name(cookie))

    @awaits_redis
    async def _store(self, cookie: str, credentials: Credentials) -> None:
        await self._redis.set(_name(cookie), f"{credentials.key_id} {credentials.digest}", ex=LIFE_S)

    @awaits_redis
    async def _read(self, cookie: str) -> Credentials | None:
        text = await self._redis.get(_name(cookie))
        return Credentials(*str(text).split(" ")) if text else None


def _name(cookie: str) -> str:
    return f"{PREFIX}session:{hashlib.sha256(cookie.encode()).hexdigest()}"
