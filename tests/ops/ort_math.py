"""Generators of ort_cases.py for sums over indices, elementwise functions, spectra, losses and attention."""
import numpy as np


def ints(*v):
    return np.array(v, dtype=np.int64)


def whole(d, shape, low=-9, high=9, kinds=(np.int32, np.int64)):
    kind = d.one(*kinds)
    return d.np.integers(0 if np.dtype(kind).kind == "u" else low, high, shape, endpoint=True).astype(kind)


def unary(d):
    name = d.one("Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Selu",
                 "Celu", "Mish", "Softsign", "ThresholdedRelu", "Shrink", "IsNaN", "IsInf")
    x = d.floats(*d.dims(0, 4, 20)) * d.one(1, 10, 3000)
    attrs = {}
    if name in ("Asin", "Acos", "Atanh"):
        x = np.tanh(x) * 0.99
    elif name == "Acosh":
        x = 1 + abs(x)
    elif name in ("Sinh", "Cosh"):
        x = np.clip(x, -20, 20)
    elif name == "Tan":  # steep near its poles
        x = np.clip(x, -1.2, 1.2)
    elif name in ("Selu", "Celu", "ThresholdedRelu"):
        attrs["alpha"] = d.one(0.5, 1.5)
    elif name == "Shrink":
        attrs = {"lambd": d.one(0.5, 1.5), "bias": d.one(0.0, 0.25)}
    elif name.startswith("Is"):
        x = np.where(d.floats(*np.shape(x)) > 0.5, d.one(np.nan, np.inf, -np.inf), x).astype(np.float32)
        if name == "IsInf":
            attrs = {"detect_negative": d.n(0, 1), "detect_positive": d.n(0, 1)}
    return {"Mish": 18, "Celu": 12}.get(name, 13), [np.asarray(x, dtype=np.float32)], attrs, 1, name


def modulo(d):
    shape = d.dims(0, 4)
    a, b = d.broadcast(shape), shape
    if d.coin():
        return 13, [d.floats(*a) * 9, d.floats(*b)], {"fmod": 1}, 1
    kind = d.one(np.int32, np.int64, np.int8, np.uint8, np.int16, np.uint64)
    x, y = whole(d, a, kinds=[kind]), whole(d, b, kinds=[kind])
    return 13, [x, np.where(y == 0, kind(3), y)], {"fmod": d.n(0, 1)}, 1


def bits(d):
    shape = d.dims(0, 4)
    kind = d.one(np.uint8, np.uint32, np.uint64)
    name = d.one("BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot")
    x, y = whole(d, d.broadcast(shape), 0, 200, [kind]), whole(d, shape, 0, 7, [kind])
    attrs = {"direction": d.one("LEFT", "RIGHT")} if name == "BitShift" else {}
    return 18, [x] if name == "BitwiseNot" else [x, y], attrs, 1, name


def trilu(d):
    x = d.floats(*d.dims(2, 4))
    k = np.asarray(np.int64(d.n(-6, 6)))
    return 14, [d.one(x, x.astype(np.int64), x > 0)] + ([k] if d.coin() else []), {"upper": d.n(0, 1)}, 1


def eye(d):
    return 9, [d.floats(d.n(1, 5), d.n(1, 5))], {"k": d.n(-6, 6), "dtype": d.one(1, 6, 7, 11)}, 1


def cumsum(d):
    shape = d.dims(1, 4)
    axis = np.asarray(np.int64(d.n(-len(shape), len(shape) - 1)))
    x = d.one(d.floats(*shape), whole(d, shape), d.floats(*shape).astype(np.float64))
    return d.one(11, 14), [x, axis], {"exclusive": d.n(0, 1), "reverse": d.n(0, 1)}, 1


def einsum(d):
    letters = "abcdeABC"
    size = {c: d.n(1, 4) for c in letters}
    terms, shapes = [], []
    dots = d.dims(0, 2, 3)
    ellipsis = d.n(0, 3) == 0
    for _ in range(d.n(1, 3)):
        term = d.r.sample(letters, d.n(1, 3))
        if d.n(0, 5) == 0:
            term.append(term[0])
        shape = [size[c] for c in term]
        text = "".join(term)
        if ellipsis:
            at = d.n(0, len(term))
            text = text[:at] + "..." + text[at:]
            shape = shape[:at] + [1 if d.n(0, 3) == 0 else v for v in dots] + shape[at:]
        terms.append(text)
        shapes.append(shape)
    equation = ",".join(terms)
    if d.n(0, 3):
        there = sorted({c for c in equation if c.isalpha()})
        out = "".join(d.r.sample(there, d.n(0, len(there))))
        equation += "->" + ("..." if ellipsis else "") + out
    kind = d.one(np.float32, np.float32, np.float64)
    return 12, [d.floats(*s).astype(kind) for s in shapes], {"equation": equation}, 1


