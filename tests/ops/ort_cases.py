"""Nodes with random shapes and attributes, for operator versions from 7 on, against ONNX Runtime.

ort_cases.py DRIVER [--seed N] [--rounds N] [--operators NAME,…] [--kernels LEVEL|f64] [--keep FOLDER]
The seed is printed. Without --kernels every level of this CPU runs, and the reference in float64. ONNX Runtime refuses some combinations: those are counted, and an operator of which none
was left is a failure.
"""
import argparse
import collections
import os
import random
import sys
import tempfile
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime as ort  # noqa: E402
from onnx import helper, numpy_helper  # noqa: E402

import cases  # noqa: E402
import ort_contrib  # noqa: E402
import ort_index  # noqa: E402
import ort_math  # noqa: E402
import ort_quant  # noqa: E402
import ort_recurrent  # noqa: E402
import ort_spatial  # noqa: E402


class Draw:
    """What a generator draws from, and the node it describes."""

    def __init__(self, seed):
        self.r = random.Random(seed)
        self.np = np.random.default_rng(seed)

    def coin(self):
        return self.r.random() < 0.5

    def one(self, *choices):
        return self.r.choice(choices)

    def n(self, low, high):
        return self.r.randint(low, high)

    def floats(self, *shape):
        return self.np.standard_normal(shape).astype(np.float32)

    def dims(self, low, high, most=5):
        return [self.n(1, most) for _ in range(self.n(low, high))]

    def broadcast(self, shape):
        """A shape that broadcasts to it."""
        cut = self.n(0, len(shape))
        return [1 if self.r.random() < 0.3 else d for d in shape[cut:]]


# A generator returns (opset, inputs, attributes, number of outputs); an input is an array or None.
def ints(*v):
    return np.array(v, dtype=np.int64)


def gemm(d):
    m, n, k = d.n(1, 20), d.n(1, 40), d.n(1, 30)
    ta, tb = d.n(0, 1), d.n(0, 1)
    a = d.floats(*((k, m) if ta else (m, k)))
    b = d.floats(*((n, k) if tb else (k, n)))
    inputs = [a, b]
    opset = d.one(7, 9, 11, 13, 17)
    if opset < 11 or d.coin():
        inputs.append(d.floats(*d.one([n], [1, n], [m, 1], [m, n], [1], [1, 1])))
    attrs = {"transA": ta, "transB": tb, "alpha": d.one(1.0, 0.5), "beta": d.one(1.0, -2.0, 0.0)}
    return opset, inputs, attrs, 1


def matmul(d):
    batch = d.dims(0, 2, 3)
    m, n, k = d.n(1, 12), d.n(1, 40), d.n(1, 20)
    if d.n(0, 5) == 0:
        return 13, [d.floats(k), d.floats(*batch, k, n)], {}, 1
    if d.n(0, 5) == 0:
        return 13, [d.floats(*batch, m, k), d.floats(k)], {}, 1
    return d.one(7, 13), [d.floats(*d.broadcast(batch), m, k), d.floats(*d.broadcast(batch), k, n)], {}, 1


