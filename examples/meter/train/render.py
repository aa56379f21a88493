"""Renders pictures of utility meters: a drum counter behind a window, seen by a cheap camera.

    python render.py sheet out.png      a contact sheet of random meters and their digit crops
    python render.py frames ../frames   the demo's frames and meter.json

Everything comes from numpy's PCG64 with a stated seed, so that the same seed gives the same pictures.
A drum's position is a real number in [0, 10): 3.0 shows a 3 in the middle, 3.4 a 3 that has left
upwards by 0.4 of the pitch with the 4 following. The label is what a meter reader reads: the floor.
"""

from dataclasses import dataclass
import argparse
import io
import math
import pathlib

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from glyphs import Face, glyph, random_face

SIZE = (240, 96)  # the camera's region of interest, pixels
INPUT = 32  # side of the model's input, pixels
SUPER = 2  # geometry is drawn this much larger, then reduced with antialiasing

# Still drums stand within ±0.05 of a digit (play of the gears). A rolling one is between 0.15 and 0.85:
# nearer to a digit not even a person can tell rolling from play.
PLAY = 0.05
ROLLING = (0.15, 0.85)


@dataclass(frozen=True)
class Meter:
    """One meter as built: its face, colours and geometry. Lengths in picture pixels."""

    face: Face
    plate: tuple
    bezel: tuple
    drum: tuple
    ink: tuple
    decimal_drum: tuple
    decimal_ink: tuple
    drums: int
    decimals: int
    pitch: float  # between drum centres
    drum_w: float
    drum_h: float  # height of the window
    digit_h: float  # fraction of the window
    roll: float  # distance of two digits on a drum, fraction of the window
    bend: float  # how much of the cylinder is seen: 0 flat … 0.9
    shade: float  # darkening towards the upper and lower edge
    frame: int  # width of the line around each window, 0 none
    shadow: float  # cast by the window's upper edge
    centre: tuple
    clutter: int  # seed of the plate's print


@dataclass(frozen=True)
class View:
    """One look at a meter: camera and light."""

    angle: float
    zoom: float
    shift: tuple
    exposure: float
    contrast: float
    cast: tuple
    gradient: tuple  # x, y
    glares: tuple  # (x, y, radius x, radius y, angle, strength, hard)
    band: tuple  # shadow of the reader's hand or a pipe: (position, width, angle, strength)
    blur: float
    motion: int
    noise: float
    jpeg: int  # quality, 0 none
    rgb565: bool  # as ESP32 cameras deliver
    seed: int


def _grey(rng, low, high, tint):
    base = rng.uniform(low, high)
    return tuple(float(np.clip(base + rng.normal(0, tint), 0, 255)) for _ in range(3))


def random_meter(rng) -> Meter:
    drums = int(rng.integers(5, 8))
    pitch = rng.uniform(0.84, 0.95) * SIZE[0] / (drums + 0.6)
    pitch = min(pitch, 38.0)
    drum_w = pitch * rng.uniform(0.66, 0.9)
    drum_h = min(pitch * rng.uniform(0.86, 1.15), 44.0)
    dark = rng.random() < 0.6
    if dark:
        drum, ink = _grey(rng, 12, 60, 5), _grey(rng, 190, 250, 6)
    else:
        drum, ink = _grey(rng, 190, 250, 6), _grey(rng, 5, 60, 5)
    red = (rng.uniform(140, 220), rng.uniform(15, 60), rng.uniform(15, 60))
    if rng.random() < 0.6:
        decimal_drum, decimal_ink = red, _grey(rng, 200, 250, 4)
    else:
        decimal_drum, decimal_ink = _grey(rng, 195, 250, 5), red
    return Meter(
        face=random_face(rng),
        plate=_grey(rng, 60, 235, 14),
        bezel=_grey(rng, 5, 120, 6) if rng.random() < 0.7 else _grey(rng, 130, 235, 8),
        drum=drum, ink=ink, decimal_drum=decimal_drum, decimal_ink=decimal_ink,
        drums=drums,
        decimals=int(rng.integers(0, 4)),
        pitch=pitch, drum_w=drum_w, drum_h=drum_h,
        digit_h=rng.uniform(0.58, 0.8),
        roll=rng.uniform(0.95, 1.2),
        bend=rng.uniform(0.0, 0.85),
        shade=rng.uniform(0.0, 0.5),
        frame=int(rng.choice(3, p=[0.25, 0.4, 0.35])),
        shadow=rng.uniform(0.0, 0.5),
        centre=(SIZE[0] / 2 + rng.uniform(-3, 3), SIZE[1] / 2 + rng.uniform(-8, 8)),
        clutter=int(rng.integers(1 << 31)),
    )


