"""What may be wrong with a request, all reported at once and before the purchase; and what else it may carry."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import requests

from jobs.ledger import Ledger
from tests.api.conftest import Api
from tests.stage import Stage

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
JPEG = b"\xff\xd8\xff\xe0" + bytes(64)
WEBP = b"RIFF\x50\x00\x00\x00WEBPVP8 " + bytes(64)
GIF = b"GIF89a" + bytes(64)
HOOK = "https://shop.example/hooks/videos?of=boats"
MISTAKEN = ["veo3", "google/veo4", "google/veo3-i2v", "VEO-3", "google/veo-3.1-lite", "vertex/veo-3.0"]


@pytest.fixture
def signing_api(client: "redis.Redis", redis_url: str, tmp_path: Path) -> Iterator[Api]:  # noqa: ARG001 (empties Redis)
    """An API that can sign what it sends to a request's `webhook_url`."""
    environment = {
        "RUSHES_REDIS__URL": redis_url,
        "RUSHES_STATE_DIR": str(tmp_path),
        "RUSHES_API__AUTH": "off",
        "RUSHES_WEBHOOKS__KEYS": "k" * 32,
    }
    with Api.started(tmp_path, environment) as started:
        yield started


def locations(answer: requests.Response) -> set[str]:
    """The fields that are named, each once."""
    assert answer.status_code == 422, answer.text
    found = [error["location"] for error in answer.json()["errors"]]
    assert len(found) == len(set(found)), found
    return set(found)


# -- all at once ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"seconds": "12", "size": "1x1", "sise": "1280x720"}, {"seconds", "size", "sise"}),
        ({"seconds": "12", "size": "1792x1024", "prompt": ""}, {"seconds", "size", "prompt"}),
        ({"prompt": 5, "duration": 5, "colour": "red"}, {"prompt", "duration", "colour"}),
        ({"metadata": {"a": 1}, "resolution": "4K"}, {"metadata.a", "resolution"}),
        ({"deadline_s": -1, "dedupe": "all", "seed": "x"}, {"deadline_s", "dedupe", "seed"}),
        ({"webhook_url": "ftp://x", "size": "big", "seconds": "0"}, {"webhook_url", "size", "seconds"}),
        ({"image_url": "AAAA", "seconds": "12", "size": "big"}, {"image_url", "seconds", "size"}),
        ({"input_reference": {"image_url": "AAAA"}, "seed": 1.5}, {"input_reference", "seed"}),
        ({"model": 5, "seconds": "12"}, {"model"}),
    ],
)
def test_all_that_is_wrong_is_named_at_once(
    api: Api, client: "redis.Redis", fields: dict[str, Any], named: set[str]
) -> None:
    """One refusal names all faults, alone or in a batch: a client should not mend one to learn of the next."""
    body = {"prompt": "a boat", **fields}

    answer, batch = api.post("/v1/videos", body), api.post("/v1/videos/batch", {"requests": [body]})

    assert locations(answer) == {f"body.{name}" for name in named}
    assert batch.json()["data"][0]["error"]["errors"] == answer.json()["errors"]
    assert client.dbsize() == 0


def test_a_form_names_all_at_once_too(api: Api) -> None:
    """Brackets, values and files alike."""
    files: dict[str, Any] = {
        "seconds": (None, "12"),
        "size": (None, "1x1"),
        "a[": (None, "1"),
        "input_reference": ("a.png", b"<svg>"),
    }

    answer = requests.post(f"{api.url}/v1/videos", files={"prompt": (None, "x"), **files}, timeout=30)

    assert locations(answer) == {"body.seconds", "body.size", "body.a[", "body.input_reference"}


@pytest.mark.parametrize(
    "kind", [None, "application/x-www-form-urlencoded", "text/plain", "", "application/octet-stream"]
)
@pytest.mark.parametrize("path", ["/v1/videos", "/v1/videos/batch"])
def test_json_with_another_content_type_is_refused_with_the_right_one(api: Api, path: str, kind: str | None) -> None:
    """`curl -d` calls everything a form."""
    body = b' {"requests": [{"prompt": "a boat"}], "prompt": "a boat"}'
    headers = {} if kind is None else {"content-type": kind}

    answer = requests.post(api.url + path, data=body, headers=headers, timeout=30)

    assert answer.status_code in {415, 422}
    assert "Content-Type: application/json" in answer.json()["detail"]
    assert "a boat" not in answer.text


# -- models that may be a mistake -----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MISTAKEN)
def test_a_model_of_a_known_family_is_warned_about_with_those_that_are_known(api: Api, model: str) -> None:
    """It may be new, so it is taken; alone, in a batch, and on the upstream's own face."""
    body = {"model": model, "prompt": "a boat"}

    alone = api.post("/v1/videos", body)
    batch = api.post("/v1/videos/batch", {"requests": [body]}).json()["data"][0]
    face = api.post("/v2/video/generations", body)

    (warning,) = alone.json()["warnings"]
    assert (alone.status_code, batch["status"], face.status_code) == (202, 202, 201)
    assert model in warning
    assert "google/veo3," in warning
    assert batch["video"]["warnings"] == face.json()["warnings"] == [warning]
    assert api.get(f"/v1/videos/{alone.json()['id']}").json()["warnings"] == [warning]
    assert warning in api.log.read_text().replace('\\"', '"')


