"""Reuse: the kept video of an identical request, found by a digest of all that the upstream is sent, and of the tenant.

    rushes:reuse:<digest>    string  the completed job of such a request              the retention
    rushes:reused:<name>     string  this idempotency key was answered by reuse       the key's own life

The move that completes a job with a digest writes the index (`apply.lua`). It only points: whether the job's video is
still there, the row says whenever it is asked.
"""

import hashlib
import json
from dataclasses import dataclass

from jobs.idempotency import key_name
from jobs.job import VideoRequest
from jobs.row import fingerprint_of
from jobs.scripts import Scripts, asks_redis


@dataclass(frozen=True, slots=True)
class Reused:
    """The job whose video answers a request. `replayed`: the request's idempotency key was answered so before."""

    job_id: str
    replayed: bool


class Reuse:
    """The index of videos that may be handed out again.

    Raises:
        LedgerUnavailable: Redis could not be used.
    """

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @asks_redis
    def find(
        self,
        request: VideoRequest,
        *,
        tenant: str | None,
        idempotency_key: str | None,
        idempotency_life_s: float | None,
    ) -> Reused | None:
        """The job that answers this request, which its key then stands for; None: it has to be bought."""
        found = self._scripts.run(
            "reuse_find",
            digest=digest_of(request, tenant),
            key_name=key_name(idempotency_key, tenant) if idempotency_key else None,
            idempotency_life_s=idempotency_life_s or self._scripts.retention.idempotency_s,
            fingerprint=fingerprint_of(request),
        )
        return Reused(found[0], bool(found[1])) if found else None


def digest_of(request: VideoRequest, tenant: str | None) -> str:
    """The same for a tenant's requests that the upstream could not tell apart; labels and webhook do not count."""
    sent = [tenant, request.body()]
    return hashlib.sha256(json.dumps(sent, separators=(",", ":"), sort_keys=True).encode()).hexdigest()
