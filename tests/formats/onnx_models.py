"""Models that hold everything the format can: for onnx_roundtrip.py and for the fuzz corpus."""
import sys

import numpy as np
import onnx
from onnx import AttributeProto as A, TensorProto as T, helper as h, numpy_helper

F32 = T.FLOAT


def unknown(message, payload=b'new'):
    """Give a message two fields of a later version."""
    message.MergeFromString(b'\xf2\x3f' + bytes([len(payload)]) + payload + b'\xf8\x3f\x96\x01')
    return message


def value(name, shape=(2,), dtype=F32):
    return h.make_tensor_value_info(name, dtype, shape)


def model(nodes, inputs, outputs, inits=(), ir=8, opsets=(('', 17),), functions=(), **more):
    graph = h.make_graph(nodes, 'g', inputs, outputs, list(inits), **more)
    return h.make_model(graph, ir_version=ir, opset_imports=[h.make_opsetid(*o) for o in opsets],
                        functions=list(functions), producer_name='test')


def identity(ir=8, opset=17):
    return model([h.make_node('Identity', ['x'], ['y'])], [value('x')], [value('y')], ir=ir,
                 opsets=[('', opset)])


def with_body(name, nodes, outputs, inputs=()):
    return h.make_graph(nodes, name, list(inputs), list(outputs))


def captures():
    """An If in an If, whose innermost body takes values of both outer graphs."""
    inner = with_body('inner', [h.make_node('Add', ['x', 'm'], ['i'])], [value('i')])
    other = with_body('other', [h.make_node('Mul', ['x', 'w'], ['o'])], [value('o')])
    middle = with_body('middle', [
        h.make_node('Neg', ['x'], ['m']),
        h.make_node('If', ['c'], ['k'], then_branch=inner, else_branch=other),
    ], [value('k')])
    outer = with_body('outer', [h.make_node('Identity', ['w'], ['e'])], [value('e')])
    return model([h.make_node('If', ['c'], ['y'], then_branch=middle, else_branch=outer)],
                 [value('x'), value('c', (), T.BOOL)], [value('y')],
                 [numpy_helper.from_array(np.arange(2, dtype=np.float32), 'w')])


def functions():
    """Two overloads, an attribute with a default, one without, a call of a function by a function."""
    ops = [h.make_opsetid('', 17), h.make_opsetid('f', 1)]
    leaky = h.make_node('LeakyRelu', ['a'], ['b'])
    leaky.attribute.append(A(name='alpha', type=A.FLOAT, ref_attr_name='slope'))
    one = h.make_function('f', 'Act', ['a'], ['b'], [leaky], ops, ['slope'])
    two = h.make_function('f', 'Act', ['a'], ['b'], [h.make_node('Act', ['a'], ['b'], domain='f')], ops,
                          attribute_protos=[h.make_attribute('slope', 0.5)])
    two.overload = 'default'
    two.node[0].attribute.append(A(name='slope', type=A.FLOAT, ref_attr_name='slope'))
    two.value_info.append(value('b'))
    for f in one, two:
        f.doc_string = 'about it'
        unknown(f)
    call = h.make_node('Act', ['x'], ['t'], domain='f', slope=0.25)
    again = h.make_node('Act', ['t'], ['y'], domain='f')
    again.overload = 'default'
    return model([call, again], [value('x')], [value('y')], ir=10, opsets=[('', 17), ('f', 1)],
                 functions=[one, two])


def training():
    m = identity()
    info = m.training_info.add()
    info.algorithm.CopyFrom(m.graph)
    big = numpy_helper.from_array(np.arange(20, dtype=np.float64), 'state')
    info.initialization.initializer.append(big)
    info.initialization.name = 'init'
    info.update_binding.add(key='w', value='y')
    return m


def sparse():
    values = numpy_helper.from_array(np.array([3.0, 4.0], np.float32), 's')
    indices = numpy_helper.from_array(np.array([1, 5], np.int64), 'where')
    tensor = h.make_sparse_tensor(values, indices, [6])
    const = h.make_node('Constant', [], ['c'])
    const.attribute.append(h.make_attribute('sparse_value', tensor))
    m = model([const, h.make_node('Add', ['c', 's'], ['t']), h.make_node('Add', ['t', 'x'], ['y'])],
              [value('x', (6,))], [value('y', (6,))], sparse_initializer=[tensor])
    lists = h.make_node('Many', [], ['many'], domain='own')
    lists.attribute.append(h.make_attribute('list', [tensor, tensor]))
    m.graph.node.append(lists)
    m.opset_import.append(h.make_opsetid('own', 3))
    return m


