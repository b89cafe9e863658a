"""lift_opsets.py LIFT_MODEL OP_CASE: every change of an operator's form, from the oldest version that has the
old form to the one that has the new one and to newer ones. ONNX Runtime runs the model before and after, and
op_case both; the answers must be those of ONNX Runtime before. The history of operators is compared with the
onnx package, and so is the list of forms: a change that takes something away must be among the cases.
"""
import collections
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "ops"))
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime as ort  # noqa: E402
from onnx import TensorProto, defs, helper as h, numpy_helper  # noqa: E402

import cases  # noqa: E402

RNG = np.random.default_rng(11)
TARGETS = (9, 10, 11, 12, 13, 14, 16, 17, 18, 20, 21, 22)


def floats(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def case(op, opset, inputs, n_out=1, consts=(), dims=None, **attrs):
    """One node; inputs are arrays, those at places in `consts` are initializers."""
    return {"op": op, "opset": opset, "inputs": inputs, "n_out": n_out, "consts": consts, "attrs": attrs,
            "dims": dims}


X = floats(2, 3, 4, 5)
CASES = [
    case("BatchNormalization", 7, [X, floats(3), floats(3), floats(3), abs(floats(3))], consts=(1, 2, 3, 4),
         epsilon=1e-3, spatial=1),
    case("BatchNormalization", 9, [X, floats(3), floats(3), floats(3), abs(floats(3))], consts=(1, 2, 3, 4)),
    case("Clip", 7, [X], min=-0.5, max=0.25), case("Clip", 7, [X], max=0.25), case("Clip", 7, [X]),
    case("Clip", 7, [X.astype(np.float16)], min=-0.5),
    case("Dropout", 7, [X], ratio=0.3), case("Dropout", 10, [X]),
    case("Hardmax", 7, [X], axis=2), case("Hardmax", 11, [X], axis=-1),
    case("Softmax", 7, [X]), case("Softmax", 7, [X], axis=3), case("Softmax", 11, [X], axis=-2),
    case("Softmax", 7, [X], dims=["a", "b", "c", "d"], axis=2),
    case("Softmax", 7, [floats(3, 7)]), case("LogSoftmax", 7, [X], axis=1),
    case("LogSoftmax", 11, [X], axis=0),
    case("Pad", 7, [X], pads=[0, 0, 1, 2, 0, 0, 0, 3], value=0.75), case("Pad", 7, [X], pads=[1, 0, 0, 0, 0, 0, 2, 0]),
    case("Pad", 7, [X], pads=[0, 0, 1, 2, 0, 0, 0, 3], mode="reflect"),
    *[case(op, v, [abs(X) + 0.5], **a) for op in
      ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
       "ReduceProd", "ReduceSum", "ReduceSumSquare")
      for v, a in ((7, {"axes": [1, 3]}), (11, {"axes": [-1], "keepdims": 0}), (7, {"keepdims": 1}))],
    case("Resize", 10, [X, np.array([1, 1, 2, 3], np.float32)], consts=(1,), mode="nearest"),
    case("Resize", 10, [X, np.array([1, 1, 0.5, 0.6], np.float32)], consts=(1,), mode="nearest"),
    case("Resize", 10, [X, np.array([1, 1, 1.5, 0.8], np.float32)], consts=(1,), mode="linear"),
    case("Resize", 10, [X, np.array([1, 1, 1.5, 0.8], np.float32)], mode="linear"),
    case("Upsample", 7, [X], scales=[1.0, 1.0, 2.0, 3.0], mode="nearest"),
    case("Upsample", 7, [X], scales=[1.0, 1.0, 2.0, 1.5], mode="linear"),
    case("Upsample", 9, [X, np.array([1, 1, 2, 2], np.float32)], consts=(1,), mode="nearest"),
    case("RoiAlign", 10, [X, np.array([[0, 0, 3, 3], [1, 0, 4, 2]], np.float32), np.array([0, 1])],
         consts=(1, 2), output_height=2, output_width=2, sampling_ratio=2),
    case("Scatter", 9, [floats(3, 3), np.array([[1, 0, 2], [0, 2, 1]]), floats(2, 3)], axis=0),
    case("Slice", 7, [X], starts=[1, -4], ends=[3, 4], axes=[1, 3]), case("Slice", 7, [X], starts=[0, 1], ends=[2, 9]),
    case("Split", 7, [X], n_out=2, axis=2), case("Split", 7, [X], n_out=2, axis=3, split=[2, 3]),
    case("Split", 11, [X], n_out=3, axis=-3),
    case("Squeeze", 7, [floats(1, 3, 1, 2)], axes=[0, 2]), case("Squeeze", 11, [floats(1, 3, 1)]),
    case("Squeeze", 11, [floats(1, 3, 1)], axes=[-1]),
    case("Unsqueeze", 7, [X], axes=[0, 3]), case("Unsqueeze", 11, [X], axes=[-1]),
    case("TopK", 7, [X], n_out=2, k=2, axis=3), case("TopK", 7, [X], n_out=2, k=3),
    case("DFT", 17, [floats(2, 8, 3, 1)], axis=1), case("DFT", 17, [floats(2, 8, 4, 1)], axis=2, onesided=1),
    case("DFT", 17, [floats(2, 8, 1)]),
    case("GridSample", 16, [X, floats(2, 3, 3, 2)], mode="bilinear"),
    case("GridSample", 16, [X, floats(2, 3, 3, 2)], mode="bicubic"), case("GridSample", 16, [X, floats(2, 3, 3, 2)]),
    case("GroupNormalization", 18, [floats(2, 6, 5), floats(2), floats(2)], consts=(1, 2), num_groups=2),
    case("LSTM", 7, [floats(4, 2, 3), floats(1, 20, 3), floats(1, 20, 5)], consts=(1, 2), n_out=2, hidden_size=5),
    case("MaxPool", 8, [X], kernel_shape=[2, 2]), case("Cast", 7, [X], to=7), case("Flatten", 7, [X], axis=2),
]
# What must be refused, with a word of the reason.
REFUSED = [
    (case("BatchNormalization", 7, [X, floats(3), floats(3), floats(3), abs(floats(3))], consts=(1, 2, 3, 4),
          spatial=0), "spatial"),
    (case("Resize", 10, [X, np.array([1, 1, 1.5, 0.5], np.float32)], consts=(1,)), "shrinks"),
    (case("Resize", 10, [X, np.array([1, 1, 1.5, 0.5], np.float32)]), "constant"),
]
# Without the type of its input a limit cannot be a constant, and CastLike came with 15.
TYPELESS = {"Clip", "Pad"}
NOT_IN_ORT = {("RoiAlign", 22)}
WITHOUT_CASE = {"Scan"}  # version 8 runs over batches: always refused


