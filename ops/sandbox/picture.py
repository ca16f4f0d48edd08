"""The frames of a clip: a moving landscape, a slate with the prompt, a timecode.

Everything is drawn once in RGB and converted to layers of Y, U and V. A frame is a few pastes into the encoder's own
planes; nothing is converted or copied per frame, so drawing costs little beside encoding.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import av
from av.video.plane import VideoPlane
from PIL import Image, ImageDraw, ImageFilter

from ops.sandbox.palette import Colour, Palette
from ops.sandbox.scene import Scene
from ops.sandbox.slate import slate, timecode_signs

FRAMES_PER_S = 24

# RGB to BT.709 in studio range, as HD video is tagged.
TO_YUV = (
    0.1826, 0.6142, 0.0620, 16,
    -0.1006, -0.3386, 0.4392, 128,
    0.4392, -0.3989, -0.0403, 128,
)  # fmt: skip

Point = tuple[int, int]
Ground = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Layer:
    """A drawing as three planes, the colour planes at half size, with masks if it is transparent."""

    planes: tuple[Image.Image, Image.Image, Image.Image]
    masks: tuple[Image.Image, Image.Image] | None

    @classmethod
    def of(cls, drawing: Image.Image) -> Self:
        """Convert a drawing to a layer; both its sides must be even."""
        half = (drawing.width // 2, drawing.height // 2)
        y, u, v = drawing.convert("RGB").convert("RGB", TO_YUV).split()
        planes = (y, u.resize(half, Image.Resampling.BOX), v.resize(half, Image.Resampling.BOX))
        if drawing.mode != "RGBA":
            return cls(planes, None)
        alpha = drawing.getchannel("A")
        return cls(planes, (alpha, alpha.resize(half, Image.Resampling.BOX)))

    def part(self, corner: Point, size: Point) -> Self:
        """Cut out a rectangle; all numbers must be even."""
        y, u, v = (cut(plane, corner, size, n) for plane, n in zip(self.planes, (1, 2, 2), strict=True))
        if self.masks is None:
            return type(self)((y, u, v), None)
        full, half = (cut(mask, corner, size, n) for mask, n in zip(self.masks, (1, 2), strict=True))
        return type(self)((y, u, v), (full, half))


def cut(image: Image.Image, corner: Point, size: Point, n: int) -> Image.Image:
    """Cut a rectangle out of a plane whose sides are an n-th of the picture's."""
    left, top, width, height = corner[0] // n, corner[1] // n, size[0] // n, size[1] // n
    return image.crop((left, top, left + width, top + height))


