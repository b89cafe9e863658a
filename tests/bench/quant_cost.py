"""quant_cost.py [--out TABLE] [--only KIND] [--seconds N]: what layers and other operators cost in ONNX Runtime, by form
and size, one thread. Writes the table that passes/quant/cost/quant_cost.c includes.

A cost is the difference between chains of one and of several equal layers, so that ends do not count, each at the
least CPU time of the thread. Rows: kind, form, two sizes, nanoseconds.
"""
import argparse
import sys
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh

rng = np.random.default_rng(0)


class Chain:
    """Nodes one behind the other; x is the last value."""

    def __init__(self, shape, dtype=T.FLOAT):
        self.nodes, self.inits, self.n = [], [], 0
        self.x, self.shape = "x", list(shape)
        self.input = h.make_tensor_value_info("x", dtype, shape)

    def name(self):
        self.n += 1
        return f"v{self.n}"

    def const(self, array, dtype=None):
        name = self.name()
        if dtype:
            self.inits.append(h.make_tensor(name, dtype, array.shape, np.asarray(array).tobytes(), raw=True)
                              if dtype not in (T.INT4,) else h.make_tensor(name, dtype, array.shape, array.flatten()))
        else:
            self.inits.append(nh.from_array(np.asarray(array), name))
        return name

    def op(self, kind, inputs, outputs=1, **attrs):
        out = [self.name() for _ in range(outputs)]
        self.nodes.append(h.make_node(kind, inputs, out, **attrs))
        return out[0] if outputs == 1 else out

    def scale(self, value=0.02):
        return self.const(np.float32(value))

    def q(self, x, zero=0):
        return self.op("QuantizeLinear", [x, self.scale(), self.const(np.uint8(zero))])

    def dq(self, x, zero=0):
        return self.op("DequantizeLinear", [x, self.scale(), self.const(np.uint8(zero))])

    def weight(self, shape, axis):
        w = rng.integers(-127, 128, shape, dtype=np.int8)
        n = shape[axis]
        return self.op("DequantizeLinear", [self.const(w), self.const(np.full(n, 1e-3, np.float32)),
                                            self.const(np.zeros(n, np.int8))], axis=axis)

    def bias(self, n):
        b = rng.integers(-99, 99, n, dtype=np.int32)
        return self.op("DequantizeLinear", [self.const(b), self.const(np.full(n, 2e-5, np.float32)),
                                            self.const(np.zeros(n, np.int32))], axis=0)

    def floats(self, shape):
        fan = np.prod(shape[1:]) if len(shape) > 1 else 1
        return self.const((rng.standard_normal(shape) / np.sqrt(fan)).astype(np.float32))

    def model(self, y):
        out = h.make_tensor_value_info(y, T.FLOAT, None)
        g = h.make_graph(self.nodes, "g", [self.input], [out], self.inits)
        return h.make_model(g, ir_version=10, opset_imports=[h.make_opsetid("", 21),
                                                             h.make_opsetid("com.microsoft", 1)])


def session(model):
    o = ort.SessionOptions()
    o.intra_op_num_threads = o.inter_op_num_threads = 1
    o.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), o, providers=["CPUExecutionProvider"])


class Timer:
    def __init__(self, model):
        self.session = session(model)
        i = self.session.get_inputs()[0]
        x = rng.random(i.shape, dtype=np.float32)
        self.feed, self.out = {i.name: x}, [self.session.get_outputs()[0].name]
        self.repeat, self.best = 1, float("inf")
        once = min(self.once() for _ in range(3))
        self.repeat = max(1, min(50, int(4e4 / once)))

    def once(self):
        start = time.thread_time_ns()
        for _ in range(self.repeat):
            self.session.run(self.out, self.feed)
        self.best = min(self.best, (time.thread_time_ns() - start) / self.repeat)
        return self.best


# ---- layers: build(chain, x, form, a, b) gives the chain's next value ----

