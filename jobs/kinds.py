"""What kind of generation an order is: whatever its duration depends on. Each kind's latency is learnt by itself."""

import re
from functools import lru_cache
from typing import Any, Final

from jobs.catalogue import MODELS
from jobs.job import VideoRequest

LONGEST_MODEL: Final = 100
LONGEST_PART: Final = 20

_USUAL_RESOLUTION: Final = "720p"
_USUAL_DURATION: Final = 8
_OTHER_DURATIONS: Final = {
    "veo2": 5,
    "google/veo2": 5,
    "veo2/image-to-video": 5,
    "google/veo3-1-extend-video": 7,
    "google/veo3-1-extend-video-fast": 7,
}


def kind_of(request: VideoRequest) -> str:
    """Model, duration and resolution, such as `google/veo3:8:720p`; what is left out counts as the model's default."""
    parts = [_plain(request.model, LONGEST_MODEL)]
    for name, usual in _defaults(request.model).items():
        value = request.parameters.get(name)
        parts.append(_plain(usual if value is None else value, LONGEST_PART))
    return ":".join(filter(None, parts))


def _defaults(model: str) -> dict[str, Any]:
    known = MODELS.get(model)
    return {
        "duration": _OTHER_DURATIONS.get(model, _USUAL_DURATION) if known else None,
        "resolution": _USUAL_RESOLUTION if known and "resolution" in known else None,
    }


def _plain(value: Any, longest: int) -> str:
    """Fit to be a part of a key, whatever a stranger's model takes as its parameter."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return _fit(str(value)[:longest])[:longest]  # a few letters are two when small


@lru_cache(maxsize=1024)  # what is ordered repeats itself; what is kept is short, however long a stranger's words are
def _fit(text: str) -> str:
    return re.sub(r"[^a-z0-9./-]+", "_", text.lower())