def hardmax(d):
    x = np.round(d.floats(*d.dims(1, 4)) * 2)
    return d.one(11, 13), [x], {"axis": d.n(0, x.ndim - 1)}, 1


def lp(d):
    x = d.floats(*d.dims(1, 4))
    return 13, [x], {"axis": d.n(-x.ndim, x.ndim - 1), "p": d.n(1, 2)}, 1


def mvn(d):
    x = d.floats(*[v + 1 for v in d.dims(4, 4)])
    return 13, [x], {"axes": d.one([0, 2, 3], [1, 2], [0, 1, 2, 3], None)}, 1


def det(d):
    n = d.n(1, 6)
    return 11, [d.floats(*d.dims(0, 2, 3), n, n)], {}, 1


def loss(d):
    name = d.one("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
    n, classes, rest = d.n(1, 4), d.n(2, 6), d.dims(0, 2, 4)
    labels = whole(d, [n, *rest], 0, classes - 1)
    attrs = {"reduction": d.one("none", "sum", "mean")}
    if d.coin():
        attrs["ignore_index"] = int(labels.ravel()[0])
    inputs = [d.floats(n, classes, *rest), labels] + ([abs(d.floats(classes)) + 0.1] if d.coin() else [])
    if "ignore_index" in attrs and (labels == attrs["ignore_index"]).all():
        labels.ravel()[0] = 0  # or the mean is 0 / 0, of which the runtimes disagree
        attrs["ignore_index"] = classes
    return 13, inputs, attrs, d.n(1, 2) if name.startswith("S") else 1, name


def dft(d):
    n, complex_ = d.n(1, 20), d.n(0, 1)
    x = d.floats(d.n(1, 3), n, d.n(1, 3), 1 + complex_)
    attrs = {"inverse": d.n(0, 1), "onesided": 0}
    if not complex_ and not attrs["inverse"]:
        attrs["onesided"] = d.n(0, 1)
    length = np.asarray(np.int64(d.n(1, 24))) if d.coin() else None
    if d.coin():
        return 17, [x, length], {**attrs, "axis": d.n(1, 2)}, 1
    return 20, [x, length, np.asarray(np.int64(d.one(1, 2, -2, -3)))], attrs, 1


def stft(d):
    frame, step = d.n(1, 20), d.n(1, 7)
    x = d.floats(d.n(1, 3), frame + d.n(0, 30), 1)
    window = d.floats(frame) if d.coin() else None
    return 17, [x, np.asarray(np.int64(step)), window, np.asarray(np.int64(frame))], {
        "onesided": d.n(0, 1)}, 1


def window(d):
    name = d.one("HannWindow", "HammingWindow", "BlackmanWindow")
    return 17, [np.asarray(np.int64(d.n(2, 40)))], {"periodic": d.n(0, 1)}, 1, name


def mel(d):
    low = np.float32(d.one(0.0, 20.0, 125.0))
    return 17, [np.asarray(np.int64(v)) for v in (d.n(2, 12), d.one(64, 128), 8000)] + [
        np.asarray(low), np.asarray(np.float32(d.one(2000.0, 3800.0)))], {}, 1


def variadic(d):
    shape = d.dims(0, 3)
    name = d.one("Sum", "Mean", "Min", "Max")
    inputs = [d.floats(*d.broadcast(shape)) for _ in range(d.n(1, 4))]
    if name in ("Min", "Max") and d.coin():
        kind = d.one(np.int32, np.int64, np.float64, np.uint32, np.uint64)
        inputs = [(abs(x) * 9).astype(kind) for x in inputs]
    return 13, inputs, {}, 1, name


def mixed_pow(d):
    shape = d.dims(0, 3)
    base = d.one(np.float32, np.int32, np.int64, np.float64)
    exponent = d.one(np.float32, np.int32, np.int64, np.float64)
    x = (1 + abs(d.floats(*d.broadcast(shape))) * 2).astype(base)
    return d.one(12, 13), [x, whole(d, shape, 0, 3).astype(exponent)], {}, 1


def whole_reduce(d):
    shape = d.dims(1, 4, 9)
    name = d.one("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceMean", "ReduceSumSquare", "ReduceL1",
                 "ReduceL2")
    axes = d.r.sample(range(len(shape)), d.n(1, len(shape)))
    kinds = [np.int32] if name in ("ReduceMean", "ReduceSumSquare", "ReduceL1", "ReduceL2") else [np.int32, np.int64]
    x = whole(d, shape, -3, 3, kinds)
    return 18, [x, ints(*axes)], {"keepdims": d.n(0, 1)}, 1, name


def log_reduce(d):
    x = abs(d.floats(*d.dims(1, 4, 9))) + 0.1
    axes = d.r.sample(range(x.ndim), d.n(1, x.ndim))
    return 18, [x, ints(*axes)], {"keepdims": d.n(0, 1)}, 1, d.one("ReduceLogSum", "ReduceLogSumExp", "ReduceL2")


def whole_matmul(d):
    m, n, k = d.n(1, 6), d.n(1, 6), d.n(0, 6)
    batch = d.dims(0, 2, 3)
    kind = d.one(np.int32, np.int64, np.uint32, np.uint64)
    return 13, [whole(d, [*d.broadcast(batch), m, k], kinds=[kind]), whole(d, [*batch, k, n], kinds=[kind])], {}, 1, \
        "MatMul"


def whole_others(d):
    shape = d.dims(0, 4)
    name = d.one("Abs", "Neg", "Sign", "Clip", "Div", "Equal", "Where", "ArgMax", "ArgMin")
    kind = d.one(np.int32, np.int64, np.int8)
    x = whole(d, shape or [1], kinds=[kind])
    if name == "Clip":
        return 13, [x, np.asarray(kind(-3)), np.asarray(kind(4))], {}, 1, name
    if name == "Div":
        return 14, [x, np.where(x == 0, kind(2), x[::-1] if d.coin() else x) + (x == 0)], {}, 1, name
    if name == "Equal":
        return 13, [x, whole(d, x.shape, kinds=[kind])], {}, 1, name
    if name == "Where":
        return 16, [x > 0, x, whole(d, x.shape, kinds=[kind])], {}, 1, name
    if name.startswith("Arg"):
        return 13, [x], {"axis": d.n(0, x.ndim - 1), "keepdims": d.n(0, 1), "select_last_index": d.n(0, 1)}, 1, name
    return 13, [x], {}, 1, name


def attention(d):
    b, kv, group, s, t, size, wide = (d.n(1, 3), d.n(1, 2), d.n(1, 3), d.n(1, 5), d.n(1, 6), d.one(4, 8), d.one(4, 8))
    heads, past = kv * group, d.n(0, 3) if d.coin() else 0
    attrs = {"is_causal": 0 if past else d.n(0, 1)}  # behind a past ONNX Runtime aligns it its own way
    if d.n(0, 2) == 0:
        attrs["softcap"] = 2.0
    if d.coin():
        attrs["scale"] = 0.3
    if d.coin():
        inputs = [d.floats(b, heads, s, size), d.floats(b, kv, t, size), d.floats(b, kv, t, wide)]
    else:
        inputs = [d.floats(b, s, heads * size), d.floats(b, t, kv * size), d.floats(b, t, kv * wide)]
        attrs.update(q_num_heads=heads, kv_num_heads=kv)
    total = t + past
    mask = d.one(None, d.floats(s, total), d.floats(b, 1, s, total), d.floats(1, heads, s, total))
    if mask is not None and d.coin():
        mask = mask > -0.5
        mask[..., 0] = True
    inputs.append(mask)
    if past:
        inputs += [d.floats(b, kv, past, size), d.floats(b, kv, past, wide)]
        return 23, inputs, attrs, 3
    return 23, inputs, attrs, 1


def rms_norm(d):
    x = d.floats(*d.dims(1, 4, 20))
    axis = d.n(-x.ndim, -1)
    return 23, [x, d.floats(*x.shape[axis:])], {"axis": axis}, 1


def rotary(d):
    b, heads, s, size = d.n(1, 3), d.n(1, 3), d.n(1, 5), d.one(4, 8)
    turned = d.one(0, size // 2)
    half = (turned or size) // 2
    attrs = {"interleaved": d.n(0, 1), "rotary_embedding_dim": turned, "num_heads": heads}
    x = d.floats(b, heads, s, size) if d.coin() else d.floats(b, s, heads * size)
    if d.coin():
        return 23, [x, d.floats(9, half), d.floats(9, half), whole(d, [b, s], 0, 8, [np.int64])], attrs, 1
    return 23, [x, d.floats(b, s, half), d.floats(b, s, half)], attrs, 1


GENERATORS = {
    "Trigonometry": unary, "Mod": modulo, "Bits": bits, "Trilu": trilu, "EyeLike": eye, "CumSum": cumsum,
    "Einsum": einsum, "Hardmax": hardmax, "LpNormalization": lp, "MeanVarianceNormalization": mvn, "Det": det,
    "Loss": loss, "DFT": dft, "STFT": stft, "Window": window, "MelWeightMatrix": mel, "Variadic": variadic,
    "Pow": mixed_pow, "WholeReduce": whole_reduce, "LogReduce": log_reduce, "WholeMatMul": whole_matmul,
    "WholeOthers": whole_others, "Attention": attention, "RMSNormalization": rms_norm, "RotaryEmbedding": rotary,
}