def types():
    tensor = h.make_tensor_type_proto(F32, ['n', None, 3])
    any_rank = h.make_tensor_type_proto(F32, None)
    protos = {
        'tensor': tensor,
        'unranked': any_rank,
        'scalar': h.make_tensor_type_proto(T.INT64, []),
        'sequence': h.make_sequence_type_proto(tensor),
        'optional': h.make_optional_type_proto(h.make_sequence_type_proto(tensor)),
        'map': h.make_map_type_proto(T.STRING, tensor),
        'sparse': h.make_sparse_tensor_type_proto(F32, [4, 'n']),
        'opaque': onnx.TypeProto(opaque_type=onnx.TypeProto.Opaque(domain='d', name='o')),
        'nothing': onnx.TypeProto(),
    }
    tensor.denotation = 'IMAGE'
    protos['tensor'].tensor_type.shape.dim[0].denotation = 'DATA_BATCH'
    inputs = [onnx.ValueInfoProto(name='in_' + k, type=t) for k, t in protos.items()]
    outputs = [onnx.ValueInfoProto(name='out_' + k, type=t) for k, t in protos.items()]
    inputs.append(onnx.ValueInfoProto(name='untyped', doc_string='no type'))
    nodes = [h.make_node('Identity', [i.name], [o.name]) for i, o in zip(inputs, outputs)]
    typed = h.make_node('OptionalOf', [], ['none'], domain='own')
    typed.attribute.append(h.make_attribute('type', tensor))
    typed.attribute.append(h.make_attribute('types', [tensor, any_rank]))
    m = model(nodes + [typed], inputs, outputs, opsets=[('', 18), ('own', 1)])
    for v in m.graph.input[:2]:
        unknown(v)
        v.metadata_props.add(key='k', value='v')
    return m


BITS = dict(FLOAT=32, UINT8=8, INT8=8, UINT16=16, INT16=16, INT32=32, INT64=64, STRING=0, BOOL=8, FLOAT16=16,
            DOUBLE=64, UINT32=32, UINT64=64, COMPLEX64=64, COMPLEX128=128, BFLOAT16=16, FLOAT8E4M3FN=8,
            FLOAT8E4M3FNUZ=8, FLOAT8E5M2=8, FLOAT8E5M2FNUZ=8, UINT4=4, INT4=4, FLOAT4E2M1=4, FLOAT8E8M0=8,
            UINT2=2, INT2=2, FLOAT6E2M3=6, FLOAT6E3M2=6)


