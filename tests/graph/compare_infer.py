"""Inference against two others: with a batch, every value has the type and shape it has when onnxruntime runs
the model; without, every dimension that onnx.shape_inference knows is the same, by value or by name.

compare_infer.py PRINT_INFER MODEL…"""
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime

BATCH = 3
TYPES = {"float32": "float", "float64": "double"}


def ours(program, path, batch):
    text = subprocess.run([program, path, str(batch)], check=True, capture_output=True,
                          text=True).stdout
    rows = {}
    for line in text.splitlines():
        name, dtype, dims = line.split("\t")
        rows[name] = (dtype, None if dims == "unknown" else [d for d in dims.split(",") if d])
    return rows


def executed(path):
    model = onnx.load(path)
    known = {o.name for o in model.graph.output}
    for node in model.graph.node:
        for name in node.output:
            if name and name not in known:
                model.graph.output.append(onnx.ValueInfoProto(name=name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    shape = [d if isinstance(d, int) else BATCH for d in source.shape]
    names = [o.name for o in session.get_outputs()]
    out = session.run(names, {source.name: np.zeros(shape, np.float32)})
    return {n: (TYPES.get(str(v.dtype), str(v.dtype)), [str(d) for d in v.shape])
            for n, v in zip(names, out)}


def inferred(path):
    model = onnx.shape_inference.infer_shapes(onnx.load(path), data_prop=True, strict_mode=True)
    rows = {}
    for v in [*model.graph.value_info, *model.graph.output]:
        t = v.type.tensor_type
        if t.HasField("shape"):
            rows[v.name] = [str(d.dim_value) if d.HasField("dim_value") else d.dim_param
                            for d in t.shape.dim]
    return rows


program, *paths = sys.argv[1:]
wrong = checked = 0
for path in paths:
    mine, theirs = ours(program, path, BATCH), executed(path)
    for name, want in theirs.items():
        checked += 1
        if mine.get(name) != want:
            wrong += 1
            print(f"{path}: '{name}' is {want}, inferred {mine.get(name)}")
    mine = ours(program, path, 0)
    for name, dims in inferred(path).items():
        got = mine.get(name, (None, None))[1]
        checked += 1
        if got is None or len(got) != len(dims) or any(
                w and not w.startswith("unk__") and g != w for g, w in zip(got, dims)):
            wrong += 1
            print(f"{path}: '{name}' is {dims}, inferred {got}")
print(f"{checked} shapes compared, {wrong} wrong")
sys.exit(wrong != 0 or checked == 0)