def build(c):
    names = [f"x{i}" for i in range(len(c["inputs"]))]
    outs = [f"y{i}" for i in range(c["n_out"])]
    infos = [h.make_tensor_value_info(n, h.np_dtype_to_tensor_dtype(x.dtype), c["dims"] or x.shape)
             for i, (n, x) in enumerate(zip(names, c["inputs"])) if i not in c["consts"]]
    inits = [numpy_helper.from_array(c["inputs"][i], names[i]) for i in c["consts"]]
    node = h.make_node(c["op"], names, outs, "node", **c["attrs"])
    kinds = [TensorProto.INT64 if (c["op"], i) == ("TopK", 1) or c["attrs"].get("to") == 7
             else h.np_dtype_to_tensor_dtype(c["inputs"][0].dtype) for i in range(c["n_out"])]
    graph = h.make_graph([node], "g", infos, [h.make_tensor_value_info(o, k, None) for o, k in zip(outs, kinds)],
                         inits)
    feeds = {n: x for i, (n, x) in enumerate(zip(names, c["inputs"])) if i not in c["consts"]}
    return h.make_model(graph, opset_imports=[h.make_opsetid("", c["opset"])], ir_version=8), feeds


def as_function(model):
    """The same node in a function of the same opset, called in a branch of an If."""
    g = model.graph
    version = model.opset_import[0].version
    names = [v.name for v in g.input] + [t.name for t in g.initializer]
    outs = [o.name for o in g.output]
    f = h.make_function("local", "F", names, outs, g.node, [h.make_opsetid("", version)])
    inner = [f"{o}_in" for o in outs]
    call = h.make_node("F", names, inner, domain="local")
    branch = [h.make_graph([call], f"b{i}", [], [h.make_tensor_value_info(n, o.type.tensor_type.elem_type, None)
                                                for n, o in zip(inner, g.output)]) for i in (0, 1)]
    cond = numpy_helper.from_array(np.array(True), "always")
    node = h.make_node("If", ["always"], outs, then_branch=branch[0], else_branch=branch[1])
    graph = h.make_graph([node], "g", g.input, g.output, [*g.initializer, cond])
    return h.make_model(graph, functions=[f], ir_version=8,
                        opset_imports=[h.make_opsetid("", version), h.make_opsetid("local", 1)])


def run_ort(model, feeds):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options).run(None, feeds)


