"""quant_dynamic.py MCOMPRESS: forms that need no calibration, in ONNX Runtime.

Recurrent layers of every operator, direction and way of writing them, matrix products, weights in Constant nodes, in branches
of an If, in halves, opset 7 to 18: what `quant` writes loads, keeps what floats give, is what mcompress itself computes, has
the bytes of integers, and becomes the operators that make it fast.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T, helper as h, numpy_helper as nh

MCOMPRESS = sys.argv[1]
RNG = np.random.default_rng(7)
WORK = tempfile.mkdtemp()
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def at(name):
    return os.path.join(WORK, name)


def draw(*shape, scale=1.0):
    return (RNG.standard_normal(shape) * scale).astype(np.float32)


def save(nodes, inputs, outputs, constants, opset, in_nodes=False):
    """Constants as initializers, or in Constant nodes in front."""
    ir = 3 if opset < 9 else 8
    info = lambda name, dims: h.make_tensor_value_info(name, T.FLOAT, dims)  # noqa: E731
    ins, inits = [info(*i) for i in inputs], []
    for name, a in constants.items():
        if in_nodes:
            nodes = [h.make_node("Constant", [], [name], value=nh.from_array(a))] + nodes
        else:
            inits.append(nh.from_array(a, name))
            if ir < 4:
                ins.append(h.make_tensor_value_info(name, nh.from_array(a).data_type, a.shape))
    g = h.make_graph(nodes, "g", ins, [info(*o) for o in outputs], inits)
    path = at("in.onnx")
    onnx.save(h.make_model(g, opset_imports=[h.make_opsetid("", opset)], ir_version=ir), path)
    return path


def cell(op, dirs, hidden, inputs, bias=True, state=True, opset=14, in_nodes=False, half=False, direction=None, **attrs):
    rows = GATES[op] * hidden
    k = {"W": draw(dirs, rows, inputs, scale=inputs**-0.5), "R": draw(dirs, rows, hidden, scale=0.7 * hidden**-0.5)}
    names = ["x", "W", "R", "", "", ""]
    if bias:
        k["B"], names[3] = draw(dirs, 2 * rows, scale=0.3), "B"
    if attrs.pop("lens", False):
        k["lens"], names[4] = np.array([3, 5], np.int32), "lens"
    if state:
        k["H"], names[5] = draw(dirs, 2, hidden, scale=0.3), "H"
    if op == "LSTM":
        names += ["C" if state else "", ""]
        if state:
            k["C"] = draw(dirs, 2, hidden, scale=0.5)
        if attrs.pop("peep", False):
            k["P"], names[7] = draw(dirs, 3 * hidden, scale=0.3), "P"
    attrs["direction"] = direction or ("bidirectional" if dirs == 2 else "forward")
    outs = ["Y", "Yh"] + ["Yc"] * (op == "LSTM")
    if half:
        k = {n: a.astype(np.float16) if a.dtype == np.float32 else a for n, a in k.items()}
        nodes = [h.make_node("Cast", ["x0"], ["x"], to=T.FLOAT16),
                 h.make_node(op, names, [o + "_half" for o in outs], hidden_size=hidden, **attrs)]
        nodes += [h.make_node("Cast", [o + "_half"], [o], to=T.FLOAT) for o in outs]
    else:
        nodes = [h.make_node(op, names, outs, hidden_size=hidden, **attrs)]
    dims = [5, dirs, 2, hidden]
    return save(nodes, [("x0" if half else "x", [5, 2, inputs])],
                [(o, dims if o == "Y" else dims[1:]) for o in outs], k, opset, in_nodes)


def dense(rank, opset=13, in_nodes=False, gemm=False):
    k = {"w": draw(96, 64, scale=0.1), "b": draw(64), "v": draw(48, 64, scale=0.1)}
    shape = [2, 5, 96] if rank == 3 else [5, 96]
    if gemm:
        nodes = [h.make_node("Gemm", ["x", "w", "b"], ["h"]), h.make_node("Tanh", ["h"], ["r"]),
                 h.make_node("Gemm", ["r", "v", "c"], ["Y"], transB=1, alpha=0.5, beta=2.0)]
        k["c"] = draw(48)
    else:
        nodes = [h.make_node("MatMul", ["x", "w"], ["m"]), h.make_node("Add", ["m", "b"], ["h"]),
                 h.make_node("Tanh", ["h"], ["r"]), h.make_node("MatMul", ["r", "v"], ["Y"])]
        k["v"] = np.ascontiguousarray(k["v"].T)
    return save(nodes, [("x", shape)], [("Y", shape[:-1] + [48])], k, opset, in_nodes)


def branches(opset=16):
    """An LSTM in each branch of an If; one has its weights in the graph outside."""
    hidden = 40
    k = lambda: {"W": draw(1, 160, 30, scale=0.2), "R": draw(1, 160, hidden, scale=0.1)}  # noqa: E731
    outer, graphs = k(), []
    for own in (False, True):
        inits = [nh.from_array(a, n + "_own") for n, a in k().items()] if own else []
        end = "_own" if own else ""
        graphs.append(h.make_graph([h.make_node("LSTM", ["x", "W" + end, "R" + end], ["y" + end], hidden_size=hidden)], "b", [],
                                   [h.make_tensor_value_info("y" + end, T.FLOAT, [5, 1, 2, hidden])], inits))
    nodes = [h.make_node("ReduceMax", ["x"], ["m"], keepdims=0), h.make_node("Greater", ["m", "zero"], ["c"]),
             h.make_node("If", ["c"], ["Y"], then_branch=graphs[0], else_branch=graphs[1])]
    return save(nodes, [("x", [5, 2, 30])], [("Y", [5, 1, 2, hidden])], {**outer, "zero": np.float32(0)}, opset)


def ort(path, feeds, want_ops=None):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = at("optimised.onnx")
    s = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    ops = [n.op_type for n in onnx.load(at("optimised.onnx"), load_external_data=False).graph.node]
    return s.run(None, feeds), ops


def distance(a, b):
    return max(float(np.abs(x - y).max() / np.abs(y).max()) for x, y in zip(a, b))


def ours(path, feeds):
    np.savez(at("data.npz"), **feeds)
    done = subprocess.run([MCOMPRESS, "eval", path, "--data", at("data.npz"), "--save-outputs", at("out.npz")],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(at("out.npz")) as z:
        return {n.removesuffix("_0"): z[n] for n in z}


def check(what, path, form, *options, near=0.05, same=1e-4, ratio=None, has=(), lacks=("DequantizeLinear",)):
    out, model = at("out.onnx"), onnx.load(path)
    done = subprocess.run([MCOMPRESS, "quant", path, "--form", form, "-o", out, *options], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, (what, form, done.stdout, done.stderr)
    i = model.graph.input[0]
    feeds = {i.name: draw(*[d.dim_value for d in i.type.tensor_type.shape.dim])}
    want, _ = ort(path, feeds)
    got, ops = ort(out, feeds)
    d = distance(got, want)
    assert d <= near, (what, form, options, d)
    if ratio:
        share = os.path.getsize(path) / os.path.getsize(out)
        assert share >= ratio, (what, form, share)
    for op in has:
        assert op in ops, (what, form, op, ops)
    for op in lacks:
        assert op not in ops, (what, form, op, ops)
    if same:
        mine = ours(out, feeds)
        d = distance([mine[o.name].reshape(w.shape) for o, w in zip(model.graph.output, want)], got)
        assert d <= same, (what, form, options, "not what ONNX Runtime gives", d)
    return ops


count = 0
for op in GATES:
    for dirs, direction in ((1, "forward"), (1, "reverse"), (2, None)):
        bias, state, opset = ((True, True, 14), (False, False, 7), (True, False, 11))[(count + count // 3) % 3]
        more = {"linear_before_reset": int(state)} if op == "GRU" else {}
        path = cell(op, dirs, 70, 50, direction=direction, bias=bias, state=state, opset=opset, in_nodes=bias and not state, **more)
        check((op, direction, opset), path, "weight", near=0.08, ratio=2.5 if op == "RNN" else 3.2, has=[op])
        half = "bf16" if opset > 7 else "fp16"  # bf16 takes a Cast of opset 13
        check((op, direction, opset), path, half, near=0.03 if opset > 7 else 0.003, ratio=1.8, has=[op])
        hidden = {"LSTM": 264, "GRU": 300, "RNN": 520}[op]  # large enough to be written out
        for after in ((0, 1) if op == "GRU" else (None,)):
            more = {} if after is None else {"linear_before_reset": after}
            path = cell(op, dirs, hidden, 20, direction=direction, state=after != 0, **more)
            check((op, direction, "large"), path, "dynamic", same=0.01, ratio=3.4, has=["Scan"], lacks=[op])
            if op == "LSTM":
                check((op, direction, "large"), path, "dynamic", "--runtime", "ort", same=0.02, ratio=3.4,
                      has=["DynamicQuantizeLSTM"])
        count += 1
for more in ({"clip": 1.5}, {"lens": True}, {"peep": True}, {"half": True}):
    path = cell("LSTM", 2, 264, 40, **more)
    for form in "weight", "dynamic":
        check(more, path, form, same=0.01 if form == "dynamic" else 5e-3 if "half" in more else 1e-4,
              has=["LSTM"] if form == "weight" or "half" not in more else ["Scan"], lacks=["DequantizeLinear"])
        count += 1
check("branches", branches(), "weight", ratio=3, has=["If"])
for rank in 2, 3:
    for opset, in_nodes in ((13, False), (7, True), (18, False)):
        path = dense(rank, opset, in_nodes)
        check(("MatMul", rank, opset), path, "dynamic", same=0.01, ratio=3, has=["DynamicQuantizeMatMul"], lacks=["MatMul", "Gemm"])
        check(("MatMul", rank, opset), path, "fp16", near=0.003, ratio=1.8)
        count += 2
path = dense(2, gemm=True)
check("Gemm", path, "dynamic", same=0.01, ratio=3, has=["DynamicQuantizeMatMul"], lacks=["Gemm"])
print(f"{count} models")
