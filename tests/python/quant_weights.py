"""quant_weights.py QUANT_MODEL [CASE…]: models that hold their weights in odd places, with integers for weights.

What is written passes the checker, runs in ONNX Runtime, computes what it did to the error of the integers, holds no float
weight of a layer that was quantised, and is as much smaller as integers are."""
import os
import subprocess
import sys
import tempfile
import zlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T
from onnx import helper, numpy_helper

onnxruntime.set_default_logger_severity(3)
DRIVER = sys.argv[1]
RNG = np.random.default_rng(3)
MS = "com.microsoft"


def normal(*shape, dtype=np.float32, scale=0.1):
    """Channels of all axes differ in size, so that a wrong axis shows."""
    x = RNG.standard_normal(shape) * scale
    for axis, n in enumerate(shape):
        x *= np.exp(RNG.uniform(-0.7, 0.7, n)).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return x.astype(dtype)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def constant(name, value):
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))


ELEM = {np.dtype(np.float32): T.FLOAT, np.dtype(np.float16): T.FLOAT16, np.dtype(np.float64): T.DOUBLE,
        np.dtype(np.int64): T.INT64, np.dtype(np.bool_): T.BOOL}


def model(nodes, weights, feeds, opset=13, outputs=("y",), functions=(), dynamic=True, dtype=None):
    dtype = dtype or next((ELEM[v.dtype] for v in feeds.values() if v.dtype.kind == "f"), T.FLOAT)
    inputs = [helper.make_tensor_value_info(k, ELEM[v.dtype], ["n", *v.shape[1:]] if dynamic and v.ndim else v.shape)
              for k, v in feeds.items()]
    if opset < 9:
        inputs += [helper.make_tensor_value_info(k, ELEM[v.dtype], v.shape) for k, v in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info(o, dtype, None) for o in outputs],
                              [numpy_helper.from_array(v, k) for k, v in weights.items()])
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(MS, 1)]
    if functions:
        imports.append(helper.make_opsetid("local", 1))
    ir = 3 if opset < 9 else 10 if opset >= 21 else 9 if opset >= 19 else 8
    return helper.make_model(graph, opset_imports=imports, ir_version=ir, functions=list(functions)), feeds


def body(name, nodes, outputs, weights=(), inputs=()):
    return helper.make_graph(nodes, name, list(inputs), [helper.make_tensor_value_info(o, T.FLOAT, None) for o in outputs],
                             [numpy_helper.from_array(v, k) for k, v in dict(weights).items()])


X = {"x": normal(3, 64, scale=1)}
IMAGE = {"x": normal(2, 16, 9, 9, scale=1)}
CASES = {}


def case(f):
    CASES[f.__name__] = f
    return f


for version in (7, 8, 9, 10, 11, 12, 13, 15, 17, 18, 19, 20, 21):
    CASES[f"opset_{version}"] = lambda version=version: model(
        [node("Gemm", "x w b", "t", transB=1), node("Relu", "t", "r"), node("MatMul", "r v", "m"), node("Add", "m c", "y")],
        {"w": normal(80, 64), "b": normal(80), "v": normal(80, 48), "c": normal(48)}, X, version)
    CASES[f"conv_{version}"] = lambda version=version: model(
        [node("Conv", "x w b", "t", pads=[1, 1, 1, 1]), node("Relu", "t", "r"), node("ConvTranspose", "r v", "y", strides=[2, 2])],
        {"w": normal(24, 16, 3, 3), "b": normal(24), "v": normal(24, 10, 3, 3)}, IMAGE, version)


@case
def gemm_left():
    return model([node("Gemm", "w x", "y", transA=1, transB=1)], {"w": normal(64, 40)}, {"x": normal(3, 64, scale=1)})


@case
def gemm_factors():
    return model([node("Gemm", "x w b", "y", transB=1, alpha=0.5, beta=2.0)], {"w": normal(64, 64), "b": normal(64)}, X)


@case
def gemm_bias_matrix():
    return model([node("Gemm", "x w b", "y", transB=1)], {"w": normal(64, 64), "b": normal(1, 64)}, X)


@case
def gemm_bias_number():
    return model([node("Gemm", "x w b", "y")], {"w": normal(64, 64), "b": normal(1)}, X)


@case
def gemm_bias_computed():
    return model([node("Relu", "x", "b"), node("Gemm", "x w b", "y", transB=1)], {"w": normal(64, 64)}, X)


@case
def gemm_turned_input():
    return model([node("Transpose", "x", "t", perm=[1, 0]), node("Gemm", "t w", "y", transA=1)], {"w": normal(64, 64)}, X)


