"""Compares a video with its request: pure, from the facts of a probe."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from jobs.media import Media, Mismatch

DURATION_TOLERANCE_S: Final = 0.5
_LONGEST_DURATION_S: Final = 1e9

SIZE_TOLERANCE: Final = 0.02
"""Encoders round sizes to multiples of their blocks."""

SILENT_BELOW_LUFS: Final = -60.0
_LINES: Final = re.compile(r"(\d{3,4})[pP]")
_RATIO: Final = re.compile(r"(\d{1,2}):(\d{1,2})")


def mismatches(parameters: Mapping[str, Any], media: Media) -> tuple[Mismatch, ...]:
    """List requested or self-evident properties that the video lacks; incomparable ones do not count."""
    return tuple(
        found for compare in (_duration, _resolution, _aspect_ratio, _audio) for found in compare(parameters, media)
    )


def _duration(parameters: Mapping[str, Any], media: Media) -> Iterator[Mismatch]:
    asked = parameters.get("duration")
    if not isinstance(asked, int | float) or isinstance(asked, bool) or media.duration_s is None:
        return
    if not 0 <= asked <= _LONGEST_DURATION_S:
        return  # no plausible duration: an unknown model accepts any value
    if abs(media.duration_s - asked) > DURATION_TOLERANCE_S:
        yield Mismatch("duration", asked, media.duration_s)


def _resolution(parameters: Mapping[str, Any], media: Media) -> Iterator[Mismatch]:
    asked = parameters.get("resolution")
    lines = _LINES.fullmatch(asked) if isinstance(asked, str) else None
    if lines is None or media.width is None or media.height is None:
        return
    if not _near(min(media.width, media.height), int(lines[1])):
        yield Mismatch("resolution", lines[0], f"{media.width}x{media.height}")


def _aspect_ratio(parameters: Mapping[str, Any], media: Media) -> Iterator[Mismatch]:
    asked = parameters.get("aspect_ratio")
    ratio = _RATIO.fullmatch(asked) if isinstance(asked, str) else None
    if ratio is None or not int(ratio[2]) or not media.width or not media.height:
        return
    if not _near(media.width / media.height, int(ratio[1]) / int(ratio[2])):
        yield Mismatch("aspect_ratio", ratio[0], f"{media.width}x{media.height}")


def _audio(parameters: Mapping[str, Any], media: Media) -> Iterator[Mismatch]:
    asked = parameters.get("generate_audio")
    if isinstance(asked, bool) and _was_read(media) and asked is not _is_audible(media):
        yield Mismatch("generate_audio", asked, _is_audible(media))


def _near(got: float, asked: float) -> bool:
    return abs(got - asked) <= asked * SIZE_TOLERANCE


def _was_read(media: Media) -> bool:
    """Whether the probe could read the file."""
    return any(fact is not None for fact in (media.duration_s, media.width, media.video_codec, media.audio_codec))


def _is_audible(media: Media) -> bool:
    """Whether the video has sound; a silent track is none."""
    return media.audio_codec is not None and (media.loudness_lufs or 0.0) > SILENT_BELOW_LUFS
