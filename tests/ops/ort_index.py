"""Generators of ort_cases.py: elements picked, ordered, counted and set by index."""
import numpy as np

SMALL = [np.float32, np.int64, np.int32, np.float64]


def ints(*v):
    return np.array(v, dtype=np.int64)


def index(d, size, *shape):
    return d.np.integers(-size, size, shape).astype(np.int64)


def topk(d):
    x = np.round(d.floats(*d.dims(1, 4, 30)) * 3).astype(d.one(np.float32, np.int64, np.int32))
    axis = d.n(-x.ndim, x.ndim - 1)
    k, attrs = d.n(0, x.shape[axis]), {"axis": axis}
    if x.dtype != np.float32:
        attrs["largest"] = d.n(0, 1)
        return 11, [x, ints(k)], attrs, 2
    opset = d.one(7, 10, 11)
    if opset < 10:
        return opset, [x], {"axis": axis % x.ndim, "k": max(k, 1)}, 2
    if opset == 11:
        attrs["largest"] = d.n(0, 1)
    return opset, [x, ints(k)], attrs, 2


def one_hot(d):
    depth, shape = d.n(1, 6), d.dims(0, 3)
    at = np.asarray(d.np.integers(-8, 8, shape)).astype(d.one(np.int64, np.int32, np.float32))
    values = np.array([d.n(-3, 3), d.n(-3, 3)], dtype=d.one(np.float32, np.int64))
    if (at.dtype, values.dtype) == (np.int32, np.int64):
        at = at.astype(np.int64)
    return d.one(9, 11), [at, ints(depth), values], {"axis": d.n(-at.ndim - 1, at.ndim)}, 1


def gather_nd(d):
    x = d.floats(*d.dims(1, 4))
    batch = d.n(0, x.ndim - 1)
    depth = d.n(1, x.ndim - batch)
    lead = list(x.shape[:batch]) + d.dims(0, 2, 4)
    at = np.zeros(lead + [depth], dtype=np.int64)
    for i in range(depth):
        at[..., i] = index(d, x.shape[batch + i], *lead)
    return d.one(12, 13), [x, at], {"batch_dims": batch}, 1


def gather_elements(d):
    x = d.floats(*d.dims(1, 4))
    axis = d.n(-x.ndim, x.ndim - 1)
    shape = [d.n(1, v) for v in x.shape]
    shape[axis] = d.n(1, 7)
    return d.one(11, 13), [x, index(d, x.shape[axis], *shape)], {"axis": axis}, 1


def distinct(d, size, n):
    """n different indices, each counted from either end."""
    return [v - size if d.coin() else v for v in d.r.sample(range(size), n)]


def scatter_elements(d):
    x = d.floats(*d.dims(1, 3, 6)).astype(d.one(*SMALL))
    axis = d.n(-x.ndim, x.ndim - 1)
    shape = [d.n(1, v) for v in x.shape]
    opset, attrs = d.one(9, 11, 13, 16, 18), {"axis": axis}
    if opset >= 16 and x.dtype in (np.float32, np.int32, np.int64):
        attrs["reduction"] = d.one(*("none add mul".split() if opset == 16 else "none add mul min max".split()))
    at = np.zeros(shape, dtype=np.int64)
    if attrs.get("reduction", "none") == "none":  # the last of equal ones wins, in no promised order
        moved = np.moveaxis(at, axis, -1)
        for i in np.ndindex(*moved.shape[:-1]):
            moved[i] = distinct(d, x.shape[axis], moved.shape[-1])
    else:
        at = index(d, x.shape[axis], *shape)
    updates = (d.floats(*shape) * 3).astype(x.dtype)
    return opset, [x, at, updates], attrs, 1, "Scatter" if opset < 11 else "ScatterElements"


def scatter_nd(d):
    x = d.floats(*d.dims(1, 4)).astype(d.one(*SMALL))
    depth, n = d.n(1, x.ndim), d.n(1, 4)
    opset, attrs = d.one(11, 13, 16, 18), {}
    if opset >= 16 and x.dtype in (np.float32, np.int32, np.int64):
        attrs["reduction"] = d.one(*("add mul".split() if opset == 16 else "add mul min max".split()))
    at = np.stack([index(d, v, n) for v in x.shape[:depth]], axis=-1)
    if not attrs:
        places = np.unique(at % np.array(x.shape[:depth]), axis=0)
        at = d.np.permutation(places)
    updates = (d.floats(len(at), *x.shape[depth:]) * 3).astype(x.dtype)
    return opset, [x, at, updates], attrs, 1


