"""prune_light.py MCOMPRESS [NAME…]: the nine `light` graphs of the onnx package with seeded noise for weights, cut without
repair to 70 % of their nodes: ONNX Runtime gives the same for the cut model as for the first with zeros in what went.

What went is read off the numbers: a bias, a scale or a shift of the first model loses the elements that the cut one does
not have. Zeros are put there and into the rows of the weights with that bias, so that nothing reads a removed node."""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench"))
import light  # noqa: E402

MCOMPRESS = sys.argv[1]
KEEP = 0.7
TOLERANCE = 1e-4
ort.set_default_logger_severity(3)


def constants(model):
    found = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return {k: v for k, v in found.items() if v.dtype == np.float32}


def removed(first, cut):
    """By name of a vector of the first model: which of its elements are gone."""
    vectors = [v.ravel() for v in cut.values() if v.size == max(v.shape, default=0)]
    gone = {}
    for name, value in first.items():
        if value.ndim != 1 or value.size < 4:
            continue
        kept = [v for v in vectors if v.size <= value.size and np.isin(v, value).all()]
        if kept and kept[0].size < value.size:
            gone[name] = ~np.isin(value, kept[0])
    return gone


def zeroed(model, gone):
    """In place. Variances stay as they are; they divide."""
    graph = model.graph
    tensors = {t.name: t for t in graph.initializer}
    spared = {n.input[4] for n in graph.node if n.op_type == "BatchNormalization"}
    zeros = [(name, where) for name, where in gone.items() if name not in spared]
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm") and len(node.input) > 2 and node.input[2] in gone:
            zeros.append((node.input[1], gone[node.input[2]]))
    for name, where in zeros:
        value = numpy_helper.to_array(tensors[name]).copy()
        assert value.shape[0] == where.size, name
        value[where] = 0
        tensors[name].CopyFrom(numpy_helper.from_array(value, name))


def make_distinct(model, rng):
    """No vector has a number twice, so that elements are known by it."""
    variances = {n.input[4] for n in model.graph.node if n.op_type == "BatchNormalization"}
    for t in model.graph.initializer:
        value = numpy_helper.to_array(t)
        if value.dtype != np.float32 or value.ndim != 1:
            continue
        if t.name in variances:
            value = np.maximum(value, np.float32(0.5))
        while len(np.unique(value)) < value.size:
            value = value + rng.uniform(0, 0.1, value.shape).astype(np.float32)
        t.CopyFrom(numpy_helper.from_array(value, t.name))


def outputs(path, feeds):
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def check(path, work):
    model = light.refill(path, 1)
    make_distinct(model, np.random.default_rng(4))
    light.soften(model, 1, np.random.default_rng(5))
    first, cut, report = (os.path.join(work, f) for f in ("first.onnx", "cut.onnx", "cut.json"))
    onnx.save(model, first)
    done = subprocess.run([MCOMPRESS, "prune", first, "-o", cut, "--keep", str(KEEP), "--no-repair",
                           "--no-latency", "--report", report], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, after = constants(model), constants(onnx.load(cut))
    count = [sum(v.size for v in x.values()) for x in (before, after)]
    assert count[1] < 0.85 * count[0], count
    with open(report, encoding="utf-8") as f:
        rows = json.load(f)
    assert rows, report
    gone = removed(before, after)
    assert gone, "no vector lost anything"
    zeroed(model, gone)
    onnx.save(model, first)
    rng = np.random.default_rng(3)
    given = model.graph.input[0]
    shape = [d.dim_value for d in given.type.tensor_type.shape.dim]
    feeds = {given.name: rng.standard_normal(shape).astype(np.float32)}
    for want, got in zip(outputs(first, feeds), outputs(cut, feeds)):
        error = np.abs(want - got).max() / np.abs(want).max()
        assert want.shape == got.shape and error <= TOLERANCE and np.unique(want).size > 100, error
    print(f"{os.path.basename(path)}: {count[0]} to {count[1]} parameters, "
          f"{sum(int(g.sum()) for g in gone.values())} elements of {len(gone)} vectors gone, error {error:.2g}")


names = sys.argv[2:]
graphs = [p for p in light.paths() if not names or any(n in p for n in names)]
for graph in graphs:
    with tempfile.TemporaryDirectory() as folder:
        check(graph, folder)
assert names or len(graphs) == 9
