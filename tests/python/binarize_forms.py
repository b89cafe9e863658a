"""binarize_forms.py MCOMPRESS: signs of weights wherever a layer keeps them, and of inputs, in ONNX Runtime.

Weights alone: what `mcompress binarize` writes must give in ONNX Runtime what the original gives there with every
weight replaced by mean |w| sign(w), row by row, in numpy; and take one bit a weight and a float a row. With --activations:
thresholds are the means of what the layer sees, layer after layer, in numpy; ONNX Runtime and `mcompress eval` must give
the same as each other, and as the model made of these thresholds.
"""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ops"))
import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx import TensorProto, helper as h, numpy_helper  # noqa: E402

from hidden_weights import RNG, const, node, run_ort  # noqa: E402

MCOMPRESS = sys.argv[1]
TIE = "a value lies on its threshold"


def weight(*shape):
    return (RNG.standard_normal(shape) / shape[-1] ** 0.5).astype(np.float32)


def model(nodes, inits, shape, opset=17, rank=None):
    g = h.make_graph(nodes, "g", [h.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])],
                     [h.make_tensor_value_info("y", TensorProto.FLOAT, rank and [f"y{i}" for i in range(rank)])],
                     [const(name, np.asarray(a)) for name, a in inits.items()])
    return h.make_model(g, opset_imports=[h.make_opsetid("", opset)], ir_version=8)


# A case: nodes, constants, the weights with the axes that count outputs (-1: the last), shape of a sample.
def gemm(opset=17):
    return ([node("Gemm", ["x", "w", "b"], ["y"], transB=1, name="layer")],
            {"w": weight(9, 21), "b": weight(9)}, {"w": 1}, [21], opset)


def gemm_old():
    return gemm(9)


def gemm_turned():
    return ([node("Gemm", ["x", "w", "b"], ["y"], alpha=0.5, beta=2.0, name="layer")],
            {"w": weight(21, 9), "b": weight(1, 9)}, {"w": -1}, [21], 17)


def product():
    return ([node("MatMul", ["x", "w"], ["m"], name="layer"), node("Add", ["b", "m"], ["y"])],
            {"w": weight(13, 16), "b": weight(16)}, {"w": -1}, [5, 13], 13)


def left():
    return ([node("MatMul", ["w", "x"], ["y"], name="layer")], {"w": weight(6, 5)}, {"w": 1}, [5, 3], 17)


def shared():
    nodes = [node("MatMul", ["x", "w"], ["a"], name="one"), node("Relu", ["a"], ["r"]),
             node("MatMul", ["r", "w"], ["y"], name="two")]
    return nodes, {"w": weight(24, 24)}, {"w": -1}, [24], 17


def convolution():
    return ([node("Conv", ["x", "w", "b"], ["y"], strides=[2, 1], dilations=[1, 2], pads=[1, 2, 0, 1], name="layer")],
            {"w": weight(7, 5, 3, 2), "b": weight(7)}, {"w": 1}, [5, 9, 8], 17)


def convolution_1d():
    return [node("Conv", ["x", "w"], ["y"], pads=[1, 1], name="layer")], {"w": weight(6, 4, 3)}, {"w": 1}, [4, 11], 17


def chain():
    nodes = [node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1], name="one"), node("Relu", ["c1"], ["r1"]),
             node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
             node("Conv", ["p1", "w2"], ["c2"], pads=[1, 1, 1, 1], name="two"), node("Relu", ["c2"], ["r2"]),
             node("Flatten", ["r2"], ["f"]), node("Gemm", ["f", "w3", "b3"], ["y"], transB=1, name="three")]
    return (nodes, {"w1": weight(8, 3, 3, 3), "b1": weight(8), "w2": weight(8, 8, 3, 3), "w3": weight(5, 128), "b3": weight(5)},
            {"w1": 1, "w2": 1, "w3": 1}, [3, 8, 8], 17)


def grouped():
    nodes = [node("Conv", ["x", "w1"], ["c"], group=2, name="one"), node("Conv", ["c", "w2"], ["y"], group=8, name="two")]
    return nodes, {"w1": weight(8, 3, 3, 3), "w2": weight(8, 1, 3, 3)}, {"w1": 1, "w2": 1}, [6, 8, 8], 17


