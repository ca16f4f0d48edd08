"""The sound: samples of a soft chord that swells once per second."""

from __future__ import annotations  # array[float] is subscriptable from 3.12 on

import math
import random
from array import array
from collections.abc import Iterator
from functools import lru_cache

SAMPLES_PER_S = 24_000  # enough for these low pitches, at half the encoding time of 48 kHz
PER_FRAME = 1024
FADE_S = 0.6
LOUDNESS = 0.16

# Whole hertz, so that one second can be repeated without a click.
CHORDS = (
    (131, 196, 262, 330),
    (147, 220, 294, 370),
    (165, 247, 330, 415),
    (175, 262, 349, 440),
    (110, 165, 220, 262),
    (98, 147, 196, 247),
)


@lru_cache(maxsize=len(CHORDS))
def chord(pitches: tuple[int, int, int, int]) -> array[float]:
    """Compute one second of a chord."""
    wave = [math.sin(2 * math.pi * n / SAMPLES_PER_S) for n in range(SAMPLES_PER_S)]
    breath = [LOUDNESS * (0.8 - 0.2 * wave[(n + SAMPLES_PER_S // 4) % SAMPLES_PER_S]) for n in range(SAMPLES_PER_S)]
    low, mid, high, top = pitches
    return array(
        "f",
        (
            breath[n]
            * (
                wave[n * low % SAMPLES_PER_S]
                + 0.7 * wave[n * mid % SAMPLES_PER_S]
                + 0.5 * wave[n * high % SAMPLES_PER_S]
                + 0.3 * wave[n * top % SAMPLES_PER_S]
            )
            for n in range(SAMPLES_PER_S)
        ),
    )


def frames(key: str, duration_s: float) -> Iterator[array[float]]:
    """Yield the chord in encoder frames, faded in and out."""
    second = chord(random.Random(key).choice(CHORDS))  # noqa: S311 - the same scene must sound the same
    total = round(duration_s * SAMPLES_PER_S)
    for start in range(0, total, PER_FRAME):
        portion = looped(second, start, min(PER_FRAME, total - start))
        yield faded(portion, start, total)


def looped(second: array[float], start: int, count: int) -> array[float]:
    """Return `count` samples of the repeated second."""
    begin = start % SAMPLES_PER_S
    portion = second[begin : begin + count]
    return portion + second[: count - len(portion)]


def faded(portion: array[float], start: int, total: int) -> array[float]:
    """Fade samples near the beginning or the end."""
    fade = FADE_S * SAMPLES_PER_S
    if start >= fade and start + len(portion) <= total - fade:
        return portion
    return array(
        "f", (sample * min(1.0, (start + n) / fade, (total - start - n) / fade) for n, sample in enumerate(portion))
    )