@case
def matmul_rank3():
    return model([node("MatMul", "x w", "t"), node("Add", "b t", "y")], {"w": normal(64, 72), "b": normal(72)},
                 {"x": normal(2, 5, 64, scale=1)})


@case
def matmul_many_rows():
    return model([node("MatMul", "x w", "y")], {"w": normal(64, 72)}, {"x": normal(2, 100, 64, scale=1)})


@case
def matmul_left():
    return model([node("MatMul", "w x", "y")], {"w": normal(40, 64)}, {"x": normal(2, 64, 5, scale=1)})


@case
def matmul_batched():
    return model([node("MatMul", "x w", "y")], {"w": normal(4, 64, 24)}, {"x": normal(2, 4, 5, 64, scale=1)})


@case
def matmul_vector():
    return model([node("MatMul", "x w", "y")], {"w": normal(2000)}, {"x": normal(2, 2000, scale=1)})


@case
def grouped():
    return model([node("Conv", "x w", "a", group=4, pads=[1, 1, 1, 1]), node("Conv", "a v b", "c", group=32),
                  node("ConvTranspose", "c u", "d", group=32), node("ConvTranspose", "d s", "y", group=4)],
                 {"w": normal(32, 4, 3, 3), "v": normal(32, 1, 3, 3), "b": normal(32), "u": normal(32, 1, 3, 3), "s": normal(32, 6, 3, 3)},
                 IMAGE)


@case
def conv_1d_3d():
    return model([node("Conv", "x w", "t", kernel_shape=[5]), node("Reshape", "t s", "r"), node("Conv", "r v", "y")],
                 {"w": normal(32, 16, 5), "s": np.array([0, 4, 8, 4, 9]), "v": normal(12, 4, 3, 3, 3)},
                 {"x": normal(2, 16, 40, scale=1)})


@case
def constants():
    return model([constant("w", normal(64, 64)), constant("b", normal(64)), node("Gemm", "x w b", "t"),
                  constant("v", normal(64, 64)), node("Identity", "v", "i"), node("MatMul", "t i", "y")], {}, X)


@case
def behind_nodes():
    return model([node("Transpose", "w", "wt", perm=[1, 0]), node("MatMul", "x wt", "a"),
                  node("Cast", "v", "vc", to=T.FLOAT), node("MatMul", "a vc", "b"),
                  node("Reshape", "u s", "ur"), node("MatMul", "b ur", "c"),
                  node("Cast", "t", "tc", to=T.FLOAT), node("Transpose", "tc", "tt", perm=[1, 0]), node("MatMul", "c tt", "y")],
                 {"w": normal(64, 64), "v": normal(64, 64, dtype=np.float16), "u": normal(4096), "s": np.array([64, 64]),
                  "t": normal(64, 64, dtype=np.float16)}, X)


@case
def turned_many_rows():
    return model([node("Gather", "w i", "e"), node("Transpose", "w", "wt", perm=[1, 0]), node("MatMul", "e wt", "t"),
                  node("Gemm", "v u", "k", transA=1, transB=1), node("MatMul", "t k", "y")],
                 {"w": normal(100, 64), "v": normal(48, 100), "u": normal(72, 48)}, {"i": np.arange(200).reshape(2, 100) % 100}, dynamic=False)


@case
def branches():
    own = body("own", [node("MatMul", "x w", "a")], ["a"], {"w": normal(64, 64)})
    held = body("held", [constant("v", normal(64, 64)), node("MatMul", "x v", "b"), node("MatMul", "b shared", "c")], ["c"])
    return model([node("If", "flag", "t", then_branch=own, else_branch=held), node("MatMul", "t shared", "y")],
                 {"shared": normal(64, 64)}, {"x": X["x"], "flag": np.array(False)})


@case
def nested():
    inner = body("inner", [node("MatMul", "x shared", "a")], ["a"])
    other = body("other", [node("Gemm", "x own", "b", transB=1)], ["b"], {"own": normal(64, 64)})
    deep = body("deep", [node("If", "flag", "c", then_branch=inner, else_branch=other)], ["c"])
    flat = body("flat", [node("Identity", "x", "d")], ["d"])
    return model([node("If", "flag", "t", then_branch=deep, else_branch=flat), node("MatMul", "t shared", "y")],
                 {"shared": normal(64, 64)}, {"x": X["x"], "flag": np.array(True)})


