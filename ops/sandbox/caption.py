"""The caption of a film: the prompt in the largest letters that fit, and the request's parameters."""

import re

from PIL import Image, ImageDraw, ImageFont, ImageText

from ops.sandbox.scene import Scene

Box = tuple[int, int, int, int]
Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

INK, DIM_INK, NIGHT = (246, 243, 236), (150, 160, 180), (14, 17, 26)
MAX_CHARACTERS = 600
LONGEST_WORD = 16
LETTER = 0.6  # width of an average letter, in font sizes
LINE = 1.4  # height of a line, likewise


def caption(scene: Scene, size: tuple[int, int]) -> Image.Image:
    """Draw the caption."""
    width, height = size
    margin = height // 12
    board = Image.new("RGB", size, NIGHT)
    pen = ImageDraw.Draw(board)
    sound = "sound" if scene.with_sound else "silent"
    facts = f"{scene.model} {scene.aspect_ratio} {scene.resolution} {scene.duration_s:g} s {sound} seed {scene.seed}"
    write(pen, scene.prompt, (margin, margin, width - margin, height * 3 // 4), height // 6, INK)
    write(pen, facts, (margin, height * 4 // 5, width - margin, height - margin // 2), height // 16, DIM_INK)
    return board


def write(pen: ImageDraw.ImageDraw, text: str, box: Box, largest: int, ink: Colour) -> None:
    """Write text into a box, in letters of at most that size and smaller until it fits."""
    left, top, right, bottom = box
    shown = printable(text)
    about = ((right - left) * (bottom - top) / (LETTER * LINE) / max(1, len(shown))) ** 0.5
    size = max(1, min(largest, round(about)))
    block = ImageText.Text(shown, font(size), spacing=size * (LINE - 1.2))
    block.wrap(right - left, bottom - top, "shrink")
    pen.text((left, top), block, fill=ink)


def printable(text: str) -> str:
    """Leave out what no font draws and what could never fit, and break long words."""
    signs = "".join(sign if sign.isprintable() else " " for sign in text[:MAX_CHARACTERS])
    words = re.sub(rf"(\S{{{LONGEST_WORD}}})(?=\S)", r"\1 ", signs).strip()
    return f"{words} …" if len(text) > MAX_CHARACTERS else words


def font(size: int) -> Font:
    """Load DejaVu, which knows many scripts, or Pillow's own font where it is not installed."""
    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        return ImageFont.load_default(size)
