"""The client library for backends: submit, wait, follow, download over HTTP; sync and async. No Celery, no Redis.

from producer.client import Rushes

rushes = Rushes("http://localhost:8000", api_key="rushes_…")
job = rushes.submit("a paper boat in the rain", seconds=8, size="1280x720", idempotency_key="order-4711")
video = job.wait(timeout_s=900)
job.download("boat.mp4")
"""

from producer.client._async.client import AsyncEnds, AsyncRushes
from producer.client._async.job import AsyncJob
from producer.client._sync.client import Ends, Rushes
from producer.client._sync.job import Job
from producer.client.errors import Damaged, Refused, RushesError, StillGoing, Unreachable, VideoFailed
from producer.client.records import End, Event, Video

__all__ = [
    "AsyncEnds",
    "AsyncJob",
    "AsyncRushes",
    "Damaged",
    "End",
    "Ends",
    "Event",
    "Job",
    "Refused",
    "Rushes",
    "RushesError",
    "StillGoing",
    "Unreachable",
    "Video",
    "VideoFailed",
]
