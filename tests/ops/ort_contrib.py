"""Generators of ort_cases.py for operators of com.microsoft, which ONNX Runtime writes when it optimises."""
import numpy as np

MS = "com.microsoft:"


def whole(d, shape, low, high):
    return d.np.integers(low, high, shape, endpoint=True).astype(np.int32)


def gelu(d):
    n = d.n(1, 40)
    x = d.floats(*d.dims(0, 2), n) * 2
    name = d.one("Gelu", "FastGelu", "BiasGelu", "QuickGelu")
    inputs = [x] + ([d.floats(n)] if name == "BiasGelu" or (name == "FastGelu" and d.coin()) else [])
    return 13, inputs, {"alpha": d.one(1.0, 1.702)} if name == "QuickGelu" else {}, 1, MS + name


def fused_matmul(d):
    m, n, k = d.n(1, 6), d.n(1, 9), d.n(1, 7)
    batch, ta, tb = d.dims(0, 2, 3), d.n(0, 1), d.n(0, 1)
    a = d.floats(*batch, *((k, m) if ta else (m, k)))
    lead = d.one(batch, [])
    b = d.floats(*lead, *((n, k) if tb else (k, n)))
    return 13, [a, b], {"transA": ta, "transB": tb, "alpha": d.one(1.0, 0.5)}, 1, MS + "FusedMatMul"


def activation(d):
    return d.one("Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid")


def fused_gemm(d):
    m, n, k = d.n(1, 6), d.n(1, 9), d.n(1, 7)
    name = activation(d)
    attrs = {"activation": name, "alpha": 0.5, "beta": d.one(1.0, 2.0)}
    if name in ("LeakyRelu", "HardSigmoid"):
        attrs["activation_alpha"] = 0.3
    if name == "HardSigmoid":
        attrs["activation_beta"] = 0.4
    return 13, [d.floats(m, k), d.floats(k, n)] + ([d.floats(n)] if d.coin() else []), attrs, 1, MS + "FusedGemm"


def fused_conv(d):
    n, c, oc, size = d.n(1, 2), d.n(1, 4), d.n(1, 5), d.n(3, 8)
    name = activation(d)
    params = {"LeakyRelu": [0.3], "HardSigmoid": [0.3, 0.4]}.get(name)
    inputs = [d.floats(n, c, size, size), d.floats(oc, c, 3, 3), d.floats(oc)]
    if d.coin():
        inputs.append(d.floats(n, oc, size, size))
    return 13, inputs, {"activation": name, "activation_params": params, "pads": [1, 1, 1, 1]}, 1, MS + "FusedConv"


def skip_norm(d):
    b, s, n = d.n(1, 3), d.n(1, 4), d.n(1, 40)
    x, skip, gamma = d.floats(b, s, n), d.floats(b, s, n), d.floats(n)
    if d.coin():
        extra = [d.floats(n)] if d.coin() else []
        return 13, [x, skip, gamma, *extra], {}, 1, MS + "SkipSimplifiedLayerNormalization"
    extra = [d.one(None, d.floats(n)), d.one(None, d.floats(n))]
    return 13, [x, skip, gamma, *extra], {"epsilon": 1e-5}, 1, MS + "SkipLayerNormalization"


def simplified(d):
    x = d.floats(*d.dims(1, 3, 20))
    return 13, [x, d.floats(x.shape[-1])], {"axis": -1}, 1, "SimplifiedLayerNormalization"


def embed(d):
    b, s, n, words = d.n(1, 3), d.n(1, 5), d.n(1, 20), 11
    segments = d.coin()
    inputs = [whole(d, [b, s], 0, words - 1), whole(d, [b, s], 0, 1) if segments else None, d.floats(words, n),
              d.floats(7, n), d.floats(2, n) if segments else None, d.floats(n), d.floats(n)]
    if d.coin():
        inputs.append(whole(d, [b, s], 0, 1))
    return 13, inputs, {"epsilon": 1e-5}, 2, MS + "EmbedLayerNormalization"


def masks(d, b, s, total):
    """Lengths, or keys, or keys of each query."""
    lengths = whole(d, [b], 1, total)
    keys, full = whole(d, [b, total], 0, 1), whole(d, [b, s, total], 0, 1)
    keys[:, 0] = 1
    full[:, :, 0] = 1
    return d.one(None, lengths, keys, full)


def attention(d):
    b, heads, s, size, wide = d.n(1, 3), d.n(1, 3), d.n(1, 5), d.one(4, 8), d.n(1, 9)
    past = d.n(1, 4) if d.coin() else 0
    n = 3 * heads * size
    inputs = [d.floats(b, s, wide), d.floats(wide, n), d.floats(n)]
    mask = masks(d, b, s, s + past)
    inputs.append(mask)
    inputs.append(d.floats(2, b, heads, past, size) if past else None)
    if d.coin():
        inputs.append(d.floats(b, heads, s, s + past))
    attrs = {"num_heads": heads, "unidirectional": d.n(0, 1)}
    return 13, inputs, attrs, 2 if past else 1, MS + "Attention"


def multi_head(d):
    b, heads, s, t, size, wide = d.n(1, 3), d.n(1, 3), d.n(1, 5), d.n(1, 6), d.one(4, 8), d.one(4, 8)
    n, nv = heads * size, heads * wide
    past = 0
    inputs = [d.floats(b, s, n), d.floats(b, t, n), d.floats(b, t, nv)]
    inputs.append(d.floats(2 * n + nv) if d.coin() else None)
    mask = masks(d, b, s, t + past)
    inputs.append(mask if mask is not None and mask.ndim == 2 else None)
    if d.coin():
        inputs.append(d.floats(1, heads, s, t + past))
    return 13, inputs, {"num_heads": heads, "scale": d.one(None, 0.3)}, 1, MS + "MultiHeadAttention"


def rotary(d):
    b, heads, s, size = d.n(1, 3), d.n(1, 3), d.n(1, 5), d.one(4, 8)
    x = d.floats(b, s, heads * size)
    at = d.np.integers(0, 3, [b, s]) if d.coin() else np.array([d.n(0, 3)])
    return 13, [x, at.astype(np.int64), d.floats(9, size // 2), d.floats(9, size // 2)], {
        "interleaved": d.n(0, 1)}, 1, MS + "RotaryEmbedding"


def inverse(d):
    n = d.n(1, 6)
    x = d.floats(*d.dims(0, 2, 3), n, n) + 4 * np.eye(n, dtype=np.float32)
    return 13, [x.astype(np.float32)], {}, 1, MS + "Inverse"


def trilu(d):
    return 13, [d.floats(*d.dims(2, 4))], {"upper": d.n(0, 1)}, 1, MS + "Trilu"


GENERATORS = {
    "MsGelu": gelu, "FusedMatMul": fused_matmul, "FusedGemm": fused_gemm, "FusedConv": fused_conv,
    "SkipLayerNormalization": skip_norm, "SimplifiedLayerNormalization": simplified,
    "EmbedLayerNormalization": embed, "MsAttention": attention, "MultiHeadAttention": multi_head,
    "MsRotaryEmbedding": rotary, "Inverse": inverse, "MsTrilu": trilu,
}