def lift(program, work, model, version):
    old, new = os.path.join(work, "old.onnx"), os.path.join(work, "new.onnx")
    onnx.save(model, old)
    done = subprocess.run([program, old, new, str(version)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr)
    lifted = onnx.load(new)
    if lifted.opset_import[0].version != version:
        raise ValueError(f"opset {lifted.opset_import[0].version}, not {version}")
    return lifted


def close(a, b):
    return all(x.shape == y.shape and x.dtype == y.dtype and np.allclose(x, y, rtol=1e-4, atol=1e-5)
               for x, y in zip(a, b))


def lift_all(program, work):
    """Problems, and folders for op_case: before and after every lift."""
    bad, folders, lifts = [], [], 0
    for i, c in enumerate(CASES):
        plain, feeds = build(c)
        for kind, model in (("node", plain), ("function", as_function(plain))):
            name = f"{c['op']}_{c['opset']}_{i}_{kind}"
            if kind == "function" and c["op"] in ("GroupNormalization", "Resize", "Upsample"):
                continue  # their scales are constants of the caller
            try:
                want = run_ort(model, feeds)
            except Exception as error:  # pylint: disable=broad-except
                bad.append(f"{name}: ONNX Runtime refuses it as it is: {str(error)[:200]}")
                continue
            for out, y in zip(model.graph.output, want):
                out.CopyFrom(h.make_tensor_value_info(out.name, h.np_dtype_to_tensor_dtype(y.dtype), y.shape))
            if kind == "node":
                folders.append(os.path.join(work, f"{name}_before"))
                cases.write(folders[-1], model, list(feeds.values()), want, 1e-3, 1e-5)
            for version in TARGETS:
                if version <= c["opset"] or (c["op"], version) in NOT_IN_ORT:
                    continue
                refused = kind == "function" and version in range(11, 15) and c["op"] in TYPELESS and \
                    {"min", "max", "value"} & set(c["attrs"])
                try:
                    lifted = lift(program, work, model, version)
                    if refused:
                        bad.append(f"{name} at {version}: not refused")
                    if kind == "node" and (c["op"] != "GroupNormalization" or version > 20):
                        onnx.checker.check_model(lifted)
                    lifts += 1
                    if not close(want, run_ort(lifted, feeds)):
                        bad.append(f"{name} at {version}: another answer")
                    folders.append(os.path.join(work, f"{name}_{version}"))
                    cases.write(folders[-1], lifted, list(feeds.values()), want, 1e-3, 1e-5)
                except Exception as error:  # pylint: disable=broad-except
                    if not refused or "type of its input" not in str(error):
                        bad.append(f"{name} at {version}: {str(error)[:300]}")
    for c, word in REFUSED:
        try:
            lift(program, work, build(c)[0], 13)
            bad.append(f"{c['op']}: not refused")
        except ValueError as error:
            if word not in str(error) or "'node'" not in str(error):
                bad.append(f"{c['op']}: {error}")
    print(f"{lifts} models lifted")
    return bad, folders


def check_history():
    """The table of versions, and that every change which takes something away has a case."""
    known = collections.defaultdict(list)
    for s in defs.get_all_schemas_with_history():
        if s.domain == "":
            known[s.name].append(s)
    with open(os.path.join(HERE, "..", "..", "graph", "opset_history.c"), encoding="utf-8") as f:
        table = {name: [int(v) for v in at.split(",")] for name, at in
                 re.findall(r'\{"(\w+)",\s*\{([\d, ]+)\}\}', f.read())}
    bad = []
    if list(table) != sorted(table):
        bad.append("the table of versions is not sorted")
    for name, schemas in known.items():
        versions = sorted(s.since_version for s in schemas)
        if table.get(name) != [v for v in versions if v > 7 or v == versions[0]]:
            bad.append(f"{name} has versions {versions}, the table {table.get(name)}")
    tried = {c["op"] for c in CASES} | WITHOUT_CASE
    for name, schemas in known.items():
        schemas.sort(key=lambda s: s.since_version)
        for a, b in zip(schemas, schemas[1:]):
            gone = [x for x in a.attributes if x not in b.attributes or
                    str(a.attributes[x].default_value) != str(b.attributes[x].default_value)]
            if b.since_version > 7 and name not in tried and (gone or b.deprecated or b.min_input > a.min_input):
                bad.append(f"{name} changes its form in version {b.since_version}, and no case lifts it")
    return bad


def main():
    with tempfile.TemporaryDirectory() as work:
        bad, folders = lift_all(sys.argv[1], work)
        bad += check_history()
        result = cases.run(sys.argv[2], work, folders)
    unknown = {name for name, (_, reason) in result.items()
               if "is not known" in reason and name.replace("_before", "").split("_")[0] in reason}
    print(f"{len(unknown)} only by ONNX Runtime: {sorted({name.split('_')[0] for name in unknown})}")
    for name in unknown:
        del result[name]
    bad += [f"{name}: {verdict} {reason}" for name, (verdict, reason) in result.items() if verdict != "pass"]
    print(*bad, sep="\n")
    print(f"{len(result)} run, {len(bad)} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
