"""The `light` graphs of the onnx package are full size networks whose weights are all one constant, so that
equal outputs prove nothing. Here their weights become seeded noise, scaled so that signals keep their size,
and their batch, frozen to 1, becomes any."""
import glob
import os

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper


def paths():
    folder = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data", "light")
    return sorted(glob.glob(os.path.join(folder, "*.onnx")))


def role(users, name):
    """What a weight is for: the operator and the input it ends up in, through views of it."""
    node, place = users[name]
    while node.op_type in ("Unsqueeze", "Reshape") and place == 0:
        node, place = users[node.output[0]]
    return node.op_type, place


def noise(rng, kind, shape):
    """Fan-in scaled for products; around 1 for scales and variances; small for what is added."""
    op, place = kind
    if op in ("Conv", "Gemm") and place == 1:
        fan_in = np.prod(shape[1:])
        return rng.standard_normal(shape) * np.sqrt(2 / fan_in)
    if (op == "BatchNormalization" and place in (1, 4)) or op == "Mul":
        return rng.uniform(0.5, 1.5, shape)
    return rng.standard_normal(shape) * 0.1


def soften(model, batch, rng):
    """Scale the last product so that a Softmax behind it does not give one 1 and zeros."""
    graph = model.graph
    weights = {t.name: t for t in graph.initializer}
    last = [n for n in graph.node if n.op_type in ("Gemm", "Conv")][-1]
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.append(
        onnx.helper.make_tensor_value_info(last.output[0], onnx.TensorProto.FLOAT, None))
    session = ort.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    x = rng.standard_normal([batch] + given.shape[1:]).astype(np.float32)
    scale = np.float32(2 / session.run(None, {given.name: x})[0].std())
    made = {node.output[0]: node for node in graph.node}
    for name in last.input[1:]:
        while name in made:  # a view of a weight
            name = made[name].input[0]
        value = numpy_helper.to_array(weights[name]) * scale
        weights[name].CopyFrom(numpy_helper.from_array(value, name))


def refill(path, batch, seed=0):
    model = onnx.load(path)
    graph = model.graph
    rng = np.random.default_rng(seed)
    users = {name: (node, i) for node in graph.node for i, name in enumerate(node.input)}
    shapes = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type != "ConstantOfShape":
            nodes.append(node)
            continue
        name, shape = node.output[0], shapes[node.input[0]]
        weight = noise(rng, role(users, name), shape).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(weight, name))
    used = {name for node in nodes for name in node.input}
    kept = [t for t in graph.initializer if t.name in used]
    for t in kept:
        value = numpy_helper.to_array(t)
        if users[t.name][0].op_type == "Reshape" and users[t.name][1] == 1 and value[0] == 1:
            value = value.copy()
            value[0] = 0  # as the input has it
            t.CopyFrom(numpy_helper.from_array(value, t.name))
    weights = {t.name for t in kept}
    inputs = [i for i in graph.input if i.name in used and i.name not in weights]
    for i in inputs:
        i.type.tensor_type.shape.dim[0].dim_value = batch
    for o in graph.output:
        o.type.tensor_type.shape.dim[0].dim_value = batch
    for field, values in (("node", nodes), ("initializer", kept), ("input", inputs)):
        del getattr(graph, field)[:]
        getattr(graph, field).extend(values)
    del graph.value_info[:]
    model.ir_version = max(model.ir_version, 4)  # weights need not be inputs
    soften(model, batch, rng)
    return model