class Canvas:
    """A video frame to paste layers into."""

    def __init__(self, width: int, height: int) -> None:
        self.frame = av.VideoFrame(width, height, "yuv420p")
        self.planes = [plane_image(plane) for plane in self.frame.planes]

    def paste(self, layer: Layer, at: Point) -> None:
        """Paste a layer at an even position."""
        full, half = layer.masks or (None, None)
        for plane, source, mask, n in zip(self.planes, layer.planes, (full, half, half), (1, 2, 2), strict=True):
            plane.paste(source, (at[0] // n, at[1] // n), mask)


def plane_image(plane: VideoPlane) -> Image.Image:
    """Wrap a frame's plane as an image that can be pasted into."""
    view = Image.frombuffer("L", (plane.line_size, plane.height), plane, "raw", "L", 0, 1)  # type: ignore[arg-type] # a buffer is enough
    view.readonly = 0  # else the first paste would go to a copy
    return view


@dataclass(frozen=True, slots=True)
class Range:
    """A range of hills that moves from right to left."""

    layer: Layer
    top: int
    pace: int

    def at(self, number: int, width: int) -> Layer:
        """Return the visible part in the n-th frame."""
        return self.layer.part((number * self.pace, 0), (width, self.layer.planes[0].height))


class Picture:
    """Draws one scene's frames in sequence on one canvas."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.width, self.height = scene.frame_size
        self.frames = max(1, round(scene.duration_s * FRAMES_PER_S))
        self.unit = min(self.width, self.height) / 72
        chance = random.Random(scene.key)  # noqa: S311 - the same scene must look the same
        self.palette = Palette.drawn(chance)
        self.canvas = Canvas(self.width, self.height)
        self.ground = Layer.of(self.backdrop())
        self.sun = Layer.of(sun(self.sun_size, self.palette))
        self.far = self.far_hills(chance)
        self.near = self.near_hills(chance)
        self.signs = {sign: Layer.of(drawing) for sign, drawing in timecode_signs(even(self.unit * 3.4)).items()}

    @property
    def slate_size(self) -> Point:
        """Size of the slate: beside the sun in landscape format, above it in portrait."""
        if self.width > self.height:
            return even(self.width * 0.60), even(self.height * 0.56)
        return even(self.width * 0.88), even(self.height * 0.44)

    @property
    def slate_corner(self) -> Point:
        """The slate's upper left corner."""
        if self.width > self.height:
            return even(self.width * 0.05), even(self.height * 0.09)
        return even(self.width * 0.06), even(self.height * 0.06)

    def backdrop(self) -> Image.Image:
        """Draw what does not move: the sky and the slate."""
        still = sky(self.width, self.height, self.palette)
        hung = slate(self.slate_size, self.scene, self.palette)
        still.paste(hung, self.slate_corner, hung)
        return still

    def far_hills(self, chance: random.Random) -> Range:
        """Draw the far hills on the sky, which is uniform from left to right, so that they need no mask."""
        top, pace = self.position(rise=0.30, pace=2)
        size = (self.width + pace * self.frames, self.height)
        drawing = sky(*size, self.palette).crop((0, top, *size))
        hills = skyline(drawing.size, chance, self.palette.far, wooded=False)
        drawing.paste(hills, (0, 0), hills)
        return Range(Layer.of(drawing), top, pace)

    def near_hills(self, chance: random.Random) -> Range:
        """Draw the near hills with firs."""
        top, pace = self.position(rise=0.20, pace=4)
        size = (self.width + pace * self.frames, self.height - top)
        return Range(Layer.of(skyline(size, chance, self.palette.near, wooded=True)), top, pace)

    def position(self, *, rise: float, pace: int) -> tuple[int, int]:
        """Return the top of hills of that height, and how many pixels they move per frame."""
        return even(self.height * (1 - rise)), max(2, even(pace * self.unit / 10))

    def frame(self, number: int) -> av.VideoFrame:
        """Draw the n-th frame over the previous one."""
        self.clean(number)
        self.canvas.paste(self.sun, self.sun_at(number))
        for hills in (self.far, self.near):
            self.canvas.paste(hills.at(number, self.width), (0, hills.top))
        self.write_timecode(number)
        self.canvas.frame.pts = number
        return self.canvas.frame

    def clean(self, number: int) -> None:
        """Redraw the backdrop: all of it at first, later only where the sun was; the hills cover themselves."""
        if number == 0:
            self.canvas.paste(self.ground, (0, 0))
            return
        side = self.sun_size
        corner = self.sun_at(number - 1)
        self.canvas.paste(self.ground.part(corner, (side, side)), corner)

    @property
    def sun_size(self) -> int:
        """The sun's side with its glow, at most the space between slate and hills."""
        room = self.height if self.width > self.height else self.height * 0.18
        return even(min(self.unit * 24, room))

    def sun_at(self, number: int) -> Point:
        """Return the sun's position in the n-th frame: an arc beside the slate."""
        way = number / self.frames
        if self.width > self.height:
            rise = self.height * 0.25 * math.sin(way * math.pi / 2)
            return even(self.width * (0.70 + 0.06 * way)), even(self.height * 0.35 - rise)
        rise = self.height * 0.02 * math.sin(way * math.pi)
        return even(self.width * (0.10 + 0.45 * way)), even(self.height * 0.70 - self.sun_size - rise)

    def write_timecode(self, number: int) -> None:
        """Draw hours, minutes, seconds and frames in the lower right corner."""
        seconds, frames = divmod(number, FRAMES_PER_S)
        text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{frames:02}"
        zero = self.signs["0"].planes[0]
        step = zero.width
        left = even(self.width - self.unit * 3 - step * len(text))
        top = even(self.height - self.unit * 3 - zero.height)
        for place, sign in enumerate(text):
            self.canvas.paste(self.signs[sign], (left + place * step, top))


def even(length: float) -> int:
    """Round to an even number, because colour planes have half the size."""
    return 2 * round(length / 2)


def sky(width: int, height: int, palette: Palette) -> Image.Image:
    """Draw a gradient from the zenith's colour to the horizon's."""
    ramp = Image.linear_gradient("L").resize((width, height), Image.Resampling.BICUBIC)
    return Image.composite(
        Image.new("RGB", (width, height), palette.horizon), Image.new("RGB", (width, height), palette.zenith), ramp
    )


def sun(size: int, palette: Palette) -> Image.Image:
    """Draw a disc with a glow."""
    glow = Image.new("L", (size, size))
    pen = ImageDraw.Draw(glow)
    pen.ellipse((size * 0.22, size * 0.22, size * 0.78, size * 0.78), fill=110)
    glow = glow.filter(ImageFilter.GaussianBlur(size * 0.07))
    ImageDraw.Draw(glow).ellipse((size * 0.32, size * 0.32, size * 0.68, size * 0.68), fill=255)
    disc = Image.new("RGBA", (size, size), (*palette.sun, 0))
    disc.putalpha(glow.filter(ImageFilter.GaussianBlur(size * 0.004)))
    return disc


def skyline(size: Point, chance: random.Random, tint: Colour, *, wooded: bool) -> Image.Image:
    """Draw rolling hills, with firs if `wooded`."""
    width, height = size
    waves = [(chance.uniform(0.6, 2.6) * 2 * math.pi / (1.2 * height * 4), chance.uniform(0, 7)) for _ in range(3)]
    step = max(2, height // 40)

    def ground(x: float) -> float:
        swell = sum(math.sin(x * pitch + phase) / (n + 1) for n, (pitch, phase) in enumerate(waves))
        return height * (0.62 - 0.18 * swell)

    image = Image.new("RGBA", size, (*tint, 0))
    pen = ImageDraw.Draw(image)
    ridge = [(float(x), ground(x)) for x in range(0, width + step, step)]
    pen.polygon([(0.0, float(height)), *ridge, (float(width), float(height))], fill=(*tint, 255))
    for _ in range(width * 6 // height if wooded else 0):
        fir(pen, chance.uniform(0, width), ground, height * chance.uniform(0.10, 0.26), tint)
    return image


def fir(pen: ImageDraw.ImageDraw, x: float, ground: Ground, tall: float, tint: Colour) -> None:
    """Draw a fir as three triangles."""
    foot = ground(x) + tall * 0.1
    for tier, width in ((0.0, 0.26), (0.28, 0.20), (0.56, 0.13)):
        base, tip = foot - tall * tier, foot - tall * min(1.0, tier + 0.52)
        pen.polygon([(x - tall * width, base), (x, tip), (x + tall * width, base)], fill=(*tint, 255))
