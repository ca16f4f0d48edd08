"""What kind of generation an order is: whatever its duration depends on. Each kind's latency is learnt by itself."""

import re
from functools import lru_cache
from typing import Any, Final

from jobs.catalogue import usual_duration, usual_resolution
from jobs.job import VideoRequest

LONGEST_MODEL: Final = 100
LONGEST_PART: Final = 20


def kind_of(request: VideoRequest) -> str:
    """Model, duration and resolution, such as `google/veo3:8:720p`; what is left out counts as the model's default."""
    parts = [_plain(request.model, LONGEST_MODEL)]
    usual = {"duration": usual_duration(request.model), "resolution": usual_resolution(request.model)}
    for name, default in usual.items():
        value = request.parameters.get(name)
        parts.append(_plain(default if value is None else value, LONGEST_PART))
    return ":".join(filter(None, parts))


def _plain(value: Any, longest: int) -> str:
    """Fit to be a part of a key, whatever a stranger's model takes as its parameter."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return _fit(str(value)[:longest])[:longest]  # a few letters are two when small


@lru_cache(maxsize=1024)  # what is ordered repeats itself; what is kept is short, however long a stranger's words are
def _fit(text: str) -> str:
    return re.sub(r"[^a-z0-9./-]+", "_", text.lower())
