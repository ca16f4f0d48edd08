"""Keys of tenants: shown once, kept hashed, ended at once, and counted."""

import pytest
import redis
import redis.asyncio

from jobs.errors import UnknownKey
from producer.keys import Issued, Keys, Scope
from tests.stage import Clock

MANY = 1000

pytestmark = pytest.mark.anyio


@pytest.fixture
def access(client: "redis.Redis", on_loop: "redis.asyncio.Redis", clock: Clock) -> Keys:
    """Keys by the test's clock."""
    return Keys(client, on_loop=on_loop, clock=clock)


@pytest.fixture
def issued(access: Keys) -> Issued:
    """A key of the shop's."""
    return access.issue("shop", [Scope.SUBMIT, Scope.READ], name="backend")


async def test_a_token_is_its_keys(access: Keys, issued: Issued) -> None:
    """It says whose it is, and what it may do."""
    admitted = await access.admit(issued.token, per_min=MANY)

    assert admitted is not None
    assert admitted.key == issued.key
    assert (admitted.key.tenant, admitted.key.scopes) == ("shop", frozenset({Scope.SUBMIT, Scope.READ}))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: token[:-1],
        lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
        lambda token: token.replace("rushes_", "sk_"),
        lambda token: token.rpartition("_")[0],
        lambda token: token.split("_")[1],
        lambda _token: "",
        lambda _token: "rushes_0123456789abcdef_guess",
        lambda _token: "rushes_keys_x",
        lambda _token: "\x00\ud800\n",
    ],
)
async def test_what_is_not_the_token_opens_nothing(access: Keys, issued: Issued, spoil: "object") -> None:
    """Not even with the right id."""
    assert callable(spoil)
    assert await access.admit(spoil(issued.token), per_min=MANY) is None


def test_the_secret_is_nowhere_in_redis(client: "redis.Redis", issued: Issued) -> None:
    """A person who reads the ledger cannot use its keys."""
    secret = issued.token.split("_", 2)[2]

    held = [str(client.hgetall(key)) for key in client.scan_iter("rushes:access:key:*")]
    assert held
    assert not [row for row in held if secret in row]


async def test_a_revoked_key_opens_nothing_and_is_still_listed(access: Keys, issued: Issued, clock: Clock) -> None:
    """For a month, so that its operator can see when it ended."""
    clock.advance(5)
    revoked = access.revoke(issued.key.id)
    clock.advance(5)

    assert await access.admit(issued.token, per_min=MANY) is None
    assert revoked.revoked_at == pytest.approx(issued.key.created_at + 5)
    assert access.revoke(issued.key.id).revoked_at == revoked.revoked_at
    assert access.listed() == [revoked]
    with pytest.raises(UnknownKey):
        access.revoke("0" * 16)


async def test_an_expired_key_opens_nothing(access: Keys, clock: Clock) -> None:
    """By Redis's clock, whatever the caller's says."""
    issued = access.issue("shop", [Scope.READ], life_s=60)
    assert await access.admit(issued.token, per_min=MANY)

    clock.advance(60)

    assert await access.admit(issued.token, per_min=MANY) is None


def test_a_key_that_is_forgotten_leaves_the_list(access: Keys, issued: Issued, client: "redis.Redis") -> None:
    """Its row has a life of its own."""
    client.delete(f"rushes:access:key:{issued.key.id}")

    assert access.listed() == []
    assert not client.exists("rushes:access:keys")


async def test_a_minutes_quota_may_be_spent_at_once_and_comes_back_steadily(
    access: Keys, issued: Issued, clock: Clock
) -> None:
    """Six a minute: six now, then one every ten seconds."""

    async def ask() -> tuple[bool, int]:
        admitted = await access.admit(issued.token, per_min=6)
        assert admitted is not None
        return admitted.quota.wait_s == 0, admitted.quota.left

    assert [await ask() for _ in range(7)] == [
        (True, 5),
        (True, 4),
        (True, 3),
        (True, 2),
        (True, 1),
        (True, 0),
        (False, 0),
    ]
    clock.advance(9.5)
    assert await ask() == (False, 0)
    clock.advance(0.6)
    assert await ask() == (True, 0)
    clock.advance(600)
    assert await ask() == (True, 5)


async def test_a_refusal_says_how_long_to_wait(access: Keys, issued: Issued) -> None:
    """Until one request's worth has come back."""
    await access.admit(issued.token, per_min=1)
    admitted = await access.admit(issued.token, per_min=1)

    assert admitted is not None
    assert admitted.quota.wait_s == pytest.approx(60, abs=0.01)
    assert admitted.quota.whole_in_s == pytest.approx(60, abs=0.01)


async def test_a_stranger_cannot_spend_a_keys_quota(access: Keys, issued: Issued) -> None:
    """The id is no secret; requests with a wrong one behind it are not counted."""
    for _ in range(10):
        await access.admit(f"rushes_{issued.key.id}_guess", per_min=2)

    admitted = await access.admit(issued.token, per_min=2)
    assert admitted is not None
    assert admitted.quota.left == 1


def test_the_secret_of_links_is_made_once(access: Keys) -> None:
    """Every process signs alike."""
    assert access.link_secret() == access.link_secret()
    assert len(access.link_secret()) == 32
