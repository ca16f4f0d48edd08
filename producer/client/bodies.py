"""The JSON bodies that the client sends."""

from collections.abc import Mapping
from typing import Any

from producer.client.pictures import Picture, url_of


def submit_body(
    prompt: str | None,
    *,
    model: str | None,
    seconds: int | None,
    size: str | None,
    image: Picture | None,
    metadata: Mapping[str, str] | None,
    deadline_s: float | None,
    dedupe: str | None,
    webhook_url: str | None,
    parameters: Mapping[str, Any],
) -> dict[str, Any]:
    """Build the body of a submit. `image` is an https URL, or a picture's bytes, path or open file."""
    given: dict[str, Any] = {
        "prompt": prompt,
        "model": model,
        "seconds": None if seconds is None else str(seconds),
        "size": size,
        "input_reference": None if image is None else {"image_url": url_of(image)},
        "metadata": dict(metadata) if metadata else None,
        "deadline_s": deadline_s,
        "dedupe": dedupe,
        "webhook_url": webhook_url,
        **parameters,
    }
    return {name: value for name, value in given.items() if value is not None}
