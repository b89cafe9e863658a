"""Generators for ort_cases.py: LSTM, GRU and RNN."""
import numpy as np
import onnx
from onnx import helper, numpy_helper

ACTIVATIONS = ["Sigmoid", "Tanh", "Relu", "HardSigmoid", "Softsign", "Softplus", "LeakyRelu", "Elu", "Affine",
               "ScaledTanh", "ThresholdedRelu"]
BOUNDED = ("Sigmoid", "HardSigmoid", "Tanh", "Softsign")  # without them the state explodes


def recurrent(d, gates, functions):
    """The inputs and attributes that all three have; functions: activations of a direction."""
    steps, batch, size, hidden = d.n(1, 7), d.n(1, 5), d.n(1, 9), d.n(1, 20)
    direction = d.one("forward", "reverse", "bidirectional")
    dirs = 2 if direction == "bidirectional" else 1
    attrs = {"hidden_size": hidden, "direction": direction}
    inputs = [d.floats(steps, batch, size), d.floats(dirs, gates * hidden, size) * 0.5,
              d.floats(dirs, gates * hidden, hidden) * 0.5]
    inputs.append(d.floats(dirs, 2 * gates * hidden) if d.coin() else None)
    lens = np.array([d.n(0, steps) for _ in range(batch)], dtype=np.int32)
    inputs.append(lens if d.coin() else None)
    inputs.append(d.floats(dirs, batch, hidden) if d.coin() else None)
    if d.n(0, 2) == 0:
        attrs["clip"] = d.one(0.5, 2.0)
    if d.coin():
        picked = [d.one(*BOUNDED) if i % functions == 0 else d.one(*ACTIVATIONS)
                  for i in range(functions * dirs)]
        attrs["activations"] = picked
        takes_a = ("HardSigmoid", "LeakyRelu", "Elu", "Affine", "ScaledTanh", "ThresholdedRelu")
        takes_b = ("HardSigmoid", "Affine", "ScaledTanh")
        attrs["activation_alpha"] = [0.3 for p in picked if p in takes_a] or None
        attrs["activation_beta"] = [0.4 for p in picked if p in takes_b] or None
    return inputs, attrs, (dirs, batch, hidden)


def lstm(d):
    inputs, attrs, (dirs, batch, hidden) = recurrent(d, 4, 3)
    inputs.append(d.floats(dirs, batch, hidden) if d.coin() else None)
    inputs.append(d.floats(dirs, 3 * hidden) if d.coin() else None)
    if d.n(0, 3) == 0:
        attrs["input_forget"] = 1
    return d.one(7, 14), inputs, attrs, 3


def gru(d):
    inputs, attrs, _ = recurrent(d, 3, 2)
    attrs["linear_before_reset"] = d.n(0, 1)
    return d.one(7, 14), inputs, attrs, 2


def rnn(d):
    inputs, attrs, _ = recurrent(d, 1, 1)
    return d.one(7, 14), inputs, attrs, 2


GENERATORS = {"LSTM": lstm, "GRU": gru, "RNN": rnn}


def batch_first(model, feeds, outputs):
    """The same node with layout 1, which ONNX Runtime does not have."""
    node = model.graph.node[0]
    swap = {name for i, name in enumerate(node.input) if i in (0, 5, 6) and name}
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    changed.opset_import[0].version = 14
    changed.graph.node[0].attribute.append(helper.make_attribute("layout", 1))
    for init in changed.graph.initializer:
        if init.name in swap:
            init.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(init).swapaxes(0, 1), init.name))
    new = []
    for info, value in zip(changed.graph.input, feeds):
        if info.name in swap:
            value = value.swapaxes(0, 1)
            dims = info.type.tensor_type.shape.dim
            first = onnx.TensorShapeProto.Dimension()
            first.CopyFrom(dims[0])
            dims[0].CopyFrom(dims[1])
            dims[1].CopyFrom(first)
        new.append(value)
    y, *states = outputs
    return changed, new, [y.transpose(2, 0, 1, 3)] + [h.swapaxes(0, 1) for h in states]
