"""What a backend gets from the client library: handles, honest waiting, honest errors, and one job for each call."""

import asyncio
import hashlib
import inspect
import io
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from config.webhook_endpoints import WEBHOOK_URL
from jobs.job import Charged, Reason
from jobs.ledger import Ledger
from jobs.states import State
from producer.client import (
    AsyncEnds,
    AsyncJob,
    AsyncRushes,
    Damaged,
    Ends,
    Job,
    Refused,
    Rushes,
    StillGoing,
    Unreachable,
    VideoFailed,
)
from producer.webhooks import make_webhooks
from tests import steps
from tests.api.conftest import BYTES, Api, bought, completed
from tests.client.proxy import Flaky
from tests.receivers import WebhookServer
from tests.stage import ROOT, Stage, eventually


@pytest.fixture
def rushes(api: Api) -> Iterator[Rushes]:
    """A client of the shared API, which does not like to wait."""
    with Rushes(api.url, pause=lambda _seconds: None) as client:
        yield client


def stored(ledger: Ledger, job_id: str, archive: Path) -> None:
    """Give a job its video, under the checksum that it has."""
    completed(ledger, job_id, archive, sha256=hashlib.sha256(BYTES).hexdigest())


def test_from_the_prompt_to_the_file_in_six_lines(stage: Stage, staged_api: Api, tmp_path: Path) -> None:
    """The README's promise, with a real worker behind it."""
    with stage.worker(), Rushes(staged_api.url) as rushes:
        job = rushes.submit("a paper boat in the rain", seconds=8, size="1280x720", idempotency_key="order-4711")
        video = job.wait(timeout_s=60)
        file = job.download(tmp_path / "boat.mp4")

    assert (video.status, video.progress, video.charged) == ("completed", 100, "yes")
    assert file.read_bytes()[4:8] == b"ftyp"
    assert list(stage.sandbox.purchases().values()) == [1]


def test_a_handle_is_made_again_from_its_id(rushes: Rushes) -> None:
    """Another process, another day."""
    job_id = rushes.submit("a boat", metadata={"shop": "17"}, generate_audio=False).id

    job = rushes.job(job_id)

    assert job.status() == "queued"
    assert job.result().metadata == {"shop": "17"}
    assert job.result().raw["parameters"] == {"generate_audio": False}
    assert [event.event for event in job.events()] == ["job.accepted"]
    assert job.cancel().status == "cancelled"
    job.delete()
    with pytest.raises(Refused, match="erased") as erased:
        job.status()
    assert (erased.value.status, erased.value.code) == (404, "erased")


def test_an_invalid_request_says_what_to_correct(rushes: Rushes) -> None:
    """By the names that were given."""
    with pytest.raises(Refused) as refused:
        rushes.submit("a boat", seconds=12)

    assert (refused.value.status, refused.value.code, refused.value.charged) == (422, "invalid_request", "no")
    assert refused.value.errors[0]["location"] == "body.seconds"


def test_a_failure_has_its_reason_and_its_cost(rushes: Rushes, real_ledger: Ledger) -> None:
    """So that a backend can decide what to show its own customer."""
    job = rushes.submit("a boat")
    bought(real_ledger, job.id)
    verdict = steps.ended(State.FAILED, Reason.GENERATION_FAILED, "no dragons today", Charged.NO)
    steps.end(real_ledger, real_ledger.get(job.id), verdict)

    with pytest.raises(VideoFailed, match="no dragons today") as failed:
        job.wait()

    assert (failed.value.reason, failed.value.charged) == ("generation_failed", "no")
    with pytest.raises(Refused, match="would_pay"):
        job.retry()
    assert job.retry(pay_again=True).status() == "queued"


@pytest.mark.parametrize("timeout_s", [0, 0.2, 1.2])
def test_a_wait_that_ends_before_the_job_says_that_it_goes_on(rushes: Rushes, timeout_s: float) -> None:
    """It is not an error of the job's."""
    with pytest.raises(StillGoing, match="not lost") as going:
        rushes.submit("a boat").wait(timeout_s=timeout_s)

    assert going.value.video.status == "queued"


def test_a_job_is_followed_to_its_end(rushes: Rushes, real_ledger: Ledger, archive: Path) -> None:
    """Each event once, as it happens."""
    job = rushes.submit("a boat")
    stories = job.follow()
    first = next(stories)
    stored(real_ledger, job.id, archive)

    assert [first.event, *(event.event for event in stories)] == [
        "job.accepted",
        "job.submitting",
        "job.submitted",
        "job.rendered",
        "job.completed",
    ]
    assert list(job.follow())[-1].event == "job.completed"


