"""The colours of one landscape, derived from one hue."""

import colorsys
import random
from dataclasses import dataclass
from typing import Self

Colour = tuple[int, int, int]

INK = (246, 243, 236)
DIM_INK = (190, 196, 208)
NIGHT = (14, 17, 26)


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of sky, sun, hills and text accent."""

    zenith: Colour
    horizon: Colour
    sun: Colour
    far: Colour
    near: Colour
    accent: Colour

    @classmethod
    def drawn(cls, chance: random.Random) -> Self:
        """Draw a hue for sky and hills; the horizon is slightly warmer, the accent opposite."""
        hue = chance.random()
        warm = (hue + chance.uniform(0.08, 0.18)) % 1.0
        return cls(
            zenith=colour(hue, 0.62, 0.34),
            horizon=colour(warm, 0.48, 0.93),
            sun=colour(warm, 0.16, 1.0),
            far=colour(hue, 0.50, 0.42),
            near=colour(hue, 0.58, 0.17),
            accent=colour((hue + 0.5) % 1.0, 0.55, 0.95),
        )


def colour(hue: float, saturation: float, value: float) -> Colour:
    """Convert hue, saturation and value, each from 0 to 1, to RGB."""
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)
