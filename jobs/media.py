"""What a stored video is by its own bytes, and where it differs from the request."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import Field

from jobs.numbers import Number


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One difference between the request and the video."""

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
    width: Annotated[
        int | None, Field(description="Pixels as shown: turned and stretched as the file says.", examples=[1280])
    ] = None
    height: Annotated[int | None, Field(description="Pixels as shown.", examples=[720])] = None
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


def differences(media: Media | None) -> dict[str, Any]:
    """Return an event's field about mismatches, if there are any."""
    return {"mismatch": [asdict(found) for found in media.mismatch]} if media and media.mismatch else {}
