"""The directory: every receiver that this worker can tell, by name, and who wants to be told of which job."""

from collections.abc import Mapping, Sequence

from jobs.job import Job, VideoRequest
from jobs.result import ends_of
from worker.receivers import Receiver


class Directory:
    """Knows the receivers that the settings name."""

    def __init__(self, receivers: Mapping[str, Receiver]) -> None:
        self._receivers = dict(receivers)

    def find(self, name: str) -> Receiver | None:
        """The receiver of that name, if this worker knows it."""
        return self._receivers.get(name)

    def wanting(self, job: Job, request: VideoRequest) -> Mapping[str, Sequence[str]]:  # noqa: ARG002
        """Who wants to be told of an ended job, each with the events that it is told."""
        return dict.fromkeys(self._receivers, ends_of(job))
