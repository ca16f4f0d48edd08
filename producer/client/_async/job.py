"""The handle on one job."""

import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Final

from producer.client._async.connection import AsyncConnection
from producer.client.downloads import ATTEMPTS, CHUNK_BYTES, PartialDownload
from producer.client.errors import StillGoing, Unreachable, VideoFailed
from producer.client.records import ENDS, Event, Video, event_from, video_from
from producer.client.repeats import PAUSES_S

_WAIT_S: Final = 30.0
"""Seconds that one request waits for a job's end; the next one follows at once."""

_SILENCE_S: Final = 60.0
"""The API sends a heartbeat every few seconds; after this silence the connection is dead."""


class AsyncJob:
    """A handle on one job, to be made again from its `id`. `reused`: an earlier job answered the request at no cost."""

    def __init__(self, api: AsyncConnection, job_id: str, *, reused: bool = False) -> None:
        self._api = api
        self._path = f"/v1/videos/{job_id}"
        self.id = job_id
        self.reused = reused

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    async def status(self) -> str:
        """Read the current status: queued, in_progress, completed, failed, cancelled or expired."""
        return (await self.result()).status

    async def result(self) -> Video:
        """Read the job as it is now."""
        return video_from(await self._api.ask("GET", self._path))

    async def wait(self, timeout_s: float | None = None) -> Video:
        """Wait for the job's video.

        Raises:
            VideoFailed: the job ended without one; `reason` says why, `charged` whether it cost money.
            StillGoing: `timeout_s` has passed; the job continues, wait again.
        """
        left_s = timeout_s
        while True:
            wait_s = _WAIT_S if left_s is None else min(left_s, _WAIT_S)
            video = await self._after(wait_s)
            if video.status == "completed":
                return video
            if video.has_ended:
                raise VideoFailed(video)
            if left_s is not None:
                left_s -= wait_s
                if left_s <= 0:
                    raise StillGoing(video)

    async def _after(self, wait_s: float) -> Video:
        """Read the job at its end or after `wait_s`; the API waits whole seconds, the rest is a pause."""
        whole = int(wait_s)
        if wait_s > whole:
            await self._api.pause(wait_s - whole)
        headers = {"prefer": f"wait={whole}"} if whole else {}
        return video_from(await self._api.ask("GET", self._path, headers=headers, timeout_s=whole + 30.0))

    async def cancel(self) -> Video:
        """Cancel the job; the result's `charged` says whether it cost money."""
        return video_from(await self._api.ask("POST", f"{self._path}/cancel"))

    async def retry(self, *, pay_again: bool = False) -> "AsyncJob":
        """Retry as a new job, the same one if called again.

        Raises:
            Refused: with the code `would_pay` if that costs money and `pay_again` is not set.
        """
        retried = video_from(await self._api.ask("POST", f"{self._path}/retry", json={"pay_again": pay_again}))
        return AsyncJob(self._api, retried.id)

    async def delete(self) -> None:
        """Erase an ended job: its prompt, job log and files are deleted, its cost is kept."""
        await self._api.ask("DELETE", self._path)

    async def events(self) -> list[Event]:
        """Return the job's events so far."""
        return [event_from(event) for event in (await self._api.ask("GET", f"{self._path}/events"))["data"]]

    async def follow(self) -> AsyncIterator[Event]:
        """Yield the job's events, past and new, until it ends; a broken stream is resumed."""
        from httpx2 import EventSource  # noqa: PLC0415 (the connection has imported it by now)

        last: Event | None = None
        while last is None or last.state not in ENDS:
            headers = {"accept": "text/event-stream"} | ({"last-event-id": last.id} if last else {})
            try:
                async with self._api.stream(f"{self._path}/events", headers, timeout_s=_SILENCE_S) as reply:
                    if reply.status_code == HTTPStatus.NO_CONTENT:
                        return  # no events are left
                    async for message in EventSource(reply):
                        if message.data:  # the first message only says when to reconnect
                            last = event_from(json.loads(message.data))
                            yield last
            except self._api.lost:
                await self._api.pause(PAUSES_S[0])

    async def download(self, path: str | Path) -> Path:
        """Write the video to a file, complete and verified, or not at all.

        Raises:
            Refused: there is no video (`not_ready`, `no_video`).
            Damaged: the checksum of the download is wrong.
            Unreachable: the transfer broke off in every attempt.
        """
        partial = PartialDownload(Path(path))
        for _ in range(ATTEMPTS):
            if await self._fetched(partial):
                return partial.finish()
            await self._api.pause(PAUSES_S[0])
        raise Unreachable(f"the download of {self.id} broke off {ATTEMPTS} times")

    async def _fetched(self, partial: PartialDownload) -> bool:
        """Download the rest; returns whether the file is complete."""
        try:
            async with self._api.stream(f"{self._path}/content", partial.headers()) as reply:
                partial.begin(reply.status_code, reply.headers)
                async for chunk in reply.aiter_raw(CHUNK_BYTES):
                    partial.add(chunk)
        except self._api.lost:
            return False
        return True
