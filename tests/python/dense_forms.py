"""dense_forms.py MCOMPRESS: layers that are decided together, parts of one weight, pairs that are merged first.

Every weight here is of low rank in the way that one form can use, and the budget is one that only this form
meets. The written model must pass the checker and give in ONNX Runtime what the original gives there.
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
from onnx import TensorProto, helper as h  # noqa: E402

from hidden_weights import RNG, const, node, run_ort  # noqa: E402

WIDTH, HEADS, STEPS = 32, 4, 6


def low(rows, cols, rank):
    return (RNG.standard_normal((rows, rank)) @ RNG.standard_normal((rank, cols)) / rank**0.5 / 6).astype(np.float32)


def model(nodes, inits, shape, opset=17, kind=TensorProto.FLOAT):
    g = h.make_graph(nodes, "g", [h.make_tensor_value_info("x", kind, shape)], [h.make_tensor_value_info("y", kind, [f"y{i}" for i in range(len(shape))])],
                     [const(name, np.asarray(a)) for name, a in inits.items()])
    return h.make_model(g, opset_imports=[h.make_opsetid("", opset)], ir_version=8)


def attention(q, k, v):
    """As exporters write it: heads by Reshape and Transpose."""
    out = [node("Mul", ["q", "scale"], ["qs"])]
    for name, perm in (("qs", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        out += [node("Reshape", [name, "heads"], [name + "h"]), node("Transpose", [name + "h"], [name + "t"], perm=perm)]
    out += [node("MatMul", ["qst", "kt"], ["s"]), node("Softmax", ["s"], ["p"], axis=-1), node("MatMul", ["p", "vt"], ["o"]),
            node("Transpose", ["o"], ["ot"], perm=[0, 2, 1, 3]), node("Reshape", ["ot", "flat"], ["y"])]
    inits = {"scale": np.float32(0.5), "heads": [0, 0, HEADS, WIDTH // HEADS], "flat": [0, 0, WIDTH]}
    return q + k + v + out, inits


def projections(weights, kind=np.float32, opset=17):
    """Three products with a bias each."""
    parts, inits = [], {}
    for name, w in zip("qkv", weights):
        parts.append([node("MatMul", ["x", "w" + name], [name + "m"], name="layer " + name),
                      node("Add", ["b" + name, name + "m"], [name])])
        inits["w" + name] = w.astype(kind)
        inits["b" + name] = RNG.standard_normal(WIDTH).astype(kind)
    nodes, more = attention(*parts)
    more["scale"] = more["scale"].astype(kind)
    return model(nodes, {**inits, **more}, ["batch", STEPS, WIDTH], opset,
                 TensorProto.FLOAT if kind == np.float32 else TensorProto.FLOAT16)


def one_space(kind=np.float32):
    return projections(np.split(low(WIDTH, 3 * WIDTH, 4), 3, axis=1), kind)


def one_space_half():
    return one_space(np.float16)


def three_spaces():
    return projections([low(WIDTH, WIDTH, r) for r in (2, 3, 5)])


def joint(opset, how):
    """One weight for all three, taken apart by Split, or by Reshape and Gather."""
    w = np.concatenate([low(WIDTH, WIDTH, r) for r in (2, 3, 5)], axis=1)
    nodes = [node("MatMul", ["x", "w"], ["m"], name="layer"), node("Add", ["m", "b"], ["qkv"])]
    inits = {"w": w, "b": RNG.standard_normal(3 * WIDTH).astype(np.float32)}
    if how == "split" and opset < 13:
        nodes.append(node("Split", ["qkv"], ["q", "k", "v"], axis=2))
    elif how == "split":
        nodes.append(node("Split", ["qkv", "sizes"], ["q", "k", "v"], axis=-1))
        inits["sizes"] = [WIDTH] * 3
    else:
        inits["apart"] = [0, 0, 3, WIDTH]
        nodes.append(node("Reshape", ["qkv", "apart"], ["parts"]))
        for i, name in enumerate("qkv"):
            inits["i" + name] = np.int64(i)
            nodes.append(node("Gather", ["parts", "i" + name], [name], axis=2))
    rest, more = attention(nodes, [], [])
    return model(rest, {**inits, **more}, ["batch", STEPS, WIDTH], opset)


def split_13():
    return joint(17, "split")


def split_11():
    return joint(11, "split")


def reshaped():
    return joint(17, "reshape")


def pair_of_products():
    """Wide between, narrow all in all."""
    return model([node("MatMul", ["x", "a"], ["t"], name="first"), node("Gemm", ["t", "b", "c"], ["y"], name="layer", transB=1)],
                 {"a": low(WIDTH, 20, 4), "b": low(40, 20, 20), "c": RNG.standard_normal(40).astype(np.float32)},
                 ["batch", WIDTH])


def pair_of_convolutions():
    a = low(24, WIDTH, 24).reshape(24, WIDTH, 1, 1)
    return model([node("Conv", ["x", "a", "c"], ["t"], name="first"),
                  node("Conv", ["t", "b"], ["y"], name="layer", strides=[2, 1], dilations=[1, 2])],
                 {"a": a, "b": low(40, 24 * 6, 4).reshape(40, 24, 3, 2), "c": RNG.standard_normal(24).astype(np.float32)},
                 ["batch", WIDTH, 9, 8])


CASES = [(one_space, ["--keep", "0.5"], "together"), (one_space_half, ["--keep", "0.6"], "together"),
         (three_spaces, ["--keep", "0.42"], "apart"), (split_13, ["--keep", "0.42"], "split"),
         (split_11, ["--keep", "0.42"], "split"), (reshaped, ["--keep", "0.42"], "split"),
         (pair_of_products, ["--rank", "4"], "product"), (pair_of_convolutions, ["--rank", "4"], "product")]


def check(mcompress, make, options, form, work):
    m = make()
    kind = h.tensor_dtype_to_np_dtype(m.graph.input[0].type.tensor_type.elem_type)
    x = (RNG.standard_normal([3] + [d.dim_value for d in m.graph.input[0].type.tensor_type.shape.dim[1:]]) + 0.3).astype(kind)
    old, new, report = (os.path.join(work, make.__name__ + end) for end in (".onnx", ".small.onnx", ".json"))
    onnx.save(m, old)
    done = subprocess.run([mcompress, "svd", old, "-o", new, *options, "--report", report], capture_output=True, text=True,
                          check=False)
    if done.returncode:
        return f"exit {done.returncode}: {done.stderr}"
    with open(report, encoding="utf-8") as f:
        layers = json.load(f)["passes"][0]["layers"]
    forms = {r["form"] for r in layers if r["name"].startswith("layer")}
    if forms != {form}:
        return f"forms {forms}, not {form}"
    small = onnx.load(new)
    onnx.checker.check_model(small, full_check=True)
    want, got = run_ort(m, {"x": x})[0].astype(np.float64), run_ort(small, {"x": x})[0]
    error = np.abs(got - want).max() / np.abs(want).max()
    return None if error <= (2e-2 if kind == np.float16 else 1e-4) else f"outputs differ by {error}"


def main():
    bad = 0
    with tempfile.TemporaryDirectory() as work:
        for make, options, form in CASES:
            said = check(sys.argv[1], make, options, form, work)
            bad += said is not None
            if said:
                print(f"{make.__name__}: {said}")
    print(f"{len(CASES)} models, {bad} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
