"""What is worked out once, at acceptance: a job's kind, and the defaults that its video is compared with."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from jobs.job import VideoRequest
from producer.models.catalogue import defaults_of

COMPARED: Final = ("duration", "resolution", "aspect_ratio", "generate_audio")
"""The parameters that a stored video is compared with."""

LONGEST_MODEL: Final = 100
LONGEST_PART: Final = 20


def expected_of(request: VideoRequest) -> Mapping[str, Any]:
    """The defaults for what was left out, of the parameters that the stored video is compared with."""
    defaults = defaults_of(request.model)
    return {name: defaults[name] for name in COMPARED if name in defaults and request.parameters.get(name) is None}


def kind_of(request: VideoRequest) -> str:
    """Model, duration and resolution, such as `google/veo3:8:720p`: what a generation's latency depends on.

    What is left out counts as the model's default.
    """
    parts = [_plain(request.model, LONGEST_MODEL)]
    for name in ("duration", "resolution"):
        value = request.parameters.get(name)
        parts.append(_plain(defaults_of(request.model).get(name) if value is None else value, LONGEST_PART))
    return ":".join(filter(None, parts))


def _plain(value: Any, longest: int) -> str:
    """Fit to be a part of a key, whatever a stranger's model takes as its parameter."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return _fit(str(value)[:longest])[:longest]  # a few letters are two when small


@lru_cache(maxsize=1024)  # requests repeat themselves; what is kept is short, however long a stranger's words are
def _fit(text: str) -> str:
    return re.sub(r"[^a-z0-9./-]+", "_", text.lower())
