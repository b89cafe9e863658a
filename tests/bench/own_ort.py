"""own_ort.py TIME_MODEL OWN_MODEL XNOR_MODEL [CIRCULANT_MODEL]: what layers in small forms cost in ONNX Runtime and in mcompress,
one thread, beside the dense layer in the same process.

The functions are those that mcompress writes (tests/python/*_model.c), put into models of one layer each. Runtimes take
turns; a number is CPU time per run, the median of `--rounds` rounds; `times` is the median of the paired ratios
dense / this. `error`: largest difference from the dense layer of the same weights in ONNX Runtime, relative to its largest
output. `exact` weights have to be equal to the bit."""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from bench_ours import Ours

OWN = "ai.mcompress"
ort.set_default_logger_severity(3)


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("programs", nargs="+")
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--budget", type=float, default=0.05, help="seconds of one measurement, about")
    p.add_argument("--only", default="")
    p.add_argument("--quick", action="store_true", help="small layers, to see that it works")
    return p.parse_args()


def template(program, opset):
    """Functions and tables of the model that a program writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        subprocess.run([program, path, str(opset), "call"], check=True)
        model = onnx.load(path)
    tables = {t.name: t for t in model.graph.initializer if t.dims == [256, 8]}
    calls = {n.op_type: n for n in model.graph.node if n.domain == OWN}
    found = {}
    for f in model.functions:
        table = [tables[i] for i in calls[f.name].input if i in tables]
        if f.name == "BinaryWeight":
            table = [t for t in tables.values() if t.data_type == TensorProto.FLOAT]
        found[f.name] = (f, table[:1])
    return found


class Layer:
    """Weights of m outputs, of a product of k inputs or a convolution of channels k and window w."""

    def __init__(self, functions, m, k, window, batch, size):
        rng = np.random.default_rng(1)
        self.functions, self.m, self.k, self.window = functions, m, k, window
        self.columns = k * window * window
        self.ones = [1, 1] if window else []
        if not window:
            self.columns = k
        bits = rng.random((m, self.columns)) < 0.5
        self.sign = np.where(bits, np.float32(1), np.float32(-1))
        self.packed = np.packbits(bits, axis=1, bitorder="little")
        self.scale = rng.random(m).astype(np.float32) + np.float32(0.1)
        self.bias = rng.standard_normal(m).astype(np.float32)
        self.shape = [batch, k] + ([size, size] if window else [])
        self.x = rng.standard_normal(self.shape).astype(np.float32)
        self.geometry = dict(strides=[1, 1], pads=[window // 2] * 4, dilations=[1, 1]) if window else {}

    def wide(self, v):
        return v.reshape([-1] + self.ones)

    def model(self, nodes, tensors, functions=(), opset=17):
        out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(self.shape))
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)
        init = [numpy_helper.from_array(v, n) for n, v in tensors.items()]
        for f in functions:
            for t in self.functions[f][1]:
                copy = TensorProto()
                copy.CopyFrom(t)
                copy.name = "table"
                init.append(copy)
        protos = [self.functions[f][0] for f in functions]
        imports = {"": max([opset] + [o.version for f in protos for o in f.opset_import])}
        if protos:
            imports[OWN] = 1
        for f in protos:  # the same version in both: nothing else is written by mcompress
            for o in f.opset_import:
                o.version = imports[""]
        return helper.make_model(helper.make_graph(nodes, "layer", [x], [out], init), ir_version=8,
                                 opset_imports=[helper.make_opsetid(d, v) for d, v in imports.items()],
                                 functions=protos)

    def dense(self, signs):
        weight = (self.sign * self.scale[:, None]).astype(np.float32)
        nodes, x = [], "x"
        tensors = {"b": self.bias}
        if signs:
            nodes = [helper.make_node("Less", ["x", "t"], ["l"]),
                     helper.make_node("Where", ["l", "n", "p"], ["a"])]
            tensors.update(t=np.float32(0.1), n=np.float32(-1), p=np.float32(1))
            x = "a"
        if self.window:
            tensors["w"] = weight.reshape(self.m, self.k, self.window, self.window)
            nodes.append(helper.make_node("Conv", [x, "w", "b"], ["y"], **self.geometry))
        else:
            tensors["w"] = weight
            nodes.append(helper.make_node("Gemm", [x, "w", "b"], ["y"], transB=1))
        return self.model(nodes, tensors)

    def binary_weight(self):
        shape = [self.m, self.k] + [self.window] * (2 if self.window else 0)
        call = helper.make_node("BinaryWeight", ["p", "s", "table"], ["w"], domain=OWN, shape=shape,
                                columns=[self.columns])
        layer = helper.make_node("Conv", ["x", "w", "b"], ["y"], **self.geometry) if self.window else \
            helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)
        return self.model([call, layer], dict(p=self.packed, s=self.scale[:, None], b=self.bias),
                          ["BinaryWeight"])

    def call(self, function):
        signs = function.startswith("Xnor")
        attrs = dict(columns=[self.columns], **self.geometry)
        if self.window:
            attrs["shape"] = [self.m, self.k, self.window, self.window]
        tensors = dict(p=self.packed, s=self.wide(self.scale), b=self.wide(self.bias))
        if signs:
            tensors["t"] = np.float32(0.1)
        inputs = ["x"] + (["t"] if signs else []) + ["p", "s", "b", "table"]
        return self.model([helper.make_node(function, inputs, ["y"], domain=OWN, **attrs)], tensors,
                          [function])


class Theirs:
    def __init__(self, model):
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def output(self, x):
        return self.session.run(None, {self.session.get_inputs()[0].name: x})[0]

    def time(self, x, count):
        name, start = self.session.get_inputs()[0].name, time.thread_time_ns()
        for _ in range(count):
            self.session.run(None, {name: x})
        return (time.thread_time_ns() - start) / count / 1e6


def often(run, budget):
    run(1)
    return max(1, int(budget * 1e3 / max(run(1), 1e-3)))


def compare(options, title, x, models, exact):
    """models: name -> model; the first is the dense layer."""
    with tempfile.TemporaryDirectory() as folder:
        runs, outputs, ours, sizes = {}, {}, {}, {}
        try:
            for name, model in models.items():
                path = os.path.join(folder, f"{len(runs)}.onnx")
                onnx.save(model, path)
                sizes[name] = os.path.getsize(path)
                theirs = Theirs(path)
                outputs[name] = theirs.output(x)
                runs[name] = lambda n, t=theirs: t.time(x, n)
                home = os.path.join(folder, f"ours{len(ours)}")
                os.mkdir(home)
                ours[name] = Ours(options.programs[0], path, {model.graph.input[0].name: x}, home)
                runs[name, 0] = lambda n, o=ours[name]: sum(o.run() for _ in range(n)) / n * 1e3
            count = {k: often(run, options.budget) for k, run in runs.items()}
            times = {k: [] for k in runs}
            for _ in range(options.rounds):
                for k, run in runs.items():
                    times[k].append(run(count[k]))
        finally:
            for o in ours.values():
                o.close()
    dense, wrong = next(iter(models)), 0
    for name in models:
        far = np.abs(outputs[name] - outputs[dense]).max() / np.abs(outputs[dense]).max()
        ratio = [statistics.median(a / b for a, b in zip(times[d], times[k]))
                 for d, k in ((dense, name), ((dense, 0), (name, 0)))]
        ms = [statistics.median(times[k]) for k in (name, (name, 0))]
        note = ""
        if name in exact and not np.array_equal(outputs[name], outputs[dense]):
            note, wrong = "  not equal to the bit", 1
        print(f"| {title} | {name} | {sizes[name] / 1e3:.0f} kB | {ms[0]:.3f} | {ratio[0]:.2f} | {ms[1]:.3f} | "
              f"{ratio[1]:.2f} | {far:.0e} |{note}", flush=True)
    return wrong


def binary(options, functions):
    wrong = 0
    shapes = [(128, 128, 0, 2, 0), (16, 16, 3, 1, 6)] if options.quick else \
        [(n, n, 0, b, 0) for n in (1024, 4096) for b in (1, 64)] + [(256, 256, 3, b, 14) for b in (1, 8)]
    for m, k, window, batch, size in shapes:
        layer = Layer(functions, m, k, window, batch, size)
        title = f"{k} to {m}, {window}x{window}, {size}x{size}, batch {batch}" if window else \
            f"{k}x{m}, batch {batch}"
        kind = "Conv" if window else "Gemm"
        if options.only not in title:
            continue
        wrong += compare(options, title, layer.x,
                         {"dense": layer.dense(False), "BinaryWeight": layer.binary_weight(),
                          f"Binary{kind}Fast": layer.call(f"Binary{kind}Fast")}, ["BinaryWeight"])
        wrong += compare(options, title, layer.x,
                         {"dense, of signs": layer.dense(True), f"Xnor{kind}": layer.call(f"Xnor{kind}")}, [])
    return wrong


def written(program, how, layers, free):
    """One circulant layer; sizes of images are left free."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        subprocess.run([program, path, "17", how, layers], check=True)
        model = onnx.load(path)
    for v in list(model.graph.input) + list(model.graph.output):
        for d in v.type.tensor_type.shape.dim[2 if free else 9:]:
            d.ClearField("dim_value")
    return model


