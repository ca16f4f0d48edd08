"""A scene: all that a clip's bytes depend on, and nothing else."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Self

from ops.sandbox.generation import Generation

DRAWING_VERSION = 1  # changes whenever clips are drawn differently, so that no cache serves clips of the old appearance

SHORTEST_SIDE = 144
USUAL_SIDE = 720
LONGEST_SHORT_SIDE = 1080
LONGEST_SIDE = 2560
TINY = 4


@dataclass(frozen=True, slots=True)
class Scene:
    """What is to be seen and heard."""

    prompt: str
    model: str
    aspect_ratio: str
    resolution: str
    duration_s: float
    sounding: bool
    seed: int
    tiny: bool = False

    @classmethod
    def of(cls, generation: Generation) -> Self:
        """The clip that this generation was bought for."""
        shape = generation.shape
        return cls(
            generation.prompt,
            shape.model,
            shape.aspect_ratio,
            shape.resolution,
            shape.duration_s,
            shape.sounding,
            generation.seed,
        )

    @classmethod
    def shared(cls, generation: Generation) -> Self:
        """The tiny clip that all generations of a shape share."""
        shape = generation.shape
        return cls(
            "One tiny clip for every prompt",
            "any model",
            shape.aspect_ratio,
            shape.resolution,
            shape.duration_s,
            shape.sounding,
            seed=0,
            tiny=True,
        )

    @property
    def key(self) -> str:
        """A name for it: same key, same bytes."""
        return hashlib.blake2b(f"{DRAWING_VERSION}{self.dumps()}".encode(), digest_size=16).hexdigest()

    @property
    def frame_size(self) -> tuple[int, int]:
        """Width and height; the resolution says how long the short side is."""
        short = short_side(self.resolution) // (TINY if self.tiny else 1)
        ratio = ratio_of(self.aspect_ratio)
        long = min(short * max(ratio, 1 / ratio), LONGEST_SIDE)
        return (even(long), even(short)) if ratio >= 1 else (even(short), even(long))

    def dumps(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, line: str | bytes) -> Self:
        """From that line."""
        return cls(**json.loads(line))


def short_side(resolution: str) -> int:
    """`720P`, `1080p`, `480`: the number in it, within reason."""
    found = re.search(r"\d{3,4}", resolution)
    return min(max(int(found[0]), SHORTEST_SIDE), LONGEST_SHORT_SIDE) if found else USUAL_SIDE


def ratio_of(aspect_ratio: str) -> float:
    """`16:9` as a number, within reason."""
    found = re.fullmatch(r"(\d{1,3}):(\d{1,3})", aspect_ratio)
    if not found or "0" in (found[1], found[2]):
        return 16 / 9
    return min(max(int(found[1]) / int(found[2]), 1 / 3), 3.0)


def even(length: float) -> int:
    """The nearest even number: colour planes have half the size."""
    return 2 * round(length / 2)
