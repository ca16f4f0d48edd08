"""Reads poll replies: the upstream's status words, and every place where its models put a finished video.

Source: AI/ML API's own pages of August 2026. Veo ends with `completed` and an object `video`; PixVerse and Seedance end
with `succeeded`; Runway gives a list of URLs or one URL as text; other vendors behind the same endpoint use more words.
"""

import hashlib
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

from jobs.facts import Finished, GenerationFailed, Inconclusive, NoResult, Pending, PollResult
from jobs.job import Charged, Hold, Video
from worker.upstream.replies import (
    cost_usd,
    error_message,
    hold_of,
    is_content_refusal,
    object_in,
    outcome_of_anything,
    reason_in,
    shortened,
    text_or_none,
    wait_asked_s,
)

EMPTY_POLLS: Final = 4
"""A success word without video or error is believed once this many polls in a row said it."""

SAME_VIDEO_POLLS: Final = 3
"""An unknown word with a video counts as success once this many polls in a row had the same video."""

REFUSED_POLLS: Final = 3
"""An HTTP error that blames the content ends a paid job once this many polls in a row had it."""

_SUCCEEDED: Final = frozenset(
    {"complete", "completed", "done", "finished", "succeed", "succeeded", "success", "successful"}
)
_FAILED: Final = frozenset(
    {
        "aborted",
        "canceled",
        "cancelled",
        "error",
        "expired",
        "failed",
        "failure",
        "rejected",
        "timed_out",
        "timeout",
    }
)
_UNDER_WAY: Final = frozenset(
    {
        "active",
        "created",
        "generating",
        "in_progress",
        "in_queue",
        "pending",
        "preparing",
        "processing",
        "queued",
        "rendering",
        "running",
        "starting",
        "submitted",
        "throttled",
        "waiting",
    }
)
_VIDEO_PLACES: Final = ("video", "videos", "output", "result", "data")
_URL_FIELDS: Final = ("url", "video_url", "download_url", "uri")
_DEEPEST: Final = 4
_PICTURES: Final = frozenset({".avif", ".gif", ".jpeg", ".jpg", ".png", ".webp"})
_LARGEST_FILE: Final = 2**53


@outcome_of_anything(lambda why: NoResult(Hold.UNAVAILABLE, why))
def read_poll(status: int, headers: Mapping[str, str], body: bytes) -> PollResult:
    """Read the reply to a poll; an unknown one means: poll again."""
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return _http_error(status, headers, body)
    reply = object_in(body)
    if reply is None:
        return NoResult(Hold.UNAVAILABLE, f"{status} with a body that is no JSON object: {shortened(body)}")
    word = (text_or_none(reply.get("status")) or "").strip().lower()
    if word in _FAILED:
        return _refusal(headers, reply, uncharged_by_default=True)
    if word in _UNDER_WAY:
        return Pending(word)
    video = _best(list(_videos(reply)))
    if word in _SUCCEEDED:
        return Finished(video) if video else _without_video(word, headers, reply)
    word = word[:40] or "no status"
    return _unknown_word(word, video) if video else Pending(word)


def _http_error(status: int, headers: Mapping[str, str], body: bytes) -> PollResult:
    message = error_message(status, body)
    about_us = hold_of(status, body)
    is_client_error = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    if about_us is None and is_client_error and is_content_refusal(object_in(body)):
        return Inconclusive(message, f"refused {status}", GenerationFailed(message, by_filter=True), REFUSED_POLLS)
    return NoResult(about_us or Hold.UNAVAILABLE, message, wait_asked_s(headers))


def _without_video(word: str, headers: Mapping[str, str], reply: Mapping[str, Any]) -> GenerationFailed | Inconclusive:
    """Read success without a video: a failure if it says why; else the video may yet come."""
    if reason_in({"error": reply.get("error")}):
        return _refusal(headers, reply, uncharged_by_default=False)
    message = f"the upstream said {word}, but gave neither a video nor a reason"
    outcome = GenerationFailed(message, _charged(headers, reply, Charged.UNKNOWN))
    return Inconclusive(f"{word}, but without a video's URL", "no video", outcome, EMPTY_POLLS)


def _refusal(headers: Mapping[str, str], reply: Mapping[str, Any], *, uncharged_by_default: bool) -> GenerationFailed:
    """Read a failure; by the upstream's terms only success is charged, unless the reply says otherwise."""
    message = reason_in({"error": reply.get("error")}) or reason_in(reply) or "the upstream gave no reason"
    default = Charged.NO if uncharged_by_default else Charged.UNKNOWN
    return GenerationFailed(message, _charged(headers, reply, default), is_content_refusal(reply))


def _charged(headers: Mapping[str, str], reply: Mapping[str, Any], default: Charged) -> Charged:
    cost = cost_usd(headers, reply)
    if cost is None:
        return default
    return Charged.YES if cost else Charged.NO


def _unknown_word(word: str, video: Video) -> Inconclusive:
    """Read an unknown word with a video; the evidence omits the URL's query, which each reply may sign anew."""
    address = urlsplit(video.url)
    digest = hashlib.sha256(f"{address.netloc}{address.path}".encode(errors="replace")).hexdigest()[:16]
    note = f"taken for done: {SAME_VIDEO_POLLS} polls in a row said {word!r} with the same video"
    return Inconclusive(f"{word}, with a video", f"video {digest}", Finished(video, note), SAME_VIDEO_POLLS)


def _best(found: list[Video]) -> Video | None:
    """Return the first that does not look like a still picture."""
    return next((video for video in found if not _is_picture(video)), found[0] if found else None)


def _is_picture(video: Video) -> bool:
    if video.content_type is not None:
        return video.content_type.startswith("image/")
    return PurePosixPath(urlsplit(video.url).path).suffix.lower() in _PICTURES


def _videos(holder: Mapping[str, Any], depth: int = 0) -> Iterator[Video]:
    """Yield each video in the known places, outermost first."""
    for place in _VIDEO_PLACES:
        yield from _videos_in(holder.get(place), depth + 1)


def _videos_in(value: Any, depth: int) -> Iterator[Video]:
    """Yield the videos of a URL as text, an object with one, or a list of either."""
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for item in value:
            yield from _videos_in(item, depth + 1)
    elif isinstance(value, dict):
        yield from _described(value)
        yield from _videos(value, depth)
    elif is_web_address(value):
        yield Video(value)


def _described(value: Mapping[str, Any]) -> Iterator[Video]:
    url = next((value[name] for name in _URL_FIELDS if is_web_address(value.get(name))), None)
    if url is not None:
        size = value.get("file_size")
        yield Video(
            url,
            content_type=text_or_none(value.get("content_type")),
            file_name=text_or_none(value.get("file_name")),
            file_size=size if type(size) is int and 0 < size < _LARGEST_FILE else None,
        )


def is_web_address(value: Any) -> bool:
    """Whether the value is an http or https URL with a host; nothing else is fetched."""
    try:
        address = urlsplit(value) if isinstance(value, str) else None
    except ValueError:  # brackets without an IPv6 address
        return False
    return address is not None and address.scheme in {"http", "https"} and bool(address.hostname)
