"""The error says what keeps Redis from answering, and what to do about it."""

import socket

import pytest
import redis
import redis.asyncio.sentinel
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError

from jobs.outage import explained, is_refusal, is_unreachable


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (redis.AuthenticationError("invalid username-password pair or user is disabled."), "RUSHES_REDIS__URL"),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), "promote the replica"),
        (exceptions.OutOfMemoryError("command not allowed"), "raise its maxmemory"),
        (redis.BusyLoadingError("Redis is loading the dataset in memory"), "wait"),
        (
            exceptions.NoPermissionError("this user has no permissions to run the 'set' command"),
            "to run the 'set' command",
        ),
        (redis.ResponseError("ACL failure in script: User a has no permissions to run the 'zadd' command"), "'zadd'"),
        (exceptions.NoPermissionError("No permissions to access a channel"), "`rushes doctor` says what to grant"),
        (exceptions.MaxConnectionsError("Too many connections"), "run more processes"),
        (exceptions.MasterDownError("Link with MASTER is down"), "wait for a failover"),
        (MasterNotFoundError("No master found for 'm' : a whole list of clients"), "RUSHES_REDIS__SENTINEL_PASSWORD"),
        (redis.asyncio.sentinel.MasterNotFoundError("No master found"), "RUSHES_REDIS__SENTINEL_PASSWORD"),
        (redis.TimeoutError("Timeout reading from socket"), "in time"),
        (redis.ResponseError("MISCONF Errors writing to the AOF file"), "make room"),
        (redis.ResponseError("NOREPLICAS Not enough good replicas to write."), "bring one back"),
        (redis.ConnectionError("Error 111 connecting."), "ConnectionError: Error 111 connecting"),
    ],
)
def test_each_trouble_has_its_sentence(error: redis.RedisError, words: str) -> None:
    """An error's class or code chooses the sentence; the server's words stand only where they name what it forbids."""
    sentence = explained(error)

    assert words in sentence
    assert not sentence.endswith(".")


def test_a_file_for_tls_that_is_not_there_is_named_by_its_settings() -> None:
    """redis-py reports it as a failed connection."""
    client = redis.Redis("127.0.0.1", 1, ssl=True, ssl_ca_certs="/no/such/file.pem", retry=Retry(NoBackoff(), 0))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client.connection_pool.connection_kwargs["port"] = listener.getsockname()[1]
        with pytest.raises(redis.ConnectionError) as missing:
            client.ping()

    assert "ssl_ca_certs" in explained(missing.value)


@pytest.mark.parametrize(
    "error",
    [
        redis.AuthenticationError("invalid username-password pair"),
        exceptions.OutOfMemoryError("command not allowed"),
        exceptions.ReadOnlyError("You can't write against a read only replica."),
        redis.BusyLoadingError("Redis is loading the dataset in memory"),
        redis.ResponseError("MISCONF Errors writing to the AOF file"),
    ],
)
def test_a_refusal_proves_that_nothing_was_written_and_that_the_address_is_right(error: redis.RedisError) -> None:
    """A caller may repeat its request without a key, and nobody is sent to look for the server."""
    assert is_refusal(error)
    assert not is_unreachable(error)


@pytest.mark.parametrize(
    "error", [redis.TimeoutError("Timeout reading"), redis.ConnectionError("Connection closed by server.")]
)
def test_silence_proves_nothing(error: redis.RedisError) -> None:
    """The command may have been carried out before the connection broke."""
    assert not is_refusal(error)
    assert is_unreachable(error)


def test_a_script_that_is_refused_midway_may_have_written() -> None:
    """Permissions are checked at each of its commands."""
    assert not is_refusal(redis.ResponseError("ACL failure in script: User a has no permissions to run 'zadd'"))


def test_a_server_that_is_not_there_has_written_nothing() -> None:
    """The connection was refused, so no command was sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(redis.ConnectionError) as refused:
        redis.Redis("127.0.0.1", port, retry=Retry(NoBackoff(), 0)).ping()

    assert is_refusal(refused.value)
    assert is_unreachable(refused.value)