def test_all_jobs_are_walked_through(rushes: Rushes) -> None:
    """Page by page, without the caller's doing."""
    ids = [rushes.submit(f"boat {n}").id for n in range(5)]

    assert [video.id for video in rushes.videos(limit=2)] == ids[::-1]
    assert [video.id for video in rushes.videos(limit=2, order="asc", status="queued")] == ids
    assert [video.id for video in rushes.videos(limit=2, after=ids[3])] == ids[2::-1]


FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["third", "second", "first"]),
    ({"metadata": {"shop": "a"}}, ["second", "first"]),
    ({"metadata": {"shop": "a", "n": "2"}}, ["second"]),
    ({"metadata": {"a b&c=d[é]": "x&y"}}, ["third"]),
    ({"metadata": {"shop": "nobody's"}}, []),
    ({"status": "cancelled"}, ["first"]),
    ({"status": ["cancelled", "queued"], "order": "asc"}, ["first", "second", "third"]),
    ({"status": "completed", "metadata": {"shop": "a"}}, []),
    ({"model": "google/veo2"}, ["third"]),
    ({"created_from": 4e9}, []),
    ({"created_before": 1.0}, []),
    ({"ended_from": 1.0}, ["first"]),
    ({"created_from": 0.0, "model": None, "metadata": None, "limit": 1}, ["third", "second", "first"]),
]


@pytest.mark.parametrize(("filters", "prompts"), FILTERS)
def test_jobs_are_filtered(rushes: Rushes, api: Api, filters: dict[str, Any], prompts: list[str]) -> None:
    """By each filter, alone and together, in both libraries."""
    rushes.submit("first", metadata={"shop": "a"}).cancel()
    rushes.submit("second", metadata={"shop": "a", "n": "2"})
    rushes.submit("third", model="google/veo2", metadata={"a b&c=d[é]": "x&y"})

    async def awaited() -> list[str | None]:
        async with AsyncRushes(api.url) as client:
            return [video.prompt async for video in client.videos(**filters)]

    assert [video.prompt for video in rushes.videos(**filters)] == prompts
    assert asyncio.run(awaited()) == prompts


@pytest.mark.parametrize("unknown", ["statuss", "tenant", "after_", "state"])
@pytest.mark.parametrize("library", [Rushes, AsyncRushes])
def test_a_filter_that_is_not_there_is_a_type_error(library: type[Any], unknown: str) -> None:
    """At the call, not somewhere in the loop over all of one's jobs."""
    with pytest.raises(TypeError, match=unknown):
        library("http://127.0.0.1:9").videos(**{unknown: "completed"})


def test_a_filters_bad_value_is_refused(rushes: Rushes) -> None:
    """By the API, which names it."""
    with pytest.raises(Refused, match=r"query\.status"):
        list(rushes.videos(status="finished"))


@pytest.mark.parametrize("kind", ["path", "bytes", "bytearray", "file", "text"])
def test_a_local_picture_becomes_a_stored_video(stage: Stage, staged_api: Api, tmp_path: Path, kind: str) -> None:
    """Whatever it is called and however it is given: its type is that of its bytes, which the upstream insists on."""
    data = b"\xff\xd8\xff\xe0" + bytes(64)
    file = tmp_path / "boat.bin"
    file.write_bytes(data)
    with Rushes(staged_api.url) as rushes, stage.worker(), file.open("rb") as opened:
        image: Any = {
            "path": file,
            "bytes": data,
            "bytearray": bytearray(data),
            "file": opened,
            "text": f"data:image/jpeg;base64,{b64encode(data).decode()}",
        }[kind]
        video = rushes.submit("it sails", image=image).wait(timeout_s=60)

    assert (video.status, video.model, video.charged) == ("completed", "google/veo-3.0-i2v", "yes")
    assert stage.service.get(video.id).request.parameters["image_url"].startswith("data:image/jpeg;base64,")


@pytest.mark.anyio
async def test_what_is_no_picture_is_refused_before_it_is_sent(api: Api, tmp_path: Path, client: "redis.Redis") -> None:
    """With those kinds that would be taken."""
    (tmp_path / "boat.svg").write_text("<svg/>")
    with Rushes(api.url) as rushes:
        for image in (tmp_path / "boat.svg", b"", b"%PDF-1.7", io.BytesIO(b"GIF")):
            with pytest.raises(ValueError, match="PNG, JPEG, GIF or WebP"):
                rushes.submit("it sails", image=image)
        with pytest.raises(TypeError, match="a Path, bytes, or a file"):
            rushes.submit("it sails", image=io.StringIO("text"))  # type: ignore[arg-type]  # as a caller might
        with pytest.raises(Refused, match="PNG, JPEG, GIF or WebP"):
            rushes.submit("it sails", image="data:image/png;base64,AAAAAAAAAAAAAAAAAAAAAAAA")
    async with AsyncRushes(api.url) as rushes_async:
        with pytest.raises(ValueError, match="PNG, JPEG, GIF or WebP"):
            await rushes_async.submit("it sails", image=tmp_path / "boat.svg")
    assert client.dbsize() == 0


