"""quant_static.py QUANT_STATIC MODELS [CASE…]: static int8 in ONNX Runtime.

Layers and what stands between them become integer kernels there (its optimised graph is counted), the optimised model computes
what the plain one does, node by node in floats, to a few steps, and both what the float model did."""
import collections
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

ort.set_default_logger_severity(3)
DRIVER, MODELS = sys.argv[1:3]
RNG = np.random.default_rng(0)  # of each case its own
FLOAT_OPS = {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "Add", "Mul", "Concat", "Relu", "Clip", "Sigmoid", "LeakyRelu"}


class Net:
    """Nodes one after another; weights with channels of different size."""

    def __init__(self, *shape, opset=13, dtype=np.float32):
        self.nodes, self.inits, self.outs, self.dtype, self.opset = [], [], [], dtype, opset
        self.shape, self.calib = shape, RNG.standard_normal((32, *shape)).astype(dtype)

    def const(self, value):
        self.inits.append(numpy_helper.from_array(np.asarray(value), f"c{len(self.inits)}"))
        return self.inits[-1].name

    def weight(self, *shape):
        scale = np.exp(RNG.uniform(-1, 1, (shape[0], *[1] * (len(shape) - 1)))) / np.sqrt(max(1, np.prod(shape[1:])))
        return self.const((RNG.standard_normal(shape) * scale).astype(self.dtype))

    def op(self, kind, *inputs, outs=1, **attributes):
        names = [f"{kind.lower()}{len(self.nodes)}_{k}" for k in range(outs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=f"n{len(self.nodes)}", **attributes))
        return names[0] if outs == 1 else names

    def conv(self, x, c, n, k=3, group=1, bias=True, **attributes):
        b = [self.weight(n)] if bias else []
        return self.op("Conv", x, self.weight(n, c // group, k, k), *b, group=group, pads=[k // 2] * 4, **attributes)

    def ints(self, *values):
        return self.const(np.array(values, np.int64))

    def model(self, *outs, batch="n"):
        elem = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        graph = helper.make_graph(self.nodes, "g", [helper.make_tensor_value_info("x", elem, [batch, *self.shape])],
                                  [helper.make_tensor_value_info(o, elem, None) for o in outs], self.inits)
        m = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        shapes = {v.name: v for v in onnx.shape_inference.infer_shapes(m).graph.output}
        for o in m.graph.output:
            o.CopyFrom(shapes[o.name])
        return m


CASES = {}


def case(want, *settings, least=20, absent=FLOAT_OPS):
    """want: how many nodes of each kind the optimised graph has; least: dB between it and the floats."""
    def put(f):
        CASES[f.__name__] = (f, want, settings, least, absent)
        return f
    return put


@case("QLinearConv 2 QuantizeLinear 1 DequantizeLinear 1", absent=FLOAT_OPS - {"Relu"})
def chain():
    n = Net(8, 9, 9)
    y = n.op("Relu", n.conv("x", 8, 16))
    return n, n.model(n.op("Softmax", n.conv(y, 16, 8), axis=1))


@case("QLinearConv 3 MaxPool 1")
def pool_then_relu():
    n = Net(8, 10, 10)
    y = n.op("Relu", n.op("MaxPool", n.conv("x", 8, 16), kernel_shape=[2, 2], strides=[2, 2]))
    return n, n.model(n.op("Neg", n.conv(n.op("Relu", n.conv(y, 16, 16, 1)), 16, 8)))


@case("QLinearConv 2 MaxPool 1 QGemm 1", absent=FLOAT_OPS)
def relu_after_pool():
    """As in many a lesson: Relu behind the pool, and a Clip behind Flatten."""
    n = Net(8, 10, 10)
    y = n.op("Relu", n.op("MaxPool", n.conv("x", 8, 16), kernel_shape=[2, 2], strides=[2, 2]))
    y = n.op("Flatten", n.op("GlobalAveragePool", n.op("Relu", n.conv(y, 16, 16, 1))))
    return n, n.model(n.op("Gemm", y, n.weight(16, 4)))


@case("QLinearConv 4 QLinearAdd 1")
def residual():
    n = Net(8, 9, 9)
    a = n.op("Relu", n.conv("x", 8, 8))
    b = n.op("Relu", n.op("Add", n.conv(n.op("Relu", n.conv(a, 8, 8)), 8, 8), a))
    return n, n.model(n.op("Neg", n.conv(b, 8, 4)))


@case("QLinearConv 4 QLinearAdd 2")
def before_activation():
    """The sum goes on as it is and through Relu."""
    n = Net(8, 9, 9)
    a = n.conv("x", 8, 8)
    b = n.op("Add", n.conv(n.op("Relu", a), 8, 8), a)
    c = n.op("Add", n.conv(n.op("Relu", b), 8, 8), b)
    return n, n.model(n.op("Neg", n.conv(n.op("Relu", c), 8, 4)))


@case("QLinearConv 4 QLinearAdd 1")
def six():
    """Clip to [0, 6], depthwise, a residual."""
    n = Net(8, 9, 9)
    lo, hi = n.const(np.float32(0)), n.const(np.float32(6))
    a = n.op("Clip", n.conv("x", 8, 24, 1), lo, hi)
    b = n.op("Clip", n.conv(a, 24, 24, 3, 24), lo, hi)
    c = n.op("Add", n.conv(b, 24, 8, 1), "x")
    return n, n.model(n.op("Neg", n.conv(c, 8, 4, 1)))


@case("QLinearConv 4 QLinearConcat 1 Split 1 MaxPool 1")
def branches():
    n = Net(8, 9, 9)
    a, b = n.op("Split", n.op("Relu", n.conv("x", 8, 16)), outs=2, axis=1)
    c = n.op("MaxPool", n.conv(b, 8, 8), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    d = n.op("Concat", a, n.op("Relu", n.conv(b, 8, 8)), c, axis=1)
    return n, n.model(n.op("Neg", n.conv(d, 24, 4)))


@case("QLinearConv 3 QLinearSigmoid 2 QLinearMul 2")
def gates():
    n = Net(8, 9, 9)
    y = "x"
    for c in (8, 16):
        y = n.conv(y, c, 16)
        y = n.op("Mul", y, n.op("Sigmoid", y))
    return n, n.model(n.op("Neg", n.conv(y, 16, 4)))


@case("QLinearConv 4 QLinearSigmoid 1 QLinearMul 1 QLinearGlobalAveragePool 1")
def squeeze_and_excite():
    n = Net(8, 9, 9)
    y = n.op("Relu", n.conv("x", 8, 16))
    s = n.op("Relu", n.conv(n.op("GlobalAveragePool", y), 16, 4, 1))
    s = n.op("Sigmoid", n.conv(s, 4, 16, 1))
    return n, n.model(n.op("Neg", n.conv(n.op("Mul", y, s), 16, 4)))


@case("QLinearConv 3 QLinearLeakyRelu 2")
def leaky():
    n = Net(8, 9, 9)
    y = n.op("LeakyRelu", n.conv("x", 8, 16), alpha=0.1)
    return n, n.model(n.op("Neg", n.conv(n.op("LeakyRelu", n.conv(y, 16, 16), alpha=0.1), 16, 4)))


@case("QLinearConv 2 QLinearAdd 1 QLinearMul 1")
def hard_swish():
    n = Net(8, 9, 9, opset=14)
    return n, n.model(n.op("Neg", n.conv(n.op("HardSwish", n.conv("x", 8, 16)), 16, 4)))


@case("QLinearConv 2 QLinearAdd 2 QLinearMul 1 Div 0")
def swish_in_parts():
    """As Paddle writes it, with a factor and a shift of all behind it."""
    n = Net(8, 9, 9)
    y = n.conv("x", 8, 16)
    number = lambda v: n.const(np.array([v], np.float32))
    h = n.op("Clip", n.op("Add", y, number(3)), n.const(np.float32(0)), n.const(np.float32(6)))
    y = n.op("Mul", n.op("Div", n.op("Mul", y, h), number(6)), number(1.5))
    return n, n.model(n.op("Neg", n.conv(n.op("Add", y, number(0.25)), 16, 4)))


@case("QLinearConv 4 QLinearAdd 1 QLinearMul 1 QLinearGlobalAveragePool 1")
def hard_gate():
    n = Net(8, 9, 9)
    y = n.op("Relu", n.conv("x", 8, 16))
    s = n.op("Relu", n.conv(n.op("GlobalAveragePool", y), 16, 4, 1))
    s = n.op("HardSigmoid", n.conv(s, 4, 16, 1), alpha=0.2, beta=0.5)
    return n, n.model(n.op("Neg", n.conv(n.op("Mul", y, s), 16, 4)))


@case("QLinearConv 2 QLinearGlobalAveragePool 1 QGemm 1")
def head():
    n = Net(8, 9, 9)
    y = n.op("Relu", n.conv(n.op("Relu", n.conv("x", 8, 16)), 16, 32))
    y = n.op("Flatten", n.op("GlobalAveragePool", y))
    return n, n.model(n.op("Gemm", y, n.weight(10, 32), n.weight(10), transB=1))


@case("QLinearConv 2 QGemm 1 QLinearGlobalAveragePool 1")
def mean_head():
    n = Net(8, 9, 9)
    y = n.op("Relu", n.conv(n.op("Relu", n.conv("x", 8, 16)), 16, 32))
    y = n.op("ReduceMean", y, axes=[2, 3], keepdims=0)
    return n, n.model(n.op("Gemm", y, n.weight(10, 32), n.weight(10), transB=1))


@case("QLinearConv 3 Pad 0")
def padded():
    """Rows and columns put on before the convolution, as TensorFlow does it."""
    n = Net(8, 9, 9)
    y = "x"
    for c in (8, 8):
        y = n.op("Relu", n.op("Conv", n.op("Pad", y, n.ints(0, 0, 0, 0, 0, 0, 1, 1)), n.weight(8, c, 3, 3), n.weight(8)))
    return n, n.model(n.op("Neg", n.conv(y, 8, 4, 1)))


@case("QLinearConv 2 QGemm 0")
def channels_last():
    n = Net(9, 9, 8)
    y = n.op("Transpose", "x", perm=[0, 3, 1, 2])
    y = n.conv(n.op("Relu", n.conv(y, 8, 16)), 16, 8)
    return n, n.model(n.op("Neg", n.op("Transpose", y, perm=[0, 2, 3, 1])))


@case("QGemm 3 QuantizeLinear 1")
def dense():
    n = Net(24)
    y = "x"
    for _ in range(2):
        y = n.op("Relu", n.op("Gemm", y, n.weight(24, 24), n.weight(24), transB=1))
    return n, n.model(n.op("Add", n.op("MatMul", y, n.weight(24, 12)), n.weight(12)))


@case("QGemm 2")
def factors():
    """alpha and beta go into scales and bias, a bias of one number or of a row is one a channel."""
    n = Net(24)
    y = n.op("Gemm", "x", n.weight(24, 24), n.weight(1, 24), transB=1, beta=0.5)
    return n, n.model(n.op("Gemm", n.op("Relu", y), n.weight(24, 12), n.weight(1), alpha=0.25))


@case("MatMulIntegerToFloat 2", absent={"MatMul", "Gemm"})
def sequence():
    n = Net(7, 24)
    y = n.op("Relu", n.op("Add", n.op("MatMul", "x", n.weight(24, 32)), n.weight(32)))
    return n, n.model(n.op("Add", n.op("MatMul", y, n.weight(32, 16)), n.weight(16)))


@case("QGemm 2", absent={"MatMul", "Gemm"})
def fixed_sequence():
    n = Net(7, 24)
    n.calib = n.calib[:1]
    y = n.op("Relu", n.op("Add", n.op("MatMul", "x", n.weight(24, 32)), n.weight(32)))
    return n, n.model(n.op("Add", n.op("MatMul", y, n.weight(32, 16)), n.weight(16)), batch=1)


@case("QLinearMatMul 2 MatMulIntegerToFloat 2", "vnni", absent={"MatMul"})
def attention():
    n = Net(6, 16)
    q, k = (n.op("MatMul", "x", n.weight(16, 16)) for _ in range(2))
    a = n.op("Softmax", n.op("MatMul", q, n.op("Transpose", k, perm=[0, 2, 1])), axis=-1)
    return n, n.model(n.op("MatMul", a, k))


@case("MatMulIntegerToFloat 2 FusedMatMul 1 MatMul 1", absent=set())
def attention_of_floats():
    return attention()


@case("QLinearConv 2 Exp 1")
def read_twice():
    """A reader of floats does not keep the layer from its integers."""
    n = Net(8, 9, 9)
    y = n.op("Relu", n.conv("x", 8, 16))
    return n, n.model(n.op("Exp", y), n.op("Neg", n.conv(y, 16, 4)))


@case("QLinearConv 1 FusedConv 1", absent=set())
def output_stays_float():
    n = Net(8, 9, 9)
    y = n.op("Relu", n.conv("x", 8, 16))
    return n, n.model(y, n.op("Neg", n.conv(y, 16, 4)))


@case("QLinearConv 2", "outputs")
def outputs_of_integers():
    n = Net(8, 9, 9)
    y = n.op("Relu", n.conv("x", 8, 16))
    return n, n.model(y, n.conv(y, 16, 4))


@case("QLinearConv 3 QLinearAdd 1")
def shared_weight():
    n = Net(8, 9, 9)
    w = n.weight(8, 8, 3, 3)
    a = n.op("Relu", n.op("Conv", "x", w, n.weight(8), pads=[1, 1, 1, 1]))
    b = n.op("Relu", n.op("Conv", a, w, pads=[1, 1, 1, 1]))
    return n, n.model(n.op("Neg", n.conv(n.op("Add", a, b), 8, 4)))


@case("QLinearConv 2", least=15)
def large_bias():
    """Channels of nearly nothing beside a large bias, and of nothing."""
    n = Net(8, 9, 9)
    w = RNG.standard_normal((8, 8, 3, 3)).astype(np.float32)
    w[1] *= 1e-12
    w[2] = 0
    y = n.op("Relu", n.op("Conv", "x", n.const(w), n.const(np.array([0, 50, 3, 1, 1, 1, 1, 1], np.float32)), pads=[1] * 4))
    return n, n.model(n.op("Neg", n.conv(y, 8, 4, 1)))


@case("QLinearConv 1", least=-np.inf, absent=set())
def dead():
    """A layer that gives nothing but zeros, which is no range for the one behind it."""
    n = Net(8, 9, 9)
    w, b = n.const(np.zeros((8, 8, 3, 3), np.float32)), n.const(np.full(8, -1, np.float32))
    y = n.op("Relu", n.op("Conv", "x", w, b, pads=[1, 1, 1, 1]))
    return n, n.model(n.op("Neg", n.conv(y, 8, 4, 1)))


@case("ConvTranspose 2 QLinearConv 1", absent=set())
def transposed():
    n = Net(8, 5, 5)
    y = n.op("Relu", n.op("ConvTranspose", "x", n.weight(8, 6, 2, 2), n.weight(6), strides=[2, 2]))
    y = n.op("Relu", n.conv(y, 6, 8))
    return n, n.model(n.op("ConvTranspose", y, n.weight(8, 3, 3, 3), n.weight(6), group=2))


@case("QLinearConv 2", absent=FLOAT_OPS - {"Mul"})
def operand():
    """Sums with constants are integers, with infinite ones they are not."""
    n = Net(8, 9, 9)
    y = n.op("Add", n.conv("x", 8, 8), n.const(RNG.standard_normal((1, 8, 1, 1)).astype(np.float32)))
    y = n.op("Relu", n.op("Mul", y, n.const(np.float32(0.5))))
    return n, n.model(n.op("Neg", n.conv(y, 8, 4)))


@case("QLinearConv 2", "symmetric", absent=FLOAT_OPS - {"Relu"})
def symmetric():
    n = Net(8, 9, 9)
    return n, n.model(n.op("Neg", n.conv(n.op("LeakyRelu", n.conv("x", 8, 16)), 16, 4)))


@case("Conv 2 QuantizeLinear 2", "wide", least=38, absent=set())
def sixteen_bits():
    return chain()


@case("QuantizeLinear 3", "bits=4", "weights=4", least=3, absent=set())
def four_bits():
    return chain()


@case("QLinearConv 2 Clip 1", absent=set())
def bounds_without_zero():
    n = Net(8, 9, 9)
    y = n.op("Clip", n.conv("x", 8, 8), n.const(np.float32(0.2)), n.const(np.float32(0.6)))
    return n, n.model(n.op("Neg", n.conv(y, 8, 4)))


@case("QLinearConv 2 QLinearConcat 1", absent=set())
def hard_gate_in_concat():
    n = Net(8, 9, 9)
    a = n.conv("x", 8, 8)
    return n, n.model(n.op("Neg", n.conv(n.op("Concat", a, n.op("HardSigmoid", a, alpha=1 / 6), axis=1), 16, 4)))


def joined_then_bounded(n):
    a = n.conv("x", 8, 8)
    gated = n.op("Mul", a, n.op("Sigmoid", n.op("GlobalAveragePool", a)))
    y = n.op("Clip", n.op("Concat", gated, a, axis=1), n.const(n.dtype(0)), n.const(n.dtype(3)))
    return n.model(n.op("Neg", n.conv(y, 16, 4)))


@case("QLinearConv 2", absent=set())
def concat_and_clip():
    n = Net(8, 9, 9)
    return n, joined_then_bounded(n)


@case("QLinearConv 2 Resize 1", absent=set())
def crop():
    n = Net(8, 9, 9)
    roi = n.const(np.array([0, 0, -0.5, -0.5, 1, 1, 1.5, 1.5], np.float32))
    sizes = n.op("Concat", n.op("Slice", n.op("Shape", "x"), n.ints(0), n.ints(1)), n.ints(8, 7, 7), axis=0)
    y = n.op("Resize", n.conv("x", 8, 8), roi, "", sizes, mode="nearest", extrapolation_value=50.0,
             coordinate_transformation_mode="tf_crop_and_resize")
    return n, n.model(n.op("Neg", n.conv(y, 8, 4)))


@case("QuantizeLinear 1", absent=set())
def bias_of_more_axes():
    n = Net(16)
    return n, n.model(n.op("Add", n.op("MatMul", "x", n.weight(16, 64)), n.const(RNG.random((1, 1, 64), np.float32))))


def half(f, *shape):
    n = Net(*shape, dtype=np.float16, opset=13)
    return n, f(n)


@case("QLinearConv 2 QLinearAdd 1 QGemm 1", absent=FLOAT_OPS)
def half_floats():
    def build(n):
        a = n.op("Relu", n.conv("x", 8, 8))
        b = n.op("Relu", n.op("Add", n.conv(a, 8, 8), a))
        y = n.op("Flatten", n.op("GlobalAveragePool", b))
        return n.model(n.op("Softmax", n.op("Gemm", y, n.weight(10, 8), n.weight(10), transB=1)))
    return half(build, 8, 9, 9)


@case("QLinearConv 2", absent=set())
def half_concat_and_clip():
    return half(joined_then_bounded, 8, 9, 9)


@case("QuantizeLinear 2", absent=set())
def half_outputs():
    """Outputs of the model that a convolution and a sum of float32 compute keep their type."""
    def build(n):
        b = n.op("Add", n.conv("x", 8, 8), n.const(RNG.standard_normal((8, 1, 1)).astype(np.float16)))
        c = n.op("MaxPool", b, kernel_shape=[3, 3])
        return n.model(n.conv(c, 8, 4), c, b)
    return half(build, 8, 9, 9)


def run(model, x, level):
    o = ort.SessionOptions()
    o.graph_optimization_level = level
    o.optimized_model_filepath = os.path.join(DIR, "optimised.onnx")
    s = ort.InferenceSession(model, o, providers=["CPUExecutionProvider"])
    out = s.run(None, {s.get_inputs()[0].name: x})
    nodes = onnx.load(o.optimized_model_filepath).graph.node
    return [v.astype(np.float64) for v in out], collections.Counter(n.op_type for n in nodes)


def decibel(a, b):
    assert [p.shape for p in a] == [q.shape for q in b]
    noise = sum(((p - q) ** 2).sum() for p, q in zip(a, b))
    return 10 * np.log10(sum((p ** 2).sum() for p in a) / noise) if noise else np.inf


def convert(source, calib, settings):
    target = os.path.join(DIR, "out.onnx")
    np.save(os.path.join(DIR, "calib.npy"), calib)
    p = subprocess.run([DRIVER, source, target, os.path.join(DIR, "calib.npy"), *settings], capture_output=True, text=True)
    if p.returncode:
        raise AssertionError(p.stderr.strip())
    onnx.checker.check_model(target)
    return target, p.stdout


def numbers(text):
    words = text.split()
    return {k: int(v) for k, v in zip(words[::2], words[1::2])}


def check(source, x, settings, want, least, absent, close=30):
    """close: dB between the optimised and the plain run of the same integers."""
    target, _ = convert(source, x, settings)
    floats, _ = run(source, x, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
    plain, _ = run(target, x, ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    fast, ops = run(target, x, ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
    wrong = {k: ops[k] for k, v in numbers(want).items() if ops[k] != v}
    wrong.update({k: ops[k] for k in absent if ops[k]})
    assert not wrong, f"{wrong} in {dict(ops)}"
    assert decibel(plain, fast) >= close, f"optimised and plain differ: {decibel(plain, fast):.1f} dB"
    assert decibel(floats, fast) >= least, f"{decibel(floats, fast):.1f} dB from the floats"


def simple(name):
    global RNG
    build, want, settings, least, absent = CASES[name]
    RNG = np.random.default_rng(sum(map(ord, name)))
    net, model = build()
    source = os.path.join(DIR, "in.onnx")
    onnx.save(model, source)
    check(source, net.calib, settings, want, least, absent)


def reference(name, want):
    def f():
        rng = np.random.default_rng(1)
        x = rng.random((16, 1, 28, 28), np.float32)
        check(os.path.join(MODELS, f"fashion-{name}.onnx"), x, [], want, 20, FLOAT_OPS)
    return f


EXTRA = {
    "fashion-mlp": reference("mlp", "QGemm 4 QuantizeLinear 1"),
    "fashion-cnn": reference("cnn", "QLinearConv 2 MaxPool 2 QGemm 2 QuantizeLinear 1"),
    "fashion-resnet": reference("resnet", "QLinearConv 15 QLinearAdd 6 QLinearGlobalAveragePool 1 QGemm 1 QuantizeLinear 1"),
    "fashion-mobilenet": reference("mobilenet", "QLinearConv 20 QLinearAdd 3 QLinearGlobalAveragePool 1 QGemm 1"),
}


def nan_input():
    """A layer whose input holds NaN says so and keeps floats in its sum."""
    n = Net(8, 9, 9)
    y = n.op("Relu", n.conv("x", 8, 8))
    z = n.op("Log", y)
    source = os.path.join(DIR, "in.onnx")
    onnx.save(n.model(n.op("Neg", n.conv(n.op("Sub", z, z), 8, 4))), source)
    _, told = convert(source, n.calib, [])
    lines = [line.split("|") for line in told.strip().splitlines()]
    assert [line[2] for line in lines] == ["static", "weight"] and "NaN" in lines[1][3], told


EXTRA["nan_input"] = nan_input


def main():
    global DIR
    names = sys.argv[3:] or [*CASES, *EXTRA]
    failed = 0
    with tempfile.TemporaryDirectory() as DIR:
        for name in names:
            try:
                EXTRA[name]() if name in EXTRA else simple(name)
            except Exception as e:
                failed += 1
                print(f"{name}: {e}", flush=True)
    print(f"{len(names) - failed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
