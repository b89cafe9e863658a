"""xnor_functions.py XNOR_MODEL OP_CASE: layers of binary weights that are functions of ai.mcompress, in ONNX Runtime and in
mcompress, as calls, inlined and expanded, against their definition in numpy. Products of signs are equal to the bit where
sums are integers; products of activations that are rounded to 8 bits agree with the definition of that rounding, and with
floats within 2 % of the largest output."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ops"))
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime as ort  # noqa: E402
from onnx import numpy_helper  # noqa: E402

import cases  # noqa: E402

ort.set_default_logger_severity(3)


def sums(x, w, a):
    """Products of x and w, padding 0, in float64."""
    x, w = x.astype(np.float64), w.astype(np.float64)
    if w.ndim == 2:
        return x @ w.T
    d = w.ndim - 2
    stride, dil = a.get("strides", [1] * d), a.get("dilations", [1] * d)
    pads = a.get("pads", [0] * 2 * d)
    x = np.pad(x, [(0, 0), (0, 0)] + [(pads[i], pads[i + d]) for i in range(d)])
    out = [(x.shape[i + 2] - (w.shape[i + 2] - 1) * dil[i] - 1) // stride[i] + 1 for i in range(d)]
    y = np.zeros([x.shape[0], w.shape[0]] + out)
    for tap in np.ndindex(*w.shape[2:]):
        at = tuple(slice(tap[i] * dil[i], tap[i] * dil[i] + (out[i] - 1) * stride[i] + 1, stride[i])
                   for i in range(d))
        y += np.einsum("nc...,mc->nm...", x[(slice(None), slice(None)) + at], w[(...,) + tap])
    return y


def rounded(x):
    """DynamicQuantizeLinear, and back."""
    lo, hi = min(0, x.min()), max(0, x.max())
    step = np.float32((hi - lo) / np.float32(255))
    zero = np.clip(np.rint(-lo / step), 0, 255)
    return (np.clip(np.rint(x / step) + zero, 0, 255) - zero).astype(np.float64), step


def defined(node, x, tensors):
    """(what it has to be, what it stands for) in words, not by the body."""
    a = {i.name: list(i.ints) for i in node.attribute}
    signs = node.op_type.startswith("Xnor")
    p, s, b = (tensors[i] for i in node.input[2 if signs else 1:][:3])
    w = np.unpackbits(p, axis=1, bitorder="little")[:, :a["columns"][0]].astype(np.float64) * 2 - 1
    w = w.reshape(a.get("shape", w.shape))
    if signs:
        y = sums(np.where(x < tensors[node.input[1]], -1, 1), w, a).astype(np.float32) * s + b
        return y, y
    q, step = rounded(x)
    return (sums(q, w, a) * (step * s) + b).astype(np.float32), sums(x, w, a) * s + b


def run(model, feeds, level):
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    return ort.InferenceSession(model.SerializeToString(), options).run(None, feeds)


def main():
    tool, op_case = sys.argv[1:3]
    rng = np.random.default_rng(5)
    bad, folders, calls, exact = 0, [], {}, []
    levels = [ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_ALL]
    with tempfile.TemporaryDirectory() as work:
        for opset in (13, 21):
            for how in ("call", "inline", "expand"):
                path = os.path.join(work, f"{how}{opset}.onnx")
                subprocess.run([tool, path, str(opset), how], check=True)
                model = onnx.load(path)
                onnx.checker.check_model(model, full_check=True)
                if how == "call":
                    calls = {n.output[0]: n for n in model.graph.node}
                    assert len({n.op_type for n in model.graph.node}) == 4 == len(model.functions)
                    feeds = {}
                    for i in model.graph.input:
                        shape = [d.dim_value or 2 for d in i.type.tensor_type.shape.dim]
                        feeds[i.name] = rng.standard_normal(shape).astype(np.float32)
                    first = next(iter(feeds.values()))
                    first.flat[0], first.flat[1] = -0.0, np.nan  # a sign is 1 unless it is below
                    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
                    want = [defined(calls[o.name], feeds[calls[o.name].input[0]], tensors)
                            for o in model.graph.output]
                    exact = [calls[o.name].op_type.startswith("Xnor") for o in model.graph.output]
                else:
                    assert not model.functions and all(not n.domain for n in model.graph.node)
                for level in levels:
                    got = run(model, feeds, level)
                    for out, g, (w, real), e in zip(model.graph.output, got, want, exact):
                        far = np.abs(g - (real if how == "expand" else w)).max() / np.abs(w).max()
                        loss = np.abs(g - real).max() / np.abs(real).max()
                        if g.shape != w.shape or not far <= (0 if e and how != "expand" else 1e-5) or \
                                not loss <= 0.02:
                            print(opset, how, level, out.name, calls[out.name].op_type, far, loss)
                            bad += 1
                folders.append(os.path.join(work, f"{how}{opset}"))
                cases.write(folders[-1], model, list(feeds.values()),
                            [real.astype(np.float32) if how == "expand" else w for w, real in want], 1e-5, 1e-5)
        result = cases.run(op_case, work, folders)
    for name, (verdict, reason) in result.items():
        print(name, verdict, reason)
    return bool(bad) or any(verdict != "pass" for verdict, _ in result.values())


if __name__ == "__main__":
    sys.exit(main())
