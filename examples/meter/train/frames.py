"""The demo's frames: one meter, one camera, a reading that advances; and meter.json beside them."""

import json
import math

import numpy as np

import render
from glyphs import Face

COUNT = 24
START = 41794  # the carry from 99 to 00 falls into the frames, where three drums roll together

METER = render.Meter(
    face=Face(outline=False, width=0.56, pen=0.125, slant=0.0, square=2.5, flat_three=False,
              straight_six=False, open_four=False, one=1, seven=0),
    plate=(188, 190, 184), bezel=(46, 48, 52),
    drum=(30, 30, 32), ink=(226, 226, 218), decimal_drum=(176, 34, 36), decimal_ink=(232, 226, 220),
    drums=6, decimals=2, pitch=34.0, drum_w=25.0, drum_h=32.0, digit_h=0.68, roll=1.08, bend=0.6,
    shade=0.3, frame=1, shadow=0.35, centre=(120.0, 50.0), clutter=11,
)


def drums(value, count):
    """Positions of the drums of a counter, highest first.

    A drum follows the next lower one while that goes from 9 to 0, as the gears of a counter do.
    """
    positions, fraction = [], value - math.floor(value)
    rest = math.floor(value)
    for _ in range(count):
        digit = rest % 10
        positions.insert(0, digit + fraction)
        fraction = fraction if digit == 9 else 0.0
        rest //= 10
    return positions


def view(i, rng):
    """The camera stays; the sun moves a reflection and the exposure over the frames."""
    t = i / (COUNT - 1)
    return render.View(
        angle=1.3, zoom=1.0, shift=(0.6, -1.2),
        exposure=0.95 + 0.25 * math.sin(2.2 * math.pi * t), contrast=0.6, cast=(1.03, 1.0, 0.95),
        gradient=(0.25 - 0.5 * t, -0.12),
        glares=((30 + 190 * t, 40 + 6 * math.sin(9 * t), 26.0, 8.0, 0.7, 0.85, False),),
        band=(210 - 120 * t, 34.0, 0.4, 0.5 if i >= 14 else 0.0),
        blur=0.9, motion=0, noise=2.0, jpeg=0, rgb565=True, seed=int(rng.integers(1 << 31)),
    )


def write_frames(folder, seed):
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    play = rng.normal(0, 0.012, METER.drums)
    frames, regions = [], []
    for i in range(COUNT):
        value = START + i // 2 + (rng.uniform(0.2, 0.8) if i % 2 else 0.0)
        positions = drums(value, METER.drums)
        shown = [(p + d) % 10 for p, d in zip(positions, play)]
        picture, centres = render.draw_meter(METER, shown)
        picture, to_picture = render.photograph(picture, view(i, rng))
        name = f"frame-{i:02d}.png"
        picture.save(folder / name, optimize=True)
        frames.append({
            "file": name,
            "reading": "".join(str(math.floor(p) % 10) for p in positions),
            "positions": [round(p, 3) for p in positions],
        })
        side = round(render.region_side(METER))
        regions = [
            {"x": round(x - side / 2), "y": round(y - side / 2), "w": side, "h": side}
            for x, y in (to_picture(*centre) for centre in centres)
        ]
    width, height = render.SIZE
    meter = {
        "seed": seed, "width": width, "height": height, "decimals": METER.decimals, "unit": "m³",
        "regions": regions, "frames": frames,
    }
    (folder / "meter.json").write_text(_compact(meter))


def _compact(meter):
    """One line a region and one a frame, so that a change can be read in a diff."""
    head = {k: v for k, v in meter.items() if k not in ("regions", "frames")}
    lines = [f" {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in head.items()]
    for key in ("regions", "frames"):
        rows = ",\n".join("  " + json.dumps(row) for row in meter[key])
        lines.append(f" {json.dumps(key)}: [\n{rows}\n ]")
    return "{\n" + ",\n".join(lines) + "\n}\n"