@pytest.mark.parametrize(
    "model", ["google/veo3", "veo2", "kling-video/v1.6", "runway/gen4_turbo", "x/naveo", "salve/o"]
)
def test_other_models_are_not_warned_about(api: Api, model: str) -> None:
    """Known ones, and those of other families."""
    assert api.submit(model=model)["warnings"] == []
    assert "warnings" not in api.post("/v2/video/generations", {"model": model, "prompt": "a boat"}).json()


# -- an address of its own ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["google/veo3", "vendor/model"])
def test_every_request_may_bring_a_webhook(signing_api: Api, real_ledger: Ledger, model: str) -> None:
    """As JSON, as a form, in a batch, on the upstream's face; and the upstream never sees it."""
    body = {"model": model, "prompt": "a boat", "webhook_url": HOOK}

    form = requests.post(f"{signing_api.url}/v1/videos", data=body, timeout=30)
    ids = [
        signing_api.post("/v1/videos", body).json()["id"],
        signing_api.post("/v1/videos/batch", {"requests": [body]}).json()["data"][0]["video"]["id"],
        signing_api.post("/v2/video/generations", body).json()["id"],
        signing_api.post("/v2/generate/video/google/generation", body).json()["id"],
        form.json()["id"],
    ]

    for job_id in ids:
        request = real_ledger.request(job_id)
        assert request.webhook_url == HOOK
        assert request.body() == {"model": model, "prompt": "a boat"}


@pytest.mark.parametrize("model", ["google/veo3", "vendor/model"])
@pytest.mark.parametrize(
    "url",
    ["ftp://shop.example", "shop.example", "https://u:p@shop.example", "https://[", "https://ä.example", 5, "x" * 3000],
)
def test_a_webhook_that_cannot_be_called_is_refused(signing_api: Api, model: str, url: object) -> None:
    """As it is in-process."""
    answer = signing_api.post("/v1/videos", {"model": model, "prompt": "a boat", "webhook_url": url})

    assert locations(answer) == {"body.webhook_url"}


@pytest.mark.parametrize("model", ["google/veo3", "vendor/model"])
def test_without_a_signing_key_no_webhook_is_taken(api: Api, model: str) -> None:
    """Silence would be worse; and what else is wrong is named beside it."""
    answer = api.post(
        "/v1/videos", {"model": model, "prompt": "x", "webhook_url": HOOK, "seed": float("1e18"), "p": 2**70}
    )

    assert "body.webhook_url" in locations(answer)
    assert "body.p" in locations(answer)


# -- pictures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "kind"), [(PNG, "image/png"), (JPEG, "image/jpeg"), (WEBP, "image/webp"), (GIF, "image/gif")]
)
@pytest.mark.parametrize("said", ["application/octet-stream", "image/png", "image/jpg", "text/plain;charset=utf-8"])
def test_a_picture_is_called_what_its_bytes_are(api: Api, data: bytes, kind: str, said: str) -> None:
    """The upstream goes by the declared type."""
    encoded = b64encode(data).decode()
    given = f"data:{said};base64,{encoded}"

    known = api.submit(model="google/veo-3.0-i2v", input_reference={"image_url": given})
    several = api.submit(model="google/veo-3.1-reference-to-video", image_urls=[given, given])
    others = api.submit(model="vendor/i2v", image_url=given)

    meant = f"data:{kind};base64,{encoded}"
    assert known["parameters"]["image_url"] == others["parameters"]["image_url"] == meant
    assert several["parameters"]["image_urls"] == [meant, meant]


@pytest.mark.parametrize(
    "data", [b"<svg/>" * 9, b"%PDF-1.7" + bytes(40), b"BM" + bytes(60), bytes(4) + b"ftypheic" + bytes(40)]
)
def test_what_is_no_picture_is_refused_with_the_kinds_that_are(api: Api, data: bytes) -> None:
    """Before it is bought."""
    given = f"data:image/png;base64,{b64encode(data).decode()}"

    answer = api.post("/v1/videos", {"model": "google/veo-3.0-i2v", "prompt": "x", "image_url": given})

    assert locations(answer) == {"body.image_url"}
    assert "PNG, JPEG, GIF or WebP" in answer.json()["errors"][0]["message"]


def test_a_picture_under_a_wrong_type_becomes_a_stored_video(stage: Stage, staged_api: Api) -> None:
    """The sandbox refuses it as the upstream does, unless its type is put right."""
    given = f"data:application/octet-stream;base64,{b64encode(PNG).decode()}"
    with stage.worker():
        job = stage.ended(staged_api.submit(input_reference={"image_url": given})["id"])

    assert (job.state.value, job.stored is not None) == ("completed", True)
