"""Writes student.onnx: a small network without training, to be distilled into (6,330 parameters).

3x3 convolutions of stride 2 with 1-8-16-32 channels, BatchNormalization and ReLU after each, global average pool, dense
10. Weights as PyTorch draws them (uniform, 1/sqrt(fan-in)), seed 0.   python models/student.py models/student.onnx
"""
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
inits, nodes, x = [], [], 'input'


def const(name, array):
    inits.append(numpy_helper.from_array(np.asarray(array, np.float32), name))
    return name


def uniform(shape, fan_in):
    return rng.uniform(-1, 1, shape) / np.sqrt(fan_in)


for i, (c, m) in enumerate(((1, 8), (8, 16), (16, 32)), 1):
    w = const(f'conv{i}.weight', uniform((m, c, 3, 3), 9 * c))
    b = const(f'conv{i}.bias', uniform(m, 9 * c))
    nodes.append(helper.make_node('Conv', [x, w, b], [f'conv{i}'], f'conv{i}', kernel_shape=[3, 3], strides=[2, 2],
                                  pads=[1, 1, 1, 1]))
    stats = [const(f'bn{i}.{k}', np.full(m, v)) for k, v in (('weight', 1), ('bias', 0), ('mean', 0), ('var', 1))]
    nodes.append(helper.make_node('BatchNormalization', [f'conv{i}', *stats], [f'bn{i}'], f'bn{i}'))
    nodes.append(helper.make_node('Relu', [f'bn{i}'], [f'relu{i}'], f'relu{i}'))
    x = f'relu{i}'
nodes.append(helper.make_node('GlobalAveragePool', [x], ['pool'], 'pool'))
nodes.append(helper.make_node('Flatten', ['pool'], ['flat'], 'flat'))
nodes.append(helper.make_node('Gemm', ['flat', const('fc.weight', uniform((10, 32), 32)), const('fc.bias', uniform(10, 32))],
                              ['logits'], 'fc', transB=1))
graph = helper.make_graph(nodes, 'student', [helper.make_tensor_value_info('input', TensorProto.FLOAT, ['batch', 1, 28, 28])],
                          [helper.make_tensor_value_info('logits', TensorProto.FLOAT, ['batch', 10])], inits)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], producer_name='mcompress')
model.ir_version = 8
onnx.checker.check_model(model, full_check=True)
onnx.save(model, sys.argv[1])
