"""An order as the client sends it."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def order(
    prompt: str | None,
    *,
    model: str | None,
    seconds: int | None,
    size: str | None,
    image: str | bytes | Path | None,
    metadata: Mapping[str, str] | None,
    deadline_s: float | None,
    dedupe: str | None,
    parameters: Mapping[str, Any],
) -> dict[str, Any]:
    """The order's JSON. `image` is an https URL, or a picture's bytes or file."""
    given: dict[str, Any] = {
        "prompt": prompt,
        "model": model,
        "seconds": None if seconds is None else str(seconds),
        "size": size,
        "input_reference": None if image is None else {"image_url": _image_url(image)},
        "metadata": dict(metadata) if metadata else None,
        "deadline_s": deadline_s,
        "dedupe": dedupe,
        **parameters,
    }
    return {name: value for name, value in given.items() if value is not None}


def _image_url(image: str | bytes | Path) -> str:
    if isinstance(image, str):
        return image
    data = image.read_bytes() if isinstance(image, Path) else image
    return f"data:application/octet-stream;base64,{base64.b64encode(data).decode()}"
