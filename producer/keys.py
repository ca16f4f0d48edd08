"""Who may use the API: keys of tenants, kept hashed; and the secret that signs links."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, cast

import redis
import redis.asyncio

from config.connection import connect
from config.settings import Settings
from jobs.errors import UnknownKey
from jobs.keyspace import PREFIX
from jobs.scripts import Retention, Scripts, asks_redis, awaits_redis

MEMORY_S: Final = 30 * 86_400
"""How long a key that has ended is still listed."""

LONGEST_TENANT: Final = 63
_TOKEN: Final = "rushes"  # noqa: S105 (how every key begins, so that scanners of leaked secrets know it)


class Scope(StrEnum):
    """What a key may do."""

    SUBMIT = "submit"  # submit, cancel, retry, erase
    READ = "read"  # ask
    ADMIN = "admin"  # issue, list and revoke keys of all tenants
    METRICS = "metrics"  # read the numbers of the whole deployment


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it may be shown: without its secret. Times are seconds since the epoch."""

    id: str
    tenant: str
    name: str
    scopes: frozenset[Scope]
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None

    def is_good(self, now: float) -> bool:
        """Whether it opens anything now."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key with its token, which is shown this once."""

    key: Key
    token: str


@dataclass(frozen=True, slots=True)
class Quota:
    """What is left of a key's requests in this minute. `wait_s` is 0 if this request may go."""

    per_min: int
    left: int
    whole_in_s: float
    wait_s: float


@dataclass(frozen=True, slots=True)
class Admitted:
    """The token is a good key's; its quota says whether this request may go now."""

    key: Key
    quota: Quota


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a token is checked by: its key's id, and the digest of its secret. Nobody can derive the token from them."""

    key_id: str
    digest: str


