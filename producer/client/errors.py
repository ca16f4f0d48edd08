"""What can go wrong for a caller of Rushes. Each class says what its catcher does.

RushesError
├── Refused        mend the request: `code`, `detail` and `errors` say what
├── Unreachable    no usable answer came; the call may be made again, a submit with the same idempotency key
├── VideoFailed    the job ended without a video: `reason` says why, `charged` whether it cost money
├── StillGoing     the waiting ended, the job did not: wait again, nothing is lost
└── Damaged        what was downloaded is not what is stored: download again
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from producer.client.records import Video

FIRST_REFUSAL: Final = 400
"""Where HTTP's refusals begin."""


class RushesError(Exception):
    """Base of everything that the client raises."""


class Refused(RushesError):
    """The API would not do it."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code: str = problem.get("code", "unknown")
        self.detail: str = problem.get("detail", "")
        self.errors: Sequence[Mapping[str, str]] = problem.get("errors", ())
        self.charged: str = problem.get("charged", "unknown")
        self.request_id: str | None = problem.get("request_id")
        parts = [f"{told.get('location')}: {told.get('message')}" for told in self.errors]
        super().__init__(f"{self.code}: {'; '.join([self.detail, *parts])}")


def problem_in(body: bytes) -> Mapping[str, Any]:
    """The problem that an answer tells of; empty if it is not the API that answered."""
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def refused(status: int, body: bytes) -> Refused:
    """What a refusal says."""
    return Refused(status, problem_in(body))


class Unreachable(RushesError):
    """No usable answer came, however often it was tried."""


class VideoFailed(RushesError):
    """The job ended without a video."""

    def __init__(self, video: Video) -> None:
        self.video = video
        self.reason = video.reason
        self.charged = video.charged
        super().__init__(f"{video.id} {video.status} ({video.reason}), charged: {video.charged}. {video.message or ''}")


class StillGoing(RushesError):
    """The time to wait is up; the job goes on by itself and can be waited for again."""

    def __init__(self, video: Video) -> None:
        self.video = video
        super().__init__(f"{video.id} is {video.status} ({video.progress} %). It is not lost: wait again.")


class Damaged(RushesError):
    """The bytes that came do not have the checksum that the API told."""
