"""hidden_weights.py MCOMPRESS OP_CASE: a weight is found wherever a model hides it.

Each model computes x W (W [40,30] of rank 4, so that rank 4 loses nothing) with the weight in another place or
form. `mcompress svd` must factorise it, and the written model must give in ONNX Runtime and in op_case what
the original gives in ONNX Runtime, in fewer bytes.
"""
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "ops"))
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime as ort  # noqa: E402
from onnx import TensorProto, helper as h, numpy_helper  # noqa: E402

import cases  # noqa: E402

RNG = np.random.default_rng(3)
W = (RNG.standard_normal((40, 4)) @ RNG.standard_normal((4, 30)) / 4).astype(np.float32)


def const(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def node(op, inputs, outputs, **attrs):
    return h.make_node(op, inputs, outputs, **attrs)


def info(name, shape, kind=TensorProto.FLOAT):
    return h.make_tensor_value_info(name, kind, shape)


def model(nodes, inits=(), functions=(), kind=TensorProto.FLOAT, opset=17, extra_inputs=(), ir=8):
    g = h.make_graph(nodes, "g", [info("x", [5, 40], kind), *extra_inputs], [info("y", None, kind)], list(inits))
    return h.make_model(g, functions=list(functions), ir_version=ir,
                        opset_imports=[h.make_opsetid("", opset), h.make_opsetid("local", 1)])


def product(name="w"):
    return node("MatMul", ["x", name], ["y"], name="layer")


def initializer():
    return model([product()], [const("w", W)])


def constant_node():
    return model([node("Constant", [], ["w"], value=const("", W)), product()])


def constant_floats():
    return model([node("Constant", [], ["f"], value_floats=W.ravel().tolist()),
                  node("Constant", [], ["s"], value_ints=[40, 30]), node("Reshape", ["f", "s"], ["w"]), product()])


def identity():
    return model([node("Identity", ["v"], ["w"]), product()], [const("v", W)])


def transposed():
    return model([node("Transpose", ["v"], ["w"], perm=[1, 0]), product()], [const("v", np.ascontiguousarray(W.T))])


def reshaped():
    return model([node("Reshape", ["v", "s"], ["w"]), product()], [const("v", W.ravel()), const("s", [40, 30])])


def unsqueezed():
    return model([node("Squeeze", ["v", "a"], ["u"]), node("Unsqueeze", ["u", "a"], ["t"]),
                  node("Squeeze", ["t", "a"], ["w"]), product()], [const("v", W[None]), const("a", [0])])


def sliced():
    """Two weights in one tensor, of which both halves are used."""
    both = np.concatenate([W, W[::-1]], 0)
    cut = [node("Slice", ["v", "zero", "mid", "zero"], ["w"]), node("Slice", ["v", "mid", "end", "zero"], ["w2"])]
    return model([*cut, node("MatMul", ["x", "w"], ["p"], name="layer"), node("MatMul", ["x", "w2"], ["q"], name="other"),
                  node("Add", ["p", "q"], ["y"])],
                 [const("v", both), const("zero", [0]), const("mid", [40]), const("end", [80])])


def concatenated():
    return model([node("Concat", ["a", "b"], ["w"], axis=0), product()], [const("a", W[:17]), const("b", W[17:])])


def cast_up():
    """Kept in half as a file: unfolded it would grow."""
    return model([node("Cast", ["v"], ["w"], to=TensorProto.FLOAT), product()], [const("v", W.astype(np.float64))])


def half():
    return model([product()], [const("w", W.astype(np.float16))], kind=TensorProto.FLOAT16)


def double():
    return model([product()], [const("w", W.astype(np.float64))], kind=TensorProto.DOUBLE)


def branch(name, nodes, inits=()):
    return h.make_graph(nodes, name, [], [info("r", None)], list(inits))


def in_branch():
    """A weight of the branch, and one in a Constant node of the other."""
    test = [node("ReduceMax", ["x"], ["m"], keepdims=0), node("Greater", ["m", "zero"], ["c"])]
    then = branch("t", [node("MatMul", ["x", "w"], ["r"], name="layer")], [const("w", W)])
    other = branch("e", [node("Constant", [], ["w"], value=const("", W)), node("MatMul", ["x", "w"], ["r"], name="other")])
    return model([*test, node("If", ["c"], ["y"], then_branch=then, else_branch=other)],
                 [const("zero", np.float32(0))])


def outer():
    """A weight of the main graph that only a branch uses, transposed there."""
    test = [node("ReduceMax", ["x"], ["m"], keepdims=0), node("Greater", ["m", "zero"], ["c"])]
    then = branch("t", [node("Transpose", ["v"], ["w"], perm=[1, 0]), node("MatMul", ["x", "w"], ["r"], name="layer")])
    other = branch("e", [node("Slice", ["x", "a", "b", "one"], ["r"])])
    return model([*test, node("If", ["c"], ["y"], then_branch=then, else_branch=other)],
                 [const("zero", np.float32(0)), const("v", np.ascontiguousarray(W.T)), const("a", [0]), const("b", [30]),
                  const("one", [1])])


def in_loop():
    """A square weight in a Loop's body, and one of the main graph that the body reads."""
    square = (RNG.standard_normal((40, 4)) @ RNG.standard_normal((4, 40)) / 8).astype(np.float32)
    body = h.make_graph([node("MatMul", ["v", "s"], ["t"], name="layer"), node("MatMul", ["t", "o"], ["u"], name="other"),
                         node("Identity", ["go"], ["go2"])], "body",
                        [info("i", [], TensorProto.INT64), info("go", [], TensorProto.BOOL), info("v", [5, 40])],
                        [info("go2", [], TensorProto.BOOL), info("u", [5, 40])], [const("s", square)])
    return model([node("Loop", ["n", "", "x"], ["y"], body=body)], [const("n", np.int64(2)), const("o", square.T.copy())])


def in_scan():
    body = h.make_graph([node("MatMul", ["t", "w"], ["r"], name="layer"), node("Identity", ["s"], ["s2"])], "body",
                        [info("s", [1]), info("t", [1, 40])], [info("s2", [1]), info("r", [1, 30])], [const("w", W)])
    return model([node("Reshape", ["x", "rows"], ["xs"]), node("Scan", ["s0", "xs"], ["last", "ys"], body=body, num_scan_inputs=1),
                  node("Reshape", ["ys", "flat"], ["y"])],
                 [const("rows", [5, 1, 40]), const("s0", np.zeros(1, np.float32)), const("flat", [5, 30])])


def function(nodes, inputs=("a",)):
    return h.make_function("local", "F", list(inputs), ["b"], nodes, [h.make_opsetid("", 17)])


def in_function():
    f = function([node("Constant", [], ["w"], value=const("", W)), node("MatMul", ["a", "w"], ["b"], name="layer")])
    return model([h.make_node("F", ["x"], ["y"], domain="local")], functions=[f])


def known_branch():
    """The condition follows from the shape of x: the weight comes out of the branch, the other one goes."""
    then = branch("t", [node("MatMul", ["x", "w"], ["r"], name="layer")], [const("w", W)])
    other = branch("e", [node("MatMul", ["x", "w"], ["r"], name="other")], [const("w", W + 1)])
    return model([node("Shape", ["x"], ["s"]), node("Size", ["s"], ["rank"]), node("Equal", ["rank", "two"], ["c"]),
                  node("If", ["c"], ["y"], then_branch=then, else_branch=other)], [const("two", np.int64(2))])


def gemm():
    return model([node("Gemm", ["x", "w", "b"], ["y"], name="layer", transB=1)],
                 [const("w", np.ascontiguousarray(W.T)), const("b", RNG.standard_normal(30).astype(np.float32))], opset=9)


def low(*shape):
    """Matrices of rank 4, one below the other."""
    *n, rows, cols = shape
    return (RNG.standard_normal((*n, rows, 4)) @ RNG.standard_normal((*n, 4, cols)) / 8).astype(np.float32)


def cell(op, gates, dirs, **attrs):
    """Five steps; both weights of every direction."""
    hidden = 12
    w = low(dirs * gates * hidden, 40).reshape(dirs, gates * hidden, 40)
    return model([node("Unsqueeze", ["x", "one"], ["xs"]),
                  node(op, ["xs", "w", "r", "b"], ["ys", "last"], name="layer", hidden_size=hidden, **attrs),
                  node("Squeeze", ["ys", "two"], ["yt"]) if dirs == 1 else node("ReduceSum", ["ys", "one"], ["yt"]),
                  node("Flatten", ["yt"], ["y"])],
                 [const("w", w), const("r", low(dirs, gates * hidden, hidden)),
                  const("b", RNG.standard_normal((dirs, 2 * gates * hidden)).astype(np.float32)), const("one", [1]),
                  const("two", [2])])


def lstm():
    return cell("LSTM", 4, 1)


def lstm_both_ways():
    return cell("LSTM", 4, 2, direction="bidirectional")


def gru():
    return cell("GRU", 3, 1, direction="reverse", linear_before_reset=1)


def rnn():
    return cell("RNN", 1, 2, direction="bidirectional")


def table():
    """Words that are not near each other; one of them counted from the end."""
    return model([node("Mul", ["x", "ten"], ["t"]), node("Floor", ["t"], ["f"]),
                  node("Clip", ["f", "low", "high"], ["c"]), node("Cast", ["c"], ["i"], to=TensorProto.INT64),
                  node("Gather", ["w", "i"], ["y"], name="layer")],
                 [const("w", W), const("ten", np.float32(10)), const("low", np.float32(-40)), const("high", np.float32(39))])


def half_table():
    m = table()
    m.graph.initializer[0].CopyFrom(const("w", W.astype(np.float16)))
    m.graph.node[-1].output[0] = "half"
    m.graph.node.append(node("Cast", ["half"], ["y"], to=TensorProto.FLOAT))
    return m


def table_in_function():
    f = function([node("Constant", [], ["w"], value=const("", W)), node("Cast", ["a"], ["i"], to=TensorProto.INT64),
                  node("Gather", ["w", "i"], ["b"], name="layer")])
    return model([h.make_node("F", ["x"], ["y"], domain="local")], functions=[f])


def on_the_left():
    return model([node("Transpose", ["x"], ["xt"]), node("MatMul", ["w", "xt"], ["y"], name="layer")],
                 [const("w", np.ascontiguousarray(W.T))])


MODELS = [initializer, constant_node, constant_floats, identity, transposed, reshaped, unsqueezed, sliced, concatenated,
          cast_up, half, double, in_branch, outer, in_loop, in_scan, in_function, known_branch, gemm, lstm, lstm_both_ways,
          gru, rnn, table, half_table, table_in_function, on_the_left]


def run_ort(m, feeds):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(m.SerializeToString(), options).run(None, feeds)


def main():
    bad, folders = [], []
    with tempfile.TemporaryDirectory() as work:
        for make in MODELS:
            name, m = make.__name__, make()
            kind = h.tensor_dtype_to_np_dtype(m.graph.input[0].type.tensor_type.elem_type)
            x = RNG.standard_normal((5, 40)).astype(kind)
            want = run_ort(m, {"x": x})
            old, new, report = (os.path.join(work, f"{name}.{end}") for end in ("onnx", "small.onnx", "json"))
            onnx.save(m, old)
            done = subprocess.run([sys.argv[1], "svd", old, "-o", new, "--rank", "4", "--report", report],
                                  capture_output=True, text=True, check=False)
            if done.returncode:
                bad.append(f"{name}: {done.stderr}")
                continue
            with open(report, encoding="utf-8") as f:
                layers = json.load(f)["passes"][0]["layers"]
            left = [f"{r['name']}: {r['reason']}" for r in layers if r["action"] != "factorised"]
            if left or not layers:
                bad.append(f"{name}: left {left or 'all'}")
            small = onnx.load(new)
            got = run_ort(small, {"x": x})
            halves = any(w.data_type == TensorProto.FLOAT16 for w in m.graph.initializer)
            tolerance = 2e-2 if halves else 1e-4
            error = np.abs(got[0].astype(np.float64) - want[0]).max() / np.abs(want[0]).max()
            if not error <= tolerance:
                bad.append(f"{name}: error {error}")
            if os.path.getsize(new) >= os.path.getsize(old):
                bad.append(f"{name}: {os.path.getsize(old)} bytes -> {os.path.getsize(new)}")
            folders.append(os.path.join(work, name))
            cases.write(folders[-1], small, [x], want, tolerance, tolerance)
        for name, (verdict, reason) in cases.run(sys.argv[2], work, folders).items():
            if verdict != "pass":
                bad.append(f"{name}: written model: {verdict} {reason}")
    print(*bad, sep="\n")
    print(f"{len(MODELS)} models, {len(bad)} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
