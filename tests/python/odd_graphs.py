"""odd_graphs.py MCOMPRESS OP_CASE: graphs as exporters write them, against ONNX Runtime, and broken ones, which
must be refused with a message that names what is wrong."""
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

X = np.random.default_rng(1).standard_normal((2, 3)).astype(np.float32)


def const(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def node(op, inputs, outputs, **attrs):
    return h.make_node(op, inputs, outputs, "".join(outputs), **attrs)


def info(name, shape=None, kind=TensorProto.FLOAT):
    return h.make_tensor_value_info(name, kind, shape)


def model(nodes, inits=(), outputs=("y",), infos=(), ir=8, inputs=(), opsets=(("", 17),), shape=(2, 3), functions=()):
    outs = [o if isinstance(o, onnx.ValueInfoProto) else info(o) for o in outputs]
    g = h.make_graph(nodes, "g", [info("x", shape), *inputs], outs, list(inits), value_info=list(infos))
    return h.make_model(g, opset_imports=[h.make_opsetid(*o) for o in opsets], ir_version=ir, functions=list(functions))


def body(nodes, inputs=(), outputs=("r",), inits=()):
    return h.make_graph(nodes, "body", list(inputs), [o if isinstance(o, onnx.ValueInfoProto) else info(o)
                                                      for o in outputs], list(inits))


def choose(then, other, outputs=("y",)):
    return [node("ReduceSum", ["x"], ["s"], keepdims=0), node("Greater", ["s", "zero"], ["c"]),
            node("If", ["c"], list(outputs), then_branch=then, else_branch=other)]


ZERO = const("zero", np.float32(0))


def unsorted():
    return model([node("Add", ["b", "a"], ["y"]), node("Exp", ["a"], ["b"]), node("Neg", ["x"], ["a"])])


def unsorted_body(nodes=(1, 0)):
    then = [node("Exp", ["x"], ["b"]), node("Add", ["b", "late"], ["r"])]
    then = body([then[i] for i in nodes])
    other = body([node("Neg", ["late"], ["r"])])
    return model([*choose(then, other)[:2], node("Tanh", ["x"], ["late"]), *choose(then, other)[2:]], [ZERO])


def siblings():
    """Both branches, and a branch in one of them, use the same names."""
    deep = [body([node("Abs", ["t"], ["u"]), node("Neg", ["u"], ["v"])], outputs=["v"]),
            body([node("Exp", ["t"], ["u"]), node("Sub", ["u", "x"], ["v"])], outputs=["v"])]
    then = body([node("Neg", ["x"], ["t"]), node("If", ["c"], ["r"], then_branch=deep[0], else_branch=deep[1])])
    other = body([node("Abs", ["x"], ["t"]), node("Add", ["t", "k"], ["r"])], inits=[const("k", np.float32(2))])
    return model(choose(then, other), [ZERO])


def unused():
    return model([node("Neg", ["x"], ["y"]), node("Exp", ["w"], ["dead"])], [const("w", X), const("never", X)])


def also_inputs():
    return model([node("Add", ["x", "w"], ["y"])], [const("w", X)], inputs=[info("w", [2, 3])])


def also_inputs_ir3():
    return model([node("Add", ["x", "w"], ["y"])], [const("w", X)], inputs=[info("w", [2, 3])], ir=3, opsets=(("", 9),))


def passed_through():
    return model([node("Neg", ["x"], ["y"])], outputs=["y", info("x", [2, 3])])


def constant_output():
    return model([node("Neg", ["x"], ["y"])], [const("w", X)], outputs=["y", info("w", [2, 3])])


def branch_gives_outer(nodes=(), name="x"):
    return model(choose(body(list(nodes), outputs=[name]), body([], outputs=["k"], inits=[const("k", X)])), [ZERO])


def no_nodes():
    return model([], outputs=[info("x", [2, 3])])


def wrong_shapes():
    return model([node("Neg", ["x"], ["t"]), node("Exp", ["t"], ["y"])], outputs=[info("y", [7, 7, 7])],
                 infos=[info("t", [5])])


def wrong_shapes_that_feed():
    """A wrong declaration behind something whose shape inference cannot know."""
    return model([node("NonZero", ["x"], ["t"]), node("Cast", ["t"], ["f"], to=1), node("Transpose", ["f"], ["y"], perm=[1, 0])],
                 infos=[info("t", [2, 1], TensorProto.INT64), info("f", [2, 1])], outputs=[info("y", [1, 2])])


def no_shapes():
    return model([node("Neg", ["x"], ["y"])], shape=None)


def zero_and_negative_dims():
    return model([node("Neg", ["x"], ["y"])], shape=[-1, 3], outputs=[info("y", [0, 3])])


def foreign_imports():
    return model([node("Neg", ["x"], ["y"])], opsets=[("com.microsoft", 1), ("", 17), ("ai.onnx.ml", 3),
                                                      ("ai.onnx.training", 1), ("no.such.domain", 77)])


def import_missing():
    return model([node("Neg", ["x"], ["y"])], opsets=[("ai.onnx.ml", 3)])


def imports_twice():
    return model([node("ReduceSum", ["x"], ["y"], axes=[0])], opsets=[("", 13), ("ai.onnx", 11)])


# What ONNX Runtime is asked instead of what it refuses though its meaning is plain.
JUDGED = {unsorted_body: lambda: unsorted_body((0, 1)),
          branch_gives_outer: lambda: branch_gives_outer([node("Identity", ["x"], ["x2"])], "x2")}
GOOD = [unsorted, unsorted_body, siblings, unused, also_inputs, also_inputs_ir3, passed_through, constant_output,
        branch_gives_outer, no_nodes, wrong_shapes, wrong_shapes_that_feed, no_shapes, zero_and_negative_dims,
        foreign_imports, import_missing, imports_twice]


def function(name, calls):
    nodes = [h.make_node(c, ["a"], [f"t{i}"], domain="f") for i, c in enumerate(calls)]
    return h.make_function("f", name, ["a"], ["t0"], nodes, [h.make_opsetid("f", 1), h.make_opsetid("", 17)])


LOOP = [info("i", [], TensorProto.INT64), info("go", [], TensorProto.BOOL)]
F = (("", 17), ("f", 1))
CALL = [h.make_node("F", ["x"], ["y"], domain="f")]
# (model, a word of the message)
BAD = [
    (model([node("Add", ["y", "x"], ["a"]), node("Neg", ["a"], ["y"])]), "cycle"),
    (model([node("Neg", ["nobody"], ["y"])]), "'nobody'"),
    (model([node("Neg", ["x"], ["y"]), node("Abs", ["x"], ["y"])]), "'y'"),
    (model([node("Neg", ["x"], ["z"])]), "'y'"),
    (model(choose(body([node("Neg", ["x"], ["r"])]), body([node("Neg", ["x"], ["r"]), node("Abs", ["x"], ["q"])],
                                                          outputs=["r", "q"]), ("y", "z")), [ZERO]), "If"),
    (model([node("ReduceSum", ["x"], ["s"], keepdims=0), node("Greater", ["s", "zero"], ["c"]),
            node("If", ["c"], ["y"], then_branch=body([node("Neg", ["x"], ["r"])]))], [ZERO]), "else_branch"),
    (model([node("If", ["x"], ["y"], then_branch=body([], outputs=["x"]),
                 else_branch=body([node("Neg", ["x"], ["r"])], [info("p")]))]), "If"),
    (model([node("Loop", ["n", "", "x"], ["y"], body=body([], LOOP, outputs=["go"]))], [const("n", np.int64(2))]), "Loop"),
    (model([node("Loop", ["n", "", "x"], ["y"], body=body([], [*LOOP, info("v")], outputs=["go"]))],
           [const("n", np.int64(2))]), "Loop"),
    (model([node("Loop", ["n", "", "x"], ["y", "z"], body=body([], [*LOOP, info("v")], outputs=["go", "v"]))],
           [const("n", np.int64(2))]), "Loop"),
    (model([node("Loop", ["n", "", "x"], ["y"])], [const("n", np.int64(2))]), "Loop"),
    (model([node("Scan", ["x"], ["y"], num_scan_inputs=2, body=body([], [info("v")], outputs=["v"]))]), "Scan"),
    (model([node("Scan", ["x"], ["y"], num_scan_inputs=1, body=body([], [info("v"), info("w")], outputs=["v"]))]), "Scan"),
    (model(CALL, opsets=F, functions=[function("F", ["F"])]), "calls itself"),
    (model(CALL, opsets=F, functions=[function("F", ["G", "G"]), function("G", ["F"])]), "calls itself"),
    (model(CALL, opsets=F, functions=[function("F", []), function("F", [])]), "'F'"),
    (model([h.make_node("F", ["x", "x"], ["y"], domain="f")], opsets=F, functions=[h.make_function(
        "f", "F", ["a"], ["b"], [node("Neg", ["a"], ["b"])], [h.make_opsetid("", 17)])]), "F 'y': 2 inputs"),
]


def main():
    bad, folders = [], []
    options = ort.SessionOptions()
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as work:
        for make in GOOD:
            m = make()
            judged = JUDGED.get(make, make)()
            want = ort.InferenceSession(judged.SerializeToString(), options).run(None, {"x": X})
            folders.append(os.path.join(work, make.__name__))
            cases.write(folders[-1], m, [X], want, 1e-5, 1e-6)
            done = subprocess.run([sys.argv[1], "info", os.path.join(folders[-1], "model.onnx")], capture_output=True,
                                  text=True, check=False)
            if done.returncode:
                bad.append(f"info {make.__name__}: {done.stderr}")
        for i, (m, word) in enumerate(BAD):
            folders.append(os.path.join(work, f"bad{i}"))
            cases.write(folders[-1], m, [X], [X], 1e-5, 1e-6)
        result = cases.run(sys.argv[2], work, folders)
    for make in GOOD:
        if result[make.__name__][0] != "pass":
            bad.append(f"{make.__name__}: {result[make.__name__]}")
    for i, (_, word) in enumerate(BAD):
        verdict, reason = result[f"bad{i}"]
        if verdict not in ("error", "unsupported") or word not in reason:
            bad.append(f"bad{i}: wanted a message with {word}: {verdict} {reason}")
    print(*bad, sep="\n")
    print(f"{len(GOOD)} good, {len(BAD)} broken, {len(bad)} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
