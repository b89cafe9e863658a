"""The six reference models with half of their nodes gone, judged by the onnx checker and ONNX Runtime.

usage: pruned_models.py MCOMPRESS MODELS_FOLDER
Outputs are those of `mcompress eval --save-outputs`, tensors are smaller in the file, inputs and outputs are as before,
and the share of nodes that the report tells is that of the rows of the weights that numpy counts.
"""
import glob
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort

import fashion


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")


def parameters(path):
    return sum(int(np.prod(t.dims)) for t in onnx.load(path).graph.initializer
               if t.data_type == onnx.TensorProto.FLOAT)


def interface(path):
    g = onnx.load(path).graph
    return [(v.name, str(v.type)) for v in list(g.input) + list(g.output)]


def outputs(path, images):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def check(mcompress, model, folder, how, samples, images):
    out, mine = os.path.join(folder, "out.onnx"), os.path.join(folder, "mine.npz")
    report = os.path.join(folder, "out.json")
    run([mcompress, "prune", model, "-o", out, "--keep", "0.5", "--no-latency", "-q", "--report", report] + how)
    onnx.checker.check_model(out, full_check=True)
    if interface(out) != interface(model):
        raise AssertionError(f"{interface(model)} became {interface(out)}")
    theirs = outputs(out, images)
    run([mcompress, "eval", out, "--data", samples, "--save-outputs", mine, "-q"])
    ours = next(iter(np.load(mine).values()))
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    if ours.shape != theirs.shape or not error <= 1e-5:
        raise AssertionError(f"outputs differ by {error}")
    before, after = parameters(model), parameters(out)
    told = json.load(open(report))["passes"][0]["counts"]
    if before - after != told["params"][0] - told["params"][1]:  # constants of Clip are nodes
        raise AssertionError(f"parameters {before} -> {after}, told {told['params']}")
    if not after <= 0.51 * before or not told["nodes"][1] <= 0.52 * told["nodes"][0]:
        raise AssertionError(f"more than half: {before} -> {after}, nodes {told['nodes']}")
    print(f"{os.path.basename(model)} {' '.join(how[:2])}: {before} -> {after} parameters, outputs within {error:.1e}")


def check_fixed(mcompress, folder):
    """Half of the weights belong to no hidden node: of the rest more goes, unless layers are named."""
    r, path = np.random.default_rng(3), os.path.join(folder, "fixed.onnx")
    out, calib = os.path.join(folder, "less.onnx"), os.path.join(folder, "x.npy")
    weights = {"w": (64, 64), "a": (64, 32), "b": (32, 64)}
    nodes = [onnx.helper.make_node("MatMul", ["x", "w"], ["p"]), onnx.helper.make_node("MatMul", ["x", "a"], ["q"]),
             onnx.helper.make_node("Relu", ["q"], ["h"]), onnx.helper.make_node("MatMul", ["h", "b"], ["s"]),
             onnx.helper.make_node("Add", ["p", "s"], ["y"])]
    ports = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["n", 64]) for n in "xy"]
    made = [onnx.numpy_helper.from_array(r.normal(size=s).astype(np.float32) / 8, k) for k, s in weights.items()]
    graph = onnx.helper.make_graph(nodes, "fixed", ports[:1], ports[1:], made)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    np.save(calib, r.normal(size=(16, 64)).astype(np.float32))
    shares = []
    for how in ([], ["--only", "."]):
        run([mcompress, "prune", path, "-o", out, "--keep", "0.8", "--calib", calib, "--no-latency", "-q"] + how)
        shares.append(parameters(out) / parameters(path))
    if not 0.8 <= shares[0] <= 0.84 or not 0.85 < shares[1] <= 0.92:
        raise AssertionError(f"parameters left of a model with many fixed ones: {shares}")


def main():
    mcompress, models = sys.argv[1:]
    images, _ = fashion.load("test")
    train, _ = fashion.load("train")
    with tempfile.TemporaryDirectory() as folder:
        samples, calib = os.path.join(folder, "images.npy"), os.path.join(folder, "calib.npy")
        np.save(samples, images[:200])
        np.save(calib, train[:32])
        check_fixed(mcompress, folder)
        for model in sorted(glob.glob(os.path.join(models, "fashion-*.onnx"))):
            check(mcompress, model, folder, ["--scope", "layer"], samples, images[:200])
            check(mcompress, model, folder, ["--scope", "global", "--calib", calib], samples, images[:200])


main()