class Keys:
    """Issues, lists, revokes and checks keys."""

    def __init__(
        self,
        client: "redis.Redis",
        *,
        on_loop: "redis.asyncio.Redis | None" = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Use `client` (which decodes replies to text), and to admit the event loop's, `on_loop`.

        `clock` stands in for Redis's own only in tests.
        """
        self._redis = client
        self._scripts = Scripts(client, retention=Retention(), clock=clock, subscribers=(), on_loop=on_loop)

    @asks_redis
    def issue(self, tenant: str, scopes: Iterable[Scope], *, name: str = "", life_s: float | None = None) -> Issued:
        """Make a key; its token is not kept and cannot be shown again."""
        key_id, secret, now = secrets.token_hex(8), secrets.token_urlsafe(32), self._scripts.now()
        key = Key(key_id, tenant, name, frozenset(scopes), now, None if life_s is None else now + life_s)
        row = {
            "tenant": tenant,
            "name": name,
            "scopes": " ".join(sorted(key.scopes)),
            "created_at": f"{now:.3f}",
            "digest": _digest(secret),
        }
        if key.expires_at is not None:
            row["expires_at"] = f"{key.expires_at:.3f}"
        pipe = self._redis.pipeline()
        pipe.hset(_row(key_id), mapping=cast("Any", row))
        if life_s is not None:
            pipe.pexpire(_row(key_id), int((life_s + MEMORY_S) * 1000))
        pipe.sadd(f"{PREFIX}access:keys", key_id)
        pipe.execute()
        return Issued(key, f"{_TOKEN}_{key_id}_{secret}")

    @asks_redis
    def listed(self) -> list[Key]:
        """Every key that is remembered, the oldest first."""
        ids = sorted(cast("set[str]", self._redis.smembers(f"{PREFIX}access:keys")))
        pipe = self._redis.pipeline(transaction=False)
        for key_id in ids:
            pipe.hgetall(_row(key_id))
        rows = dict(zip(ids, pipe.execute(), strict=True))
        if gone := [key_id for key_id, row in rows.items() if not row]:
            self._redis.srem(f"{PREFIX}access:keys", *gone)
        return sorted((_key(key_id, row) for key_id, row in rows.items() if row), key=lambda key: key.created_at)

    @asks_redis
    def revoke(self, key_id: str) -> Key:
        """End a key now, for every process; revoking it again changes nothing.

        Raises:
            UnknownKey: there is none of this id.
        """
        flat = self._scripts.run("revoke", id=key_id, life_s=MEMORY_S)
        if not flat:
            raise UnknownKey(key_id)
        return _key(key_id, dict(zip(flat[::2], flat[1::2], strict=True)))

    @awaits_redis
    async def admit(self, token: str, *, per_min: int, cost: int = 1) -> Admitted | None:
        """The key of a token, and what is left of its quota; None: it is no good key's. One round trip, on the loop.

        A request of a wrong secret costs the key's owner no quota; one that counts as more than a minute's quota is
        never let in.
        """
        return await self._admit(credentials_of(token), per_min=per_min, cost=cost)

    @awaits_redis
    async def admit_again(self, credentials: "Credentials", *, per_min: int, cost: int = 1) -> Admitted | None:
        """Admit whom `admit` admitted before, as long as the key is good."""
        return await self._admit(credentials, per_min=per_min, cost=cost)

    async def _admit(self, credentials: "Credentials", *, per_min: int, cost: int) -> Admitted | None:
        key_id, digest = credentials.key_id, credentials.digest
        reply: list[Any] = await self._scripts.run_async(
            "admit", id=key_id, digest=digest, per_min=per_min, cost=min(cost, per_min)
        )
        if not reply:
            return None
        now, wait_ms, left, whole_in_ms, *flat = reply
        row = dict(zip(flat[::2], flat[1::2], strict=True))
        key = _key(key_id, row)
        if not hmac.compare_digest(row["digest"], digest) or not key.is_good(float(now)):
            return None
        return Admitted(key, Quota(per_min, int(left), int(whole_in_ms) / 1000, int(wait_ms) / 1000))

    @asks_redis
    def link_secret(self) -> bytes:
        """The secret that signs links; made once, shared by all processes."""
        name = f"{PREFIX}access:links"
        kept = self._redis.get(name)
        if kept is None:  # only then: a full Redis refuses each SET, and the page and links must go on
            self._redis.set(name, secrets.token_hex(32), nx=True)
            kept = self._redis.get(name)
        return bytes.fromhex(str(kept))


def _row(key_id: str) -> str:
    return f"{PREFIX}access:key:{key_id}"


def _digest(secret: str) -> str:
    """The secret has 256 random bits: a plain hash of it cannot be guessed back, and costs nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()


def credentials_of(token: str) -> Credentials:
    """Return what a token is checked by."""
    key_id, secret = _parted(token)
    return Credentials(key_id, _digest(secret))


def _parted(token: str) -> tuple[str, str]:
    """A token's id and secret; what is no token of ours has an id that nothing has."""
    kind, _, rest = token.partition("_")
    key_id, _, secret = rest.partition("_")
    is_ours = kind == _TOKEN and len(key_id) == 16 and key_id.isalnum() and key_id.isascii()  # noqa: PLR2004 (as minted)
    return (key_id, secret) if is_ours else ("-", "")


def _key(key_id: str, row: "dict[str, str]") -> Key:
    return Key(
        key_id,
        row["tenant"],
        row["name"],
        frozenset(scope for scope in Scope if scope in row["scopes"].split()),  # one of a newer version opens nothing
        float(row["created_at"]),
        float(row["expires_at"]) if "expires_at" in row else None,
        float(row["revoked_at"]) if "revoked_at" in row else None,
    )


def make_access(settings: Settings, *, on_loop: "redis.asyncio.Redis | None" = None) -> Keys:
    """Build the API keys' store in the ledger's Redis; without `on_loop` it can admit nobody."""
    return Keys(connect(settings.redis, name="access"), on_loop=on_loop)
