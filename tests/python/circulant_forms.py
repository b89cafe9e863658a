"""circulant_forms.py MCOMPRESS MODELS: models with circulant weights as the pass writes them, in ONNX Runtime.

Small layers of every kind: the pass without samples has to find the nearest blocks, means along wrapped diagonals, which are
written here once more in numpy; ONNX Runtime has to give the same for the calls, for the same inlined (--inline) and as dense
layers (--expand), and so has `mcompress eval`. Reference models, fitted: ONNX Runtime and `mcompress eval` agree to 1e-4 of the
largest output, and the weights in the file take what the method promises.
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper as h, numpy_helper

from fashion import load

ort.set_default_logger_severity(3)
MCOMPRESS, MODELS = sys.argv[1:3]
RNG = np.random.default_rng(5)
TOLERANCE = 1e-4


def nearest(w, b):
    """Blocks b x b of rows and channels of w [m, n, ...], as if it went on with nothing that counts."""
    m, n = w.shape[:2]
    out = np.empty(w.shape)
    for i in range(0, m, b):
        for j in range(0, n, b):
            block = w[i:i + b, j:j + b].astype(np.float64)
            r, c = np.indices(block.shape[:2])
            for k in range(b):
                at = (r - c) % b == k
                if at.any():
                    out[i:i + b, j:j + b][at] = block[at].mean(axis=0)
    return out.astype(np.float32)


def run(model, x):
    session = ort.InferenceSession(model if isinstance(model, str) else model.SerializeToString(),
                                   providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def compress(src, out, *options):
    done = subprocess.run([MCOMPRESS, "circulant", src, "-o", out, "-q", "--no-latency", *options],
                          capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise SystemExit(f"{options}: {done.stderr}")


def outputs(model, x):
    with tempfile.TemporaryDirectory() as d:
        np.savez(os.path.join(d, "x.npz"), **x)
        done = subprocess.run([MCOMPRESS, "eval", model, "--data", os.path.join(d, "x.npz"), "-q", "--save-outputs",
                               os.path.join(d, "y.npz")], capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise SystemExit(f"eval {model}: {done.stderr}")
        y = np.load(os.path.join(d, "y.npz"))
        return y[y.files[0]]


def expect(what, got, want):
    if got.shape != want.shape:
        raise SystemExit(f"{what}: shape {got.shape}, not {want.shape}")
    error = np.abs(got - want).max() / np.abs(want).max()
    if not error <= TOLERANCE:
        raise SystemExit(f"{what}: largest difference {error:.2e} of the largest output")
    return error


def const(name, a):
    return numpy_helper.from_array(np.asarray(a, np.float32), name)


def model(op, x_shape, w, bias, opset, **attributes):
    """One layer; the batch is free."""
    inputs = ["x", "w"] + (["c"] if bias is not None and op != "MatMul" else [])
    nodes = [h.make_node(op, inputs, ["t" if op == "MatMul" and bias is not None else "y"], name="layer", **attributes)]
    if op == "MatMul" and bias is not None:
        nodes.append(h.make_node("Add", ["t", "c"], ["y"]))
    inits = [const("w", w)] + ([const("c", bias)] if bias is not None else [])
    g = h.make_graph(nodes, "g", [h.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *x_shape[1:]])],
                     [h.make_tensor_value_info("y", TensorProto.FLOAT, [f"y{i}" for i in range(len(x_shape))])], inits)
    return h.make_model(g, opset_imports=[h.make_opsetid("", opset)], ir_version=8)


def drawn(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


# operator, shape of x, m, n, kernel, blocks, bias, opset, attributes
LAYERS = [
    ("Gemm", (5, 24), 16, 24, (), (2, 4, 8), True, 17, {"transB": 1}),
    ("Gemm", (5, 30), 20, 30, (), (4, 7), True, 13, {"alpha": 0.5, "beta": 2.0}),
    ("Gemm", (3, 96), 64, 96, (), (16, 32), True, 9, {"transB": 1}),
    ("MatMul", (2, 3, 24), 16, 24, (), (4, 8), True, 17, {}),
    ("MatMul", (2, 3, 4, 34), 30, 34, (), (4, 12), False, 21, {}),
    ("Conv", (2, 12, 9, 8), 8, 12, (3, 3), (2, 4), True, 17, {"pads": [1, 1, 1, 1]}),
    ("Conv", (2, 11, 9, 8), 18, 11, (3, 2), (4,), True, 11,
     {"strides": [2, 1], "dilations": [1, 2], "pads": [0, 1, 2, 0]}),
    ("Conv", (2, 16, 9, 8), 16, 16, (3, 2), (8, 16), False, 17, {"auto_pad": "SAME_UPPER", "strides": [2, 1]}),
    ("Conv", (2, 32, 5, 5), 32, 32, (1, 1), (8, 16), False, 17, {}),
]


def small(folder):
    worst = n = 0
    for op, x_shape, m, k, kernel, blocks, bias, opset, attributes in LAYERS:
        w, c, x = drawn(m, k, *kernel), drawn(m) if bias else None, drawn(*x_shape)
        for b in blocks:
            stored = [w, nearest(w, b)]
            if op == "MatMul" or (op == "Gemm" and not attributes.get("transB")):
                stored = [s.T for s in stored]
            src, out = os.path.join(folder, "src.onnx"), os.path.join(folder, "out.onnx")
            onnx.save(model(op, x_shape, stored[0], c, opset, **attributes), src)
            want = run(model(op, x_shape, stored[1], c, opset, **attributes), x)
            for options in (["--body", "exact"], ["--body", "fast"], ["--inline"], ["--expand"]):
                compress(src, out, "--block", f"layer={b}", *options)
                written = onnx.load(out)
                onnx.checker.check_model(written, full_check=True)
                if bool(written.functions) != (options[0] == "--body"):
                    raise SystemExit(f"{op} {b} {options}: {len(written.functions)} functions")
                what = f"{op} {m} x {k} in blocks of {b}, {' '.join(options)}"
                worst = max(worst, expect(what, run(out, x), want), expect(what + ", here", outputs(out, {"x": x}), want))
                n += 1
    print(f"{n} small models, worst {worst:.1e}")


def reference(name, block, budget, folder):
    out, x = os.path.join(folder, name), load("test")[0][:200]
    compress(os.path.join(MODELS, name), out, "--block", str(block), "--calib", "fashion-mnist:train", "--calib-count", "64")
    error = expect(f"{name}, blocks of {block}", outputs(out, {"input": x}), run(out, x))
    size = os.path.getsize(out)
    if size > budget:
        raise SystemExit(f"{name}, blocks of {block}: {size} bytes")
    print(f"{name} block {block}: {size} bytes, {error:.1e}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        small(folder)
        reference("fashion-mlp.onnx", 8, 495000, folder)
        reference("fashion-mlp.onnx", 64, 100000, folder)
        reference("fashion-cnn.onnx", 8, 460000, folder)
        reference("fashion-resnet.onnx", 16, 210000, folder)
        reference("fashion-vit.onnx", 4, 300000, folder)
        reference("fashion-mobilenet.onnx", 8, 110000, folder)


if __name__ == "__main__":
    main()
