"""Quantises MobileNetV2 with ONNX Runtime: weights int8 for each channel, activations of 8 bits.

    python mobilenetv2.py DATA OUT

DATA is the folder with mobilenetv2.onnx and images/*.rgb (224×224×3 bytes), which calibrate; OUT gets
mobilenetv2-qdq-u8.onnx, mobilenetv2-qdq-s8.onnx (QDQ) and mobilenetv2-qop.onnx (operators on integers).
Needs the packages onnx and onnxruntime. It prints the first class of each photo by the graph as it stands,
without optimisations: the integer kernels of ONNX Runtime, which QOperator models always run, saturate on
processors without VNNI.
"""
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def picture(path):
    x = np.fromfile(path, np.uint8).reshape(224, 224, 3).astype(np.float32) / 255
    return ((x - MEAN) / STD).transpose(2, 0, 1)[None].astype(np.float32)


class Photos(CalibrationDataReader):
    def __init__(self, name, files):
        self.left = iter([{name: picture(f)} for f in files])

    def get_next(self):
        return next(self.left, None)


def main(data, out):
    files = sorted((data / "images").glob("*.rgb"))
    source = data / "mobilenetv2.onnx"
    name = onnx.load(source).graph.input[0].name
    out.mkdir(parents=True, exist_ok=True)
    prepared = out / "prepared.onnx"
    quant_pre_process(str(source), str(prepared))
    for target, form, activations in [
        ("qdq-u8", QuantFormat.QDQ, QuantType.QUInt8),
        ("qdq-s8", QuantFormat.QDQ, QuantType.QInt8),
        ("qop", QuantFormat.QOperator, QuantType.QUInt8),
    ]:
        path = out / f"mobilenetv2-{target}.onnx"
        quantize_static(str(prepared), str(path), Photos(name, files), quant_format=form, per_channel=True,
                        activation_type=activations, weight_type=QuantType.QInt8)
        plain = ort.SessionOptions()
        plain.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(str(path), plain)
        for f in files:
            logits = session.run(None, {name: picture(f)})[0].ravel()
            print(path.name, f.stem, int(logits.argmax()), f"{logits.max():.3f}")
    prepared.unlink()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
