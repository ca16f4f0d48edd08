"""Test deliveries: a made-up ended job delivered to one receiver, to test its setup without a video."""

from typing import Final

from ulid import ULID

from jobs.job import Charged, Job, VideoRequest
from jobs.states import State

TEST_EVENT: Final = "job.test"
"""The event of a test delivery."""

_PREFIX: Final = "test_"


def new_test_delivery_id() -> str:
    """Mint an id that no job has."""
    return f"{_PREFIX}{str(ULID()).lower()}"


def is_test_delivery(job_id: str) -> bool:
    """Whether the id is that of a made-up job."""
    return job_id.startswith(_PREFIX)


def made_up(job_id: str, *, now: float) -> tuple[Job, VideoRequest]:
    """A job that never was: completed this moment, free of charge, without a video."""
    request = VideoRequest("test", "A test delivery: nothing was rendered.", {}, {"test": "true"})
    job = Job(
        id=job_id,
        version=1,
        state=State.COMPLETED,
        turn=1,
        model=request.model,
        accepted_at=now,
        deadline_at=now,
        deadline_s=1.0,
        finished_at=now,
        cost_usd=0.0,
        charged=Charged.NO,
    )
    return job, request
