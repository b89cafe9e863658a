"""Generators of ort_cases.py: quantised tensors and products of 8-bit integers."""
import numpy as np

MICROSOFT = {"domain": "com.microsoft"}
# Results may differ by one step where a float lies between two of them; they are compared as floats.
TOLERANCE = {
    "QLinearConv": 1.001, "QLinearMatMul": 1.001, "QGemm": 1.001, "QLinearAdd": 1.001,
    "QLinearMul": 1.001, "QLinearSigmoid": 1.001, "QLinearLeakyRelu": 1.001, "QLinearWhere": 1.001,
    "QLinearAveragePool": 1.001, "QLinearGlobalAveragePool": 1.001, "QLinearConcat": 1.001,
    "QLinearSoftmax": 1.001, "DynamicQuantizeLSTM": 2e-3,
    "MatMulNBits": 1e-3,
}


def draw(d, kind, *shape):
    """Any values of an integer type, in half of the cases only the extreme ones."""
    info = np.iinfo(kind)
    x = d.np.integers(info.min, info.max, shape, endpoint=True)
    if d.coin():
        x = d.np.choice([info.min, info.max, info.max // 2], shape)
    return np.asarray(x).astype(kind)


def scale(d, *shape):
    return np.asarray(d.np.random(shape) * 0.1 + 0.01).astype(np.float32)


def tensor(d, kind, *shape):
    return [draw(d, kind, *shape), scale(d), draw(d, kind)]


def kinds(d):
    """(type of A, type of B): ONNX Runtime has no int8 times uint8."""
    return d.one((np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8))


def quantize(d):
    x = d.floats(*d.dims(1, 4, 9)) * 3
    axis, opset = d.n(-x.ndim, x.ndim - 1), d.one(10, 13, 19, 21)
    kind = d.one(*([np.uint8, np.int8] if opset < 21 else [np.uint8, np.int8, np.int16, np.uint16]))
    if opset == 10 or d.coin():
        return opset, [x, scale(d), draw(d, kind)], {}, 1
    n = x.shape[axis]
    if opset == 21 and d.coin():
        block = d.n(1, n)
        shape = list(x.shape)
        shape[axis] = -(-n // block)
        return opset, [x, scale(d, *shape), draw(d, kind, *shape)], {"axis": axis, "block_size": block}, 1
    return opset, [x, scale(d, n), draw(d, kind, n)], {"axis": axis}, 1


def dequantize(d):
    opset, (x, *params), attrs, n = quantize(d)
    kind = params[1].dtype
    if d.n(0, 3) == 0 and "block_size" not in attrs:
        return opset, [draw(d, np.int32, *x.shape), params[0]], attrs, n
    return opset, [draw(d, kind, *x.shape), *params], attrs, n


def dynamic_quantize(d):
    return 11, [d.floats(*d.dims(0, 4, 20)) * d.one(0, 1, 7)], {}, 3


def window(d, dims):
    kernel = [d.n(1, 3) for _ in range(dims)]
    size = [d.n(v + 2, 14) for v in kernel]
    attrs = {"strides": [d.n(1, 2) for _ in kernel]}
    if d.coin():
        attrs["pads"] = [d.n(0, v - 1) for v in kernel * 2]
    return size, kernel, attrs


def conv(d, linear):
    group = d.one(1, 1, 2, 4)
    per, fold = d.one(1, d.n(1, 5)), d.n(1, 9)
    size, kernel, attrs = window(d, d.n(1, 2))
    if d.n(0, 3) == 0:
        attrs["dilations"] = [2 for _ in kernel]
        size = [v + 3 for v in size]
    a, b = kinds(d)
    attrs["group"] = group
    x = draw(d, a, d.n(1, 2), group * per, *size)
    w = draw(d, b, group * fold, per, *kernel)
    if not linear:
        return 10, [x, w, *d.one([], [draw(d, a)], [draw(d, a), draw(d, b)])], attrs, 1
    each = d.one([], [group * fold])
    w_zero = np.zeros(each, dtype=b) if each else draw(d, b)
    inputs = [x, scale(d), draw(d, a), w, scale(d, *each), w_zero, scale(d) * 300, draw(d, a)]
    if d.coin():
        inputs.append(d.np.integers(-9999, 9999, group * fold).astype(np.int32))
    return 10, inputs, attrs, 1


def conv_integer(d):
    return conv(d, False)


def qlinear_conv(d):
    return conv(d, True)


def product(d, constant):
    """Shapes of A and B as of numpy.matmul."""
    batch = d.dims(0, 2, 3)
    m, n, k = d.n(1, 14), d.n(1, 40), d.n(1, 70)
    a, b = [*batch, m, k], [*(batch if d.coin() and not constant else []), k, n]
    return a, b, n


def matmul_integer(d):
    a, b, n = product(d, False)
    left, right = kinds(d)
    each = d.one([], [n]) if len(b) == 2 else []
    zeros = d.one([], [draw(d, left)], [draw(d, left), draw(d, right, *each)])
    return 10, [draw(d, left, *a), draw(d, right, *b), *zeros], {}, 1


def qlinear_matmul(d):
    a, b, n = product(d, False)
    left, right = kinds(d)
    each = d.one([], [n]) if len(b) == 2 else []
    return d.one(10, 21), [draw(d, left, *a), scale(d), draw(d, left), draw(d, right, *b), scale(d, *each),
                           draw(d, right, *each), scale(d) * 500, draw(d, left)], {}, 1


def matmul_to_float(d):
    a, b, n = product(d, False)
    left, right = kinds(d)
    each = d.one([], [n]) if len(b) == 2 else []
    inputs = [draw(d, left, *a), draw(d, right, *b), scale(d), scale(d, *each)]
    if d.coin():
        inputs += [draw(d, left), draw(d, right, *each)]
        inputs += d.one([], [d.floats(n)])
    return 13, inputs, dict(MICROSOFT), 1


def dynamic_matmul(d):
    a, b, n = product(d, True)
    kind = d.one(np.uint8, np.int8)
    each = d.one([], [n])
    inputs = [d.floats(*a), draw(d, kind, *b), scale(d, *each)]
    if d.coin():
        inputs += [draw(d, kind, *each)]
        inputs += d.one([], [d.floats(n)])
    return 13, inputs, dict(MICROSOFT), 1


def qgemm(d):
    m, n, k, ta, tb = d.n(1, 12), d.n(1, 40), d.n(1, 50), d.n(0, 1), d.n(0, 1)
    left, right = kinds(d)
    each = d.one([], [n])
    inputs = [draw(d, left, *((k, m) if ta else (m, k))), scale(d), draw(d, left),
              draw(d, right, *((n, k) if tb else (k, n))), scale(d, *each), draw(d, right, *each)]
    bias = d.np.integers(-9999, 9999, d.one([n], [m, n], [m, 1], [1])).astype(np.int32)
    result = d.one([], [scale(d) * 500, draw(d, left)])
    inputs += [d.one(None, bias) if result else bias, *result]
    return 13, inputs, {**MICROSOFT, "transA": ta, "transB": tb, "alpha": d.one(1.0, 0.5)}, 1


def q_binary(d):
    kind, shape = d.one(np.uint8, np.int8), d.dims(1, 4, 20)
    inputs = tensor(d, kind, *d.broadcast(shape)) + tensor(d, kind, *shape)
    return 13, [*inputs, scale(d), draw(d, kind)], dict(MICROSOFT), 1


def q_unary(d):
    kind = d.one(np.uint8, np.int8)
    return 13, [*tensor(d, kind, *d.dims(1, 4, 20)), scale(d), draw(d, kind)], dict(MICROSOFT), 1


def q_leaky(d):
    opset, inputs, attrs, n = q_unary(d)
    return opset, inputs, {**attrs, "alpha": 0.25}, n


def q_where(d):
    kind, shape = d.one(np.uint8, np.int8), d.dims(1, 3, 9)
    return 13, [d.floats(*shape) > 0, *tensor(d, kind, *d.broadcast(shape)), *tensor(d, kind, *shape),
                scale(d), draw(d, kind)], dict(MICROSOFT), 1


def q_pool(d):
    kind = d.one(np.uint8, np.int8)
    size, kernel, attrs = window(d, 2)
    x = tensor(d, kind, d.n(1, 2), d.n(1, 4), *size)
    attrs.update(MICROSOFT, kernel_shape=kernel, count_include_pad=d.n(0, 1))
    return 13, [*x, scale(d), draw(d, kind)], attrs, 1


def q_global_pool(d):
    kind = d.one(np.uint8, np.int8)
    return 13, [*tensor(d, kind, d.n(1, 2), d.n(1, 5), d.n(1, 9), d.n(1, 9)), scale(d),
                draw(d, kind)], dict(MICROSOFT), 1


def q_concat(d):
    kind, shape = d.one(np.uint8, np.int8), d.dims(1, 4)
    axis = d.n(0, len(shape) - 1)
    inputs = [scale(d), draw(d, kind)]
    for _ in range(d.n(1, 3)):
        shape[axis] = d.n(1, 4)
        inputs += tensor(d, kind, *shape)
    return 13, inputs, {**MICROSOFT, "axis": axis}, 1


def q_softmax(d):
    kind = d.one(np.uint8, np.int8)
    x = tensor(d, kind, *d.dims(1, 4, 12))
    zero = kind(0 if kind is np.uint8 else -128)
    return 13, [*x, np.float32(1 / 256), zero], {**MICROSOFT, "axis": d.n(0, x[0].ndim - 1),
                                                "opset": d.one(11, 13)}, 1


def nbits(d):
    bits, block = d.one(4, 8), d.one(16, 32, 64)
    m, n, k = d.n(1, 6), d.n(1, 20), d.n(1, 6) * d.one(16, 20, 32)
    blocks = -(-k // block)
    inputs = [d.floats(m, k), draw(d, np.uint8, n, blocks, block * bits // 8), scale(d, n * blocks)]
    if d.coin():
        inputs.append(draw(d, np.uint8, n * ((blocks * bits + 7) // 8)))
    return 13, inputs, {**MICROSOFT, "K": k, "N": n, "bits": bits, "block_size": block}, 1


def quant_lstm(d):
    steps, size, hidden, dirs = d.n(1, 5), d.n(1, 9), d.n(1, 12), d.n(1, 2)
    kind = d.one(np.uint8, np.int8)
    inputs = [d.floats(steps, 1, size), draw(d, kind, dirs, size, 4 * hidden),
              draw(d, kind, dirs, hidden, 4 * hidden), d.one(None, d.floats(dirs, 8 * hidden)), None]
    for _ in range(2):
        inputs.append(d.one(None, d.floats(dirs, 1, hidden)))
    inputs.append(d.one(None, d.floats(dirs, 3 * hidden)))
    for _ in range(2):
        inputs += [scale(d, dirs) * 0.03, draw(d, kind, dirs)]
    return 13, inputs, {**MICROSOFT, "hidden_size": hidden,
                        "direction": "bidirectional" if dirs == 2 else d.one("forward", "reverse")}, 3


# ONNX Runtime looks into these when it loads a model.
SIZED = ("QLinearWhere",)

GENERATORS = {
    "QuantizeLinear": quantize, "DequantizeLinear": dequantize,
    "DynamicQuantizeLinear": dynamic_quantize, "ConvInteger": conv_integer,
    "QLinearConv": qlinear_conv, "MatMulInteger": matmul_integer, "QLinearMatMul": qlinear_matmul,
    "MatMulIntegerToFloat": matmul_to_float, "DynamicQuantizeMatMul": dynamic_matmul, "QGemm": qgemm,
    "QLinearAdd": q_binary, "QLinearMul": q_binary, "QLinearSigmoid": q_unary,
    "QLinearLeakyRelu": q_leaky, "QLinearWhere": q_where, "QLinearAveragePool": q_pool,
    "QLinearGlobalAveragePool": q_global_pool, "QLinearConcat": q_concat,
    "QLinearSoftmax": q_softmax, "MatMulNBits": nbits,
    "DynamicQuantizeLSTM": quant_lstm,
}
