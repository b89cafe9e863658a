"""onnx_schema.py DESCRIPTOR DATA: compare formats/onnx.proto and formats/onnx_data.proto with the schemas in
the onnx package."""
import sys

from google.protobuf import descriptor_pb2 as d
import onnx.onnx_data_pb2
import onnx.onnx_ml_pb2


def enum_facts(facts, where, e):
    for v in e.value:
        facts[f'{where}{e.name}.{v.name}'] = v.number


def message_facts(facts, where, m):
    name = f'{where}{m.name}.'
    facts[name] = 'message'
    for e in m.enum_type:
        enum_facts(facts, name, e)
    for n in m.nested_type:
        message_facts(facts, name, n)
    for f in m.field:
        oneof = m.oneof_decl[f.oneof_index].name if f.HasField('oneof_index') else None
        facts[name + f.name] = (f.number, d.FieldDescriptorProto.Type.Name(f.type),
                                d.FieldDescriptorProto.Label.Name(f.label), f.type_name,
                                f.options.packed, oneof, f.default_value)
    for r in m.reserved_range:
        for number in range(r.start, r.end):
            facts[f'{name}reserved {number}'] = True


def facts_of(f):
    facts = {'package': f.package, 'syntax': f.syntax or 'proto2'}
    for e in f.enum_type:
        enum_facts(facts, '', e)
    for m in f.message_type:
        message_facts(facts, '', m)
    return facts


def compare(path, module):
    theirs = d.FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(theirs)
    with open(path, 'rb') as f:
        ours = d.FileDescriptorSet.FromString(f.read()).file[0]
    theirs, ours = facts_of(theirs), facts_of(ours)
    differ = sorted(k for k in theirs.keys() | ours.keys() if theirs.get(k) != ours.get(k))
    for k in differ:
        print(f'{k}: onnx {onnx.__version__} has {theirs.get(k)}, our schema has {ours.get(k)}')
    print(f'{len(theirs)} facts, {len(differ)} differ')
    return len(ours), bool(differ)


facts, data = compare(sys.argv[1], onnx.onnx_ml_pb2), compare(sys.argv[2], onnx.onnx_data_pb2)
sys.exit(facts[1] or data[1] or facts[0] < 200 or data[0] < 30)