def cell(op, gates, directions):
    d = len(directions.split(","))
    extra = {"direction": "bidirectional"} if d == 2 else {}
    nodes = [node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
             node(op, ["t", "w", "r", "b"], ["y"], hidden_size=10, name="layer", **extra)]
    return (nodes, {"w": weight(d, gates * 10, 12), "r": weight(d, gates * 10, 10), "b": weight(d, 2 * gates * 10)},
            {"w": 2, "r": 2}, [6, 12], 17)


def lstm():
    return cell("LSTM", 4, "f")


def gru_both():
    return cell("GRU", 3, "f,b")


CASES = [gemm, gemm_old, gemm_turned, product, left, shared, convolution, convolution_1d, chain, grouped, lstm, gru_both]
SIGNS = [gemm, gemm_old, gemm_turned, product, shared, convolution, convolution_1d, chain]


def signs(w, axes):
    """mean |w| sign(w) for each output, and what it takes in the file."""
    rows = w.T if axes == -1 else w.reshape(int(np.prod(w.shape[:axes])), -1)
    alpha = np.abs(rows.astype(np.float64)).mean(1, keepdims=True)
    out = (np.where(rows < 0, -1, 1) * alpha).astype(np.float32)
    return (out.T if axes == -1 else out.reshape(w.shape)), rows.shape[0] * ((rows.shape[1] + 7) // 8 + 4)


def call(*words):
    done = subprocess.run([MCOMPRESS, *words], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"exit {done.returncode}: {done.stderr.strip()}"


def far(a, b):
    return None if a.shape == b.shape and np.abs(a - b).max() <= 1e-4 * max(np.abs(b).max(), 1) else np.abs(a - b).max()


def write(path, nodes, inits, shape, opset):
    """The rank of the output is declared, as exporters do."""
    y = run_ort(model(nodes, inits, shape, opset), {"x": np.zeros([1, *shape], np.float32)})[0]
    onnx.save(model(nodes, inits, shape, opset, y.ndim), path)


def weights_alone(make, work):
    nodes, inits, of, shape, opset = make()
    old, new = (os.path.join(work, make.__name__ + end) for end in (".onnx", ".bin.onnx"))
    write(old, nodes, inits, shape, opset)
    said = call("binarize", old, "-o", new, "--all", "--depthwise", "--report", new + ".json", "--no-history")
    if said:
        return said
    small = onnx.load(new)
    onnx.checker.check_model(small, full_check=True)
    want = {name: signs(inits[name], axes) for name, axes in of.items()}
    x = RNG.standard_normal([3, *shape]).astype(np.float32)
    ref = run_ort(model(nodes, {**inits, **{k: v[0] for k, v in want.items()}}, shape, opset), {"x": x})[0]
    got = run_ort(small, {"x": x})[0]
    if far(got, ref) is not None:
        return f"outputs differ by {far(got, ref)}"
    np.savez(os.path.join(work, "x.npz"), x=x)
    said = call("eval", new, "--data", os.path.join(work, "x.npz"), "--save-outputs", os.path.join(work, "y.npz"))
    if said:
        return said
    with open(new + ".json", encoding="utf-8") as f:
        rows = json.load(f)["passes"][0]["layers"]
    told = sum(r["bytes_after"] for r in rows if r["action"] == "binarised")
    bytes_ = sum(v[1] for v in want.values())
    names = {i.name for i in small.graph.initializer}
    held = sum(len(numpy_helper.to_array(i).tobytes()) for i in small.graph.initializer
               if i.name.endswith((".signs", ".scales")))
    if told != bytes_ or held != bytes_:
        return f"{told} bytes told, {held} in the file, {bytes_} expected"
    return f"float weights left: {names & set(of)}" if names & set(of) else None


def fast(make, work):
    """Inputs in 8 bits: one call for each layer, near what exact signs give."""
    nodes, inits, of, shape, opset = make()
    old, new = (os.path.join(work, make.__name__ + end) for end in (".onnx", ".fast.onnx"))
    write(old, nodes, inits, shape, opset)
    said = call("binarize", old, "-o", new, "--all", "--body", "fast")
    if said:
        return said
    small = onnx.load(new)
    onnx.checker.check_model(small, full_check=True)
    ops = {n.op_type for n in small.graph.node if n.domain}
    if not ops or not ops <= {"BinaryGemmFast", "BinaryConvFast"}:
        return f"calls {ops}"
    x = RNG.standard_normal([3, *shape]).astype(np.float32)
    want = run_ort(model(nodes, {**inits, **{k: signs(inits[k], axes)[0] for k, axes in of.items()}}, shape, opset), {"x": x})[0]
    got = run_ort(small, {"x": x})[0]
    error = np.abs(got - want).max() / np.abs(want).max()
    return None if error < 0.03 else f"outputs differ by {error}"


def inputs_too(make, work):
    """The thresholds are the means of a layer's input in this batch: where that is exactly hit, signs may differ."""
    nodes, inits, of, shape, opset = make()
    old, new = (os.path.join(work, make.__name__ + end) for end in (".onnx", ".xnor.onnx"))
    write(old, nodes, inits, shape, opset)
    x = (RNG.standard_normal([64, *shape]) + 0.2).astype(np.float32)
    data = os.path.join(work, "x.npz")
    np.savez(data, x=x)
    said = call("binarize", old, "-o", new, "--all", "--activations", "--no-shortcut", "--calib", data, "--calib-count", "64")
    if said:
        return said
    small = onnx.load(new)
    onnx.checker.check_model(small, full_check=True)
    got = run_ort(small, {"x": x})[0]
    said = call("eval", new, "--data", data, "--save-outputs", os.path.join(work, "y.npz"))
    if said:
        return said
    with np.load(os.path.join(work, "y.npz")) as z:
        own = z["y"] if "y" in z else z[z.files[0]]
    if far(own.reshape(got.shape), got) is not None:
        return f"ONNX Runtime and mcompress differ by {far(own.reshape(got.shape), got)}"
    # the same in numpy: signs as a chain of plain nodes
    ref, params = [], {k: signs(inits[k], axes)[0] for k, axes in of.items()}
    params = {**inits, **params}
    dropped = {n.output[0]: n.input[0] for n in nodes if n.op_type == "Relu"} if make in (chain, shared) else {}
    for n in nodes:
        n = onnx.NodeProto.FromString(n.SerializeToString())
        if n.output[0] in dropped:
            continue
        for i, name in enumerate(n.input):
            n.input[i] = dropped.get(name, name)
        if n.op_type in ("Gemm", "MatMul", "Conv") and n.name:
            seen = run_ort(out_of(ref, params, shape, n.input[0], opset), {"x": x})[0] if n.input[0] != "x" else x
            axes = tuple(i for i in range(seen.ndim) if i != (1 if n.op_type == "Conv" else seen.ndim - 1))
            mean = seen.astype(np.float64).mean(axes, keepdims=True).astype(np.float32)
            if np.abs(seen - mean).min() < 1e-6:
                return TIE
            tag = n.output[0]
            params[tag + ".t"], params[tag + ".m"], params[tag + ".p"] = mean, np.float32(-1), np.float32(1)
            ref += [node("Less", [n.input[0], tag + ".t"], [tag + ".l"]),
                    node("Where", [tag + ".l", tag + ".m", tag + ".p"], [tag + ".s"])]
            n.input[0] = tag + ".s"
        ref.append(n)
    want = run_ort(model(ref, params, shape, opset), {"x": x})[0]
    return None if far(got, want) is None else f"differs from signs in numpy by {far(got, want)}"


def out_of(nodes, params, shape, name, opset):
    m = model([*nodes, node("Identity", [name], ["y"])], params, shape, opset)
    return m


def main():
    bad = 0
    with tempfile.TemporaryDirectory() as work:
        for check, cases in ((weights_alone, CASES), (fast, SIGNS), (inputs_too, SIGNS)):
            for make in cases:
                said = check(make, work)
                for _ in range(50):  # other weights, other samples
                    said = check(make, work) if said == TIE else said
                bad += said is not None
                if said:
                    print(f"{check.__name__} {make.__name__}: {said}")
    print(f"{len(CASES) + 2 * len(SIGNS)} models, {bad} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