@pytest.mark.anyio
async def test_a_request_brings_its_webhook(stage: Stage) -> None:
    """From both clients, up to the call."""
    with (
        WebhookServer.started() as receiver,
        Api.started(stage.folder, signing(stage, receiver)) as api,
        stage.worker(),
    ):
        with Rushes(api.url) as rushes:
            job = rushes.submit("a boat", webhook_url=receiver.url)
        async with AsyncRushes(api.url) as rushes_async:
            other = await rushes_async.submit("a ship", webhook_url=receiver.url)
        eventually(lambda: len(receiver.messages) == 2)

    assert {message.id for message in receiver.messages} == {f"{job.id}.completed", f"{other.id}.completed"}
    assert stage.sandbox.purchases().keys() >= {job.id}


def signing(stage: Stage, receiver: WebhookServer) -> dict[str, str]:
    """Let the stage sign for the receiver."""
    stage.environment |= {"RUSHES_WEBHOOKS__KEYS": "k" * 32, "RUSHES_WEBHOOKS__ALLOW_PRIVATE": "true"}
    receiver.secret = make_webhooks(stage.settings).secrets(WEBHOOK_URL).current
    return stage.environment | {"RUSHES_API__AUTH": "off"}


@pytest.mark.anyio
async def test_a_model_that_may_be_a_mistake_is_warned_about(api: Api) -> None:
    """As Python does; the request is accepted."""
    with Rushes(api.url) as rushes, pytest.warns(UserWarning, match=r"google/veo4.*google/veo3,"):
        job = rushes.submit("a boat", model="google/veo4")
    async with AsyncRushes(api.url) as rushes_async:
        with pytest.warns(UserWarning, match=r"google/veo4.*google/veo3,"):
            await rushes_async.submit("a boat", model="google/veo4")
        video = await rushes_async.job(job.id).result()
    assert len(video.warnings) == 1


# -- trouble --------------------------------------------------------------------------------------------------------


def test_a_submit_without_a_reply_is_repeated_and_makes_one_job(api: Api, client: "redis.Redis") -> None:
    """Its key is minted once, outside of the repetition."""
    with Flaky.before(api.url) as flaky, Rushes(flaky.url, pause=lambda _seconds: None) as rushes:
        flaky.lose_replies(2)
        job = rushes.submit("a boat")
        another = rushes.submit("a boat")

    assert flaky.lost == 2
    assert job.id != another.id
    assert client.zcard("rushes:index:all") == 2


def test_an_api_that_is_not_there_is_unreachable(api: Api) -> None:
    """After some tries."""
    with Flaky.before(api.url) as flaky, Rushes(flaky.url, pause=lambda _seconds: None) as rushes:
        flaky.lose_replies(100)
        with pytest.raises(Unreachable, match="POST /v1/videos"):
            rushes.submit("a boat")

    assert flaky.lost == 5


def test_a_stream_that_breaks_is_taken_up_again(api: Api, real_ledger: Ledger) -> None:
    """No event comes twice, none is missed."""
    with Flaky.before(api.url) as flaky, Rushes(flaky.url, pause=lambda _seconds: None) as rushes:
        job = rushes.submit("a boat")
        stories = job.follow()
        names = [next(stories).event]
        bought(real_ledger, job.id)
        names += [next(stories).event]
        flaky.cut()
        names += [next(stories).event]
        verdict = steps.ended(State.FAILED, Reason.GENERATION_FAILED, "no", Charged.NO)
        steps.end(real_ledger, real_ledger.get(job.id), verdict)
        names += [event.event for event in stories]

    assert names == ["job.accepted", "job.submitting", "job.submitted", "job.failed"]


def test_a_download_is_whole_or_not_there(rushes: Rushes, real_ledger: Ledger, archive: Path, tmp_path: Path) -> None:
    """Its checksum is the API's; half a file never has the name."""
    good, bad = rushes.submit("a boat"), rushes.submit("a boat")
    stored(real_ledger, good.id, archive)
    completed(real_ledger, bad.id, archive)  # its bytes are not those of its checksum

    assert good.download(tmp_path / "good.mp4").read_bytes() == BYTES
    with pytest.raises(Damaged):
        bad.download(tmp_path / "bad.mp4")
    with pytest.raises(Refused, match="not_ready"):
        rushes.submit("a boat").download(tmp_path / "early.mp4")
    assert [file.name for file in tmp_path.iterdir()] == ["good.mp4"]


