"""Draws the digits of meter drums.

Two sources, both free of licence questions: strokes computed here (drum digits are engraved or
printed strokes of one width, so a skeleton with a pen describes them well), and the one outline font
that Pillow ships (Aileron, CC0), stretched and emboldened.
"""

from dataclasses import dataclass, field
import math

from PIL import Image, ImageDraw, ImageFont

# Skeletons are drawn four times larger and reduced: Pillow's lines are not antialiased.
OVERSAMPLE = 4


@dataclass(frozen=True)
class Face:
    """How one manufacturer prints its digits. Lengths are fractions of the digit's height."""

    outline: bool  # Aileron instead of strokes
    width: float  # 0.45 … 0.75
    pen: float  # stroke width, 0.09 … 0.19
    slant: float  # shift of the top to the right
    square: float  # superellipse exponent of the bowls: 2 is an ellipse, 4 nearly a rounded box
    flat_three: bool
    straight_six: bool  # 6 and 9 with a straight stem instead of a hook
    open_four: bool
    one: int  # 0 bare, 1 flag, 2 flag and foot
    seven: int  # 0 bare, 1 serif, 2 bent stem
    cache: dict = field(default_factory=dict, compare=False, repr=False)


def random_face(rng) -> Face:
    return Face(
        outline=bool(rng.random() < 0.2),
        width=rng.uniform(0.46, 0.72),
        pen=rng.uniform(0.09, 0.19),
        slant=rng.uniform(-0.03, 0.14) if rng.random() < 0.3 else 0.0,
        square=rng.uniform(2.0, 3.6),
        flat_three=bool(rng.random() < 0.3),
        straight_six=bool(rng.random() < 0.35),
        open_four=bool(rng.random() < 0.3),
        one=int(rng.choice(3, p=[0.15, 0.5, 0.35])),
        seven=int(rng.integers(3)),
    )


def glyph(face: Face, digit: int, height: int) -> Image.Image:
    """The digit's coverage as an 8-bit mask of the given height, cropped to the face's width."""
    key = (digit, height)
    if key not in face.cache:
        draw = _outline if face.outline else _strokes
        face.cache[key] = draw(face, digit, height)
    return face.cache[key]


def _outline(face, digit, height):
    # The cap height of Aileron is 0.71 of its em.
    size = max(8, round(height * OVERSAMPLE / 2 / 0.71))
    font = ImageFont.load_default(size)
    bold = max(0, round((face.pen - 0.09) * size * 0.35))
    left, top, right, bottom = font.getbbox(str(digit), stroke_width=bold)
    mask = Image.new("L", (right - left, bottom - top), 0)
    ImageDraw.Draw(mask).text((-left, -top), str(digit), fill=255, font=font, stroke_width=bold)
    # The widest digit of the font is 0.78 of the cap height; the face's width stretches all of them alike.
    width = max(2, round(mask.width * height / mask.height * face.width / 0.62))
    return mask.resize((width, height), Image.BOX)


def _strokes(face, digit, height):
    scale = height * OVERSAMPLE
    pen = face.pen * scale
    pad = pen / 2
    inner_h = scale - pen
    inner_w = face.width * scale - pen
    full_w = face.width * scale + abs(face.slant) * scale
    mask = Image.new("L", (math.ceil(full_w), scale), 0)
    canvas = ImageDraw.Draw(mask)
    shift = -min(face.slant, 0) * scale

    def place(x, y):
        return (pad + x * inner_w + shift + face.slant * scale * (1 - y), pad + y * inner_h)

    for line in SKELETONS[digit](face):
        points = [place(x, y) for x, y in line]
        canvas.line(points, fill=255, width=round(pen), joint="curve")
        for x, y in (points[0], points[-1]):
            canvas.ellipse((x - pad, y - pad, x + pad, y + pad), fill=255)
    return mask.resize((max(2, mask.width // OVERSAMPLE), height), Image.BOX)


def _arc(face, cx, cy, rx, ry, start, stop, steps=20):
    """Points of a superellipse; angles in degrees, 0 to the right, growing clockwise on the screen."""
    power = 2 / face.square
    points = []
    for i in range(steps + 1):
        a = math.radians(start + (stop - start) * i / steps)
        c, s = math.cos(a), math.sin(a)
        points.append((cx + rx * math.copysign(abs(c) ** power, c), cy + ry * math.copysign(abs(s) ** power, s)))
    return points


def _zero(f):
    return [_arc(f, 0.5, 0.5, 0.5, 0.5, 0, 360)]


def _one(f):
    lines = [[(0.55, 0), (0.55, 1)]]
    if f.one:
        lines.append([(0.55, 0), (0.15, 0.24)])
    if f.one == 2:
        lines.append([(0.15, 1), (0.95, 1)])
    return lines


def _two(f):
    return [_arc(f, 0.5, 0.29, 0.5, 0.29, 190, 375) + [(0.9, 0.48), (0, 1), (1, 1)]]


def _three(f):
    lower = _arc(f, 0.48, 0.69, 0.52, 0.31, -90, 160)
    if f.flat_three:
        return [[(0.04, 0), (0.95, 0), (0.42, 0.38)] + lower]
    return [_arc(f, 0.48, 0.24, 0.46, 0.24, 200, 450), lower]


def _four(f):
    if f.open_four:
        return [[(0.22, 0), (0, 0.68), (1, 0.68)], [(0.72, 0.35), (0.72, 1)]]
    return [[(0.72, 1), (0.72, 0), (0, 0.7), (1, 0.7)]]


def _five(f):
    return [[(0.93, 0), (0.12, 0), (0.06, 0.46)] + _arc(f, 0.48, 0.68, 0.52, 0.32, 215, 510)]


def _six(f):
    bowl = _arc(f, 0.5, 0.68, 0.5, 0.32, 180, 540)
    if f.straight_six:
        return [[(0.72, 0), (0.05, 0.56)], bowl]
    return [_arc(f, 0.52, 0.4, 0.52, 0.4, 330, 180) + [(0, 0.68)], bowl]


def _seven(f):
    stem = {0: [(1, 0), (0.35, 1)], 1: [(1, 0), (0.35, 1)], 2: [(1, 0), (0.55, 0.45), (0.4, 1)]}[f.seven]
    lines = [[(0, 0)] + stem]
    if f.seven == 1:
        lines.append([(0, 0), (0, 0.16)])
    return lines


def _eight(f):
    return [_arc(f, 0.5, 0.24, 0.45, 0.24, 0, 360), _arc(f, 0.5, 0.73, 0.5, 0.27, 0, 360)]


def _nine(f):
    return [[(1 - x, 1 - y) for x, y in line] for line in _six(f)]


SKELETONS = [_zero, _one, _two, _three, _four, _five, _six, _seven, _eight, _nine]
