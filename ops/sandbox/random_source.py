"""Random ids, latencies and seeds of generations, repeatable for a given seed."""

import math
import random
import string
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

from ops.sandbox.settings import SandboxSettings

NANO = string.ascii_letters + string.digits + "_-"
NANO_LENGTH = 21
LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Draw:
    """The random values of one generation."""

    id: str
    latency_s: float
    seed: int


class RandomSource:
    """Draws the random values of the n-th generation."""

    def __init__(self, settings: SandboxSettings) -> None:
        self.settings = settings

    def draw(self, number: int, model: str) -> Draw:
        """Draw the values; they depend on (seed, number, model) only, not on earlier draws."""
        chance = random.Random(f"{self.settings.seed}/{number}")  # noqa: S311 - repeatable on purpose
        latency_s = self.latency_s(chance.gauss(0.0, 1.0))
        seed = chance.randint(0, LARGEST_SEED)
        return Draw(chance.choice(ID_FORMS)(chance, model), latency_s, seed)

    def latency_s(self, deviations: float) -> float:
        """Return the latency this many standard deviations from the median, in upstream seconds."""
        drawn = self.settings.latency_median_s * math.exp(self.settings.latency_sigma * deviations)
        return max(self.settings.latency_minimum_s, drawn)

    def latency_quantile_s(self, share: float) -> float:
        """Return the latency within which this share of generations is done, in upstream seconds."""
        return self.latency_s(NormalDist().inv_cdf(share))


def short_named(chance: random.Random, model: str) -> str:
    """`df43b636-…:veo3`."""
    return f"{uuid.UUID(int=chance.getrandbits(128), version=4)}:{model.rsplit('/', 1)[-1]}"


def long_named(chance: random.Random, model: str) -> str:
    """`e7c9…:google/veo3`: a colon and a slash."""
    return f"{uuid.UUID(int=chance.getrandbits(128), version=4)}:{model}"


def nano(chance: random.Random, _model: str) -> str:
    """21 characters, `_` and `-` among them."""
    return "".join(chance.choices(NANO, k=NANO_LENGTH))


def dashed(chance: random.Random, _model: str) -> str:
    """21 characters that begin with `-`, like a command's option."""
    return "-" + "".join(chance.choices(NANO, k=NANO_LENGTH - 1))


def digits(chance: random.Random, _model: str) -> str:
    """A number too large for a double."""
    return str(chance.randrange(10**18, 10**19))


def task_like(chance: random.Random, _model: str) -> str:
    """`cgt-20260702110405-x7k2p`."""
    tail = "".join(chance.choices(string.ascii_lowercase + string.digits, k=5))
    return f"cgt-{chance.randrange(10**13, 10**14)}-{tail}"


ID_FORMS: tuple[Callable[[random.Random, str], str], ...] = (short_named, long_named, nano, dashed, digits, task_like)
