"""The index of inputs: which parameters of large requests are in the archive, and whose.

    rushes:inputs           hash  input -> job, bytes, when it was reserved, tenant    permanent
    rushes:inputs:due       zset  input -> when to ask whether it is still needed      permanent
    rushes:inputs:bytes     hash  tenant -> bytes of its inputs                        permanent
    rushes:inputs:archives  zset  archive -> when a worker that has it was last seen   permanent

An input is reserved before its file is written, so that every file has an entry. It is kept until its job has its
video, is erased, or is forgotten; a retry takes it over.
"""

from collections.abc import Iterator
from typing import Final

from jobs.idempotency import key_name
from jobs.job import Input, Terms
from jobs.keyspace import PREFIX
from jobs.scripts import Scripts, asks_redis

CHECK_S: Final = 60.0
"""How often an input is asked for whether it is still needed."""

ORPHAN_S: Final = 3600.0
"""An input whose job is not accepted within this time never will be."""

FORGET_S: Final = 120.0
"""A worker that has not named its archive for this long is gone."""

_AT_ONCE: Final = 100


class InputIndex:
    """The inputs that are kept, and the archives of the workers.

    Raises:
        LedgerUnavailable: Redis could not be used.
    """

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @asks_redis
    def reserve(self, one: Input, terms: Terms, *, most_bytes: int, archive: str) -> str:
        """Make room for a job's input: `reserved`, `known` (its key has a job), or `elsewhere` (a worker's archive is).

        Raises:
            InputsFull: the tenant's inputs would have more than `most_bytes`.
        """
        key, tenant = terms.idempotency_key, terms.tenant
        answer: str = self._scripts.run(
            "reserve_input",
            name=one.name,
            job=terms.job_id,
            bytes=one.size_bytes,
            most_bytes=most_bytes,
            tenant=tenant or "",
            archive=archive,
            forget_s=FORGET_S,
            check_s=CHECK_S,
            key_name=key_name(key, tenant) if key else None,
        )
        return answer

    @asks_redis
    def release(self, name: str) -> None:
        """Forget an input whose file is gone."""
        self._scripts.run("release_input", name=name)

    @asks_redis
    def seen(self, archive: str) -> None:
        """Record that a worker has this archive."""
        self._scripts.redis.zadd(f"{PREFIX}inputs:archives", {archive: self._scripts.now()})

    @asks_redis
    def archives(self) -> set[str]:
        """List the archives of the workers that were seen lately."""
        since = self._scripts.now() - FORGET_S
        return set(map(str, self._scripts.redis.zrangebyscore(f"{PREFIX}inputs:archives", since, "+inf")))

    def unneeded(self) -> Iterator[str]:
        """Yield the inputs that may be removed, of those that are due to be looked at."""
        looked_at = _AT_ONCE
        while looked_at == _AT_ONCE:
            names, looked_at = self._due()
            yield from names

    @asks_redis
    def _due(self) -> tuple[list[str], int]:
        names, looked_at = self._scripts.run("due_inputs", limit=_AT_ONCE, check_s=CHECK_S, orphan_s=ORPHAN_S)
        return names, looked_at
