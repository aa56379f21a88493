"""Writes the models of this folder, an input and what TensorFlow Lite's interpreter computes from it.

    pip install tensorflow-cpu==2.21.0 && python generate.py

Weights are seeded, so a run changes nothing but what TensorFlow changed. NAME.x and NAME.y hold f32,
little endian; those of a quantised model are the values that its integers stand for.
"""
import numpy as np
import tensorflow as tf

nn = tf.nn
random = np.random.default_rng(1)


def weights(*shape):
    return tf.constant(random.normal(size=shape).astype(np.float32) * 0.5)


def net():
    """A classifier of pictures: each kind of convolution, with padding of both kinds."""
    w = [weights(3, 3, 3, 8), weights(8), weights(3, 3, 8, 1), weights(8), weights(1, 1, 8, 8), weights(8), weights(8, 5), weights(5)]

    def run(x):
        x = nn.relu6(nn.conv2d(x, w[0], 2, "SAME") + w[1])
        y = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
        y = nn.relu6(nn.depthwise_conv2d(y, w[2], [1, 1, 1, 1], "VALID") + w[3])
        x = x + (nn.conv2d(y, w[4], 1, "VALID") + w[5])
        x = nn.max_pool2d(x, 2, 2, "SAME")
        return nn.softmax(tf.matmul(tf.reduce_mean(x, [1, 2]), w[6]) + w[7])

    return run, [1, 11, 10, 3]


def parts():
    """What a classifier does not have: upward convolutions, resizing, parts and their union."""
    w = [weights(3, 3, 4, 6), weights(4), weights(3, 3, 3, 4), weights(4)]

    def run(x):
        up = nn.conv2d_transpose(x, w[0], [1, 8, 6, 4], 2, "SAME") + w[1]
        near = tf.raw_ops.ResizeNearestNeighbor(images=x, size=[8, 6], half_pixel_centers=True)
        line = tf.raw_ops.ResizeBilinear(images=x, size=[8, 6], align_corners=True)
        a, b = near[:, :, :, :4], near[:, :, :, 4:]
        c = nn.leaky_relu(line[:, ::-1, :, 1:5], 0.1)
        y = tf.concat([nn.gelu(up + a), c, b[:, :, :, 0:1] * 2.0], 3)
        y = nn.space_to_depth(tf.sigmoid(y), 2)
        return tf.transpose(tf.stack([y, tf.exp(-y)], 1), [0, 1, 4, 2, 3])

    return run, [1, 4, 3, 6]


def convert(run, shape, kind, cases):
    function = tf.function(run, input_signature=[tf.TensorSpec(shape, tf.float32)]).get_concrete_function()
    c = tf.lite.TFLiteConverter.from_concrete_functions([function])
    if kind != "f32":
        c.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "f16":
        c.target_spec.supported_types = [tf.float16]
    if kind == "int8":
        c.representative_dataset = lambda: ([x] for x in cases)
        c.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        c.inference_input_type = c.inference_output_type = tf.int8
    return c.convert()


def write(name, model, x):
    it = tf.lite.Interpreter(model_content=model)
    it.allocate_tensors()
    (i,), (o,) = it.get_input_details(), it.get_output_details()
    scale, zero = i["quantization"]
    if scale:
        q = np.clip(np.round(x / scale) + zero, -128, 127).astype(np.int8)
        x = (q.astype(np.float32) - zero) * np.float32(scale)
    it.set_tensor(i["index"], q if scale else x)
    it.invoke()
    y = it.get_tensor(o["index"])
    scale, zero = o["quantization"]
    if scale:
        y = (y.astype(np.float32) - zero) * np.float32(scale)
    open(name + ".tflite", "wb").write(model)
    x.astype("<f4").tofile(name + ".x")
    y.astype("<f4").tofile(name + ".y")


for make in net, parts:
    run, shape = make()
    cases = [random.normal(size=shape).astype(np.float32) for _ in range(8)]
    for kind in ("f32", "f16", "int8") if make is net else ("f32", "int8"):
        write(make.__name__ + "." + kind, convert(run, shape, kind, cases), cases[0])

# One of which three operators cannot be compiled.
function = tf.function(
    lambda x: tf.pad(tf.cumsum(tf.cumsum(x, 0), 1), [[0, 0], [1, 1]], "SYMMETRIC"),
    input_signature=[tf.TensorSpec([2, 3], tf.float32)],
).get_concrete_function()
open("beyond.tflite", "wb").write(tf.lite.TFLiteConverter.from_concrete_functions([function]).convert())