@case
def loop():
    info = helper.make_tensor_value_info
    step = body("step", [node("MatMul", "h w", "m"), node("Tanh", "m", "h2"), node("Identity", "go", "go2")], [], {"w": normal(64, 64, scale=0.03)},
                [info("i", T.INT64, []), info("go", T.BOOL, []), info("h", T.FLOAT, None)])
    step.output.extend([info("go2", T.BOOL, []), info("h2", T.FLOAT, None)])
    return model([node("Loop", "times  x", "y", body=step)], {"times": np.array(3)}, X)


def fix_loop(m):
    del m.graph.node[0].input[1:]
    m.graph.node[0].input.extend(["", "x"])


@case
def functions():
    ids = [helper.make_opsetid("", 13)]
    held = helper.make_function("local", "Held", ["a"], ["b"], [constant("w", normal(64, 64)), node("MatMul", "a w", "b")], ids)
    given = helper.make_function("local", "Given", ["a", "w"], ["b"], [node("Gemm", "a w", "b", transB=1)], ids)
    return model([node("Held", "x", "t", domain="local"), node("Given", "t v", "u", domain="local"), node("Held", "u", "y", domain="local")],
                 {"v": normal(64, 64)}, X, functions=[held, given])


@case
def half():
    return model([node("MatMul", "x w", "a"), node("Add", "a b", "c"), node("Gemm", "c v", "y", transB=1)],
                 {"w": normal(64, 64, dtype=np.float16), "b": normal(64, dtype=np.float16), "v": normal(64, 64, dtype=np.float16)},
                 {"x": normal(3, 64, dtype=np.float16, scale=1)}, 12)


@case
def half_new():
    m, feeds = half()
    m.opset_import[0].version = 21
    m.ir_version = 10
    return m, feeds


@case
def half_conv():
    return model([node("Conv", "x w", "y")], {"w": normal(24, 16, 3, 3, dtype=np.float16)},
                 {"x": normal(2, 16, 9, 9, dtype=np.float16, scale=1)})


@case
def half_table():
    return model([node("Gather", "w i", "y")], {"w": normal(100, 64, dtype=np.float16)}, {"i": np.array([[3, 99, 0], [7, 7, 7]])},
                 dtype=T.FLOAT16)


@case
def double():
    return model([node("MatMul", "x w", "t"), node("Gemm", "t v", "y")],
                 {"w": normal(64, 64, dtype=np.float64), "v": normal(64, 64, dtype=np.float64)},
                 {"x": normal(3, 64, dtype=np.float64, scale=1)})


IDS = {"i": np.array([[3, 99, 0], [7, -1, 7]])}


@case
def table():
    return model([node("Gather", "w i", "y")], {"w": normal(100, 64)}, IDS)


@case
def table_rank3():
    return model([node("Gather", "w i", "y", axis=0)], {"w": normal(100, 8, 8)}, IDS)


@case
def table_columns():
    return model([node("Gather", "w i", "y", axis=1)], {"w": normal(64, 100)}, IDS)


@case
def table_one_row():
    return model([node("Gather", "w i", "y")], {"w": normal(100, 64)}, {"i": np.array(5)})


@case
def table_in_branch():
    own = body("own", [node("Gather", "w i", "a")], ["a"])
    other = body("other", [node("Gather", "v i", "b")], ["b"], {"v": normal(100, 64)})
    return model([node("If", "flag", "y", then_branch=own, else_branch=other)], {"w": normal(100, 64)},
                 {**IDS, "flag": np.array(True)})


@case
def tied():
    return model([node("Gather", "w i", "e"), node("Transpose", "w", "wt", perm=[1, 0]), node("MatMul", "e wt", "y")],
                 {"w": normal(100, 64)}, IDS)


@case
def tied_gemm():
    return model([node("Gather", "w j", "e"), node("Gemm", "e w", "y", transB=1)], {"w": normal(100, 64)}, {"j": np.array([3, 99, 0])})


@case
def shared_both_ways():
    return model([node("Gemm", "x w", "a", transB=1), node("Gemm", "a w", "b"), node("MatMul", "b w", "y")], {"w": normal(64, 64)}, X)


@case
def shared_layers():
    return model([node("MatMul", "x w", "a"), node("Add", "a b", "c"), node("Tanh", "c", "d"), node("MatMul", "d w", "e"),
                  node("Add", "e b", "f"), node("Tanh", "f", "y")], {"w": normal(64, 64), "b": normal(64)}, {"x": normal(1, 5, 64, scale=1)})


