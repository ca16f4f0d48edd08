"""The client: it submits, and lists jobs and their ends."""

import secrets
import warnings
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from producer.client._async.connection import AsyncConnection
from producer.client._async.job import AsyncJob
from producer.client.pictures import Picture, url_of
from producer.client.records import End, Video, end_from, video_from
from producer.client.repeats import AsyncPause
from producer.client.traces import trace_headers

_ENDS_AT_ONCE: Final = 200


class AsyncRushes:
    """A deployment of Rushes, by its address and a key.

    Threads may share a `Rushes`; an `AsyncRushes` belongs to one event loop.
    """

    def __init__(self, base_url: str, *, api_key: str | None = None, pause: AsyncPause | None = None) -> None:
        """Connections open on first use and are kept. `pause` waits between attempts; by default it sleeps."""
        self._api = AsyncConnection(base_url, api_key, pause)
        self._host = urlsplit(base_url).hostname

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._host!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the kept connections."""
        await self._api.close()

    async def submit(
        self,
        prompt: str | None = None,
        *,
        model: str | None = None,
        seconds: int | None = None,
        size: str | None = None,
        image: Picture | None = None,
        metadata: Mapping[str, str] | None = None,
        deadline_s: float | None = None,
        dedupe: str | None = None,
        webhook_url: str | None = None,
        idempotency_key: str | None = None,
        **parameters: Any,
    ) -> AsyncJob:
        """Submit a request for a video; other keywords are the upstream's own parameters.

        Without `idempotency_key` this call makes one. Give your own (your order's number) to be safe across restarts.
        `dedupe="prompt"` with a `seed` uses the stored video of an identical request, if there is one (`reused`).
        `image` is an https URL, or a local picture: its `Path`, bytes or open file. `webhook_url` receives the end.
        `warnings.warn` reports an unknown model of a known family, which may be a typo.

        Raises:
            Refused: `errors` names each field to correct; nothing was submitted.
            ValueError: the upstream does not take such a picture; nothing was submitted.
            Unreachable: the request may have been accepted; submitting again with the same key is safe.
        """
        body = _given(
            prompt=prompt,
            model=model,
            seconds=None if seconds is None else str(seconds),
            size=size,
            input_reference=None if image is None else {"image_url": url_of(image)},
            metadata=dict(metadata) if metadata else None,
            deadline_s=deadline_s,
            dedupe=dedupe,
            webhook_url=webhook_url,
        )
        headers = {"idempotency-key": idempotency_key or secrets.token_hex(16), **trace_headers()}  # for all attempts
        reply = await self._api.ask("POST", "/v1/videos", json=body | _given(**parameters), headers=headers)
        video = video_from(reply)
        for warning in video.warnings:
            warnings.warn(warning, stacklevel=2)
        return AsyncJob(self._api, video.id, reused=video.reused)

    def job(self, job_id: str) -> AsyncJob:
        """Return the handle of a job that was submitted before, without a request."""
        return AsyncJob(self._api, job_id)

    async def videos(
        self,
        *,
        status: str | Sequence[str] | None = None,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
        created_from: float | None = None,
        created_before: float | None = None,
        ended_from: float | None = None,
        order: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> AsyncIterator[Video]:
        """Yield all jobs that match every filter, newest first unless `order="asc"`; `metadata` are labels to match.

        Times are seconds since the epoch; `limit` is the size of a page, `after` the id of the job to start after.
        """
        query = _given(
            status=status,
            model=model,
            created_from=created_from,
            created_before=created_before,
            ended_from=ended_from,
            order=order,
            limit=limit,
            after=after or None,
        )
        query |= {f"metadata[{label}]": value for label, value in (metadata or {}).items()}
        has_more = True
        while has_more:
            page = await self._api.ask("GET", "/v1/videos", params=query)
            for video in page["data"]:
                yield video_from(video)
            query["after"], has_more = page["last_id"], page["has_more"]

    def events(self, after: str | None = None, *, types: Sequence[str] = ()) -> "AsyncEnds":
        """Iterate over the ends of your jobs after a cursor, oldest first; `latest` gives no end, but a cursor.

        Keep the result's `cursor`: it is the position after the last end that you have taken, and finally after all
        that was read.

        Raises (while iterating):
            Refused: with the code `cursor_too_old`; `detail` says how to catch up.
        """
        return AsyncEnds(self._api, after, types)


class AsyncEnds:
    """The ends of jobs, to iterate over once; `cursor` is where the next call continues."""

    def __init__(self, api: AsyncConnection, after: str | None, types: Sequence[str]) -> None:
        self._api = api
        self._types = types
        self.cursor = after

    def __repr__(self) -> str:
        return f"{type(self).__name__}(after={self.cursor!r})"

    async def __aiter__(self) -> AsyncIterator[End]:
        has_more = True
        while has_more:
            query = _given(limit=_ENDS_AT_ONCE, after=self.cursor or None, type=list(self._types) or None)
            page = await self._api.ask("GET", "/v1/events", params=query)
            for end in map(end_from, page["data"]):
                yield end
                self.cursor = end.cursor  # only now: a caller that dies while it handles this end gets it again
            self.cursor, has_more = page["next"], page["has_more"]


def _given(**values: Any) -> dict[str, Any]:
    """Leave out what is None."""
    return {name: value for name, value in values.items() if value is not None}
