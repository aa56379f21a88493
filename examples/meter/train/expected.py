"""Writes testdata/expected.json: digit crops with the logits that onnxruntime gives for both models.

    python expected.py

Some crops have the model's own size, so nothing but the normalisation stands between bytes and logits.
Others have the size of a region; they are resized here in float32, as the compiled module does, while
Pillow (used in training) rounds the resized picture to whole numbers. The difference is below half a
grey level.
"""

import base64
import json
import math

import numpy as np
import onnxruntime
from PIL import Image

import render
from network import INPUT, MEAN, STD
from train import HELD_OUT, MODELS

FRAMES = MODELS.parent / "frames"
OUT = MODELS.parent / "testdata" / "expected.json"


def triangle(source, target):
    """The resize as a matrix [target, source]: a triangle filter that widens when it shrinks."""
    scale = source / target
    support = max(scale, 1.0)
    matrix = np.zeros((target, source))
    for i in range(target):
        centre = (i + 0.5) * scale
        first, last = max(0, int(centre - support + 0.5)), min(source, int(centre + support + 0.5))
        for j in range(first, last):
            matrix[i, j] = max(0.0, 1 - abs((j + 0.5 - centre) / support))
    return (matrix / matrix.sum(1, keepdims=True)).astype(np.float32)


def prepare(pixels):
    """uint8 [h, w, 3] with h = w → float32 [1, 3, 32, 32], normalised."""
    x = pixels.astype(np.float32)
    if pixels.shape[0] != INPUT:
        m = triangle(pixels.shape[0], INPUT)
        x = np.einsum("ih,hwc,jw->ijc", m, x, m)
    x = (x / 255 - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None], np.float32)


def crops():
    """(name, pixels, label) of the cases: one held-out crop of each digit, and regions of the demo's frames."""
    images, labels, positions = render.dataset(HELD_OUT["seed"] + 1, 24)
    seen = set()
    for i in range(len(labels)):
        is_rolling = 0.1 < positions[i] % 1 < 0.9
        # Each digit once; the even ones still, the odd ones rolling.
        if labels[i] in seen or is_rolling != labels[i] % 2:
            continue
        seen.add(labels[i])
        yield f"held-out-{i}-at-{positions[i]:.2f}", images[i], int(labels[i])
    meter = json.loads((FRAMES / "meter.json").read_text())
    for frame, drum in ((0, 3), (11, 3), (18, 5)):
        entry, r = meter["frames"][frame], meter["regions"][drum]
        picture = np.asarray(Image.open(FRAMES / entry["file"]).convert("RGB"))
        pixels = picture[r["y"] : r["y"] + r["h"], r["x"] : r["x"] + r["w"]]
        yield f"frame-{frame:02d}-drum-{drum}", pixels, int(entry["reading"][drum])


def main():
    sessions = {
        v: onnxruntime.InferenceSession(MODELS / f"digits-{v}.onnx", providers=["CPUExecutionProvider"])
        for v in ("v1", "v2")
    }
    cases = []
    for name, pixels, label in crops():
        x = prepare(pixels)
        logits = {v: s.run(["logits"], {"image": x})[0][0] for v, s in sessions.items()}
        assert all(math.isfinite(n) for row in logits.values() for n in row)
        cases.append({
            "name": name, "label": label, "width": pixels.shape[1], "height": pixels.shape[0],
            "rgb": base64.b64encode(np.ascontiguousarray(pixels)).decode(),
            "logits": {v: [float(f"{n:.7g}") for n in row] for v, row in logits.items()},
        })
    head = {"onnxruntime": onnxruntime.__version__, "scale": 1 / 255, "mean": MEAN, "std": STD}
    rows = ",\n".join("  " + json.dumps(case) for case in cases)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(head)[:-1] + ',\n "cases": [\n' + rows + "\n ]\n}\n")
    for case in cases:
        print(case["name"], case["label"], {v: int(np.argmax(row)) for v, row in case["logits"].items()})


if __name__ == "__main__":
    main()
