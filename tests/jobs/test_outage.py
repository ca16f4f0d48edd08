"""What keeps Redis from answering is told with what to do about it."""

import pytest
import redis
import redis.asyncio.sentinel
from redis import exceptions
from redis.sentinel import MasterNotFoundError

from jobs.outage import told


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
        (exceptions.MaxConnectionsError("Too many connections"), "RUSHES_REDIS__MAX_CONNECTIONS"),
        (exceptions.MasterDownError("Link with MASTER is down"), "wait for a failover"),
        (MasterNotFoundError("No master found for 'm' : a whole list of clients"), "RUSHES_REDIS__SENTINEL_PASSWORD"),
        (redis.asyncio.sentinel.MasterNotFoundError("No master found"), "RUSHES_REDIS__SENTINEL_PASSWORD"),
        (redis.TimeoutError("Timeout reading from socket"), "in time"),
        (redis.ResponseError("MISCONF Errors writing to the AOF file"), "make room"),
        (redis.ResponseError("NOREPLICAS Not enough good replicas to write."), "bring one back"),
        (redis.ConnectionError("Error 2 connecting to a:6379. No such file or directory"), "ssl_ca_certs"),
        (redis.ConnectionError("Error 111 connecting."), "ConnectionError: Error 111 connecting"),
    ],
)
def test_each_trouble_has_its_sentence(error: redis.RedisError, words: str) -> None:
    """By class or by code; the server's words change, and are repeated only where they name what is forbidden."""
    sentence = told(error)

    assert words in sentence
    assert not sentence.endswith(".")
