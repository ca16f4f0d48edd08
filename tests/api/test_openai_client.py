"""OpenAI's official Python client works against us unchanged."""

import io
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.api.conftest import Api
from tests.stage import Stage, inputs_of

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")  # OpenAI's own service ends, not ours

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
BASE64_PNG = f"data:image/png;base64,{b64encode(PNG).decode()}"


@pytest.fixture
def openai_client(staged_api: Api) -> Iterator[OpenAI]:
    """The client, given only our address."""
    with OpenAI(base_url=f"{staged_api.url}/v1", api_key="any") as client:
        yield client


def test_it_creates_and_polls_until_the_video_is_there(openai_client: OpenAI, stage: Stage, tmp_path: Path) -> None:
    """From the prompt to the bytes on disk."""
    with stage.worker():
        video = openai_client.videos.create_and_poll(
            model="google/veo3",
            prompt="a paper boat in the rain",
            seconds="8",
            size="1280x720",
            extra_headers={"Idempotency-Key": "order-1"},
        )

    openai_client.videos.download_content(video.id).write_to_file(tmp_path / "boat.mp4")
    assert (video.status, video.progress, video.seconds, video.size) == ("completed", 100, "8", "1280x720")
    assert (video.error, video.object, isinstance(video.created_at, int)) == (None, "video", True)
    assert (tmp_path / "boat.mp4").read_bytes()[4:8] == b"ftyp"


def test_it_retrieves_lists_and_deletes(openai_client: OpenAI, stage: Stage) -> None:
    """Its pages follow our cursor; its errors carry our codes."""
    ids = [openai_client.videos.create(model="google/veo3", prompt=f"boat {n}").id for n in range(5)]
    stage.service.cancel(ids[0])

    assert openai_client.videos.retrieve(ids[1]).status == "queued"
    assert [video.id for video in openai_client.videos.list(limit=2)] == ids[::-1]
    assert [video.id for video in openai_client.videos.list(limit=2, order="asc")] == ids
    assert openai_client.videos.delete(ids[0]).deleted
    with pytest.raises(openai.ConflictError) as refused:
        openai_client.videos.delete(ids[1])
    assert refused.value.code == "not_ended"
    with pytest.raises(openai.NotFoundError):
        openai_client.videos.retrieve("job_01kb0000000000000000000000")


@pytest.mark.parametrize(
    ("fields", "message", "param"),
    [
        ({"seconds": "12"}, "seconds: must be", "seconds"),
        ({"size": "640x480"}, "size: must be", "size"),
        ({"extra_body": {"wings": 2}}, "wings: is not a parameter", "wings"),
        ({"extra_headers": {"Idempotency-Key": "a b"}}, "Idempotency-Key: must be", "Idempotency-Key"),
    ],
)
def test_it_says_what_is_wrong_with_a_request(
    openai_client: OpenAI, fields: dict[str, Any], message: str, param: str
) -> None:
    """In the exception's own text, which is all that most programs log."""
    with pytest.raises(openai.UnprocessableEntityError, match=message) as refused:
        openai_client.videos.create(model="google/veo3", prompt="a boat", **fields)

    assert (refused.value.code, refused.value.param) == ("invalid_request", param)
    assert refused.value.type == "invalid_request_error"


def test_what_was_deleted_is_not_found(openai_client: OpenAI, stage: Stage) -> None:
    """As at OpenAI; our own code says that it was erased, whatever is asked of it."""
    job_id = openai_client.videos.create(model="google/veo3", prompt="a boat").id
    stage.service.cancel(job_id)
    openai_client.videos.delete(job_id)

    for call in (openai_client.videos.retrieve, openai_client.videos.download_content, openai_client.videos.poll):
        with pytest.raises(openai.NotFoundError, match="erased on request") as refused:
            call(job_id)
        assert refused.value.code == "erased"


def test_it_says_that_an_address_is_none_of_ours(openai_client: OpenAI) -> None:
    """A wrong base URL, or a resource of OpenAI's that we have not."""
    with pytest.raises(openai.NotFoundError, match=r"/openapi\.json") as refused:
        openai_client.files.list()

    assert refused.value.code == "no_such_route"


def test_it_sends_a_picture(openai_client: OpenAI, stage: Stage) -> None:
    """As a file, or as base64 under the upstream's own name."""
    as_file = openai_client.videos.create(prompt="it sails", input_reference=("boat.png", io.BytesIO(PNG)))
    as_text = openai_client.videos.create(prompt="it sails", extra_body={"image_url": BASE64_PNG})

    assert as_file.model == "google/veo-3.0-i2v"
    assert stage.service.get(as_file.id).request.parameters["image_url"].startswith("data:image/png;base64,")
    assert stage.service.get(as_text.id).request.parameters["image_url"] == BASE64_PNG


def test_another_vendors_request_arrives_whole(openai_client: OpenAI, stage: Stage) -> None:
    """It sends forms whatever is asked of it: nested, lists, numbers, switches, and a picture larger than 1 MiB."""
    large = f"data:image/png;base64,{b64encode(PNG + bytes(1_500_000)).decode()}"
    extra = {
        "camera": {"type": "simple", "config": {"zoom": -0.5, "pan": 3}},
        "cfg_scale": 0.5,
        "loop": True,
        "words": ["one"],
        "points": [{"x": 1, "y": 2}, {"x": 3, "y": 4}],
        "first_frame": large,
        "style": None,
    }

    video = openai_client.videos.create(model="kling-video/v2", prompt="42", extra_body=extra)

    _, request = stage.service.get(video.id)
    assert request.prompt == "42"
    request = inputs_of(stage.client, stage.settings).whole(request)
    assert request.parameters == {name: value for name, value in extra.items() if value is not None}


@pytest.mark.anyio
async def test_its_asynchronous_half_works_too(staged_api: Api) -> None:
    """The same client, awaited."""
    async with AsyncOpenAI(base_url=f"{staged_api.url}/v1", api_key="any") as client:
        video = await client.videos.create(model="google/veo3", prompt="a boat")
        assert (await client.videos.retrieve(video.id)).id == video.id


def test_it_lists_the_models(openai_client: OpenAI) -> None:
    """And gets one by its name with the slash."""
    assert "google/veo3" in [model.id for model in openai_client.models.list()]
    assert openai_client.models.retrieve("google/veo3").owned_by == "google"
    with pytest.raises(openai.NotFoundError):
        openai_client.models.retrieve("google/veo4")
