"""onnx_roundtrip.py ONNX_COPY: a model read and written is the same model, inline and with external data.

Compares what the onnx package reads from both files: all models of its backend tests, and those of
onnx_models.py."""
import hashlib
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import onnx
from onnx import TensorProto, numpy_helper
import onnx.backend.test

import onnx_models

COPY = sys.argv[1]
failures = []


def check(ok, what):
    if not ok:
        failures.append(what)
        print('FAILED', what)


def backend_models():
    from onnx.backend.test.case.model import collect_testcases as model_cases
    from onnx.backend.test.case.node import collect_testcases as node_cases
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for c in [*node_cases(None), *model_cases()]:
            if c.model is not None:
                yield c.name, c.model.SerializeToString()
    folder = Path(onnx.backend.test.__file__).parent / 'data'
    for f in sorted(folder.rglob('*.onnx')):
        yield str(f.relative_to(folder)), f.read_bytes()


def shuffled(m, split):
    """The same model with its top-level fields in another order and some twice; split: the graph in parts."""
    parts = []
    for f, v in m.ListFields():
        one = onnx.ModelProto()
        getattr(one, f.name).extend(v) if isinstance(getattr(m, f.name), type(m.opset_import)) else (
            getattr(one, f.name).CopyFrom(v) if f.message_type else setattr(one, f.name, v))
        parts.append(one.SerializeToString())
    more = onnx.ModelProto(producer_name='last')
    if split:
        more.graph.name = 'merged'
        more.graph.doc_string = 'later'
    return more.SerializeToString() + b''.join(reversed(parts)) + more.SerializeToString()


def copy(args, pairs):
    """Run ONNX_COPY; a line of output for each pair."""
    p = subprocess.run([COPY, *args, *(str(x) for pair in pairs for x in pair)], capture_output=True,
                       text=True)
    check(p.returncode == 0, p.stderr)
    return p.stdout.splitlines()


def canonical(m):
    return m.SerializeToString(deterministic=True)


def same_inline(dir, models):
    pairs = []
    for i, (name, data) in enumerate(models):
        (dir / f'{i}.onnx').write_bytes(data)
        pairs.append((dir / f'{i}.onnx', dir / f'{i}.out.onnx'))
    lines = copy(['-d'], pairs)
    check(len(lines) == len(models), f'{len(lines)} of {len(models)} copied')
    for (name, data), (_, out), line in zip(models, pairs, lines):
        if not out.exists():
            continue
        written = out.read_bytes()
        digest, size, foretold = line.split()
        check(digest == hashlib.sha256(written).hexdigest(), f'{name}: digest')
        check(len(written) == int(size) == int(foretold), f'{name}: {len(written)} bytes, {line}')
        same = written == data or (canonical(onnx.ModelProto.FromString(written)) ==
                                   canonical(onnx.ModelProto.FromString(data)))
        check(same, f'{name}: differs')


def plain(m):
    """Every tensor in raw form, as the onnx package loads external data."""
    def visit(message):
        if isinstance(message, TensorProto):
            if message.float_data or message.double_data:
                array = numpy_helper.to_array(message)
                message.ClearField('float_data')
                message.ClearField('double_data')
                message.raw_data = array.tobytes()
            message.ClearField('data_location')
            return
        for f, v in message.ListFields():
            if f.message_type:
                for x in v if hasattr(v, '__len__') else [v]:
                    visit(x)
    visit(m)
    return canonical(m)


def weights_model():
    m = onnx_models.captures()
    import numpy as np
    rng = np.random.default_rng(0)
    g = m.graph
    for i, n in enumerate((3, 1000, 4096, 300000, 1, 255, 256, 257)):
        g.initializer.append(numpy_helper.from_array(rng.standard_normal(n).astype(np.float32), f'w{i}'))
    g.initializer.append(onnx.helper.make_tensor('typed', 1, [500], range(500)))
    g.initializer.append(onnx.helper.make_tensor('bytes', TensorProto.INT8, [2000], b'x' * 2000, raw=True))
    big = numpy_helper.from_array(rng.integers(0, 9, 5000), 'v')
    g.node.append(onnx.helper.make_node('Constant', [], ['const'], value=big))
    m.training_info.add().algorithm.CopyFrom(onnx_models.training().training_info[0].initialization)
    return m


def placements(m):
    found = []
    for t in m.graph.initializer:
        if t.data_location == TensorProto.EXTERNAL:
            e = {x.key: x.value for x in t.external_data}
            found.append((e['location'], int(e['offset']), int(e['length'])))
    return found


