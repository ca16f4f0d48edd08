"""The asynchronous client: it awaits the same plans."""

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from producer.client import plans
from producer.client.bodies import submit_body
from producer.client.downloads import ATTEMPTS, CHUNK_BYTES, PartialDownload
from producer.client.errors import FIRST_REFUSAL, Unreachable, refused
from producer.client.event_reader import EventReader
from producer.client.pictures import Picture
from producer.client.records import End, Event, Video
from producer.client.transports import transport_to

T = TypeVar("T")


class AsyncRushes:
    """A deployment of Rushes, by its address and a key. For one event loop."""

    def __init__(
        self, base_url: str, *, api_key: str | None = None, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Connections open on first use and are kept. `pause` waits between attempts."""
        import httpx2  # noqa: PLC0415 (importing this package costs nothing until it is used)

        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        transport = transport_to(base_url, httpx2.AsyncHTTPTransport)
        self._http = httpx2.AsyncClient(base_url=base_url, headers=headers, timeout=30.0, transport=transport)
        self._no_answer = httpx2.TransportError
        self._pause = pause

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the kept connections."""
        await self._http.aclose()

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
    ) -> "AsyncJob":
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
        body = submit_body(
            prompt,
            model=model,
            seconds=seconds,
            size=size,
            image=image,
            metadata=metadata,
            deadline_s=deadline_s,
            dedupe=dedupe,
            webhook_url=webhook_url,
            parameters=parameters,
        )
        video = await self._run(plans.submit(body, idempotency_key))
        for warning in video.warnings:
            warnings.warn(warning, stacklevel=2)
        return AsyncJob(self, video.id, reused=video.reused)

    def job(self, job_id: str) -> "AsyncJob":
        """Return the handle of a job that was submitted before, without a request."""
        return AsyncJob(self, job_id)

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
        filters = plans.filters(
            metadata,
            status=status,
            model=model,
            created_from=created_from,
            created_before=created_before,
            ended_from=ended_from,
            order=order,
            limit=limit,
        )
        while True:
            query = filters | ({"after": after} if after else {})
            found, after = await self._run(plans.page(query))
            for video in found:
                yield video
            if after is None:
                return

    def events(self, after: str | None = None, *, types: Sequence[str] = ()) -> "AsyncEnds":
        """Iterate over the ends of your jobs after a cursor, oldest first; `latest` gives no end, but a cursor.

        Keep the result's `cursor`: it is the position after the last end that you have taken, and finally after all
        that was read.

        Raises (while iterating):
            Refused: with the code `cursor_too_old`; `detail` says how to catch up.
        """
        return AsyncEnds(self, after, types)

    async def _run(self, plan: plans.Plan[T]) -> T:
        """Run a plan: make its requests, wait its pauses, and send it each outcome."""
        outcome: plans.Reply | plans.Lost | None = None
        while True:
            try:
                step = plan.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(step, plans.Pause):
                await self._pause(step.seconds)
                outcome = None
            else:
                outcome = await self._answer(step)

    async def _answer(self, call: plans.Call) -> plans.Reply | plans.Lost:
        try:
            reply = await self._http.request(
                call.method,
                call.path,
                json=call.body,
                params=call.query,
                headers=dict(call.headers),
                timeout=call.within_s,
            )
        except self._no_answer as error:
            return plans.Lost(type(error).__name__)
        return plans.Reply(reply.status_code, reply.headers, reply.content)


class AsyncEnds:
    """The ends of jobs, to iterate over once; `cursor` is where the next call continues."""

    def __init__(self, rushes: AsyncRushes, after: str | None, types: Sequence[str]) -> None:
        self._rushes = rushes
        self._types = types
        self.cursor = after

    async def __aiter__(self) -> AsyncIterator[End]:
        while True:
            page = await self._rushes._run(plans.ends(self.cursor, self._types))  # noqa: SLF001 (a part of its client)
            for end in page.ends:
                yield end
                self.cursor = end.cursor  # only now: a caller that dies while it handles this end gets it again
            self.cursor = page.cursor
            if not page.has_more:
                return


class AsyncJob:
    """A handle on one job, to be made again from its `id`. `reused`: an earlier job answered the request at no cost."""

    def __init__(self, rushes: AsyncRushes, job_id: str, *, reused: bool = False) -> None:
        self._rushes = rushes
        self.id = job_id
        self.reused = reused

    def __repr__(self) -> str:
        return f"AsyncJob({self.id!r})"

    async def status(self) -> str:
        """The current status: queued, in_progress, completed, failed, cancelled or expired."""
        return (await self.result()).status

    async def result(self) -> Video:
        """The job as it is now."""
        return await self._rushes._run(plans.get(self.id))  # noqa: SLF001 (a handle is a part of its client)

    async def wait(self, timeout_s: float | None = None) -> Video:
        """Wait for the job's video.

        Raises:
            VideoFailed: the job ended without one; `reason` says why, `charged` whether it cost money.
            StillGoing: `timeout_s` has passed; the job continues, wait again.
        """
        return await self._rushes._run(plans.wait(self.id, timeout_s))  # noqa: SLF001 (as above)

    async def cancel(self) -> Video:
        """Cancel the job; the result's `charged` says whether it cost money."""
        return await self._rushes._run(plans.cancel(self.id))  # noqa: SLF001 (as above)

    async def retry(self, *, pay_again: bool = False) -> "AsyncJob":
        """Retry as a new job; Refused with `would_pay` if that costs money and `pay_again` is not set."""
        plan = plans.retry(self.id, pay_again=pay_again)
        return AsyncJob(self._rushes, (await self._rushes._run(plan)).id)  # noqa: SLF001 (as above)

    async def delete(self) -> None:
        """Erase an ended job: its prompt, job log and files are deleted, its cost is kept."""
        await self._rushes._run(plans.delete(self.id))  # noqa: SLF001 (as above)

    async def events(self) -> list[Event]:
        """Return the job's events so far."""
        return await self._rushes._run(plans.events(self.id))  # noqa: SLF001 (as above)

    async def follow(self) -> AsyncIterator[Event]:
        """Yield the job's events, past and new, until it ends; a broken stream is resumed."""
        reader = EventReader(self.id)
        while not reader.has_ended:
            try:
                async with self._rushes._http.stream("GET", **reader.call()) as reply:  # noqa: SLF001 (as above)
                    if reply.status_code >= FIRST_REFUSAL:
                        raise refused(reply.status_code, await reply.aread())
                    reader.begin(reply.status_code)
                    async for line in reply.aiter_lines():
                        if event := reader.decode(line):
                            yield event
            except self._rushes._no_answer:  # noqa: SLF001 (as above)
                await self._rushes._pause(plans.PAUSES_S[0])  # noqa: SLF001 (as above)

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
            await self._rushes._pause(plans.PAUSES_S[0])  # noqa: SLF001 (as above)
        raise Unreachable(f"the download of {self.id} broke off {ATTEMPTS} times")

    async def _fetched(self, partial: PartialDownload) -> bool:
        """Download the rest; returns whether the file is complete."""
        path = f"/v1/videos/{self.id}/content"
        try:
            async with self._rushes._http.stream("GET", path, headers=partial.headers()) as reply:  # noqa: SLF001 (as above)
                if reply.status_code >= FIRST_REFUSAL:
                    raise refused(reply.status_code, await reply.aread())
                partial.begin(reply.status_code, reply.headers)
                async for chunk in reply.aiter_raw(CHUNK_BYTES):
                    partial.add(chunk)
        except self._rushes._no_answer:  # noqa: SLF001 (as above)
            return False
        return True