def nms(d):
    batch, classes, n = d.n(1, 2), d.n(1, 3), d.n(1, 40)
    boxes = d.np.random((batch, n, 4)).astype(np.float32)
    scores = np.round(d.np.random((batch, classes, n)) * 20).astype(np.float32) / 20
    inputs = [boxes, scores]
    if d.n(0, 9):
        inputs.append(ints(d.n(0, n)))
        inputs.append(np.float32(d.one(0.0, 0.3, 0.5)))
        if d.coin():
            inputs.append(np.float32(d.one(0.0, 0.25, 0.4)))
    return d.one(10, 11), inputs, {"center_point_box": d.n(0, 1)}, 1, "NonMaxSuppression"


def non_zero(d):
    x = np.round(d.floats(*d.dims(1, 4, 12)))
    return d.one(9, 13), [d.one(x, x.astype(np.int64), x > 0)], {}, 1


def compress(d):
    x = d.floats(*d.dims(1, 3, 6))
    axis = d.one(None, d.n(-x.ndim, x.ndim - 1))
    n = x.size if axis is None else x.shape[axis]
    return d.one(9, 11), [x, d.floats(d.n(1, n)) > 0], {"axis": axis}, 1


def unique(d):
    x = np.round(d.floats(*d.dims(1, 3, 7))).astype(d.one(np.float32, np.int64, np.float64))
    x = np.where(x == 0, np.zeros_like(x), x)  # one kind of zero
    return 11, [x], {"axis": d.one(None, d.n(-x.ndim, x.ndim - 1)), "sorted": d.n(0, 1)}, 4


def reverse_sequence(d):
    x = d.floats(d.n(1, 6), d.n(1, 6), *d.dims(0, 2))
    batch = d.n(0, 1)
    lens = ints(*[d.n(1, x.shape[1 - batch]) for _ in range(x.shape[batch])])
    return 10, [x, lens], {"batch_axis": batch, "time_axis": 1 - batch}, 1


def linear_regressor(d):
    features, targets = d.n(1, 6), d.n(1, 4)
    attrs = {"domain": "ai.onnx.ml", "coefficients": d.floats(features * targets).tolist(), "targets": targets}
    if d.coin():
        attrs["intercepts"] = d.floats(targets).tolist()
    return 13, [d.floats(d.n(1, 5), features)], attrs, 1


def normalizer(d):
    x = abs(d.floats(d.n(1, 5), d.n(1, 6)))  # of negative ones ONNX Runtime's MAX takes the largest size
    return 13, [x], {"domain": "ai.onnx.ml", "norm": d.one("MAX", "L1", "L2")}, 1


def scaler(d):
    x = d.floats(d.n(1, 5), d.n(1, 6))
    n = d.one(1, x.shape[1])
    attrs = {"domain": "ai.onnx.ml", "offset": d.floats(n).tolist(), "scale": d.floats(n).tolist()}
    return 13, [x], attrs, 1


def tfidf(d):
    pool, counts, grams = [], [], []
    for size in range(1, d.n(1, 3) + 1):
        counts.append(len(pool))
        for _ in range(d.n(1, 5)):
            gram = [d.n(0, 3) for _ in range(size)]
            if gram not in grams:
                grams.append(gram)
                pool += gram
    longest = d.n(1, len(counts))
    attrs = {"mode": d.one("TF", "IDF", "TFIDF"), "max_gram_length": longest,
             "min_gram_length": d.n(1, longest), "max_skip_count": d.n(0, 3), "pool_int64s": pool,
             "ngram_counts": counts, "ngram_indexes": d.r.sample(range(len(grams)), len(grams)),
             "weights": abs(d.floats(len(grams))).tolist()}
    x = d.np.integers(0, 4, d.one([d.n(1, 12)], [d.n(1, 3), d.n(1, 12)]))
    return 9, [x.astype(d.one(np.int64, np.int32))], attrs, 1


# Their indices need not be constants.
FREE = ("GatherND", "GatherElements", "Scatter", "ScatterElements", "ScatterND", "NonMaxSuppression",
        "ReverseSequence")

GENERATORS = {
    "TopK": topk, "OneHot": one_hot, "GatherND": gather_nd, "GatherElements": gather_elements,
    "ScatterElements": scatter_elements, "ScatterND": scatter_nd, "Nms": nms, "NonZero": non_zero,
    "Compress": compress, "Unique": unique, "ReverseSequence": reverse_sequence,
    "LinearRegressor": linear_regressor, "Normalizer": normalizer, "Scaler": scaler, "TfIdfVectorizer": tfidf,
}
