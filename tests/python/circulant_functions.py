"""circulant_functions.py CIRCULANT_MODEL OP_CASE [--openvino]: layers of circulant blocks, written as calls, inlined and expanded,
give in ONNX Runtime, read by its checker, and in mcompress what numpy makes of the columns: all bodies, sizes below, at and above
blocks, ranks, kernels. With --openvino the inlined files are run there as well."""
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
TOLERANCE = 1e-4  # of the largest output; the numbers are near 1e-6

GEMM = ["CirculantGemm", "CirculantGemmWindow", "CirculantGemmDft", "CirculantGemmDft2", "auto", "exact"]
SIZES = [  # p, q, b, m, n, bias, rank
    (1, 1, 1, 1, 1, 1, 2), (2, 3, 1, 2, 3, 0, 2), (1, 1, 2, 2, 2, 1, 1), (3, 2, 5, 15, 10, 1, 3),
    (2, 5, 8, 16, 40, 1, 2), (3, 2, 7, 20, 13, 1, 2), (4, 1, 16, 60, 9, 0, 4), (1, 4, 30, 30, 111, 1, 3),
    (2, 2, 17, 18, 33, 1, 2), (6, 8, 16, 96, 128, 1, 2)]
CONV = ["CirculantConv", "CirculantConvDft", "auto", "exact"]
WINDOWS = [  # p, q, b, m, n, bias, rank, kh, kw, strides, pads, dilations
    (1, 1, 1, 1, 1, 1, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1), (2, 3, 2, 4, 5, 0, 4, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1),
    (1, 2, 5, 4, 10, 1, 4, 3, 2, 2, 1, 1, 0, 2, 1, 1, 2), (2, 3, 8, 16, 24, 1, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1),
    (4, 2, 16, 64, 30, 0, 4, 3, 3, 2, 2, 1, 1, 1, 1, 2, 1), (1, 1, 17, 17, 17, 1, 4, 1, 3, 1, 2, 0, 1, 0, 1, 1, 1)]
LARGE = ["auto,4,5,64,256,300,1,2", "auto,2,6,256,512,1500,1,2", "auto,4,4,512,2048,2048,0,2", "auto,1,1,512,512,512,1,2",
         "auto,8,8,8,64,64,1,4,3,3,1,1,1,1,1,1,1,1"]
CHOSEN = ["CirculantGemmDft", "CirculantGemm", "CirculantGemmDft2", "CirculantGemm", "CirculantConvDft"]


def expand(c):
    """[p q b ...] to [p b, q b, ...]: row r, column s of a block is element (r - s) mod b of its column."""
    p, q, b = c.shape[:3]
    w = np.empty((p * b, q * b) + c.shape[3:], np.float64)
    for r in range(b):
        for s in range(b):
            w[r::b, s::b] = c[:, :, (r - s) % b]
    return w


def convolve(x, w, strides, pads, dilations):
    x = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    kh, kw = w.shape[2:]
    size = [(x.shape[2 + i] - dilations[i] * (k - 1) - 1) // strides[i] + 1 for i, k in enumerate((kh, kw))]
    y = 0
    for i in range(kh):
        for j in range(kw):
            top, left = i * dilations[0], j * dilations[1]
            at = x[:, :, top:top + (size[0] - 1) * strides[0] + 1:strides[0],
                   left:left + (size[1] - 1) * strides[1] + 1:strides[1]]
            y = y + np.einsum("oc,nchw->nohw", w[:, :, i, j], at)
    return y


def reference(i, spec, tensors, x):
    v = [int(n) for n in spec.split(",")[1:]]
    m, n, bias = v[3:6]
    w = expand(tensors[f"c{i}"].astype(np.float64))[:m, :n]
    b = tensors[f"b{i}"][:m].astype(np.float64) if bias else np.zeros(m)
    if len(v) > 7:
        return convolve(x.astype(np.float64), w, v[9:11], v[11:15], v[15:17]) + b[:, None, None]
    return x.astype(np.float64) @ w.T + b


def compare(what, got, want):
    bad = 0
    for i, (g, w) in enumerate(zip(got, want)):
        err = np.abs(g - w).max() / max(np.abs(w).max(), 1e-30) if g.shape == w.shape else np.inf
        if not err <= TOLERANCE:
            print(what, i, g.shape, w.shape, err)
            bad += 1
    return bad


def openvino_runs(path, feeds):
    import openvino
    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    got = model(feeds)
    return [got[o] for o in model.outputs]


def main():
    tool, op_case = sys.argv[1:3]
    rng = np.random.default_rng(3)
    specs = [",".join(map(str, (f,) + s)) for f in GEMM for s in SIZES] + \
            [",".join(map(str, (f,) + s)) for f in CONV for s in WINDOWS] + LARGE
    bad, folders, feeds, want = 0, [], None, None
    with tempfile.TemporaryDirectory() as work:
        for opset in (11, 21):
            for how in ("call", "inline", "expand"):
                path = os.path.join(work, f"{how}{opset}.onnx")
                subprocess.run([tool, path, str(opset), how] + specs, check=True)
                model = onnx.load(path)
                onnx.checker.check_model(model, full_check=True)
                calls = [n for n in model.graph.node if n.domain]
                session = ort.InferenceSession(model.SerializeToString())
                if how == "call":
                    assert len(calls) == len(specs) and model.ir_version >= 8
                    assert [n.op_type for n in calls[-len(CHOSEN):]] == CHOSEN, [n.op_type for n in calls]
                    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
                    feeds = {i.name: rng.standard_normal([3 if isinstance(d, str) else d for d in i.shape]).astype("f")
                             for i in session.get_inputs()}
                    want = [reference(i, s, tensors, feeds[f"x{i}"]).astype("f") for i, s in enumerate(specs)]
                else:
                    assert not calls and not model.functions, calls
                bad += compare(f"ONNX Runtime {opset} {how}", session.run(None, feeds), want)
                if how == "inline" and "--openvino" in sys.argv:
                    bad += compare(f"OpenVINO {opset}", openvino_runs(path, feeds), want)
                folders.append(os.path.join(work, f"{how}{opset}"))
                cases.write(folders[-1], model, list(feeds.values()), want, 1e-4, 1e-4)
        result = cases.run(op_case, work, folders)
    for name, (verdict, reason) in result.items():
        print(name, verdict, reason)
    return bool(bad) or any(verdict != "pass" for verdict, _ in result.values())


if __name__ == "__main__":
    sys.exit(main())
