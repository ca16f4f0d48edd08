"""The slate: a clapperboard with the prompt and the parameters, and the digits of the timecode."""

from PIL import Image, ImageDraw

from ops.sandbox.palette import DIM_INK, INK, NIGHT, Palette
from ops.sandbox.scene import Scene
from ops.sandbox.text import BOLD, LINE_HEIGHT, MONO, Font, fitted, font, printable

STRIPES = 14
STRIPE_SHARE = 0.085  # of the slate's height
SLATE_ALPHA = 214
SMOOTHING = 2  # drawn this many times larger, then scaled down


def slate(size: tuple[int, int], scene: Scene, palette: Palette) -> Image.Image:
    """Draw the slate."""
    width, height = size
    margin = round(min(width, height) * 0.075)
    board = background(size, palette)
    pen = ImageDraw.Draw(board)
    small = max(8, round(min(width, height) * 0.052))
    top = round(height * STRIPE_SHARE) + margin
    title(pen, scene, (margin, top), small, palette)
    bottom = height - margin - facts(pen, scene, (margin, height - margin), width - 2 * margin, small)
    prompt(pen, scene, (margin, round(top + small * 1.9)), (width - margin, round(bottom - small * 0.6)))
    return board


def background(size: tuple[int, int], palette: Palette) -> Image.Image:
    """Draw a dark board with rounded corners and a striped clapper."""
    large = (size[0] * SMOOTHING, size[1] * SMOOTHING)
    radius = min(large) // 22
    mask = Image.new("L", large)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, large[0] - 1, large[1] - 1), radius, fill=SLATE_ALPHA)
    board = Image.new("RGB", large, NIGHT)
    pen = ImageDraw.Draw(board)
    band = large[1] * STRIPE_SHARE
    pen.rectangle((0, 0, large[0], band), fill=INK)
    pitch = large[0] / STRIPES
    for stripe in range(-1, STRIPES + 1):
        left = stripe * pitch
        pen.polygon([(left, band), (left + pitch / 2, band), (left + pitch, 0), (left + pitch / 2, 0)], fill=NIGHT)
    pen.rectangle((0, band, large[0], band + large[1] * 0.008), fill=palette.accent)
    small = board.resize(size, Image.Resampling.BOX)
    small.putalpha(mask.resize(size, Image.Resampling.BOX))
    return small


def title(pen: ImageDraw.ImageDraw, scene: Scene, at: tuple[int, int], size: int, palette: Palette) -> None:
    """Draw the model's name and the word `sandbox`."""
    pen.text(at, printable(scene.model), font=font(BOLD, size), fill=(*palette.accent, 255))
    width = font(BOLD, size).getlength(printable(scene.model))
    pen.text((at[0] + width + size, at[1]), "sandbox", font=font(MONO, size), fill=(*DIM_INK, 255))


def facts(pen: ImageDraw.ImageDraw, scene: Scene, at: tuple[int, int], width: int, size: int) -> int:
    """Draw the parameters at the lower left; returns their height."""
    sound = "sound" if scene.with_sound else "silent"
    line = f"{scene.aspect_ratio}  {scene.resolution}  {scene.duration_s:g} s  {sound}  seed {scene.seed}"
    while font(MONO, size).getlength(printable(line)) > width and size > 6:  # noqa: PLR2004 - smaller is unreadable
        size -= 1
    height = round(size * LINE_HEIGHT)
    pen.text((at[0], at[1] - height), printable(line), font=font(MONO, size), fill=(*DIM_INK, 255))
    return height


def prompt(pen: ImageDraw.ImageDraw, scene: Scene, upper: tuple[int, int], lower: tuple[int, int]) -> None:
    """Draw the prompt in the largest font that fits."""
    width, height = lower[0] - upper[0], lower[1] - upper[1]
    largest = max(10, height // 5)
    step = max(1, largest // 14)
    face, lines = fitted(printable(scene.prompt), width, height, range(largest, max(5, largest // 4), -step))
    leading = getattr(face, "size", 10) * LINE_HEIGHT
    for place, line in enumerate(lines):
        pen.text((upper[0], upper[1] + place * leading), line, font=face, fill=(*INK, 255))


def timecode_signs(size: int) -> dict[str, Image.Image]:
    """Draw the digits and the colon, each as an image."""
    face = font(MONO, size)
    box = (2 * round(size * 0.66 / 2), 2 * round(size * 1.4 / 2))
    return {sign: timecode_sign(sign, face, box) for sign in "0123456789:"}


def timecode_sign(sign: str, face: Font, box: tuple[int, int]) -> Image.Image:
    """Draw one character, centred."""
    piece = Image.new("RGB", box, NIGHT)
    pen = ImageDraw.Draw(piece)
    _, top, _, bottom = pen.textbbox((0, 0), "0", font=face)
    width = pen.textlength(sign, font=face)
    pen.text(((box[0] - width) / 2, (box[1] - top - bottom) / 2), sign, font=face, fill=INK)
    return piece
