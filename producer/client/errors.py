"""The errors of the client library, and what to do about each.

RushesError
├── Refused        correct the request: `code`, `detail` and `errors` say what is wrong
├── Unreachable    no usable reply came; call again, a submit with the same idempotency key
├── VideoFailed    the job ended without a video: `reason` says why, `charged` whether it cost money
├── StillGoing     the wait timed out and the job continues: wait again
└── Damaged        the download has the wrong checksum: download again
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from producer.client.records import Video

FIRST_REFUSAL: Final = 400
"""The lowest HTTP status of an error."""


class RushesError(Exception):
    """The base class of the client's errors."""


class Refused(RushesError):
    """The API refused the request."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code: str = problem.get("code", "unknown")
        self.detail: str = problem.get("detail", "")
        self.errors: Sequence[Mapping[str, str]] = problem.get("errors", ())
        self.charged: str = problem.get("charged", "unknown")
        self.request_id: str | None = problem.get("request_id")
        parts = [f"{error.get('location')}: {error.get('message')}" for error in self.errors]
        super().__init__(f"{self.code}: {'; '.join([self.detail, *parts])}")


def problem_in(body: bytes) -> Mapping[str, Any]:
    """Parse the problem in a reply's body; empty if the reply is not the API's."""
    try:
        problem = json.loads(body)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def refused(status: int, body: bytes) -> Refused:
    """Make the error for a refusal."""
    return Refused(status, problem_in(body))


class Unreachable(RushesError):
    """No usable reply came in any attempt."""


class VideoFailed(RushesError):
    """The job ended without a video."""

    def __init__(self, video: Video) -> None:
        self.video = video
        self.reason = video.reason
        self.charged = video.charged
        super().__init__(f"{video.id} {video.status} ({video.reason}), charged: {video.charged}. {video.message or ''}")


class StillGoing(RushesError):
    """The wait timed out; the job continues by itself, wait again."""

    def __init__(self, video: Video) -> None:
        self.video = video
        super().__init__(f"{video.id} is {video.status} ({video.progress} %). It is not lost: wait again.")


class Damaged(RushesError):
    """The downloaded bytes do not have the API's checksum."""
