"""The digit classifier: a small network of MobileNet blocks, and its plain ONNX form.

The ONNX graph is written from the trained weights, node by node, with BatchNorm folded into the
convolutions: so it holds Conv, Clip, Add, GlobalAveragePool, Flatten and Gemm and nothing else, its
names can be read, and the same weights give the same bytes whichever exporter PyTorch has this year.
"""

from collections import OrderedDict

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

OPSET = 17
CLASSES = 10
INPUT = 32

# Input = (rgb/255 - MEAN) / STD: the rounded mean and standard deviation of the training pictures.
MEAN = (0.44, 0.42, 0.42)
STD = (0.26, 0.25, 0.25)

# stem: channels of the first convolution (3×3, stride 2).
# blocks: (expansion, channels, stride). head: channels of the last pointwise convolution.
SPECS = {
    "v1": {"stem": 8, "blocks": [(2, 12, 1), (3, 20, 2), (3, 20, 1), (3, 32, 2), (3, 32, 1)], "head": 64},
    "v2": {
        "stem": 16,
        "blocks": [(1, 16, 1), (3, 24, 2), (4, 24, 1), (4, 40, 2), (4, 40, 1), (4, 40, 1)],
        "head": 96,
    },
}


class Conv(nn.Sequential):
    """Convolution, BatchNorm and, unless linear, ReLU6."""

    def __init__(self, inputs, outputs, kernel=1, stride=1, groups=1, linear=False):
        layers = [
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        super().__init__(*layers, *([] if linear else [nn.ReLU6(inplace=True)]))
        self.linear = linear

    def folded(self):
        """Weights and bias of the one convolution that equals convolution and BatchNorm."""
        conv, norm = self[0], self[1]
        scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
        weight = conv.weight.double() * scale[:, None, None, None]
        bias = norm.bias.double() - norm.running_mean.double() * scale
        return weight.float().detach().numpy(), bias.float().detach().numpy()


class Block(nn.Module):
    """Inverted residual: expand (1×1; not when expansion is 1), filter each channel (3×3), project (1×1, linear)."""

    def __init__(self, inputs, outputs, expansion, stride):
        super().__init__()
        inner = inputs * expansion
        parts = {"expand": Conv(inputs, inner)} if expansion > 1 else {}
        parts["depthwise"] = Conv(inner, inner, 3, stride, groups=inner)
        parts["project"] = Conv(inner, outputs, linear=True)
        self.parts = nn.Sequential(OrderedDict(parts))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        y = self.parts(x)
        return x + y if self.residual else y


class Digits(nn.Module):
    def __init__(self, version):
        super().__init__()
        spec = SPECS[version]
        self.stem = Conv(3, spec["stem"], 3, 2)
        channels, blocks = spec["stem"], []
        for expansion, outputs, stride in spec["blocks"]:
            blocks.append(Block(channels, outputs, expansion, stride))
            channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = Conv(channels, spec["head"])
        self.drop = nn.Dropout(0.1)
        self.classify = nn.Linear(spec["head"], CLASSES)

    def forward(self, x):
        x = self.head(self.blocks(self.stem(x)))
        return self.classify(self.drop(x.mean((2, 3))))


class _Writer:
    """Collects nodes; each value is named after the layer that makes it."""

    def __init__(self):
        self.nodes, self.weights = [], []

    def constant(self, name, array):
        self.weights.append(numpy_helper.from_array(np.array(array, np.float32, order="C"), name))
        return name

    def node(self, op, name, inputs, output=None, **attributes):
        output = output or name
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def conv(self, name, layer, x):
        weight, bias = layer.folded()
        conv = layer[0]
        pad = conv.padding[0]
        x = self.node(
            "Conv", f"{name}/conv",
            [x, self.constant(f"{name}/weight", weight), self.constant(f"{name}/bias", bias)],
            kernel_shape=list(conv.kernel_size), strides=list(conv.stride), pads=[pad] * 4, group=conv.groups,
        )
        return x if layer.linear else self.node("Clip", f"{name}/relu6", [x, "relu6/min", "relu6/max"])


def to_onnx(model, version) -> onnx.ModelProto:
    model = model.eval()
    w = _Writer()
    w.constant("relu6/min", 0.0)
    w.constant("relu6/max", 6.0)
    x = w.conv("stem", model.stem, "image")
    for i, block in enumerate(model.blocks, 1):
        y = x
        for part, layer in block.parts.named_children():
            y = w.conv(f"block{i}/{part}", layer, y)
        x = w.node("Add", f"block{i}/add", [x, y]) if block.residual else y
    x = w.conv("head", model.head, x)
    x = w.node("GlobalAveragePool", "pool", [x])
    x = w.node("Flatten", "features", [x], axis=1)
    weight = w.constant("classify/weight", model.classify.weight.detach().numpy())
    bias = w.constant("classify/bias", model.classify.bias.detach().numpy())
    w.node("Gemm", "classify", [x, weight, bias], output="logits", transB=1)
    graph = helper.make_graph(
        w.nodes, f"digits-{version}",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, INPUT, INPUT])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        w.weights,
    )
    exported = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8,
        producer_name="isomer examples/meter", producer_version=version,
    )
    exported.doc_string = "Reads one drum of a utility meter: RGB/255 normalised with mean and std, 32x32 -> 10 logits."
    exported.metadata_props.extend(
        [
            onnx.StringStringEntryProto(key="image.mean", value=",".join(map(str, MEAN))),
            onnx.StringStringEntryProto(key="image.std", value=",".join(map(str, STD))),
        ]
    )
    onnx.checker.check_model(exported, full_check=True)
    return exported
