"""What is in a video, and how it differs from what was ordered: pure, from the facts of a probe."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final

from pydantic import Field

from jobs.numbers import Number

DURATION_TOLERANCE_S: Final = 0.5
_LONGEST_DURATION_S: Final = 1e9

SIZE_TOLERANCE: Final = 0.02
"""Encoders round sizes to what their blocks allow."""

SILENT_BELOW_LUFS: Final = -60.0
_LINES: Final = re.compile(r"(\d{3,4})[pP]")
_RATIO: Final = re.compile(r"(\d{1,2}):(\d{1,2})")


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One difference between what was asked for and what came."""

    field: Annotated[
        str,
        Field(
            description="A parameter of the request, or what was odd about the file or the way it came.",
            examples=["duration"],
        ),
    ]
    asked: Annotated[bool | int | float | str, Field(description="What was asked for.", examples=[8])]
    got: Annotated[bool | int | float | str | None, Field(description="What came.", examples=[4.0])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """What a video is by its own bytes."""

    duration_s: Annotated[Number | None, Field(description="Seconds.", examples=[8.0])] = None
    width: Annotated[int | None, Field(description="Pixels.", examples=[1280])] = None
    height: Annotated[int | None, Field(description="Pixels.", examples=[720])] = None
    frame_rate: Annotated[Number | None, Field(description="Frames per second.", examples=[24.0])] = None
    video_codec: Annotated[str | None, Field(description="The codec of its pictures.", examples=["h264"])] = None
    audio_codec: Annotated[
        str | None, Field(description="The codec of its sound; null where it has none.", examples=["aac"])
    ] = None
    loudness_lufs: Annotated[
        Number | None, Field(description="Integrated loudness by EBU R 128.", examples=[-20.1])
    ] = None
    bitrate_bps: Annotated[int | None, Field(description="Bits per second.", examples=[3700000])] = None
    mismatch: Annotated[
        tuple[Mismatch, ...], Field(description="What of the request it does not keep.", examples=[[]])
    ] = ()

    @property
    def was_read(self) -> bool:
        """Whether the file could be looked into at all."""
        return any(fact is not None for fact in (self.duration_s, self.width, self.video_codec, self.audio_codec))

    @property
    def is_audible(self) -> bool:
        """Whether there is something to be heard; a silent track is no sound."""
        return self.audio_codec is not None and (self.loudness_lufs or 0.0) > SILENT_BELOW_LUFS


def mismatches(parameters: Mapping[str, Any], media: Media) -> tuple[Mismatch, ...]:
    """What was ordered, or goes without saying, and did not come; what cannot be compared does not count."""
    return tuple(
        found for compare in (_duration, _resolution, _aspect_ratio, _audio) for found in compare(parameters, media)
    )


def differences(media: Media | None) -> dict[str, Any]:
    """What an event says of a mismatch, if there is one."""
    return {"mismatch": [asdict(found) for found in media.mismatch]} if media and media.mismatch else {}


def _duration(parameters: Mapping[str, Any], media: Media) -> Iterator[Mismatch]:
    asked = parameters.get("duration")
    if not isinstance(asked, int | float) or isinstance(asked, bool) or media.duration_s is None:
        return
    if not 0 <= asked <= _LONGEST_DURATION_S:
        return  # nobody meant it: a stranger's model takes what it likes
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
    if isinstance(asked, bool) and media.was_read and asked is not media.is_audible:
        yield Mismatch("generate_audio", asked, media.is_audible)


def _near(got: float, asked: float) -> bool:
    return abs(got - asked) <= asked * SIZE_TOLERANCE
