"""Writes the networks that the harness measures beside MobileNetV2's own file: architectures as published,
operators as exporters write them, weights from a seed.

    python generate.py OUT

Needs the packages onnx and numpy. Weights are scaled so that activations keep their size from layer to layer:
values that grow to infinity or shrink to denormals would measure the processor's slow paths.
"""
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SEED = 4


class Graph:
    """Nodes and weights in the order in which they are asked for, so that a seed gives one file."""

    def __init__(self, name, opset=17):
        self.name, self.opset = name, opset
        self.nodes, self.weights, self.inputs, self.outputs = [], [], [], []
        self.rng = np.random.default_rng(SEED)

    def input(self, name, shape, dtype=TensorProto.FLOAT):
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, value, shape):
        self.outputs.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, shape))

    def weight(self, array, hint):
        name = f"{hint}_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def floats(self, *values):
        return self.weight(np.array(values if len(values) > 1 else values[0], np.float32), "const")

    def ints(self, *values):
        return self.weight(np.array(values, np.int64), "shape")

    def normal(self, shape, deviation, hint="weight"):
        return self.weight((self.rng.standard_normal(shape) * deviation).astype(np.float32), hint)

    def op(self, kind, *inputs, outputs=1, **attributes):
        names = [f"{kind.lower()}_{len(self.nodes)}" + (f"_{i}" if outputs > 1 else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"/{kind}_{len(self.nodes)}", **attributes))
        return names[0] if outputs == 1 else names

    def save(self, folder):
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        onnx.checker.check_model(model)
        path = folder / f"{self.name}.onnx"
        onnx.save(model, path)
        print(path.name, path.stat().st_size)

    def conv(self, x, cin, cout, k=1, stride=1, groups=1, gain=2.0, normalise=False):
        """A convolution with its bias, or with batch normalisation where the exporter did not fold it."""
        deviation = (gain / (cin // groups * k * k)) ** 0.5
        w = self.normal((cout, cin // groups, k, k), deviation)
        attributes = dict(kernel_shape=[k, k], strides=[stride] * 2, pads=[k // 2] * 4, dilations=[1, 1], group=groups)
        if not normalise:
            return self.op("Conv", x, w, self.normal((cout,), 0.05, "bias"), **attributes)
        x = self.op("Conv", x, w, **attributes)
        scale = self.weight(self.rng.uniform(0.8, 1.2, cout).astype(np.float32), "scale")
        variance = self.weight(self.rng.uniform(0.8, 1.2, cout).astype(np.float32), "variance")
        shift, mean = self.normal((cout,), 0.05, "shift"), self.normal((cout,), 0.05, "mean")
        return self.op("BatchNormalization", x, scale, shift, mean, variance, epsilon=1e-3)

    def relu6(self, x):
        return self.op("Clip", x, self.floats(0.0), self.floats(6.0))

    def silu(self, x):
        return self.op("Mul", x, self.op("Sigmoid", x))

    def classifier(self, x, cin, classes=1000):
        x = self.op("Flatten", self.op("GlobalAveragePool", x), axis=1)
        w, b = self.normal((classes, cin), cin ** -0.5 * 4), self.normal((classes,), 0.1, "bias")
        self.output(self.op("Gemm", x, w, b, alpha=1.0, beta=1.0, transA=0, transB=1), [1, classes])

    def inverted(self, x, cin, cout, k, stride, expand, normalise=False):
        """MobileNetV2's block: expand, depthwise, project, and the input added where shapes allow."""
        y, mid = x, cin * expand
        if expand != 1:
            y = self.relu6(self.conv(y, cin, mid, normalise=normalise))
        y = self.relu6(self.conv(y, mid, mid, k, stride, groups=mid, normalise=normalise))
        y = self.conv(y, mid, cout, gain=0.5 if stride == 1 and cin == cout else 1.5, normalise=normalise)
        return self.op("Add", x, y) if stride == 1 and cin == cout else y


def divisible(channels, by=8):
    """The nearest multiple, as the paper's code rounds: never 10 % below."""
    near = max(by, int(channels + by / 2) // by * by)
    return near + by if near < 0.9 * channels else near


def mobilenetv2(width):
    g = Graph(f"mobilenetv2-{width}")
    x = g.input("input", [1, 3, "height", "width"])
    c = divisible(32 * width)
    x = g.relu6(g.conv(x, 3, c, 3, 2))
    for expand, channels, repeat, stride in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
        for i in range(repeat):
            out = divisible(channels * width)
            x, c = g.inverted(x, c, out, 3, stride if i == 0 else 1, expand), out
    last = divisible(1280 * max(1.0, width))
    g.classifier(g.relu6(g.conv(x, c, last)), last)
    return g


def efficientnet_lite0():
    g = Graph("efficientnet-lite0")
    x = g.relu6(g.conv(g.input("input", [1, 3, 224, 224]), 3, 32, 3, 2, normalise=True))
    c = 32
    for expand, k, stride, out, repeat in [(1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1)]:
        for i in range(repeat):
            x, c = g.inverted(x, c, out, k, stride if i == 0 else 1, expand, normalise=True), out
    g.classifier(g.relu6(g.conv(x, c, 1280, normalise=True)), 1280)
    return g


def resnet50():
    g = Graph("resnet50")
    x = g.op("Relu", g.conv(g.input("input", [1, 3, 224, 224]), 3, 64, 7, 2))
    x = g.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    c = 64
    for mid, repeat, stride in [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]:
        for i in range(repeat):
            s = stride if i == 0 else 1
            y = g.op("Relu", g.conv(x, c, mid))
            y = g.op("Relu", g.conv(y, mid, mid, 3, s))
            y = g.conv(y, mid, 4 * mid, gain=0.3)
            short = g.conv(x, c, 4 * mid, stride=s, gain=1.0) if i == 0 else x
            x, c = g.op("Relu", g.op("Add", y, short)), 4 * mid
    g.classifier(x, c)
    return g


def yolo(size, classes=80):
    """A detector of YOLOv5n's shape: CSP backbone, SPPF, feature pyramid down and up, three heads that decode boxes."""
    g = Graph(f"yolo-{size}")

    def block(x, cin, cout, k=1, stride=1):
        return g.silu(g.conv(x, cin, cout, k, stride, gain=2.8))

    def csp(x, cin, cout, repeat, shortcut=True):
        mid = cout // 2
        a, b = block(x, cin, mid), block(x, cin, mid)
        for _ in range(repeat):
            y = block(block(a, mid, mid), mid, mid, 3)
            a = g.op("Add", a, y) if shortcut else y
        return block(g.op("Concat", a, b, axis=1), 2 * mid, cout)

    def up(x):
        return g.op("Resize", x, "", g.floats(1.0, 1.0, 2.0, 2.0), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")

    x = g.input("images", [1, 3, size, size])
    x = g.silu(g.op("Conv", x, g.normal((16, 3, 6, 6), (2.8 / 108) ** 0.5), g.normal((16,), 0.05, "bias"), kernel_shape=[6, 6], strides=[2, 2], pads=[2, 2, 2, 2]))
    x = csp(block(x, 16, 32, 3, 2), 32, 32, 1)
    p3 = csp(block(x, 32, 64, 3, 2), 64, 64, 2)
    p4 = csp(block(p3, 64, 128, 3, 2), 128, 128, 3)
    x = csp(block(p4, 128, 256, 3, 2), 256, 256, 1)
    pools = [block(x, 256, 128)]
    for _ in range(3):
        pools.append(g.op("MaxPool", pools[-1], kernel_shape=[5, 5], strides=[1, 1], pads=[2, 2, 2, 2]))
    x = block(g.op("Concat", *pools, axis=1), 512, 256)
    t5 = block(x, 256, 128)
    t4 = block(csp(g.op("Concat", up(t5), p4, axis=1), 256, 128, 1, False), 128, 64)
    n3 = csp(g.op("Concat", up(t4), p3, axis=1), 128, 64, 1, False)
    n4 = csp(g.op("Concat", block(n3, 64, 64, 3, 2), t4, axis=1), 128, 128, 1, False)
    n5 = csp(g.op("Concat", block(n4, 128, 128, 3, 2), t5, axis=1), 256, 256, 1, False)
    found, rows = [], 0
    anchors = {8: [10, 13, 16, 30, 33, 23], 16: [30, 61, 62, 45, 59, 119], 32: [116, 90, 156, 198, 373, 326]}
    for x, channels, stride in [(n3, 64, 8), (n4, 128, 16), (n5, 256, 32)]:
        n = size // stride
        x = g.conv(x, channels, 3 * (classes + 5), gain=1.0)
        x = g.op("Reshape", x, g.ints(1, 3, classes + 5, n, n))
        x = g.op("Sigmoid", g.op("Transpose", x, perm=[0, 1, 3, 4, 2]))
        xy, wh, rest = g.op("Split", x, g.ints(2, 2, classes + 1), outputs=3, axis=4)
        grid = np.stack(np.meshgrid(np.arange(n), np.arange(n)), -1).reshape(1, 1, n, n, 2).astype(np.float32) - 0.5
        xy = g.op("Mul", g.op("Add", g.op("Mul", xy, g.floats(2.0)), g.weight(np.broadcast_to(grid, (1, 3, n, n, 2)), "grid")), g.floats(float(stride)))
        boxes = np.array(anchors[stride], np.float32).reshape(1, 3, 1, 1, 2)
        wh = g.op("Mul", g.op("Pow", g.op("Mul", wh, g.floats(2.0)), g.floats(2.0)), g.weight(np.broadcast_to(boxes, (1, 3, n, n, 2)), "anchors"))
        found.append(g.op("Reshape", g.op("Concat", xy, wh, rest, axis=4), g.ints(1, -1, classes + 5)))
        rows += 3 * n * n
    g.output(g.op("Concat", *found, axis=1), [1, rows, classes + 5])
    return g


def transformer(pieces, layers=6, hidden=384, heads=12, seq=128, vocabulary=8192):
    """An encoder of MiniLM-L6's shape with the vocabulary cut. Gelu stands as Erf and products; with pieces,
    layer normalisation stands as means, differences and roots, as exporters below opset 17 write it."""
    g = Graph("transformer-pieces" if pieces else "transformer", 13 if pieces else 17)

    def linear(x, cin, cout, gain=1.0):
        return g.op("Add", g.normal((cout,), 0.02, "bias"), g.op("MatMul", x, g.normal((cin, cout), (gain / cin) ** 0.5)))

    def norm(x):
        scale = g.weight(g.rng.uniform(0.8, 1.2, hidden).astype(np.float32), "scale")
        shift = g.normal((hidden,), 0.05, "shift")
        if not pieces:
            return g.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=1e-12)
        d = g.op("Sub", x, g.op("ReduceMean", x, axes=[-1], keepdims=1))
        v = g.op("ReduceMean", g.op("Pow", d, g.floats(2.0)), axes=[-1], keepdims=1)
        d = g.op("Div", d, g.op("Sqrt", g.op("Add", v, g.floats(1e-12))))
        return g.op("Add", g.op("Mul", d, scale), shift)

    def split(x, perm):
        return g.op("Transpose", g.op("Reshape", x, g.ints(1, seq, heads, hidden // heads)), perm=perm)

    def gelu(x):
        y = g.op("Add", g.op("Erf", g.op("Div", x, g.floats(2 ** 0.5))), g.floats(1.0))
        return g.op("Mul", g.op("Mul", x, y), g.floats(0.5))

    ids = g.input("input_ids", [1, seq], TensorProto.INT64)
    mask = g.input("attention_mask", [1, seq], TensorProto.INT64)
    mask = g.op("Cast", g.op("Unsqueeze", g.op("Unsqueeze", mask, g.ints(1)), g.ints(2)), to=TensorProto.FLOAT)
    mask = g.op("Mul", g.op("Sub", g.floats(1.0), mask), g.floats(-10000.0))
    x = norm(g.op("Add", g.op("Gather", g.normal((vocabulary, hidden), 0.5, "words"), ids, axis=0), g.normal((1, seq, hidden), 0.2, "positions")))
    for _ in range(layers):
        q = split(linear(x, hidden, hidden, 2.0), [0, 2, 1, 3])
        k = split(linear(x, hidden, hidden, 2.0), [0, 2, 3, 1])
        v = split(linear(x, hidden, hidden), [0, 2, 1, 3])
        scores = g.op("Add", g.op("Div", g.op("MatMul", q, k), g.floats((hidden / heads) ** 0.5)), mask)
        y = g.op("Transpose", g.op("MatMul", g.op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
        y = linear(g.op("Reshape", y, g.ints(1, seq, hidden)), hidden, hidden)
        x = norm(g.op("Add", y, x))
        y = linear(gelu(linear(x, hidden, 4 * hidden)), 4 * hidden, hidden)
        x = norm(g.op("Add", y, x))
    g.output(x, [1, seq, hidden])
    return g


def main(out):
    out.mkdir(parents=True, exist_ok=True)
    for g in [resnet50(), efficientnet_lite0(), yolo(320), transformer(False), transformer(True)]:
        g.save(out)
    for width in [0.35, 0.5, 0.75, 1.0, 1.4]:
        mobilenetv2(width).save(out)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
