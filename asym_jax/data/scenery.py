"""The parts of synthetic scenes: palettes, backgrounds, shapes, patterns, charts, curves and text.

Every element draws on an RGB canvas in place. Areas grow with the canvas; lines, patterns
and letters keep the sizes that are fine but legible in scenes of 192 pixels.
"""

import colorsys
import functools
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Palette = list[Colour]
Element = Callable[[Image.Image, np.random.Generator, Palette], None]

WORDS = (
    *("light", "north", "river", "signal", "paper", "orbit", "glass", "seven", "market", "open", "harbour", "music", "engine"),
    *("salt", "window", "exit", "coffee", "garden", "number", "plate", "metro", "silver", "stone", "level", "atlas", "winter"),
    *("yellow", "copper", "radio", "bridge", "quiet", "theory", "field", "station", "forest", "circle", "museum"),
)


def random_palette(rng: np.random.Generator) -> Palette:
    """Six colours around one or two hues: ground, second ground, three accents, and ink that stands out from the ground."""
    hue = rng.uniform()
    dark = rng.uniform() < 0.35
    grounds = [(rng.uniform(0.08, 0.3) if dark else rng.uniform(0.65, 0.97), rng.uniform(0.05, 0.6)) for _ in range(2)]
    shifts = (0.0, rng.uniform(-0.12, 0.12), rng.uniform(0.3, 0.7), rng.uniform(0.0, 1.0), 0.5)
    colours = [colorsys.hls_to_rgb(hue + shift, light, tint) for shift, (light, tint) in zip(shifts, grounds, strict=False)]
    colours += [colorsys.hls_to_rgb(hue + s, rng.uniform(0.3, 0.65), rng.uniform(0.5, 1.0)) for s in shifts[2:]]
    colours.append(colorsys.hls_to_rgb(hue + 0.5, rng.uniform(0.85, 1.0) if dark else rng.uniform(0.0, 0.2), 0.3))
    return [(int(255 * r), int(255 * g), int(255 * b)) for r, g, b in colours]