def conv(c, x, form, channels, kernel=1, group=1):
    attrs = dict(kernel_shape=[kernel, kernel], pads=[kernel // 2] * 4, group=group)
    shape = [channels, channels // group, kernel, kernel]
    if form == "float":
        y = c.op("Conv", [x, c.floats(shape), c.floats([channels])], **attrs)
        return c.op("Relu", [y])
    if form == "weight":
        y = c.op("Conv", [x, c.weight(shape, 0), c.floats([channels])], **attrs)
        return c.op("Relu", [y])
    if form == "static":
        y = c.op("Conv", [x, c.weight(shape, 0), c.bias(channels)], **attrs)
        return c.dq(c.q(c.op("Relu", [y])))
    raise ValueError(form)


def conv_integer(c, x, channels, kernel, group):
    w = c.const(rng.integers(1, 255, [channels, channels // group, kernel, kernel], dtype=np.uint8))
    q, s, z = c.op("DynamicQuantizeLinear", [x], 3)
    y = c.op("ConvInteger", [q, w, z], kernel_shape=[kernel, kernel], pads=[kernel // 2] * 4, group=group)
    return c.op("Mul", [c.op("Cast", [y], to=T.FLOAT), s])


def dense(c, x, form, width):
    shape = [width, width]
    if form == "float":
        return c.op("Add", [c.op("MatMul", [x, c.floats(shape)]), c.floats([width])])
    if form == "weight":
        return c.op("Add", [c.op("MatMul", [x, c.weight(shape, 1)]), c.floats([width])])
    if form == "block":
        b = min(32, width)
        w = c.const(rng.integers(-7, 8, shape).astype(np.int8), T.INT4)
        s = c.const(np.full([width // b, width], 1e-3, np.float32))
        return c.op("MatMul", [x, c.op("DequantizeLinear", [w, s], axis=0, block_size=b)])
    if form == "dynamic":
        w = c.const(rng.integers(-127, 128, shape, dtype=np.int8))
        q, s, z = c.op("DynamicQuantizeLinear", [x], 3)
        y = c.op("Cast", [c.op("MatMulInteger", [q, w, z])], to=T.FLOAT)
        y = c.op("Mul", [y, c.op("Mul", [s, c.const(np.full(width, 1e-3, np.float32))])])
        return c.op("Add", [y, c.floats([width])])
    if form == "static":
        y = c.op("Gemm", [x, c.weight(shape, 1), c.bias(width)])
        return c.dq(c.q(y))
    raise ValueError(form)


def batched(c, x, form):
    """Product of two activations, 4 heads."""
    if form == "float":
        return c.op("MatMul", [x, "x"])
    return c.dq(c.q(c.op("MatMul", [x, c.first])))


def chain(build, shape, quantised, length):
    c = Chain(shape)
    x = c.dq(c.q(c.x)) if quantised else c.x
    c.first = x
    for _ in range(length):
        x = build(c, x)
    return Timer(c.model(x))


def chain_time(build, shape, seconds, quantised):
    """Nanoseconds of one layer. Short runs, many of them, in turn: some find the machine and its caches their own."""
    short = chain(build, shape, quantised, 1)
    # As few as can be told apart: long chains would not stay in the caches, where models often do.
    more = 1 if short.once() > 2e5 else 3 if short.best > 5e4 else 12
    long = chain(build, shape, quantised, 1 + more)
    end, rounds = time.monotonic() + seconds, 0
    while rounds < 12 or time.monotonic() < end:
        short.once()
        long.once()
        rounds += 1
    return max((long.best - short.best) / more, 0)


def elementwise():
    """name -> (build, quantised): one input of n numbers."""
    one = np.float32(1.5)
    unary = {k: (lambda c, x, k=k: c.op(k, [x])) for k in
             ("Sigmoid", "Tanh", "Erf", "HardSwish", "Exp", "Sqrt", "Gelu", "LeakyRelu", "HardSigmoid", "Neg", "Abs")}
    e = {k: (f, False) for k, f in unary.items()}
    e["Relu"] = (lambda c, x: c.op("Relu", [c.op("Abs", [x])]), False)
    e["Add"] = (lambda c, x: c.op("Add", [x, "x"]), False)
    e["Mul"] = (lambda c, x: c.op("Mul", [x, "x"]), False)
    e["Div"] = (lambda c, x: c.op("Div", [x, c.const(one)]), False)
    e["QDQ"] = (lambda c, x: c.dq(c.q(c.op("Neg", [x]), 128), 128), False)
    e["DQ"] = (lambda c, x: c.op("Add", [x, c.op("DequantizeLinear", [
        c.const(rng.integers(-99, 99, c.shape, dtype=np.int8)), c.scale(), c.const(np.int8(0))])]), False)
    e["QAdd"] = (lambda c, x: c.dq(c.q(c.op("Add", [x, c.first]))), True)
    e["QMul"] = (lambda c, x: c.dq(c.q(c.op("Mul", [x, c.first]))), True)
    e["QSigmoid"] = (lambda c, x: c.dq(c.q(c.op("Sigmoid", [x]))), True)
    e["QLeakyRelu"] = (lambda c, x: c.dq(c.q(c.op("LeakyRelu", [x]))), True)
    return e


def reshape(c, x):
    return c.op("Reshape", [x, c.const(np.array(c.shape))])


def spatial():
    """name -> (build, quantised): [1, 64, side, side]."""
    pool = dict(kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1])
    return {
        "MaxPool": (lambda c, x: c.op("MaxPool", [x], **pool), False),
        "AveragePool": (lambda c, x: c.op("AveragePool", [x], **pool), False),
        # Reshape keeps two transpositions from becoming one.
        "Transpose": (lambda c, x: reshape(c, c.op("Transpose", [x], perm=[0, 2, 3, 1])), False),
        "TransposeBytes": (lambda c, x: c.dq(c.q(reshape(c, c.dq(c.q(c.op("Transpose", [x], perm=[0, 2, 3, 1])))))), True),
        "Concat": (lambda c, x: c.op("Slice", [c.op("Concat", [x, "x"], axis=1), c.const(np.array([0])),
                                               c.const(np.array([64])), c.const(np.array([1]))]), False),
        "QConcat": (lambda c, x: c.op("Slice", [c.dq(c.q(c.op("Concat", [x, c.first], axis=1))), c.const(np.array([0])),
                                                c.const(np.array([64])), c.const(np.array([1]))]), True),
        "Softmax": (lambda c, x: c.op("Softmax", [x], axis=-1), False),
        "QSoftmax": (lambda c, x: c.dq(c.q(c.op("Softmax", [x], axis=-1))), True),
        "LayerNormalization": (lambda c, x: c.op("LayerNormalization", [x, c.floats([c.shape[-1]]),
                                                                       c.floats([c.shape[-1]])], axis=-1), False),
        "BatchNormalization": (lambda c, x: c.op("BatchNormalization", [x] + [c.const(np.ones(64, np.float32))
                                                                             for _ in range(4)]), False),
        "ReduceMean": (lambda c, x: c.op("Add", [x, c.op("ReduceMean", [x, c.const(np.array([2, 3]))])]), False),
        "GlobalAveragePool": (lambda c, x: c.op("Add", [x, c.op("GlobalAveragePool", [x])]), False),
        "Resize": (lambda c, x: c.op("MaxPool", [c.op("Resize", [x, "", c.const(np.array([1, 1, 2, 2], np.float32))],
                                                     mode="nearest")], kernel_shape=[1, 1], strides=[2, 2]), False),
    }


def between(conv_op):
    """A node between two 1x1 convolutions, all integer: where pools and the like have their channels last."""
    def build(c, x):
        x = conv(c, x, "static", 64)
        return c.dq(c.q(conv_op(c, x)))
    return build


def lstm(c, x, form, hidden):
    w = c.floats([1, 4 * hidden, hidden])
    r = c.floats([1, 4 * hidden, hidden])
    if form == "float":
        y = c.op("LSTM", [x, w, r, c.floats([1, 8 * hidden])], hidden_size=hidden)
    else:
        q = [c.const(rng.integers(-127, 128, [1, hidden, 4 * hidden], dtype=np.int8)) for _ in range(2)]
        s = [c.const(np.full([1, 4 * hidden], 1e-3, np.float32)) for _ in range(2)]
        z = [c.const(np.zeros([1, 4 * hidden], np.int8)) for _ in range(2)]
        name = c.name()
        c.nodes.append(h.make_node("DynamicQuantizeLSTM",
                                   [x, q[0], q[1], c.floats([1, 8 * hidden]), "", "", "", "", s[0], z[0], s[1], z[1]],
                                   [name], domain="com.microsoft", hidden_size=hidden))
        y = name
    return c.op("Squeeze", [y, c.const(np.array([1]))])


def scan(c, x, hidden):
    """One step of an LSTM written out, without the product with W."""
    k = {"q": rng.integers(-127, 128, [hidden, 4 * hidden], dtype=np.int8), "s": np.full(4 * hidden, 1e-3, np.float32),
         "three": np.array([3 * hidden, hidden])}
    lines = """DynamicQuantizeLinear h -> hq hs hz; MatMulInteger hq q hz -> p; Cast p -> f; Mul hs s -> hss; Mul f hss -> m
        Concat x x x x -> x4; Add x4 m -> g; Split g three -> g3 gc; Sigmoid g3 -> s3; Tanh gc -> tc; Split s3 -> i o u
        Mul u c -> uc; Mul i tc -> ic; Add uc ic -> c1; Tanh c1 -> t1; Mul o t1 -> h1; Identity h1 -> y"""
    attrs = {"Cast": {"to": T.FLOAT}, "Split": {"axis": 1}, "Concat": {"axis": 1}}
    nodes = []
    for line in lines.replace("\n", ";").split(";"):
        (op, *ins), outs = (part.split() for part in line.split("->"))
        more = {"num_outputs": 3} if op == "Split" and len(ins) == 1 else {}
        nodes.append(h.make_node(op, ins, outs, **attrs.get(op, {}), **more))
    info = lambda names: [h.make_tensor_value_info(n, T.FLOAT, [1, hidden]) for n in names.split()]  # noqa: E731
    body = h.make_graph(nodes, "step", info("h c x"), info("h1 c1 y"), [nh.from_array(a, n) for n, a in k.items()])
    zeros = [c.const(np.zeros([1, hidden], np.float32)) for _ in range(2)]
    return c.op("Scan", zeros + [x], 3, body=body, num_scan_inputs=1)[2]


def plan():
    """(kind, form, a, b, build, input shape, quantised)"""
    out = []
    kinds = [("conv3", 3, 0), ("conv1", 1, 0), ("convdw", 3, 1)]
    for form in ("float", "weight", "static"):
        for kind, k, dw in kinds:
            for ch in (8, 32, 128, 512):
                for side in (4, 14, 56, 160):
                    macs = ch * (1 if dw else ch) * k * k * side * side
                    if macs > 4e8 or ch * side * side > 4e6:
                        continue
                    out.append((kind, form, ch, side * side,
                                lambda c, x, f=form, ch=ch, k=k, dw=dw:
                                conv(c, x, f, ch, k, ch if dw else 1), [1, ch, side, side], form == "static"))
    for kind, k, dw in kinds:
        for ch in (8, 32, 128):
            for side in (4, 14, 56):
                if ch * (1 if dw else ch) * k * k * side * side < 1.5e8:
                    out.append((kind, "dynamic", ch, side * side,
                                lambda c, x, ch=ch, k=k, dw=dw: conv_integer(c, x, ch, k, ch if dw else 1),
                                [1, ch, side, side], False))
    for form in ("float", "weight", "block", "dynamic", "static"):
        for rows in (1, 4, 16, 64, 256):
            for width in (16, 64, 256, 1024, 2048):
                if rows * width * width <= 3e8:
                    out.append(("dense", form, width, rows,
                                lambda c, x, f=form, w=width: dense(c, x, f, w), [rows, width],
                                form == "static"))
    for form in ("float", "static"):
        for rows in (16, 64, 196):
            out.append(("batched", form, rows, 4, lambda c, x, f=form: batched(c, x, f), [4, rows, rows],
                        form == "static"))
    for name, (build, quantised) in elementwise().items():
        for n in (256, 4096, 65536, 1048576):
            out.append((name, "other", n, 1, build, [n // 64, 64], quantised))
    for name, (build, quantised) in spatial().items():
        for side in (4, 14, 56, 112):
            out.append((name, "other", 64 * side * side, 1, build, [1, 64, side, side], quantised))
    pool = dict(kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1])
    for name, op in (("QMaxPool", lambda c, x: c.op("MaxPool", [x], **pool)),
                     ("QAveragePool", lambda c, x: c.op("AveragePool", [x], **pool)),
                     ("QBase", None)):
        for side in (4, 14, 56, 112):
            build = between(op) if op else (lambda c, x: conv(c, x, "static", 64))
            out.append((name, "other", 64 * side * side, 1, build, [1, 64, side, side], True))
    for form in ("float", "dynamic", "scan"):
        for hidden in (32, 128, 256, 512):
            out.append(("lstm", form, hidden, 16,
                        lambda c, x, f=form, n=hidden: scan(c, x, n) if f == "scan" else lstm(c, x, f, n),
                        [16, 1, hidden], False))
    return out


# What stands in a chain beside the node that is measured, and how many of the node there are.
BESIDE = {"Relu": ("Abs", 1), "QDQ": ("Neg", 1), "DQ": ("Add", 1), "ReduceMean": ("Add", 1), "GlobalAveragePool": ("Add", 1), "QMaxPool": ("QBase", 1),
          "QAveragePool": ("QBase", 1)}
RESULT = {"Concat": 2, "QConcat": 2, "Resize": 4}  # numbers that it gives, for each that it takes


def beside(rows, kind, n):
    """Time of another kind at this size, between the sizes that were measured."""
    known = sorted((x, t) for (k, _, x, _), t in rows.items() if k == kind)
    if not known:
        return 0
    x, t = zip(*known)
    return float(np.interp(n, x, t))


def apart(rows):
    """Costs of the nodes alone."""
    out = {}
    for (kind, form, x, y), t in rows.items():
        if kind in BESIDE:
            other, count = BESIDE[kind]
            t = (t - beside(rows, other, x)) / count
        if kind != "QBase":
            out[kind, form, x * RESULT.get(kind, 1), y] = max(t, 1)
    for kind, form, x, y in [k for k in out if k[0] == "QDQ"]:
        out["Q", form, x, y] = max(out.pop((kind, form, x, y)) - out.get(("DQ", form, x, y), 0), 1)
    return out


def read(path):
    """Rows that are there already."""
    if not path:
        return {}
    with open(path, encoding="ascii") as f:
        cells = [line.strip("{},\n").replace('"', "").split(", ") for line in f]
    return {(k, form, int(x), int(y)): float(t) for k, form, x, y, t in cells}


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--out", default="")
    p.add_argument("--only", default="", help="rows whose \"kind form\" holds this; others of TABLE stay")
    p.add_argument("--seconds", type=float, default=0.8, help="for one row, at least")
    return p.parse_args()


def main():
    a = arguments()
    rows = {}
    for kind, form, x, y, build, shape, quantised in plan():
        if a.only and a.only not in f"{kind} {form}":
            continue
        try:
            t = chain_time(build, shape, a.seconds, quantised)
        except Exception as e:  # an operator that this version lacks
            print(f"{kind} {form} {x} {y}: {str(e).splitlines()[0][:90]}", file=sys.stderr)
            continue
        rows[kind, form, x, y] = t
        print(f"{kind:18s} {form:8s} {x:8d} {y:6d} {t:12.0f} ns", file=sys.stderr, flush=True)
    costs = {**read(a.out if a.only else ""), **apart(rows)}
    text = "\n".join(f'{{"{kind}", "{form}", {x}, {y}, {t:.4g}}},' for (kind, form, x, y), t in sorted(costs.items())) + "\n"
    if a.out:
        with open(a.out, "w", encoding="ascii") as f:
            f.write(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
