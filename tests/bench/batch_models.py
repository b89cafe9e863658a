#!/usr/bin/env python3
"""batch_models.py DIR: 200 models in folders below DIR, each with its samples beside it (STEM.npz). 20 of them are broken, all
in ways of their own; their names begin with 'bad'. The same bytes every time."""

import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = 10


def tensor(rng, name, *shape):
    scale = 1 / np.sqrt(np.prod(shape[1:]))
    return numpy_helper.from_array(rng.normal(0, scale, shape).astype(np.float32), name)


def finish(nodes, weights, shape):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", CLASSES])
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def dense(rng, inputs, hidden):
    """Dense layers with Relu between them."""
    nodes, weights, at, last = [], [], "x", inputs
    sizes = [*hidden, CLASSES]
    for i, size in enumerate(sizes):
        weights += [tensor(rng, f"w{i}", size, last), tensor(rng, f"b{i}", size)]
        out = "y" if i + 1 == len(sizes) else f"h{i}"
        nodes.append(helper.make_node("Gemm", [at, f"w{i}", f"b{i}"], [out], f"dense{i}", transB=1))
        if out != "y":
            nodes.append(helper.make_node("Relu", [out], [f"r{i}"], f"relu{i}"))
        at, last = f"r{i}", size
    return finish(nodes, weights, [inputs])


def conv(rng, channels, size):
    """Two convolutions, a mean over the picture, a dense layer."""
    a, b = channels
    weights = [tensor(rng, "w0", a, 1, 3, 3), tensor(rng, "w1", b, a, 3, 3), tensor(rng, "w2", CLASSES, b)]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c0"], "conv0", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c0"], ["r0"], "relu0"),
        helper.make_node("Conv", ["r0", "w1"], ["c1"], "conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("GlobalAveragePool", ["r1"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "w2"], ["y"], "dense", transB=1),
    ]
    return finish(nodes, weights, [1, size, size])


def shape_of(model):
    return [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:]]


def put(path, data):
    with open(path, "wb") as f:
        f.write(data)


def samples(rng, path, shape):
    x = rng.normal(size=(64, *shape)).astype(np.float32)
    np.savez(path, x=x, labels=rng.integers(0, CLASSES, 64))


def good(folder, i):
    rng = np.random.default_rng(i)
    if i % 3:
        hidden = [int(v) for v in rng.integers(40, 200, 1 + i % 4)]
        model = dense(rng, int(rng.integers(30, 120)), hidden)
    else:
        model = conv(rng, [int(v) for v in rng.integers(12, 48, 2)], int(rng.integers(8, 16)))
    stem = f"{folder}/model{i:03d}"
    onnx.save(model, stem + ".onnx")
    samples(rng, stem + ".npz", shape_of(model))


def changed(edit):
    model = dense(np.random.default_rng(1000), 40, [80, 60])
    edit(model)
    return model.SerializeToString()


def nan(model):
    w = numpy_helper.to_array(model.graph.initializer[0]).copy()
    w[3, 5] = np.nan
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(w, "w0"))


def short(model):
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:100]


def huge(model):
    model.graph.initializer[0].dims[0] = 1 << 60


def cycle(model):
    model.graph.node[0].input[0] = "h1"


def unknown(model):
    model.graph.node[1].op_type = "Rleu"


def nowhere(model):
    model.graph.node[2].input[1] = "nothing"


def twice(model):
    model.graph.node[1].output[0] = "h0"


def external(model):
    w = model.graph.initializer[0]
    w.ClearField("raw_data")
    w.data_location = TensorProto.EXTERNAL
    w.external_data.add(key="location", value="gone.bin")


def outside(model):
    external(model)
    model.graph.initializer[0].external_data[0].value = "../../../../etc/passwd"


def bad(folder):
    whole = changed(lambda m: None)
    noise = np.random.default_rng(7).integers(0, 256, 5000, dtype=np.uint8).tobytes()
    files = {
        "empty": b"",
        "text": b"this is no model\n",
        "noise": noise,
        "zeros": bytes(4096),
        "zip": b"PK\x03\x04" + noise,
        "cut1": whole[:1],
        "cut2": whole[:50],
        "cut3": whole[: len(whole) // 2],
        "cut4": whole[:-1],
        "tail": whole + b"\xff\xff\xff",
        "nan": changed(nan),
        "short": changed(short),
        "huge": changed(huge),
        "cycle": changed(cycle),
        "unknown": changed(unknown),
        "nowhere": changed(nowhere),
        "twice": changed(twice),
        "external": changed(external),
        "outside": changed(outside),
        "nodata": whole,
    }
    assert len(files) == 20
    for name, data in files.items():
        put(f"{folder}/bad-{name}.onnx", data)
        if name != "nodata":
            samples(np.random.default_rng(5), f"{folder}/bad-{name}.npz", [40])


def main():
    root = sys.argv[1]
    for i in range(180):
        folder = f"{root}/{('a', 'b c', 'd/e')[i % 3]}"
        os.makedirs(folder, exist_ok=True)
        good(folder, i)
    os.makedirs(f"{root}/broken", exist_ok=True)
    bad(f"{root}/broken")


main()