# -- the asynchronous half ------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_asynchronous_client_does_the_same(
    api: Api, real_ledger: Ledger, archive: Path, tmp_path: Path
) -> None:
    """The same calls, awaited."""
    async with AsyncRushes(api.url) as rushes:
        job = await rushes.submit("a boat")
        assert await job.status() == "queued"
        stories = job.follow()
        first = await anext(stories)
        stored(real_ledger, job.id, archive)
        names = [first.event, *[event.event async for event in stories]]
        video = await rushes.job(job.id).wait(timeout_s=30)
        file = await job.download(tmp_path / "boat.mp4")
        found = [video.id async for video in rushes.videos(limit=1)]

    assert names[-1] == "job.completed"
    assert (video.status, file.read_bytes(), found) == ("completed", BYTES, [job.id])


# -- its weight -----------------------------------------------------------------------------------------------------


def test_importing_it_brings_neither_celery_nor_redis_nor_http() -> None:
    """A backend that only submits now and then pays for the import each time it starts."""
    heavy = "{'celery', 'kombu', 'redis', 'httpx2', 'pydantic', 'requests', 'fastapi'}"
    code = f"import sys, producer.client; print(sorted({heavy} & set(sys.modules)))"

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)

    assert ran.stdout.strip() == "[]"


def test_what_ended_meanwhile_is_caught_up_with(rushes: Rushes, real_ledger: Ledger, archive: Path) -> None:
    """From a cursor that is kept; an end during which the program dies comes again."""
    began = rushes.events(after="latest")
    assert list(began) == []
    ids = [rushes.submit(f"boat {n}").id for n in range(3)]
    for job_id in ids:
        stored(real_ledger, job_id, archive)

    broken_off = rushes.events(after=began.cursor)
    for end in broken_off:
        if end.job_id == ids[1]:
            break
    caught_up = rushes.events(after=broken_off.cursor)

    assert [end.id for end in caught_up] == [f"{job_id}.completed" for job_id in ids[1:]]
    assert list(rushes.events(after=caught_up.cursor)) == []
    assert list(rushes.events(types=["job.failed", "job.expired"])) == []


@pytest.mark.anyio
async def test_an_asynchronous_backend_catches_up_as_well(api: Api, real_ledger: Ledger, archive: Path) -> None:
    """The same calls, awaited."""
    async with AsyncRushes(api.url) as rushes:
        job = await rushes.submit("a boat")
        stored(real_ledger, job.id, archive)
        ends = rushes.events()

        assert [(end.job_id, end.status) async for end in ends] == [(job.id, "completed")]
        assert ends.cursor


# -- its two halves -------------------------------------------------------------------------------------------------


def test_the_blocking_client_is_generated_from_the_asynchronous_one() -> None:
    """So that they cannot drift apart; `make format` writes it."""
    checked = subprocess.run(
        [sys.executable, "-m", "ops.blocking_client", "--check"], capture_output=True, text=True, check=False, cwd=ROOT
    )

    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("library", [(AsyncRushes, Rushes), (AsyncJob, Job), (AsyncEnds, Ends)])
def test_both_clients_have_the_same_names(library: tuple[type[Any], type[Any]]) -> None:
    """What is a method of one is a method of the other, with the same parameters."""

    def shape(one: type[Any]) -> dict[str, Any]:
        public = {name: member for name, member in vars(one).items() if not name.startswith("_")}
        return {
            name: list(inspect.signature(member).parameters) if inspect.isfunction(member) else type(member)
            for name, member in public.items()
        }

    awaited, blocking = library
    assert shape(awaited) == shape(blocking)


def test_what_is_printed_is_short(rushes: Rushes, real_ledger: Ledger, archive: Path) -> None:
    """A notebook shows it, and a log line holds it: no prompt of a thousand words, and no key."""
    job = rushes.submit("a paper boat " * 100)
    stored(real_ledger, job.id, archive)

    assert repr(job.result()) == f"Video('{job.id}', 'completed')"
    assert repr(job.events()[0]) == "Event('job.accepted', 'queued')"
    ends = rushes.events()
    assert repr(next(iter(ends))) == f"End('{job.id}', 'completed')"
    assert repr(ends).startswith("Ends(after=")
    assert repr(Rushes("http://ann:hunter2@127.0.0.1:9", api_key="rushes_1")) == "Rushes('127.0.0.1')"


def test_a_handle_names_itself() -> None:
    """In a debugger and in logs, without a request."""
    assert repr(Rushes("http://127.0.0.1:9").job("job_1")) == "Job('job_1')"
    assert repr(AsyncRushes("http://127.0.0.1:9").job("job_1")) == "AsyncJob('job_1')"