def window(d, dims, pool):
    kernel = [d.n(1, 4) for _ in range(dims)]
    size = [d.n(k + 2, 17) for k in kernel]
    attrs = {}
    if d.coin():
        attrs["strides"] = [d.n(1, 3) for _ in range(dims)]
    if d.n(0, 3) == 0:
        attrs["dilations"] = [d.n(1, 2) for _ in range(dims)]
        size = [s + 4 for s in size]
    how = d.one("NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
    if how != "NOTSET":
        attrs["auto_pad"] = how
    elif d.coin():
        attrs["pads"] = [d.n(0, k - 1) for k in kernel * 2]
    if "SAME" in how and "strides" in attrs:  # ONNX Runtime pads by less than nothing where a stride is longer
        attrs["strides"] = [min(s, k) for s, k in zip(attrs["strides"], kernel)]
    if pool or d.coin():
        attrs["kernel_shape"] = kernel
    return size, kernel, attrs


def conv(d):
    dims, group, per, fold = d.n(1, 3), d.one(1, 1, 2, 3), d.n(1, 5), d.n(1, 9)
    size, kernel, attrs = window(d, dims, False)
    attrs["group"] = group
    inputs = [d.floats(d.n(1, 3), group * per, *size), d.floats(group * fold, per, *kernel)]
    if d.coin():
        inputs.append(d.floats(group * fold))
    return d.one(7, 11, 17), inputs, attrs, 1


def depthwise(d):
    channels = d.n(1, 20)
    size, kernel, attrs = window(d, 2, False)
    attrs["group"] = channels
    inputs = [d.floats(d.n(1, 3), channels, *size), d.floats(channels, 1, *kernel), d.floats(channels)]
    return 13, inputs, attrs, 1


def max_pool(d):
    size, _, attrs = window(d, d.n(1, 3), True)
    opset = d.one(8, 10, 12)
    if opset < 10 or "SAME" in attrs.get("auto_pad", ""):  # ONNX Runtime forgets the dilation
        attrs.pop("dilations", None)
    elif d.coin() and "auto_pad" not in attrs:
        attrs["ceil_mode"] = 1
    x = d.floats(d.n(1, 2), d.n(1, 4), *size)
    if opset >= 12 and d.n(0, 2) == 0:
        x = (x * 40).astype(d.one(np.uint8, np.int8))
    outputs = d.n(1, 2)
    if outputs == 2:
        attrs["storage_order"] = d.n(0, 1)
    return opset, [x], attrs, outputs


def average_pool(d):
    size, _, attrs = window(d, d.n(1, 3), True)
    opset = d.one(7, 10, 11, 19)
    if opset < 19 or "SAME" in attrs.get("auto_pad", ""):
        attrs.pop("dilations", None)
    attrs["count_include_pad"] = d.n(0, 1)
    if opset >= 10 and "auto_pad" not in attrs:
        attrs["ceil_mode"] = d.n(0, 1)
    return opset, [d.floats(d.n(1, 2), d.n(1, 4), *size)], attrs, 1


def softmax(d):
    x = d.floats(*d.dims(1, 4, 20))
    return d.one(7, 11, 13), [x], {"axis": d.n(0, x.ndim - 1)}, 1


def layer_norm(d):
    x = d.floats(*d.dims(1, 4, 20))
    axis = d.n(-x.ndim, x.ndim - 1)
    over = x.shape[axis:]
    return 17, [x, d.floats(*over)] + ([d.floats(*over)] if d.coin() else []), {"axis": axis}, d.n(1, 3)


def instance_norm(d):
    x = d.floats(*d.dims(3, 5, 7))
    return d.one(7, 13), [x, d.floats(x.shape[1]), d.floats(x.shape[1])], {}, 1


def reduce(d):
    x = d.floats(*d.dims(1, 4, 9))
    axes = d.r.sample(range(x.ndim), d.n(0, x.ndim))
    attrs = {"keepdims": d.n(0, 1)}
    opset, name = d.one(7, 11, 13, 18), d.one("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare",
                                             "LogSumExp")
    if opset >= (13 if name == "Sum" else 18):
        attrs["noop_with_empty_axes"] = d.n(0, 1) if axes or name == "Sum" else 0
        return opset, [x] + ([ints(*axes)] if axes else []), attrs, 1, "Reduce" + name
    attrs["axes"] = axes or None
    return opset, [x], attrs, 1, "Reduce" + name


def arg_ext(d):
    x = np.round(d.floats(*d.dims(1, 4, 9)) * 2)
    opset = d.one(7, 11, 12)
    attrs = {"axis": d.n(0, x.ndim - 1), "keepdims": d.n(0, 1)}
    if opset >= 12:
        attrs["select_last_index"] = d.n(0, 1)
    return opset, [x], attrs, 1, d.one("ArgMax", "ArgMin")


def arith(d):
    shape = d.dims(0, 4, 20)
    a, b = d.floats(*d.broadcast(shape)), d.floats(*shape)
    if d.coin():
        a, b = b, a
    name = d.one("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "PRelu")
    if name == "PRelu":
        a, b = d.floats(*shape), d.floats(*d.broadcast(shape))
    if name == "Pow":
        a, b = abs(a), d.one(b, np.float32(2), np.float32(3), np.float32(0.5))
    elif name not in ("Min", "Max", "PRelu") and d.coin():
        a, b = (x * 9 for x in (a, b))
        kind = d.one(np.int64, np.int32)
        a, b = np.asarray(a).astype(kind), np.asarray(b).astype(kind)
        b = np.where(b == 0, kind(7), b)
    return d.one(8, 13), [a, np.asarray(b)], {}, 1, name


def compare(d):
    shape = d.dims(0, 4)
    a, b = np.round(d.floats(*d.broadcast(shape))), np.round(d.floats(*shape))
    return 13, [a, b], {}, 1, d.one("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual")


def where(d):
    shape = d.dims(0, 4)
    return 13, [d.floats(*d.broadcast(shape)) > 0, d.floats(*d.broadcast(shape)), d.floats(*shape)], {}, 1


def unary(d):
    name = d.one("Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "HardSigmoid", "HardSwish", "Softplus", "Erf",
                 "Exp", "Log", "Sqrt", "Neg", "Abs", "Reciprocal", "Floor", "Ceil", "Round", "Sign", "Gelu")
    x = d.floats(*d.dims(0, 4, 20)) * 3
    x = abs(x) if name in ("Log", "Sqrt") else x
    return {"HardSwish": 14, "Gelu": 20, "Round": 11, "Sign": 9, "Erf": 9}.get(name, d.one(7, 13)), [x], {}, 1, name


def clip(d):
    x, opset = d.floats(*d.dims(0, 4, 20)), d.one(7, 11, 13)
    low, high = d.one(None, -0.5), d.one(None, 0.75)
    if opset < 11:
        return opset, [x], {"min": low, "max": high}, 1
    return opset, [x] + [None if v is None else np.float32(v) for v in (low, high)], {}, 1


def reshape(d):
    x = d.floats(*d.dims(1, 4))
    dims = list(x.shape)
    d.r.shuffle(dims)
    if d.coin():
        dims[d.n(0, len(dims) - 1)] = -1
    return d.one(7, 13), [x, ints(*dims)], {}, 1


def squeeze(d):
    x = d.floats(*[d.one(1, 3) for _ in range(d.n(1, 5))])
    axes = [i for i, v in enumerate(x.shape) if v == 1 and d.coin()]
    opset, name = d.one(7, 11, 13), d.one("Squeeze", "Unsqueeze")
    if name == "Unsqueeze":
        axes = sorted(d.r.sample(range(x.ndim + 2), 2))
    if opset >= 13:
        return opset, [x] + ([ints(*axes)] if axes else []), {}, 1, name
    return opset, [x], {"axes": axes or None}, 1, name


def transpose(d):
    x = d.floats(*d.dims(0, 5, 40 if d.coin() else 6))
    perm = list(range(x.ndim))
    d.r.shuffle(perm)
    return 13, [d.one(x, x.astype(np.int64), x > 0, x.astype(np.float64))], {"perm": perm}, 1


def slice_(d):
    x = d.floats(*d.dims(1, 4, 9))
    axes = d.r.sample(range(x.ndim), d.n(1, x.ndim))
    starts = [d.n(-12, 12) for _ in axes]
    steps = [d.one(1, 1, 2, 3, -1, -2) for _ in axes]
    # Beyond the last element, counted backwards, ONNX Runtime goes its own way.
    ends = [d.one(d.n(-12, 12), 2**31 - 1 if step > 0 else -2**31) for step in steps]
    if d.coin():
        return 7, [x], {"axes": axes, "starts": starts, "ends": ends}, 1
    return d.one(10, 13), [x, ints(*starts), ints(*ends), ints(*axes), ints(*steps)], {}, 1


def split(d):
    x = d.floats(*d.dims(1, 4, 9))
    axis = d.n(0, x.ndim - 1)
    parts, left = [], x.shape[axis]
    while left:
        parts.append(d.n(1, left))
        left -= parts[-1]
    opset = d.one(7, 13, 18)
    if opset == 18 and d.coin():
        return opset, [x], {"axis": axis, "num_outputs": x.shape[axis]}, x.shape[axis]
    if opset < 13:
        return opset, [x], {"axis": axis, "split": parts}, len(parts)
    return opset, [x, ints(*parts)], {"axis": axis}, len(parts)


def concat(d):
    shape = d.dims(1, 4)
    axis = d.n(0, len(shape) - 1)
    inputs = []
    for _ in range(d.n(1, 4)):
        shape[axis] = d.n(0, 4)
        inputs.append(d.floats(*shape))
    return d.one(7, 13), inputs, {"axis": axis}, 1


def gather(d):
    x = d.floats(*d.dims(1, 4, 9))
    axis = d.n(-x.ndim, x.ndim - 1)
    size = x.shape[axis]
    at = np.array([d.n(-size, size - 1) for _ in range(6)]).reshape(d.one((6,), (2, 3), (6, 1)))
    at = np.asarray(at.ravel()[0]) if d.n(0, 3) == 0 else at
    return 13, [x, at.astype(d.one(np.int32, np.int64))], {"axis": axis}, 1


def expand(d):
    shape = d.dims(1, 4)
    return 13, [d.floats(*d.broadcast(shape)), ints(*d.broadcast(shape))], {}, 1


def tile(d):
    x = d.floats(*d.dims(1, 4))
    return 13, [x, ints(*[d.n(0, 3) for _ in x.shape])], {}, 1


def pad(d):
    x = d.floats(*[v + 2 for v in d.dims(1, 4)])
    mode = d.one("constant", "reflect", "edge")
    low = -1 if mode == "constant" else 0
    pads = [d.n(low, 2) for _ in range(2 * x.ndim)]
    opset = d.one(7, 11, 13, 18)
    if opset < 11:
        return opset, [x], {"pads": pads, "mode": mode, "value": 0.5}, 1
    return opset, [x, ints(*pads)] + ([np.float32(1.5)] if d.coin() else []), {"mode": mode}, 1


def cast(d):
    kinds = [np.float32, np.float64, np.int32, np.int64, np.int8, np.uint8, np.bool_]
    x = (d.floats(*d.dims(0, 3, 9)) * 9).astype(d.one(*kinds[:4]))
    if x.dtype.kind == "f":  # what happens beyond the range of the target is not defined
        x = np.clip(abs(x), 0, 100)
    return d.one(9, 13), [x], {"to": helper.np_dtype_to_tensor_dtype(np.dtype(d.one(*kinds)))}, 1


GENERATORS = {
    "Gemm": gemm, "MatMul": matmul, "Conv": conv, "ConvDepthwise": depthwise, "MaxPool": max_pool,
    "AveragePool": average_pool, "Softmax": softmax, "LogSoftmax": softmax,
    "LayerNormalization": layer_norm, "InstanceNormalization": instance_norm, "Reduce": reduce, "ArgExt": arg_ext, "Arith": arith,
    "Compare": compare, "Where": where, "Unary": unary, "Clip": clip, "Reshape": reshape,
    "Squeeze": squeeze, "Transpose": transpose, "Slice": slice_, "Split": split, "Concat": concat,
    "Gather": gather, "Expand": expand, "Tile": tile, "Pad": pad, "Cast": cast,
    **ort_spatial.GENERATORS, **ort_recurrent.GENERATORS, **ort_math.GENERATORS, **ort_contrib.GENERATORS,
    **ort_index.GENERATORS, **ort_quant.GENERATORS,
}


def build(name, d):
    """A model of one node, the arrays of its graph inputs."""
    opset, inputs, attrs, n_out, *other = GENERATORS[name](d)
    op = other[0] if other else name.replace("Depthwise", "")
    attrs = {k: v for k, v in attrs.items() if v is not None and v != []}
    names, infos, inits, feeds = [], [], [], []
    while inputs and inputs[-1] is None:
        inputs.pop()
    for i, value in enumerate(inputs):
        names.append("" if value is None else f"in{i}")
        if value is None:
            continue
        value = np.asarray(value)
        # What sizes the result must be known; anything else is a constant or an input.
        sizes = value.dtype == np.int64 and op not in ("Gather", "Add", "Sub", "Mul", "Div", *ort_index.FREE)
        if i > 0 and (sizes or op in ort_quant.SIZED or d.coin()):
            inits.append(numpy_helper.from_array(value, f"in{i}"))
            continue
        dims = [f"n{i}_{k}" if d.n(0, 3) == 0 else v for k, v in enumerate(value.shape)]
        infos.append(helper.make_tensor_value_info(
            f"in{i}", helper.np_dtype_to_tensor_dtype(value.dtype), dims))
        feeds.append(value)
    outs = [f"out{i}" for i in range(n_out)]
    domain, _, op = op.rpartition(":")
    domain = attrs.pop("domain", domain)
    nodes = [helper.make_node(op, names, outs, name="n", domain=domain, **attrs)]
    if name in ort_quant.TOLERANCE:
        nodes[0].output[:] = [f"raw{i}" for i in range(n_out)]
        nodes += [helper.make_node("Cast", [f"raw{i}"], [o], to=1) for i, o in enumerate(outs)]
    graph = helper.make_graph(nodes, "g", infos, [helper.make_empty_tensor_value_info(o) for o in outs],
                              inits)
    imports = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=imports, ir_version=8), feeds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--operators")
    parser.add_argument("--kernels")
    parser.add_argument("--keep")
    args = parser.parse_args()
    print(f"seed {args.seed}")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    holder = tempfile.TemporaryDirectory()
    work = args.keep or holder.name
    folders, refused, made = [], collections.Counter(), collections.Counter()
    why = {}
    for name in args.operators.split(",") if args.operators else GENERATORS:
        for i in range(args.rounds):
            d = Draw(zlib.crc32(f"{args.seed} {name} {i}".encode()))
            model, feeds = build(name, d)
            try:
                session = ort.InferenceSession(model.SerializeToString(), options)
                outputs = session.run(None, {v.name: x for v, x in zip(model.graph.input, feeds)})
            except Exception as error:  # pylint: disable=broad-except
                refused[name] += 1
                why[name] = str(error).splitlines()[0][:120]
                continue
            if name in ort_recurrent.GENERATORS and not all(np.isfinite(y).all() for y in outputs):
                refused[name] += 1  # its Softplus overflows
                continue
            if name in ort_recurrent.GENERATORS and d.n(0, 2) == 0:
                model, feeds, outputs = ort_recurrent.batch_first(model, feeds, outputs)
            for out, value in zip(model.graph.output, outputs):
                out.CopyFrom(helper.make_tensor_value_info(
                    out.name, helper.np_dtype_to_tensor_dtype(value.dtype), None))
            folder = os.path.join(work, f"{name}_{i}")
            cases.write(folder, model, feeds, outputs, 1e-3, ort_quant.TOLERANCE.get(name, 1e-4))
            folders.append(folder)
            made[name] += 1
    bad = 0
    for extra in cases.variants(args.driver, args.kernels):
        for case, (verdict, reason) in cases.run(args.driver, work, folders, extra).items():
            if verdict != "pass":
                print(f"{' '.join(extra)} {verdict} {case}: {reason}")
                bad += 1
    for name in refused:
        if not made[name]:
            print(f"{name}: ONNX Runtime refused every case: {why[name]}")
            bad += 1
    print(f"{len(folders)} cases, {bad} bad; refused by ONNX Runtime: {dict(refused)}")
    return 1 if bad or not folders else 0


if __name__ == "__main__":
    sys.exit(main())
