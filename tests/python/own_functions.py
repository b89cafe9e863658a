"""own_functions.py OWN_MODEL OP_CASE: weights that are functions of ai.mcompress mean in ONNX Runtime, read by its checker,
what numpy makes of their packed bits, to the bit where they are made by moving numbers: as calls, inlined and expanded, with and
without folding; mcompress gives the same."""
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


def attrs(node):
    return {a.name: list(a.ints) for a in node.attribute}


def bits_of(packed):
    return np.unpackbits(packed, axis=-1, bitorder="little")


def weight(node, tensors):
    """The weight by the definition in words, not by the body."""
    a, s = attrs(node), tensors[node.input[1]]
    small = tensors[node.input[0]]
    if node.op_type == "BinaryWeight":
        sign = bits_of(small)[:, :a["columns"][0]].astype(s.dtype) * 2 - 1
        return (sign * s).reshape(a["shape"])
    if node.op_type == "GateWeight":
        d, n, m = small.shape
        return np.concatenate([small * s[:, g] for g in range(s.shape[1])], axis=1).reshape(a["shape"])
    bits, count = a["bits"][0], a["count"][0]
    if node.op_type == "SharedPlanes":
        index = sum(bits_of(small)[p].astype(int) << p for p in range(bits))
    else:
        each = bits_of(small).reshape(-1, bits).astype(int)
        index = (each << np.arange(bits)).sum(axis=1)
    return s[index[:count]].reshape(a["shape"])


def dense_twin(model):
    """The model with initializers in the place of calls, made here."""
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    del twin.functions[:], twin.graph.node[:]
    for n in model.graph.node:
        if n.domain != "ai.mcompress":
            twin.graph.node.append(n)
        elif n.output[0] in {o.name for o in model.graph.output}:
            t = numpy_helper.from_array(weight(n, tensors))
            twin.graph.node.append(onnx.helper.make_node("Constant", [], [n.output[0]], value=t))
        else:
            twin.graph.initializer.append(numpy_helper.from_array(weight(n, tensors), n.output[0]))
    return twin


def run(model, feeds, level):
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    return ort.InferenceSession(model.SerializeToString(), options).run(None, feeds)


def main():
    tool, op_case = sys.argv[1:3]
    rng = np.random.default_rng(3)
    feeds = {"x": rng.standard_normal((4, 21)).astype(np.float32),
             "x3": rng.standard_normal((7, 2, 5)).astype(np.float32)}
    bad, folders = 0, []
    levels = [ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_ALL]
    with tempfile.TemporaryDirectory() as work:
        for opset in (11, 13, 17, 21):
            want = None
            for how in ("call", "inline", "expand"):
                path = os.path.join(work, f"{how}{opset}.onnx")
                subprocess.run([tool, path, str(opset), how], check=True)
                model = onnx.load(path)
                onnx.checker.check_model(model, full_check=True)
                calls = [n for n in model.graph.node if n.domain]
                imports = [o.domain for o in model.opset_import]
                if how == "call":
                    want = run(dense_twin(model), feeds, levels[1])
                    tables = [t.name for t in model.graph.initializer if t.name.startswith("SIGNS")]
                    assert calls and model.ir_version >= 8 and len(tables) == 3, tables
                    for f in model.functions:
                        assert {(o.domain, o.version) for o in f.opset_import} <= \
                            {(o.domain, o.version) for o in model.opset_import}
                else:
                    assert not calls and not model.functions and imports == [""], (calls, imports)
                for level in levels:
                    got = run(model, feeds, level)
                    for out, g, w in zip(model.graph.output, got, want):
                        exact = out.name not in ("y", "h")
                        same = g.dtype == w.dtype and g.shape == w.shape and \
                            (np.array_equal(g, w) if exact else np.abs(g - w).max() <= 1e-5)
                        if not same and not (how == "expand" and g.dtype == np.float64 and
                                             np.allclose(g, w, 1e-6, 1e-6)):
                            print(opset, how, level, out.name, "differs")
                            bad += 1
                folders.append(os.path.join(work, f"{how}{opset}"))
                cases.write(folders[-1], model, list(feeds.values()), want, 1e-6, 1e-6)
        result = cases.run(op_case, work, folders)
    for name, (verdict, reason) in result.items():
        print(name, verdict, reason)
    return bool(bad) or any(verdict != "pass" for verdict, _ in result.values())


if __name__ == "__main__":
    sys.exit(main())