def random_view(rng, hard=1.0) -> View:
    """hard scales everything that makes reading difficult: 0 a laboratory, 1 a cellar."""
    glares = []
    while rng.random() < 0.4 * hard and len(glares) < 3:
        long = rng.uniform(6, 40)
        glares.append((rng.uniform(0, SIZE[0]), rng.uniform(20, 76), long, long * rng.uniform(0.15, 0.8),
                       rng.uniform(0, math.pi), rng.uniform(0.15, 0.75) * hard, bool(rng.random() < 0.4)))
    return View(
        angle=rng.normal(0, 2.2) * hard,
        zoom=1 + rng.normal(0, 0.02) * hard,
        shift=(rng.normal(0, 2) * hard, rng.normal(0, 2) * hard),
        exposure=float(np.exp(rng.normal(0, 0.3) * hard)),
        contrast=rng.uniform(1 - 0.55 * hard, 1.1),
        cast=tuple(np.exp(rng.normal(0, 0.1, 3) * hard)),
        gradient=tuple(rng.normal(0, 0.25, 2) * hard),
        glares=tuple(glares),
        band=(rng.uniform(0, SIZE[0]), rng.uniform(10, 60), rng.uniform(-1, 1),
              rng.uniform(0.2, 0.65) * hard if rng.random() < 0.25 else 0.0),
        blur=abs(rng.normal(0, 0.75)) * hard,
        motion=int(rng.integers(2, 5)) if rng.random() < 0.12 * hard else 0,
        noise=abs(rng.normal(0, 7)) * hard + 0.8,
        jpeg=int(rng.integers(30, 90)) if rng.random() < 0.3 * hard else 0,
        rgb565=bool(rng.random() < 0.4),
        seed=int(rng.integers(1 << 31)),
    )


def random_position(rng, rolling=0.3):
    """A drum's position and its label."""
    digit = int(rng.integers(10))
    if rng.random() < rolling:
        return digit + rng.uniform(*ROLLING), digit
    return (digit + float(np.clip(rng.normal(0, 0.02), -PLAY, PLAY))) % 10, digit


def _rgb(colour):
    return tuple(int(round(c)) for c in colour)