def background(rng: np.random.Generator, palette: Palette, side: int) -> Image.Image:
    """A gradient, coloured clouds, or two fields, all smooth."""
    kind = rng.integers(4)
    if kind == 0:  # clouds between the two grounds and one accent
        mix = rng.dirichlet((1.5, 1.5, 0.6), size=(5, 5))
        grid = mix @ np.array([palette[0], palette[1], palette[2]], float)
        return Image.fromarray(grid.astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    if kind == 1:  # a spot of light
        spot = Image.radial_gradient("L").resize((side * 2, side * 2))
        x, y = rng.integers(0, side, size=2)
        return Image.composite(_plain(side, palette[1]), _plain(side, palette[0]), spot.crop((x, y, x + side, y + side)))
    if kind == 2:  # a gradient in any direction
        corners = np.array([palette[i] for i in rng.integers(0, 3, size=4)], float).reshape(2, 2, 3)
        corners = 0.5 * corners + 0.5 * np.array(palette[0], float)
        return Image.fromarray(corners.astype(np.uint8)).resize((side, side), Image.Resampling.BILINEAR)
    canvas = _plain(side, palette[0])
    cut, slope = rng.uniform(0.25, 0.75) * side, rng.uniform(-0.3, 0.3) * side
    ImageDraw.Draw(canvas).polygon([(0, cut - slope), (side, cut + slope), (side, side), (0, side)], fill=palette[1])
    return canvas


def _plain(side: int, colour: Colour) -> Image.Image:
    return Image.new("RGB", (side, side), colour)


def _pick(rng: np.random.Generator, palette: Palette) -> Colour:
    return palette[int(rng.integers(1, len(palette)))]


def _box(canvas: Image.Image, rng: np.random.Generator, smallest: float, largest: float) -> tuple[int, int, int, int]:
    """A random rectangle (left, top, width, height) that lies mostly on the canvas."""
    width, height = (int(canvas.width * share) for share in rng.uniform(smallest, largest, size=2))
    left = int(rng.uniform(-0.15 * width, canvas.width - 0.85 * width))
    top = int(rng.uniform(-0.15 * height, canvas.height - 0.85 * height))
    return left, top, width, height


def _outline(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """A filled rectangle, rounded rectangle, ellipse, slice or star as a selection of the given size."""
    selection = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(selection)
    frame = (0, 0, width - 1, height - 1)
    kind = rng.integers(5)
    if kind == 0:
        draw.rectangle(frame, fill=255)
    elif kind == 1:
        draw.rounded_rectangle(frame, radius=min(width, height) // 5, fill=255)
    elif kind == 2:
        draw.ellipse(frame, fill=255)
    elif kind == 3:
        start = rng.uniform(0, 360)
        draw.pieslice(frame, start, start + rng.uniform(120, 320), fill=255)
    else:
        points, turn, waist = int(rng.integers(3, 9)), rng.uniform(0, 2 * math.pi), rng.uniform(0.4, 1.0)
        radii = [1.0, waist] * points
        angles = [turn + math.pi * i / points for i in range(2 * points)]
        corners = [
            (width / 2 * (1 + r * math.sin(a)), height / 2 * (1 + r * math.cos(a))) for r, a in zip(radii, angles, strict=True)
        ]
        draw.polygon(corners, fill=255)
    return selection


def shape(canvas: Image.Image, rng: np.random.Generator, palette: Palette) -> None:
    """A plain or shaded shape, sometimes with a thin outline box."""
    left, top, width, height = _box(canvas, rng, 0.15, 0.6)
    ends = np.array([_pick(rng, palette), _pick(rng, palette)], np.uint8)
    ends = ends[[0, 0]] if rng.uniform() < 0.5 else ends
    fill = Image.fromarray(ends[:, None] if rng.uniform() < 0.5 else ends[None])
    canvas.paste(fill.resize((width, height), Image.Resampling.BILINEAR), (left, top), _outline(rng, width, height))
    if rng.uniform() < 0.3:
        line = int(rng.integers(1, 5))
        ImageDraw.Draw(canvas).rectangle((left, top, left + width, top + height), outline=palette[-1], width=line)


def pattern(canvas: Image.Image, rng: np.random.Generator, palette: Palette) -> None:
    """A shape filled with fine structure: hatching, a checker board, a grid, dots, waves or rings."""
    left, top, width, height = _box(canvas, rng, 0.2, 0.5)
    period = float(rng.uniform(5, 20))
    angle = float(rng.choice([0.0, math.pi / 4, rng.uniform(0, math.pi)]))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    u = (x * math.cos(angle) + y * math.sin(angle)) / period
    v = (y * math.cos(angle) - x * math.sin(angle)) / period
    duty = rng.uniform(0.25, 0.6)
    kind = rng.integers(6)
    if kind == 0:
        on = u % 1 < duty
    elif kind == 1:
        on = (np.floor(u) + np.floor(v)) % 2 == 0
    elif kind == 2:
        on = (u % 1 < 0.2) | (v % 1 < 0.2)
    elif kind == 3:
        on = (u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < duty**2 / 2
    elif kind == 4:
        on = (v + 0.6 * np.sin(2 * u)) % 1 < duty
    else:
        on = np.hypot(x - width / 2, y - height / 2) / period % 1 < duty
    colours = np.array([_pick(rng, palette), _pick(rng, palette)], np.uint8)
    if (colours[0] == colours[1]).all():
        colours[1] = palette[0]
    canvas.paste(Image.fromarray(colours[on.astype(np.uint8)]), (left, top), _outline(rng, width, height))


def rings(canvas: Image.Image, rng: np.random.Generator, palette: Palette) -> None:
    """Concentric thin circles."""
    draw, colour = ImageDraw.Draw(canvas), _pick(rng, palette)
    x, y = rng.uniform(0.1, 0.9, size=2) * canvas.width
    step, line = rng.uniform(6, 22), int(rng.integers(1, 5))
    for i in range(1, int(rng.integers(4, 12))):
        draw.ellipse((x - i * step, y - i * step, x + i * step, y + i * step), outline=colour, width=line)


def lines(canvas: Image.Image, rng: np.random.Generator, palette: Palette) -> None:
    """A bundle or fan of thin straight lines."""
    draw, colour = ImageDraw.Draw(canvas), _pick(rng, palette)
    start, end = rng.uniform(-0.1, 1.1, size=(2, 2)) * canvas.width
    drift = rng.uniform(-0.06, 0.06, size=(2, 2)) * canvas.width
    width = int(rng.integers(1, 5))
    for i in range(int(rng.integers(2, 12))):
        draw.line([*(start + i * drift[0]), *(end + i * drift[1])], fill=colour, width=width)


def curve(canvas: Image.Image, rng: np.random.Generator, palette: Palette) -> None:
    """A smooth open curve with dots along it."""
    t = np.linspace(0, 1, 60)
    waves = rng.uniform(-0.25, 0.25, size=(2, 3)) @ np.sin(np.pi * np.outer([1, 2, 3], t) + rng.uniform(0, 6, size=(3, 1)))
    ends = rng.uniform(0, 1, size=(2, 2))
    path = canvas.width * (ends[0, :, None] + (ends[1] - ends[0])[:, None] * t + waves)
    draw, colour = ImageDraw.Draw(canvas), _pick(rng, palette)
    draw.line([tuple(p) for p in path.T], fill=colour, width=int(rng.integers(2, 9)), joint="curve")
    for x, y in path.T[:: int(rng.integers(6, 20))] if rng.uniform() < 0.5 else []:
        draw.ellipse((x - 7, y - 7, x + 7, y + 7), fill=palette[-1])


def chart(canvas: Image.Image, rng: np.random.Generator, palette: Palette) -> None:
    """A panel with bars or a ruled table, and its axes."""
    left, top, width, height = _box(canvas, rng, 0.3, 0.5)
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((left, top, left + width, top + height), fill=palette[0], outline=palette[-1], width=2)
    count = int(rng.integers(4, 12))
    step = width / (count + 1)
    if rng.uniform() < 0.7:
        colour = _pick(rng, palette)
        for i, share in enumerate(rng.uniform(0.1, 0.9, size=count)):
            x = left + step * (i + 0.6)
            draw.rectangle((x, top + height * (1 - share), x + step * 0.7, top + height), fill=colour)
    else:
        for i in range(1, count):
            draw.line((left, top + height * i / count, left + width, top + height * i / count), fill=palette[-1], width=2)
        for i in range(1, 4):
            draw.line((left + width * i / 4, top, left + width * i / 4, top + height), fill=palette[-1], width=2)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)  # the scalable face that Pillow itself carries


def _message(rng: np.random.Generator, rows: int, words: int) -> str:
    """Rows of words and numbers, in capitals, title case or lower case."""

    def word() -> str:
        return str(rng.choice(WORDS)) if rng.uniform() < 0.85 else str(rng.integers(10_000))

    message = "\n".join(" ".join(word() for _ in range(words)) for _ in range(rows))
    return (message.upper(), message.title(), message)[int(rng.integers(3))]


def text(canvas: Image.Image, rng: np.random.Generator, palette: Palette) -> None:
    """A headline, a caption or a small paragraph, upright or turned, sometimes on a label."""
    size, rows, words = ((56, 1, 1), (34, 2, 2), (24, 3, 2), (17, 5, 3))[int(rng.integers(4))]
    message, font = _message(rng, rows, words), _font(size)
    measure = ImageDraw.Draw(canvas)
    x0, y0, x1, y1 = (int(v) for v in measure.multiline_textbbox((0, 0), message, font=font))
    layer = Image.new("L", (x1 - x0 + 16, y1 - y0 + 16), 0)
    ImageDraw.Draw(layer).multiline_text((8 - x0, 8 - y0), message, fill=255, font=font)
    label = Image.new("L", layer.size, 255) if rng.uniform() < 0.3 else None
    angle = float(rng.choice([0.0, 0.0, 0.0, 90.0, rng.uniform(-30, 30)]))
    if angle:
        layer, label = (part and part.rotate(angle, Image.Resampling.BILINEAR, expand=True) for part in (layer, label))
    at = tuple(int(rng.uniform(0.0, max(0.05 * whole, whole - part))) for whole, part in zip(canvas.size, layer.size, strict=True))
    if label:
        canvas.paste(palette[0], at, label)
    canvas.paste(palette[-1] if label or rng.uniform() < 0.6 else _pick(rng, palette), at, layer)


ELEMENTS: tuple[tuple[Element, float], ...] = (
    (shape, 4),
    (pattern, 3),
    (chart, 1),
    (rings, 1),
    (curve, 1.5),
    (lines, 1.5),
    (text, 5),
)
"""What scenes are made of, back to front, with relative frequencies."""
