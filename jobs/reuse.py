"""Reuse: the kept video of an identical order, found by a digest of all that the upstream is sent, and of the tenant.

    rushes:reuse:<digest>    string  the completed job of such an order               the retention
    rushes:reused:<name>     string  this idempotency key was answered by reuse       the key's own life

The index only points: whether the job's video is still there, the row says at each asking.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.errors import JobError
from jobs.idempotency import key_names
from jobs.job import Job, VideoRequest
from jobs.row import fingerprint_of
from jobs.scripts import Scripts, asks_redis


@dataclass(frozen=True, slots=True)
class Reused:
    """The job whose video answers an order. `replayed`: the order's idempotency key was answered so before."""

    job_id: str
    replayed: bool


class Reuse:
    """The index of videos that may be handed out again.

    Raises:
        LedgerUnavailable: Redis could not be asked.
    """

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @asks_redis
    def note(self, ended: Sequence[tuple[Job, VideoRequest]]) -> None:
        """Have completed jobs found by orders like their own, in one round trip; those without a seed are not."""
        seeded = [(job, request) for job, request in ended if request.parameters.get("seed") is not None]
        calls = [{"id": job.id, "digest": digest_of(request, job.tenant)} for job, request in seeded]
        for answer in self._scripts.run_many("reuse_note", calls):
            if isinstance(answer, JobError):
                raise answer

    @asks_redis
    def find(
        self,
        request: VideoRequest,
        *,
        tenant: str | None,
        idempotency_key: str | None,
        idempotency_life_s: float | None,
    ) -> Reused | None:
        """The job that answers this order, which its key then stands for; None: it has to be bought."""
        found = self._scripts.run(
            "reuse_find",
            digest=digest_of(request, tenant),
            tenant=tenant,
            key_names=key_names(idempotency_key, tenant) if idempotency_key else None,
            idempotency_life_s=idempotency_life_s or self._scripts.retention.idempotency_s,
            fingerprint=fingerprint_of(request),
        )
        return Reused(found[0], bool(found[1])) if found else None

    @asks_redis
    def forget(self, job: Job, request: VideoRequest) -> None:
        """Have a job found no more."""
        self._scripts.run("reuse_forget", id=job.id, digest=digest_of(request, job.tenant))


def digest_of(request: VideoRequest, tenant: str | None) -> str:
    """The same for a tenant's orders that the upstream could not tell apart; labels and webhook are the producer's."""
    told = [tenant, request.body()]
    return hashlib.sha256(json.dumps(told, separators=(",", ":"), sort_keys=True).encode()).hexdigest()