def draw_drum(meter, position, decimal):
    """The window of one drum at SUPER scale."""
    w, h = round(meter.drum_w * SUPER), round(meter.drum_h * SUPER)
    ground, ink = (meter.decimal_drum, meter.decimal_ink) if decimal else (meter.drum, meter.ink)
    # The flattened drum reaches beyond the window, for the bend to have rows to take.
    reach = h
    strip = Image.new("L", (w, h + 2 * reach), 0)
    digit_h = max(8, round(meter.digit_h * h))
    step = meter.roll * h
    # Whole rows would move a still digit by up to half a pixel; at SUPER scale that is a quarter of one.
    for offset in (-1, 0, 1, 2):
        digit = math.floor(position) + offset
        mask = glyph(meter.face, digit % 10, digit_h)
        if mask.width > w - 4:
            mask = mask.resize((w - 4, digit_h), Image.BILINEAR)
        y = strip.height / 2 + (digit - position) * step - digit_h / 2
        strip.paste(mask, ((w - mask.width) // 2, round(y)))
    cover = np.asarray(strip, np.float32)
    y = (np.arange(h) + 0.5 - h / 2) / (h / 2)
    if meter.bend > 0.05:
        rows = np.arcsin(y * meter.bend) / meter.bend * (h / 2) + strip.height / 2
    else:
        rows = y * (h / 2) + strip.height / 2
    cover = cover[np.clip(rows.astype(int), 0, strip.height - 1)][..., None] / 255
    light = 1 - meter.shade * y**2
    light = light * (1 - meter.shadow * np.clip((-0.55 - y) / 0.45, 0, 1))
    picture = np.array(ground, np.float32) * (1 - cover) + np.array(ink, np.float32) * cover
    return Image.fromarray(np.clip(picture * light[:, None, None], 0, 255).astype(np.uint8))


def draw_meter(meter, positions):
    """The meter's plate with all drums at SUPER scale, straight and evenly lit; and the drums' centres."""
    width, height = SIZE[0] * SUPER, SIZE[1] * SUPER
    picture = Image.new("RGB", (width, height), _rgb(meter.plate))
    draw = ImageDraw.Draw(picture)
    _clutter(draw, meter)
    cx, cy = meter.centre[0] * SUPER, meter.centre[1] * SUPER
    half = meter.pitch * meter.drums / 2 * SUPER
    rim = (meter.pitch - meter.drum_w) / 2 * SUPER + 3
    box = (cx - half - 2, cy - meter.drum_h / 2 * SUPER - rim, cx + half + 2, cy + meter.drum_h / 2 * SUPER + rim)
    draw.rounded_rectangle(box, radius=4 * SUPER, fill=_rgb(meter.bezel))
    edge = tuple(int(c * 0.45) if sum(meter.bezel) > 240 else int(min(255, c + 90)) for c in meter.bezel)
    centres = []
    for i, position in enumerate(positions):
        x = cx - half + (i + 0.5) * meter.pitch * SUPER
        drum = draw_drum(meter, position, i >= meter.drums - meter.decimals)
        left, top = round(x - drum.width / 2), round(cy - drum.height / 2)
        if meter.frame:
            f = meter.frame * SUPER - 1
            draw.rectangle((left - f, top - f, left + drum.width + f - 1, top + drum.height + f - 1), fill=edge)
        picture.paste(drum, (left, top))
        centres.append((x / SUPER, cy / SUPER))
    return picture, centres


def _clutter(draw, meter):
    """Print on the plate: bars that stand for lettering, a dial's arc, a scale."""
    rng = np.random.default_rng(meter.clutter)
    for _ in range(int(rng.integers(2, 7))):
        x, y = rng.uniform(0, SIZE[0]) * SUPER, rng.choice([rng.uniform(2, 18), rng.uniform(76, 92)]) * SUPER
        shade = _rgb(np.clip(np.array(meter.plate) + rng.choice([-1, 1]) * rng.uniform(40, 120), 0, 255))
        kind = rng.integers(3)
        if kind == 0:
            for k in range(int(rng.integers(3, 9))):
                draw.rectangle((x + k * 9, y, x + k * 9 + rng.integers(2, 7), y + 8), fill=shade)
        elif kind == 1:
            r = rng.uniform(15, 60)
            draw.arc((x - r, y - r, x + r, y + r), 0, 360, fill=shade, width=3)
        else:
            for k in range(12):
                draw.line((x + k * 6, y, x + k * 6, y + (10 if k % 5 == 0 else 6)), fill=shade, width=2)


def photograph(picture, view):
    """What the camera delivers, and the map from meter to picture coordinates."""
    a = math.radians(view.angle)
    c, s = math.cos(a) * view.zoom, math.sin(a) * view.zoom
    mx, my = SIZE[0] / 2, SIZE[1] / 2
    tx, ty = view.shift

    def to_picture(x, y):
        return (mx + tx + c * (x - mx) - s * (y - my), my + ty + s * (x - mx) + c * (y - my))

    d = c * c + s * s
    ia, ib, ie = c / d, s / d, c / d
    # Pillow's AFFINE maps output to input; both are at SUPER scale here.
    ox, oy = (mx + tx) * SUPER, (my + ty) * SUPER
    data = (ia, ib, mx * SUPER - ia * ox - ib * oy, -ib, ie, my * SUPER + ib * ox - ie * oy)
    edge = picture.getpixel((1, 1))
    picture = picture.transform(picture.size, Image.AFFINE, data, resample=Image.BILINEAR, fillcolor=edge)
    picture = picture.resize(SIZE, Image.BOX)
    if view.blur > 0.15:
        picture = picture.filter(ImageFilter.GaussianBlur(view.blur))
    pixels = np.asarray(picture, np.float32)
    if view.motion:
        pixels = sum(np.roll(pixels, k, axis=1) for k in range(view.motion)) / view.motion
    pixels = _light(pixels, view)
    rng = np.random.default_rng(view.seed)
    pixels = pixels + rng.normal(0, view.noise, pixels.shape)
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if view.jpeg:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=view.jpeg)
        picture = Image.open(buffer).convert("RGB")
    if view.rgb565:
        pixels = np.asarray(picture)
        five = (pixels & 0xF8) | (pixels >> 5)
        five[..., 1] = (pixels[..., 1] & 0xFC) | (pixels[..., 1] >> 6)
        picture = Image.fromarray(five)
    return picture, to_picture


def _light(pixels, view):
    yy, xx = np.mgrid[0 : SIZE[1], 0 : SIZE[0]].astype(np.float32)
    u, v = (xx / SIZE[0] - 0.5) * 2, (yy / SIZE[1] - 0.5) * 2
    light = np.exp(view.gradient[0] * u + view.gradient[1] * v) * view.exposure
    at, width, lean, strength = view.band
    if strength:
        distance = (xx - at) + lean * (yy - SIZE[1] / 2)
        light = light * (1 - strength / (1 + np.exp(np.clip((np.abs(distance) - width / 2) / 2, -30, 30))))
    pixels = (pixels - 120) * view.contrast + 120
    pixels = pixels * light[..., None] * np.array(view.cast, np.float32)
    for x, y, rx, ry, angle, strength, hard in view.glares:
        c, s = math.cos(angle), math.sin(angle)
        p, q = ((xx - x) * c + (yy - y) * s) / rx, ((yy - y) * c - (xx - x) * s) / ry
        r = p * p + q * q
        alpha = strength / (1 + np.exp(np.clip((r - 1) * 6, -30, 30))) if hard else strength * np.exp(-r)
        pixels = pixels + alpha[..., None] * (255 - pixels)
    return pixels


def region_side(meter):
    """The region's side: the window with its frame, so that the model sees where the window ends."""
    return max(meter.drum_h, meter.drum_w) * 1.12


def crop(picture, x, y, side):
    """A square region as the module sees it: cut on whole pixels, resized with a triangle filter."""
    x, y, side = round(x), round(y), round(side)
    x, y = min(max(x, 0), SIZE[0] - side), min(max(y, 0), SIZE[1] - side)
    return picture.crop((x, y, x + side, y + side)).resize((INPUT, INPUT), Image.BILINEAR)


def samples(rng, hard=1.0, rolling=0.3, crops=1):
    """The digit crops of one random meter picture: uint8 [n, 32, 32, 3], labels [n], positions [n]."""
    meter = random_meter(rng)
    drawn = [random_position(rng, rolling) for _ in range(meter.drums)]
    picture, centres = draw_meter(meter, [p for p, _ in drawn])
    view = random_view(rng, hard)
    picture, to_picture = photograph(picture, view)
    images, labels, positions = [], [], []
    for (position, label), centre in zip(drawn, centres):
        x, y = to_picture(*centre)
        for _ in range(crops):
            # A region that a person dragged with the mouse.
            side = region_side(meter) * rng.uniform(0.94, 1.14)
            dx, dy = rng.normal(0, 0.03, 2) * side
            images.append(np.asarray(crop(picture, x + dx - side / 2, y + dy - side / 2, side)))
            labels.append(label)
            positions.append(position)
    return np.stack(images), np.array(labels), np.array(positions)


def dataset(seed, pictures, hard=1.0, rolling=0.3, crops=1):
    rng = np.random.default_rng(seed)
    parts = [samples(rng, hard, rolling, crops) for _ in range(pictures)]
    return tuple(np.concatenate(column) for column in zip(*parts))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["sheet", "frames"])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=20231012, help="of the contact sheet or the frames (default: that of the committed frames)")
    args = parser.parse_args()
    if args.what == "sheet":
        sheet(args.out, args.seed)
    else:
        from frames import write_frames

        write_frames(args.out, args.seed)


def sheet(out, seed):
    rng = np.random.default_rng(seed)
    page = Image.new("RGB", (4 * 250, 6 * 100 + 8 * 36), (255, 255, 255))
    for i in range(24):
        meter = random_meter(rng)
        drawn = [random_position(rng) for _ in range(meter.drums)]
        picture, _ = photograph(draw_meter(meter, [p for p, _ in drawn])[0], random_view(rng))
        page.paste(picture, (i % 4 * 250, i // 4 * 100))
    images, labels, _ = dataset(seed + 1, 60)
    for i in range(8 * 27):
        page.paste(Image.fromarray(images[i]), (i % 27 * 36, 600 + i // 27 * 36))
    page.save(out)
    print("labels of the crops:", " ".join(map(str, labels[: 8 * 27])))


if __name__ == "__main__":
    main()
