"""Which video requests are valid, and how invalid ones are refused."""

from typing import Any

import pytest

from tests.sandbox.harness import ANY_PATH, GOOGLE_PATH, KEY, Sandbox

PICTURE = "https://example.org/first.png"


@pytest.mark.parametrize(
    ("field", "value", "options"),
    [
        ("resolution", "768P", ["720P", "1080P"]),
        ("resolution", "720p", ["720P", "1080P"]),
        ("aspect_ratio", "1:1", ["16:9", "9:16"]),
        ("duration", 5, [4, 6, 8]),
        ("duration", "8", [4, 6, 8]),
        ("duration", True, [4, 6, 8]),
    ],
)
def test_enums_are_strict(sandbox: Sandbox, field: str, value: object, options: list[object]) -> None:
    """Case and type count; the complaint names the field, the options and the value."""
    fields: dict[str, Any] = {field: value}
    reply = sandbox.submit(**fields)
    assert reply.status_code == 400
    assert reply.headers["content-type"] == "application/problem+json"
    complaint = reply.json()["error"]["data"][0]
    assert (complaint["path"], complaint["options"]) == ([field], options)
    assert "received" in complaint
    assert "Expected" in complaint["message"]
    assert sandbox.purchases()["total"] == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", None),
        ("prompt", ""),
        ("prompt", 7),
        ("seed", 1.5),
        ("seed", "1"),
        ("seed", True),
        ("generate_audio", "yes"),
        ("enhance_prompt", 1),
        ("negative_prompt", 3),
    ],
)
def test_types_are_strict(sandbox: Sandbox, field: str, value: object) -> None:
    """There is one complaint per field, with its path."""
    fields: dict[str, Any] = {field: value}
    reply = sandbox.submit(**fields)
    assert reply.status_code == 400
    assert [complaint["path"] for complaint in reply.json()["error"]["data"]] == [[field]]


def test_a_missing_prompt_is_required(sandbox: Sandbox) -> None:
    """The validator's message is one word."""
    reply = sandbox.post(ANY_PATH, {"model": "google/veo3"})
    assert reply.json()["error"]["data"][0]["message"] == "Required"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b"null", b'{"prompt": "x"}', b'{"model": 3}'])
def test_a_body_that_is_no_request_is_refused(sandbox: Sandbox, body: bytes) -> None:
    """Any such body gets a 400."""
    headers = {"Authorization": f"Bearer {KEY}"}
    reply = sandbox.session.post(sandbox.url + ANY_PATH, data=body, headers=headers, timeout=10)
    assert (reply.status_code, reply.json()["error"]["name"]) == (400, "BadRequestException")


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("google/veo3", {"duration": 4, "resolution": "1080P", "aspect_ratio": "9:16", "seed": 0}),
        ("google/veo-3.0-fast", {"generate_audio": False}),
        ("google/veo-3.0-i2v", {"image_url": PICTURE}),
        ("google/veo-3.0-i2v-fast", {"image_url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg=="}),
        ("veo2", {"duration": 5}),
        ("google/veo2", {"duration": 7}),
        ("veo2/image-to-video", {"image_url": PICTURE, "tail_image_url": PICTURE}),
        ("google/veo-3.1-t2v", {"resolution": "1080p", "auto_fix": True, "provider": "x"}),
        ("google/veo-3.1-t2v-fast", {"resolution": "1080P"}),
        ("google/veo-3.1-i2v", {"image_url": PICTURE}),
        ("google/veo-3.1-first-last-image-to-video", {"image_url": PICTURE, "last_image_url": PICTURE}),
        ("google/veo-3.1-reference-to-video", {"image_urls": [PICTURE] * 3, "duration": 8}),
        ("google/veo3-1-extend-video", {"video_url": "data:video/mp4;base64,AAAAIGZ0eXBpc29tAAACAA=="}),
        ("google/veo3-1-fast-extend-video", {"video_url": "https://example.org/clip.mp4"}),
        ("google/veo-3.1-lite-generate-001", {"duration": "8", "image_url": PICTURE, "tail_image_url": PICTURE}),
        ("google/veo-3-1-lite-generate-preview", {}),
        ("kling-video/v3", {"duration": "10", "aspect_ratio": "1:1", "resolution": "4K", "anything": [1]}),
        ("minimax/hailuo", {}),
    ],
)
def test_every_model_can_be_requested(sandbox: Sandbox, model: str, fields: dict[str, Any]) -> None:
    """Google's models have their own fields; another vendor's may have any."""
    generation_id = sandbox.bought(model=model, **fields)
    assert sandbox.finished(generation_id)["status"] == "completed"


@pytest.mark.parametrize(
    ("model", "fields", "path"),
    [
        ("google/veo-3.0-i2v", {}, ["image_url"]),
        ("google/veo-3.0-i2v", {"image_url": "http://example.org/x.png"}, ["image_url"]),
        ("veo2", {"duration": 4}, ["duration"]),
        ("google/veo-3.1-first-last-image-to-video-fast", {"image_url": PICTURE}, ["last_image_url"]),
        ("google/veo-3.1-reference-to-video", {"image_urls": []}, ["image_urls"]),
        ("google/veo-3.1-reference-to-video", {"image_urls": [PICTURE] * 4}, ["image_urls"]),
        ("google/veo-3.1-reference-to-video", {"image_urls": [PICTURE, 3]}, ["image_urls", 1]),
        ("google/veo3-1-extend-video", {"video_url": "clip.mp4"}, ["video_url"]),
    ],
)
def test_other_google_models_are_as_strict(
    sandbox: Sandbox, model: str, fields: dict[str, Any], path: list[object]
) -> None:
    """Each validates its own fields."""
    reply = sandbox.submit(model=model, **fields)
    assert reply.status_code == 400
    assert reply.json()["error"]["data"][0]["path"] == path


def test_an_unknown_model_of_google_is_not_found(sandbox: Sandbox) -> None:
    """It gets a 404, like a withdrawn model."""
    assert sandbox.submit(model="google/veo-9").status_code == 404


def test_the_google_path_knows_no_other_vendor(sandbox: Sandbox) -> None:
    """On that path the model is an enum."""
    reply = sandbox.submit(model="kling-video/v3", path=GOOGLE_PATH)
    assert (reply.status_code, reply.json()["error"]["data"][0]["path"]) == (400, ["model"])


@pytest.mark.parametrize(
    ("fields", "usd"),
    [
        ({}, 4.16),
        ({"duration": 4}, 2.08),
        ({"generate_audio": False}, 2.08),
        ({"duration": 6, "generate_audio": False}, 1.56),
        ({"model": "google/veo-3.0-fast", "generate_audio": False}, 1.04),
        ({"model": "google/veo-3.0-fast"}, 2.08),
    ],
)
def test_the_price_follows_model_length_and_sound(sandbox: Sandbox, fields: dict[str, Any], usd: float) -> None:
    """The price is in dollars and in credits, 2,000,000 per dollar."""
    usage = sandbox.submit(**fields).json()["meta"]["usage"]
    assert usage == {"credits_used": round(usd * 2_000_000), "usd_spent": usd}
