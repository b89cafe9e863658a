"""light_models.py MCOMPRESS [NAME…]: the nine graphs of the onnx package's `light` folder, against ONNX Runtime.

As shipped all their weights are one number, and so are their outputs: agreeing proves nothing. Here they get
seeded noise, scaled by fan-in; the largest matrices are a block of noise, tiled, so that no file grows past
some 100 MB. Outputs must agree to 1e-3 of the largest one, and in the largest one's place."""
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

onnxruntime.set_default_logger_severity(3)
MCOMPRESS = sys.argv[1]
FOLDER = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data", "light")
LARGE = 8 << 20  # elements


def role_of(name, users):
    """What a constant is for: (operator, number of its input), seen through Unsqueeze and Reshape."""
    for node, slot in users.get(name, ()):
        if node.op_type in ("Unsqueeze", "Reshape") and slot == 0:
            return role_of(node.output[0], users)
        return node.op_type, slot
    return None, 0


def noise(shape, role, rng):
    x = rng.standard_normal(shape, dtype=np.float32)
    operator, slot = role
    if operator in ("Conv", "Gemm", "MatMul") and slot == 1:
        fan_in = np.prod(shape[1:])
        return x * np.float32(np.sqrt(2 / fan_in))
    if operator == "BatchNormalization" and slot == 4:
        return 0.5 + np.abs(x)  # a variance
    if (operator == "BatchNormalization" and slot == 1) or operator == "Mul":
        return 1 + x / 5
    return x / 10


def tiled(name, shape, role, rng):
    """Nodes and initializers that make a large matrix of a small block."""
    copies = next(k for k in (16, 8, 4, 2) if shape[0] % k == 0)
    block = noise((shape[0] // copies, *shape[1:]), role, rng)
    repeats = np.ones(len(shape), np.int64)
    repeats[0] = copies
    return (helper.make_node("Tile", [name + "/block", name + "/repeats"], [name]),
            [numpy_helper.from_array(block, name + "/block"),
             numpy_helper.from_array(repeats, name + "/repeats")])


def refill(model, rng):
    graph = model.graph
    users = {}
    for node in graph.node:
        for slot, name in enumerate(node.input):
            users.setdefault(name, []).append((node, slot))
    old = {t.name: t for t in graph.initializer}
    nodes, tensors = [], []
    for node in graph.node:
        if node.op_type != "ConstantOfShape":
            nodes.append(node)
            continue
        name = node.output[0]
        shape = tuple(numpy_helper.to_array(old.pop(node.input[0])))
        role = role_of(name, users)
        if np.prod(shape) > LARGE:
            tile, parts = tiled(name, shape, role, rng)
            nodes.append(tile)
            tensors += parts
        else:
            tensors.append(numpy_helper.from_array(noise(shape, role, rng), name))
    for name, tensor in old.items():
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.float32 and role_of(name, users)[0] is not None:
            value = noise(value.shape, role_of(name, users), rng)
        tensors.append(numpy_helper.from_array(value, name))
    names = {t.name for t in graph.initializer}
    inputs = [i for i in graph.input if i.name not in names]
    del graph.node[:], graph.initializer[:], graph.input[:]
    graph.node.extend(nodes)
    graph.initializer.extend(tensors)
    graph.input.extend(inputs)
    for node in nodes:  # what Softmax makes of large numbers is 0 or 1
        if node.op_type == "Softmax":
            graph.output.append(helper.make_tensor_value_info(node.input[0], 1, None))
    model.ir_version = 4  # initializers need not be inputs


def check(file, work):
    model = onnx.load(os.path.join(FOLDER, file))
    rng = np.random.default_rng(5)
    refill(model, rng)
    path = os.path.join(work, file)
    onnx.save(model, path)
    feeds = {}
    for value in model.graph.input:
        dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
        integer = value.type.tensor_type.elem_type == onnx.TensorProto.INT64
        feeds[value.name] = (np.array([1, dims[0]]) if integer else rng.standard_normal(dims)).astype(
            np.int64 if integer else np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = {i.name for i in session.get_inputs()}
    want = session.run(None, {k: v for k, v in feeds.items() if k in names})
    data, out = os.path.join(work, "x.npz"), os.path.join(work, "y.npz")
    np.savez(data, **{k + "_0": v for k, v in feeds.items()})
    done = subprocess.run([MCOMPRESS, "eval", path, "--data", data, "--save-outputs", out, "-q"],
                          capture_output=True, text=True, check=False)
    os.remove(path)
    if done.returncode:
        return done.stderr.strip()
    got = np.load(out)
    for output, w in zip(session.get_outputs(), want):
        g = got[output.name + "_0"]
        error = np.abs(g - w).max() / np.abs(w).max()
        if g.shape != w.shape or not error <= 1e-3 or g.argmax() != w.argmax() or w.std() == 0:
            return f"{output.name}: relative error {error:.3g}, spread {w.std():.3g}"
        print(f"{file} {output.name}: relative error {error:.2g}, outputs {w.min():.3g} to {w.max():.3g}")
    return None


bad = 0
files = [f for f in sorted(os.listdir(FOLDER)) if f.endswith(".onnx")]
for name in files:
    if len(sys.argv) > 2 and not any(word in name for word in sys.argv[2:]):
        continue
    with tempfile.TemporaryDirectory() as folder:
        problem = check(name, folder)
    if problem:
        print(f"{name}: {problem}")
        bad += 1
sys.exit(bad > 0 or len(files) != 9)