def same_external(dir):
    m = weights_model()
    onnx.save(m, dir / 'a.onnx')
    want = plain(onnx.load(dir / 'a.onnx'))
    line, = copy(['-x', '-d'], [(dir / 'a.onnx', dir / 'b.onnx')])
    data = (dir / 'b.onnx.data').read_bytes()
    bare = onnx.load(dir / 'b.onnx', load_external_data=False)
    places = placements(bare)
    check(len(places) == 7, f'{len(places)} external initializers')
    check(all(p[0] == 'b.onnx.data' and p[1] % (4096 if p[2] >= 1 << 20 else 64) == 0 for p in places),
          f'placements {places}')
    both = (dir / 'b.onnx').read_bytes() + data
    digest, size, foretold = line.split()
    check(digest == hashlib.sha256(both).hexdigest(), 'digest of both files')
    check(len(both) == int(size) == int(foretold), f'{len(both)} bytes in both files, {line}')
    check(plain(onnx.load(dir / 'b.onnx')) == want, 'external data differs')
    # A model that came with external data is written with it, and settles at once.
    copy([], [(dir / 'b.onnx', dir / 'b2' / 'b.onnx')])
    check((dir / 'b2' / 'b.onnx').read_bytes() == (dir / 'b.onnx').read_bytes(), 'second copy: model')
    check((dir / 'b2' / 'b.onnx.data').read_bytes() == data, 'second copy: data')
    return m, want


def foreign_external(dir, m, want):
    """External data as others write it: one file per tensor, shared ranges, no length, in a subfolder."""
    onnx.save(m, dir / 'c.onnx', save_as_external_data=True, all_tensors_to_one_file=False,
              size_threshold=100, convert_attribute=True)
    copy([], [(dir / 'c.onnx', dir / 'd.onnx')])
    check(plain(onnx.load(dir / 'd.onnx')) == want, 'one file per tensor')
    tied = onnx_models.identity()
    (dir / 'sub').mkdir()
    (dir / 'sub' / 'w.bin').write_bytes(bytes(range(256)) * 32)
    (dir / 'link.bin').symlink_to('sub/w.bin')
    for name, keys in dict(p=dict(location='sub/w.bin', offset='0', length='8192'),
                           q=dict(location='./sub/../sub/w.bin'[:2] + 'sub/w.bin'),
                           r=dict(location='link.bin', length='8192', checksum='00')).items():
        t = tied.graph.initializer.add(name=name, data_type=1, dims=[2048], data_location=1)
        for k, v in keys.items():
            t.external_data.add(key=k, value=v)
    (dir / 'e.onnx').write_bytes(tied.SerializeToString())
    copy([], [(dir / 'e.onnx', dir / 'f.onnx')])
    check(os.path.getsize(dir / 'f.onnx.data') == 8192, 'shared bytes are written once')
    got = onnx.load(dir / 'f.onnx')
    check([t.raw_data == bytes(range(256)) * 32 for t in got.graph.initializer] == [True] * 3,
          'shared bytes')


def sparse_external(dir):
    """External tensors where the model in memory keeps a packed message are taken into the model."""
    m = onnx_models.sparse()
    for t in (m.graph.sparse_initializer[0].values, m.graph.node[0].attribute[0].sparse_tensor.indices):
        (dir / t.name).write_bytes(t.raw_data)
        t.ClearField('raw_data')
        t.data_location = TensorProto.EXTERNAL
        t.external_data.add(key='location', value=t.name)
    (dir / 'g.onnx').write_bytes(m.SerializeToString())
    copy([], [(dir / 'g.onnx', dir / 'h.onnx')])
    check(canonical(onnx.ModelProto.FromString((dir / 'h.onnx').read_bytes())) ==
          canonical(onnx_models.sparse()), 'external parts of sparse tensors')


with tempfile.TemporaryDirectory() as name:
    dir = Path(name)
    (dir / 'b2').mkdir()
    own = onnx_models.everything()
    models = [(k, m.SerializeToString()) for k, m in own.items()]
    # Unknown fields of a graph that comes in parts are refused: see onnx_wire.c.
    models += [(k + ' shuffled', shuffled(m, b'new' not in m.SerializeToString())) for k, m in own.items()]
    models += backend_models()
    check(len(models) > 1500, f'only {len(models)} models')
    same_inline(dir, models)
    m, want = same_external(dir)
    foreign_external(dir, m, want)
    sparse_external(dir)
print(f'{len(models)} models, {len(failures)} failures')
sys.exit(bool(failures))
