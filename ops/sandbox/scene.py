"""A scene: exactly the inputs that determine a clip's bytes."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, replace
from typing import Self

from ops.sandbox.generation import Generation

DRAWING_VERSION = 2  # raise it when clips are drawn differently, so that no cache serves old clips

SHORTEST_SIDE = 144
DEFAULT_SIDE = 720
LONGEST_SHORT_SIDE = 1080
LONGEST_SIDE = 2560
TINY = 4


@dataclass(frozen=True, slots=True)
class Scene:
    """The content of a clip."""

    prompt: str
    model: str
    aspect_ratio: str
    resolution: str
    duration_s: float
    with_sound: bool
    seed: int
    tiny: bool = False

    @classmethod
    def of(cls, generation: Generation) -> Self:
        """Make the scene of a generation."""
        shape = generation.shape
        return cls(
            generation.prompt,
            shape.model,
            shape.aspect_ratio,
            shape.resolution,
            shape.duration_s,
            shape.with_sound,
            generation.seed,
        )

    @classmethod
    def shared(cls, generation: Generation) -> Self:
        """Make the tiny scene that all generations of a shape share."""
        return replace(
            cls.of(generation), prompt="One tiny clip for every prompt", model="any model", seed=0, tiny=True
        )

    @property
    def key(self) -> str:
        """A hash of the scene: same key, same bytes."""
        return hashlib.blake2b(f"{DRAWING_VERSION}{self.dumps()}".encode(), digest_size=16).hexdigest()

    @property
    def chance(self) -> int:
        """A number of 32 bits that is the same for the same scene."""
        return int(self.key[:8], 16)

    @property
    def frame_size(self) -> tuple[int, int]:
        """Width and height; the resolution gives the short side."""
        short = short_side(self.resolution) // (TINY if self.tiny else 1)
        ratio = ratio_of(self.aspect_ratio)
        long = min(short * max(ratio, 1 / ratio), LONGEST_SIDE)
        return (even(long), even(short)) if ratio >= 1 else (even(short), even(long))

    def dumps(self) -> str:
        """Serialize as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, line: str | bytes) -> Self:
        """Deserialize from JSON."""
        return cls(**json.loads(line))


def short_side(resolution: str) -> int:
    """Read the number in `720P`, `1080p` or `480`, within limits."""
    found = re.search(r"\d{3,4}", resolution)
    return min(max(int(found[0]), SHORTEST_SIDE), LONGEST_SHORT_SIDE) if found else DEFAULT_SIDE


def ratio_of(aspect_ratio: str) -> float:
    """Read `16:9` as a number, within limits."""
    found = re.fullmatch(r"(\d{1,3}):(\d{1,3})", aspect_ratio)
    if not found or "0" in (found[1], found[2]):
        return 16 / 9
    return min(max(int(found[1]) / int(found[2]), 1 / 3), 3.0)


def even(length: float) -> int:
    """Round to an even number, because colour planes have half the size."""
    return 2 * round(length / 2)
