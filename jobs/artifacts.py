"""The files beside a stored video, each named after the video."""

import re
from enum import StrEnum
from posixpath import splitext
from typing import Final


class Artifact(StrEnum):
    """One file of a job's in the archive."""

    VIDEO = "video"
    MANIFEST = "manifest"  # the job's story as JSON: the archive is of use without Rushes
    POSTER = "poster"  # a still
    PREVIEW = "preview"  # a small moving picture
    GIF = "gif"  # the same, for programs that show no WebP


CONTENT_TYPES: Final = {
    Artifact.MANIFEST: "application/json",
    Artifact.POSTER: "image/webp",
    Artifact.PREVIEW: "image/webp",
    Artifact.GIF: "image/gif",
}
_SUFFIXES: Final = {
    Artifact.MANIFEST: ".json",
    Artifact.POSTER: ".poster.webp",
    Artifact.PREVIEW: ".preview.webp",
    Artifact.GIF: ".preview.gif",
}

_LONGEST_PATH: Final = 1000
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def is_name(text: str) -> bool:
    """Whether a text from Redis is safe as a file name: no path, no hidden file."""
    return len(text) <= _LONGEST_PATH and _NAME.fullmatch(text) is not None


def is_within(path: str) -> bool:
    """Whether a path from Redis stays within the archive; every name that the archive makes passes."""
    return len(path) <= _LONGEST_PATH and all(map(is_name, path.split("/")))


def path_of(artifact: Artifact, video: str) -> str:
    """Where a job's artifact is, given the path of its video."""
    if artifact is Artifact.VIDEO:
        return video
    return splitext(video)[0] + _SUFFIXES[artifact]


def paths_of(video: str) -> list[str]:
    """List every path that a job with this video may have in the archive, the video's last."""
    return [path_of(artifact, video) for artifact in (*_SUFFIXES, Artifact.VIDEO)]