def three(name, number, raw):
    """Three elements of a type."""
    t = T(name=name, data_type=number, dims=[3])
    n_bytes = (3 * BITS[name] + 7) // 8
    if name == 'STRING':
        t.string_data.extend([b'a', b'', b'\xff\x00z'])
    elif raw:
        t.raw_data = bytes(range(1, n_bytes + 1))
    elif name in ('FLOAT', 'COMPLEX64'):
        t.float_data.extend(([1.5, -0.0, float('nan')] * 2)[:n_bytes // 4])
    elif name in ('DOUBLE', 'COMPLEX128'):
        t.double_data.extend(([1.5, -0.0, 1e300] * 2)[:n_bytes // 8])
    elif name == 'INT64':
        t.int64_data.extend([1, -2, 2**62])
    elif name in ('UINT32', 'UINT64'):
        t.uint64_data.extend([1, 2, 2**(BITS[name] - 1)])
    else:
        t.int32_data.extend([1, 2, 3][:min(3, n_bytes)])
    return t


def every_dtype(raw):
    """One initializer of each type, and each again in a Constant node."""
    m = identity(ir=14, opset=26)
    for number, name in sorted((v.number, v.name) for v in T.DataType.DESCRIPTOR.values):
        if number != T.UNDEFINED:
            t = three(name, number, raw)
            m.graph.initializer.append(t)
            m.graph.node.append(h.make_node('Constant', [], ['const_' + name], value=t))
    return m


def odd_integers():
    """int8 written as 255, and other spellings that mean the same tensor."""
    m = identity()
    m.graph.initializer.append(T(name='a', data_type=T.INT8, dims=[3], int32_data=[255, -1, 511]))
    m.graph.initializer.append(T(name='b', data_type=T.BOOL, dims=[2], int32_data=[1, 256]))
    m.graph.initializer.append(T(name='c', data_type=F32, dims=[0]))
    m.graph.initializer.append(T(name='d', data_type=F32, dims=[0], raw_data=b''))
    m.graph.initializer.append(T(name='e', data_type=F32, raw_data=b'abcd', doc_string='scalar'))
    m.graph.initializer.append(T(name='f', data_type=T.INT32, dims=[1], raw_data=b'1234'))
    m.graph.initializer[-1].metadata_props.add(key='k', value='v')
    unknown(m.graph.initializer[-1])
    return m


def attributes():
    n = h.make_node('All', ['x', '', 'x'], ['y', ''], name='', domain='own', doc_string='doc')
    tensor = numpy_helper.from_array(np.arange(3, dtype=np.int32), 'named')
    body = with_body('b', [h.make_node('Neg', ['x'], ['z'])], [value('z')])
    for key, v in dict(f=1.5, i=-7, s='text', b=b'\xfe\x00', t=tensor, g=body, fs=[1.0, 2.0],
                       ns=[1, -2, 2**60], ss=['a', '', 'c'], ts=[tensor, tensor], gs=[body, body]).items():
        a = h.make_attribute(key, v)
        a.doc_string = key
        n.attribute.append(unknown(a))
    for kind in (A.FLOATS, A.INTS, A.STRINGS, A.TENSORS, A.GRAPHS):
        n.attribute.append(A(name=f'empty{kind}', type=kind))
    n.attribute.append(A(name='zero', type=A.INT, i=0))
    n.attribute.append(A(name='newer', i=5))
    n.attribute[-1].MergeFromString(b'\xa0\x01\x63')  # type 99: a type of a later version
    n.metadata_props.add(key='k', value='v')
    n.metadata_props.add(key='k', value='w')
    return model([unknown(n)], [value('x')], [value('y')], opsets=[('', 17), ('own', 2)])


def devices():
    m = identity(ir=11, opset=23)
    m.configuration.add(name='two', num_devices=2, device=['a', 'b'])
    c = m.graph.node[0].device_configurations.add(configuration_id='two', pipeline_stage=1)
    s = c.sharding_spec.add(tensor_name='x', device=[0, -1])
    s.index_to_device_group_map.add(key=-1, value=[1, 2])
    s.sharded_dim.add(axis=0).simple_sharding.add(dim_value=2, num_shards=2)
    s.sharded_dim.add(axis=0).simple_sharding.add(dim_param='n', num_shards=2)
    return m


def spellings():
    """The domain of ONNX in all its spellings; empty strings that are there; repeated keys."""
    m = model([h.make_node('Identity', ['x'], ['t'], domain='ai.onnx'),
               h.make_node('Identity', ['t'], ['y'])], [value('x')], [value('y')], opsets=[('ai.onnx', 17)])
    m.opset_import.append(h.make_opsetid('unused', 4))
    m.opset_import.append(onnx.OperatorSetIdProto(version=17))
    for k, v in (('a', '1'), ('b', ''), ('a', '2')):
        m.metadata_props.add(key=k, value=v)
    m.metadata_props.add(key='only key')
    unknown(m.metadata_props.add(key='newer', value='x'))
    unknown(m.opset_import[0])
    m.domain = ''
    m.doc_string = 'Grüße'
    m.model_version = -1
    n = m.graph.node[1]
    n.name = n.doc_string = n.domain = n.overload = ''
    m.graph.name = ''
    return unknown(unknown(m), b'more')


def declarations():
    """One value declared in several places, not always alike; value_info of what is not there."""
    m = model([h.make_node('Identity', ['x'], ['y'])], [value('x', ('n',)), value('w')],
              [value('y'), value('x', (2,)), value('x', (2,))],
              [numpy_helper.from_array(np.ones(2, np.float32), 'w')],
              value_info=[value('y'), value('x', ('n',)), value('y', (None,)), value('gone')])
    m.graph.value_info.add(doc_string='no name')
    m.graph.quantization_annotation.add(tensor_name='x').quant_parameter_tensor_names.add(
        key='SCALE_TENSOR', value='w')
    m.graph.doc_string = ''
    m.graph.metadata_props.add(key='k', value='v')
    unknown(m.graph)
    return m


def everything():
    """Name -> model."""
    models = {f.__name__: f() for f in (captures, functions, training, sparse, types, odd_integers,
                                        attributes, devices, spellings, declarations)}
    models['dtypes_raw'] = every_dtype(True)
    models['dtypes_fields'] = every_dtype(False)
    for ir in range(3, 15):
        models[f'ir{ir}'] = identity(ir, 7)
    for opset in range(7, onnx.defs.onnx_opset_version() + 1):
        models[f'opset{opset}'] = identity(14, opset)
    return models


if __name__ == '__main__':
    # onnx_models.py FOLDER: write the small ones, for tests/fuzz/corpus/onnx.
    for name, made in everything().items():
        if not name.startswith(('ir', 'opset')):
            onnx.save(made, f'{sys.argv[1]}/{name}.onnx')
