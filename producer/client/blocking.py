"""The blocking client."""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from producer.client import plans
from producer.client.downloads import ATTEMPTS, CHUNK_BYTES, Partial
from producer.client.errors import FIRST_REFUSAL, Unreachable, refused
from producer.client.listening import Listener
from producer.client.orders import order
from producer.client.pictures import Picture
from producer.client.records import End, Event, Video
from producer.client.transports import transport_to

T = TypeVar("T")


class Rushes:
    """A deployment of Rushes, by its address and a key. Safe to share between threads."""

    def __init__(
        self, base_url: str, *, api_key: str | None = None, pause: Callable[[float], None] = time.sleep
    ) -> None:
        """Connections are made when first needed, and kept. `pause` waits between tries."""
        import httpx2  # noqa: PLC0415 (importing this package costs nothing until it is used)

        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        transport = transport_to(base_url, httpx2.HTTPTransport)
        self._http = httpx2.Client(base_url=base_url, headers=headers, timeout=30.0, transport=transport)
        self._no_answer = httpx2.TransportError
        self._pause = pause

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()

    def submit(
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
    ) -> "Job":
        """Order a video; other keywords are the upstream's own parameters.

        Without a key of yours one is minted for this call. Name your own (an order number) to be safe across restarts.
        `dedupe="prompt"` with a `seed` takes the kept video of an identical order, if there is one: `reused` says so.
        `image` is an https URL, or a local picture: its `Path`, bytes or open file. `webhook_url` is told the end.
        A model that is not known, though others of its family are, is warned about (`warnings.warn`).

        Raises:
            Refused: `errors` names each field that has to change; nothing was submitted.
            ValueError: the local picture is none that the upstream takes; nothing was submitted.
            Unreachable: whether it was accepted is not known; the same key again is safe.
        """
        body = order(
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
        video = self._carried_out(plans.submit(body, idempotency_key))
        for warning in video.warnings:
            warnings.warn(warning, stacklevel=2)
        return Job(self, video.id, reused=video.reused)

    def job(self, job_id: str) -> "Job":
        """The handle of a job that was submitted before; nothing is asked yet."""
        return Job(self, job_id)

    def videos(
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
    ) -> Iterator[Video]:
        """All jobs that fit every filter, newest first unless `order="asc"`; `metadata` are labels they must have.

        Times are seconds since the epoch; `limit` is how many one request reads, `after` the job to go on behind.
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
            found, after = self._carried_out(plans.page(query))
            yield from found
            if after is None:
                return

    def events(self, after: str | None = None, *, types: Sequence[str] = ()) -> "Ends":
        """Every end of your jobs after a cursor that you kept, the oldest first; `latest`: nothing yet, but a cursor.

        Keep `cursor` of what is returned: it stands behind the last end that you have taken, and in the end behind all
        that was read.

        Raises (when it is walked through):
            Refused: with the code `cursor_too_old`; `detail` says how to catch up.
        """
        return Ends(self, after, types)

    def _carried_out(self, plan: plans.Plan[T]) -> T:
        """Do what the plan asks for, and tell it what came of it."""
        outcome: plans.Reply | plans.Lost | None = None
        while True:
            try:
                step = plan.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(step, plans.Pause):
                self._pause(step.seconds)
                outcome = None
            else:
                outcome = self._answer(step)

    def _answer(self, call: plans.Call) -> plans.Reply | plans.Lost:
        try:
            reply = self._http.request(
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


class Ends:
    """Ends of jobs, to be walked through once; `cursor` is where to go on another day."""

    def __init__(self, rushes: Rushes, after: str | None, types: Sequence[str]) -> None:
        self._rushes = rushes
        self._types = types
        self.cursor = after

    def __iter__(self) -> Iterator[End]:
        while True:
            page = self._rushes._carried_out(plans.ends(self.cursor, self._types))  # noqa: SLF001 (a part of its client)
            for end in page.ends:
                yield end
                self.cursor = end.cursor  # only now: a caller that dies with it in hand is told it again
            self.cursor = page.cursor
            if not page.has_more:
                return


class Job:
    """A handle on one job; all that it needs to be made again is `id`. `reused`: its order was answered at no cost."""

    def __init__(self, rushes: Rushes, job_id: str, *, reused: bool = False) -> None:
        self._rushes = rushes
        self.id = job_id
        self.reused = reused

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    @property
    def status(self) -> str:
        """queued, in_progress, completed, failed, cancelled or expired: as it is now."""
        return self.result.status

    @property
    def result(self) -> Video:
        """The job as it is now."""
        return self._rushes._carried_out(plans.get(self.id))  # noqa: SLF001 (a handle is a part of its client)

    def wait(self, timeout_s: float | None = None) -> Video:
        """The job once it has its video.

        Raises:
            VideoFailed: it ended without one; `reason` and `charged` say why and whether it cost money.
            StillGoing: `timeout_s` is over; the job goes on, wait again.
        """
        return self._rushes._carried_out(plans.wait(self.id, timeout_s))  # noqa: SLF001 (as above)

    def cancel(self) -> Video:
        """Call it off; `charged` of the answer says whether it was bought before."""
        return self._rushes._carried_out(plans.cancel(self.id))  # noqa: SLF001 (as above)

    def retry(self, *, pay_again: bool = False) -> "Job":
        """Repeat it as a new job; Refused with `would_pay` where that is not free and you did not say `pay_again`."""
        plan = plans.retry(self.id, pay_again=pay_again)
        return Job(self._rushes, self._rushes._carried_out(plan).id)  # noqa: SLF001 (as above)

    def delete(self) -> None:
        """Erase it, if it has ended: prompt, job log and file go, what it cost is kept."""
        self._rushes._carried_out(plans.delete(self.id))  # noqa: SLF001 (as above)

    def events(self) -> list[Event]:
        """What has happened to it."""
        return self._rushes._carried_out(plans.events(self.id))  # noqa: SLF001 (as above)

    def follow(self) -> Iterator[Event]:
        """What has happened to it and what happens, until it ends; a stream that breaks is taken up again."""
        listener = Listener(self.id)
        while not listener.has_ended:
            try:
                with self._rushes._http.stream("GET", **listener.call()) as reply:  # noqa: SLF001 (as above)
                    if reply.status_code >= FIRST_REFUSAL:
                        raise refused(reply.status_code, reply.read())
                    listener.begin(reply.status_code)
                    yield from filter(None, map(listener.hear, reply.iter_lines()))
            except self._rushes._no_answer:  # noqa: SLF001 (as above)
                self._rushes._pause(plans.PAUSES_S[0])  # noqa: SLF001 (as above)

    def download(self, path: str | Path) -> Path:
        """Write its video to a file, whole and checked, or not at all.

        Raises:
            Refused: there is none (`not_ready`, `no_video`).
            Damaged: what came is not what is stored.
            Unreachable: the transfer broke off, however often it was taken up.
        """
        partial = Partial(Path(path))
        for _ in range(ATTEMPTS):
            if self._fetched(partial):
                return partial.finish()
            self._rushes._pause(plans.PAUSES_S[0])  # noqa: SLF001 (as above)
        raise Unreachable(f"the download of {self.id} broke off {ATTEMPTS} times")

    def _fetched(self, partial: Partial) -> bool:
        """Whether all of it came this time."""
        path = f"/v1/videos/{self.id}/content"
        try:
            with self._rushes._http.stream("GET", path, headers=partial.headers()) as reply:  # noqa: SLF001 (as above)
                if reply.status_code >= FIRST_REFUSAL:
                    raise refused(reply.status_code, reply.read())
                partial.begin(reply.status_code, reply.headers)
                for chunk in reply.iter_raw(CHUNK_BYTES):
                    partial.add(chunk)
        except self._rushes._no_answer:  # noqa: SLF001 (as above)
            return False
        return True
