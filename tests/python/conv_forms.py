"""Every form of a convolution that svd writes, judged by the onnx checker and ONNX Runtime.

usage: conv_forms.py MCOMPRESS
Each model is one convolution whose weight has exactly the structure of a form. svd must find it, and what it writes
must give the same outputs in ONNX Runtime as the model that it was given.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

M, C, K, L, R, S, GROUPS = 16, 12, 3, 4, 3, 4, 2
WINDOWS = [
    {},
    {"strides": [2, 1], "pads": [1, 2, 0, 1]},
    {"strides": [1, 3], "dilations": [2, 1], "auto_pad": "VALID"},
    {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"strides": [1, 3], "auto_pad": "SAME_LOWER"},
]


def weight(form, random):
    """[M, C, K, L], or [M, C / GROUPS, K, L]; and what svd calls its choice."""
    draw = lambda *shape: random.standard_normal(shape)
    if form == "":
        return np.einsum("or,rcij->ocij", draw(M, R), draw(R, C, K, L)), f"rank {R}"
    if form == "input":
        return np.einsum("orij,rc->ocij", draw(M, R, K, L), draw(R, C)), f"input rank {R}"
    if form == "spatial":
        return np.einsum("orj,rci->ocij", draw(M, R, L), draw(R, C, K)), f"spatial rank {R}"
    if form == "spatial-row":
        return np.einsum("ori,rcj->ocij", draw(M, R, K), draw(R, C, L)), f"spatial-row rank {R}"
    if form == "tucker":
        return (np.einsum("os,srij,rc->ocij", draw(M, S), draw(S, R, K, L), draw(R, C)),
                f"tucker rank {R}x{S}")
    if form == "separable":
        return np.einsum("oc,cij->ocij", draw(M, C), draw(C, K, L)), "separable rank 1"
    parts = [np.einsum("or,rcij->ocij", draw(M // GROUPS, 2), draw(2, C // GROUPS, K, L))
             for _ in range(GROUPS)]
    return np.concatenate(parts), "grouped rank 2"


def build(path, w, window, bias, group, half):
    dtype = np.float16 if half else np.float32
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    inits = [numpy_helper.from_array((w / 8).astype(dtype), "w")]
    if bias is not None:
        inits.append(numpy_helper.from_array(bias.astype(dtype), "b"))
    node = helper.make_node("Conv", ["x"] + [t.name for t in inits], ["y"], name="conv",
                            group=group, **window)
    graph = helper.make_graph([node], "g",
                              [helper.make_tensor_value_info("x", kind, ["N", C, 11, 13])],
                              [helper.make_tensor_value_info("y", kind, ["N", M, "h", "w"])], inits)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)


def outputs(path, x):
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def check(mcompress, folder, form, window, random, half):
    w, label = weight(form, random)
    bias = random.standard_normal(M) if random.integers(2) else None
    given, out = os.path.join(folder, "in.onnx"), os.path.join(folder, "out.onnx")
    report = os.path.join(folder, "report.json")
    build(given, w, window, bias, GROUPS if form == "grouped" else 1, half)
    done = subprocess.run([mcompress, "svd", given, "-o", out, "--energy", "0.9999", "--report",
                           report, "-q"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    row = json.load(open(report))["passes"][0]["layers"][0]
    assert row["choice"] == label, (row["choice"], label)
    onnx.checker.check_model(out, full_check=True)
    x = random.standard_normal((2, C, 11, 13)).astype(np.float16 if half else np.float32)
    want, got = (outputs(p, x).astype(np.float64) for p in (given, out))
    assert want.shape == got.shape
    error = np.linalg.norm(got - want) / np.linalg.norm(want)
    assert error <= (5e-3 if half else 1e-5), error


def main():
    mcompress, failed = sys.argv[1], 0
    random = np.random.default_rng(17)
    for form in ["", "input", "spatial", "spatial-row", "tucker", "separable", "grouped"]:
        for i, window in enumerate(WINDOWS):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    check(mcompress, folder, form, window, random, i == 1)
                except AssertionError as e:
                    failed += 1
                    print(f"FAILED {form or 'product'} {window}: {e}")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