@case
def activated():
    nodes, x, weights = [], "x", {}
    for i, act in enumerate(["Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "Clip", "Softplus", "Relu"]):
        weights |= {f"w{i}": normal(64, 64), f"b{i}": normal(64) if i % 2 else normal(1, 64)}
        nodes += [node("Gemm", f"{x} w{i} b{i}", f"g{i}", transB=i % 3 == 0) if i % 2 else node("MatMul", f"{x} w{i}", f"m{i}")]
        nodes += [] if i % 2 else [node("Add", f"b{i} m{i}", f"g{i}")]
        x = "y" if act == "Relu" and i else f"a{i}"
        nodes.append(node(act, f"g{i}", x))
    return model(nodes, weights, X)


@case
def activated_alone():
    return model([node("MatMul", "x w", "a"), node("Relu", "a", "b"), node("MatMul", "b v", "c"), node("Clip", "c lo hi", "d"),
                  node("MatMul", "d u", "e"), node("Add", "e d", "f"), node("Relu", "f", "g"), node("Gemm", "g t", "h"), node("Relu", "h", "y")],
                 {"w": normal(64, 64), "v": normal(64, 64), "u": normal(64, 64), "t": normal(64, 64), "lo": np.float32(0), "hi": np.float32(6)}, X)


@case
def shared_conv():
    return model([node("Conv", "x w", "a", pads=[1, 1, 1, 1]), node("Conv", "a w", "y")], {"w": normal(16, 16, 3, 3)}, IMAGE)


@case
def fused():
    return model([node("FusedConv", "x w b", "a", domain=MS, activation="Relu"), node("Flatten", "a", "f"),
                  node("FusedMatMul", "f v", "c", domain=MS, transB=1), node("FusedGemm", "c u", "y", domain=MS, activation="Relu")],
                 {"w": normal(24, 16, 3, 3), "b": normal(24), "v": normal(40, 1176), "u": normal(40, 64)}, IMAGE)


@case
def attention():
    return model([node("Attention", "x w b", "y", domain=MS, num_heads=4)], {"w": normal(32, 96), "b": normal(96)},
                 {"x": normal(2, 7, 32, scale=1)})


@case
def einsum():
    return model([node("Einsum", "x w", "y", equation="bsi,ihd->bshd")], {"w": normal(32, 4, 16)}, {"x": normal(2, 7, 32, scale=1)})


@case
def positions():
    return model([node("Add", "x p", "t"), node("Mul", "t s", "y")], {"p": normal(1, 40, 64), "s": normal(64)},
                 {"x": normal(2, 40, 64, scale=1)})


@case
def cells():
    return model([node("LSTM", "x w r b", "h", hidden_size=24, direction="bidirectional"), node("Reshape", "h s", "k"),
                  node("GRU", "k v u", "y", hidden_size=16)],
                 {"w": normal(2, 96, 32), "r": normal(2, 96, 24), "b": normal(2, 192), "s": np.array([0, -1, 48]), "v": normal(1, 48, 48),
                  "u": normal(1, 48, 16)}, {"x": normal(5, 3, 32, scale=1)})


@case
def last_state():
    return model([node("LSTM", "x w r", "n h", hidden_size=24)], {"w": normal(1, 96, 32), "r": normal(1, 96, 24)},
                 {"x": normal(5, 3, 32, scale=1)}, outputs=("h",))


def fix_last_state(m):
    m.graph.node[0].output[0] = ""


@case
def quantised_already():
    q = RNG.integers(-127, 128, (64, 64)).astype(np.int8)
    return model([node("DequantizeLinear", "q s", "w"), node("MatMul", "x w", "t"), node("MatMul", "t v", "y")],
                 {"q": q, "s": np.float32(0.01), "v": normal(64, 64)}, X)


@case
def zeros():
    w = normal(64, 64)
    w[:, :7] = 0
    return model([node("MatMul", "x w", "t"), node("MatMul", "t z", "u"), node("Add", "t u", "y")], {"w": w, "z": np.zeros((64, 64), np.float32)}, X)


@case
def long_names():
    long = "/model/encoder/layers.0/self_attention/query_projection/MatMul_weight_"
    return model([node("MatMul", "x " + long + "a", "t"), node("MatMul", "t " + long + "b", "y")],
                 {long + "a": normal(64, 64), long + "b": normal(64, 64)}, X)


# How many times smaller: the bytes of other types, and one weight of which integers are needed both ways.
LEAST = {"half": 1.8, "half_new": 1.8, "half_conv": 1.8, "half_table": 1.8, "behind_nodes": 2.7, "double": 7}
# Where nothing, or not all, can be integers.
KEEPS = {"quantised_already", "matmul_vector"}
FORMS = [("weight",), ("weight", "runtime", "2"), ("weight", "tensor", "1"), ("weight", "asymmetric", "1"),
         ("weight", "bits", "4"), ("weight4",), ("weight4", "bits", "8"), ("weight4", "asymmetric", "1"), ("dynamic",)]


def graphs_of(graph):
    yield graph
    for n in graph.node:
        for a in n.attribute:
            if a.type == onnx.AttributeProto.GRAPH:
                yield from graphs_of(a.g)


def tensors(m):
    for graph in graphs_of(m.graph):
        yield from graph.initializer
        for n in graph.node:
            yield from (a.t for a in n.attribute if n.op_type == "Constant" and a.name == "value")
    for f in m.functions:
        for n in f.node:
            yield from (a.t for a in n.attribute if n.op_type == "Constant" and a.name == "value")


def bytes_of(m, largest=1 << 60):
    return sum(len(t.raw_data) for t in tensors(m) if t.data_type in (T.FLOAT, T.FLOAT16, T.DOUBLE, T.INT8, T.UINT8, T.INT4, T.UINT4)
               and len(t.raw_data) <= largest)


def run(m, feeds, optimised=None):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if optimised:
        options.optimized_model_filepath = optimised
    session = onnxruntime.InferenceSession(m.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def distance(x, of):
    return np.abs(x - of).max() / np.abs(of).max()


def check(name, form, m, feeds, work, limit=None):
    before, after = os.path.join(work, "before.onnx"), os.path.join(work, "after.onnx")
    onnx.save(m, before)
    done = subprocess.run([DRIVER, before, after, *form], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"exit {done.returncode}: {done.stderr.strip()}"
    out = onnx.load(after)
    try:
        onnx.checker.check_model(out)
        want, got = run(m, feeds), run(out, feeds, work + "/optimised.onnx")
    except Exception as e:
        return str(e).replace("\n", " ")[:300]
    low = "4" in form[0] or "4" in form[2:]
    error = max(distance(g.astype(np.float64), w.astype(np.float64)) for g, w in zip(got, want))
    limit = limit or (0.6 if low else 0.2 if "tensor" in form else 0.05)
    if not error <= limit:
        return f"error {error:.3f}, may be {limit}"
    slow = [n.name or n.output[0] for g in graphs_of(onnx.load(work + "/optimised.onnx").graph) for n in g.node if n.op_type == "DequantizeLinear"]
    if form == ("weight",) and name not in KEEPS and slow:
        return f"dequantised in every run: {' '.join(slow)}"
    total, compressed = (int(v) for v in done.stdout.split("\n")[0].split()[1:])
    if name not in KEEPS and compressed < 0.95 * total - 2048:
        return f"{compressed} of {total} bytes are integers\n{done.stdout}"
    if form == ("dynamic",):
        return None  # its nodes are more
    ratio = bytes_of(m) / bytes_of(out)
    least = LEAST.get(name, 3.0)
    if name not in KEEPS and not low and form != ("weight4", "bits", "8") and ratio < least:
        return f"only {ratio:.2f} times smaller\n{done.stdout}"
    added = len(out.SerializeToString()) - bytes_of(out) - len(m.SerializeToString()) + bytes_of(m)
    rows = [l.split("|") for l in done.stdout.strip().split("\n")[1:]]
    quantised = sum((2 if r[0] in ("LSTM", "GRU") else 1) for r in rows if r[4] != "0")
    if added > (250 if "asymmetric" in form else 150) * max(quantised, 1) + 100:
        return f"{added} bytes of nodes and names for {quantised} weights"
    return None


def main():
    global RNG
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        for name, make in CASES.items():
            if len(sys.argv) > 2 and name not in sys.argv[2:]:
                continue
            RNG = np.random.default_rng(zlib.crc32(name.encode()))
            m, feeds = make()
            if name == "loop":
                fix_loop(m)
            if name == "last_state":
                fix_last_state(m)
            for o, y in zip(m.graph.output, run(m, feeds)):
                o.CopyFrom(helper.make_tensor_value_info(o.name, ELEM[y.dtype], [f"{o.name}{k}" for k in range(y.ndim)]))
            for form in FORMS:
                why = check(name, form, m, feeds, work)
                if why:
                    failed += 1
                    print(f"{name} {' '.join(form)}: {why}")
    print(f"{len(CASES)} models, {len(FORMS)} forms, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