def circulant(options):
    wrong = 0
    shapes = [(128, 8, 2), (128, 32, 2)] if options.quick else \
        [(n, b, batch) for n in (1024, 4096) for b in (8, 16, 64, 256, 1024) for batch in (1, 64)]
    for n, block, batch in shapes:
        title = f"{n}x{n}, block {block}, batch {batch}"
        if options.only not in title:
            continue
        blocks = n // block
        spec = f"{blocks},{blocks},{block},{n},{n},1,2"
        models = {"dense": written(options.programs[3], "expand", "exact," + spec, False)}
        for choice in ("exact", "auto"):
            model = written(options.programs[3], "call", f"{choice},{spec}", False)
            models[model.graph.node[0].op_type] = model
        x = np.random.default_rng(0).standard_normal((batch, n)).astype(np.float32)
        wrong += compare(options, title, x, models, [])
    channels, sizes = (32, (4,)) if options.quick else (256, (8, 16, 64))
    for block in sizes:
        for batch in (1, 8):
            title = f"{channels} to {channels}, 3x3, 14x14, block {block}, batch {batch}"
            if options.only not in title:
                continue
            blocks = channels // block
            spec = f"{blocks},{blocks},{block},{channels},{channels},1,4,3,3,1,1,1,1,1,1,1,1"
            models = {"dense": written(options.programs[3], "expand", "exact," + spec, True)}
            for choice in ("exact", "auto"):
                model = written(options.programs[3], "call", f"{choice},{spec}", True)
                models[model.graph.node[0].op_type] = model
            x = np.random.default_rng(0).standard_normal((batch, channels, 14, 14)).astype(np.float32)
            wrong += compare(options, title, x, models, [])
    return wrong


def main():
    options = arguments()
    functions = {**template(options.programs[1], 17), **template(options.programs[2], 17)}
    print("| layer | function | file | ONNX Runtime, ms | times | mcompress, ms | times | error |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    wrong = binary(options, functions)
    if len(options.programs) > 3:
        wrong += circulant(options)
    return wrong > 0


sys.exit(main())
