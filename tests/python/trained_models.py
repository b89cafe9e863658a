"""What training writes, judged by the onnx checker, numpy and ONNX Runtime.

usage: trained_models.py MCOMPRESS MODELS_FOLDER
Fresh weights have the bounds of PyTorch's layers; a new head answers with another number of classes in ONNX
Runtime as in mcompress; what --freeze names keeps its bytes; and the accuracy that a report tells is the one that
ONNX Runtime finds.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

import fashion

CLASSES = 12
SHORT = ["--train", "fashion-mnist:train", "--epochs", "0.01", "--lr", "0.001", "--holdout", "0", "-q"]


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")


def weights(path):
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def outputs(path, images):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {feed: images[i:i + 500]})[0]
                           for i in range(0, len(images), 500)])


def check_head(mcompress, model, folder, images):
    out = os.path.join(folder, "head.onnx")
    mine = os.path.join(folder, "mine.npz")
    run([mcompress, "finetune", model, "-o", out, "--head", str(CLASSES)] + SHORT)
    onnx.checker.check_model(out, full_check=True)
    declared = onnx.load(out).graph.output[0].type.tensor_type.shape.dim
    if declared[1].dim_value != CLASSES:
        raise AssertionError(f"declared output: {declared}")
    theirs = outputs(out, images)
    np.save(os.path.join(folder, "images.npy"), images)
    run([mcompress, "eval", out, "--data", os.path.join(folder, "images.npy"), "--save-outputs", mine, "-q"])
    ours = next(iter(np.load(mine).values()))
    if theirs.shape != (len(images), CLASSES) or ours.shape != theirs.shape:
        raise AssertionError(f"shapes {ours.shape}, {theirs.shape}")
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    if not error <= 1e-5:
        raise AssertionError(f"outputs differ by {error}")
    print(f"{os.path.basename(model)}: {CLASSES} classes, largest relative difference {error:.1e}")


def check_reinit(mcompress, model, folder):
    """Gemm and LSTM begin uniform in +-1/sqrt(fan-in) and +-1/sqrt(hidden): a rate of 1e-12 leaves them there."""
    out = os.path.join(folder, "fresh.onnx")
    run([mcompress, "finetune", model, "-o", out, "--reinit", "--train", "fashion-mnist:train", "--epochs", "0.001",
         "--lr", "1e-12", "--holdout", "0", "--weight-decay", "0", "-q"])
    graph, old, new = onnx.load(out).graph, weights(model), weights(out)
    checked = 0
    for node in graph.node:
        attrs = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Gemm":
            w = new[node.input[1]]
            fan = w.shape[1 if attrs.get("transB", 0) else 0]
        elif node.op_type == "LSTM":
            fan = attrs["hidden_size"]
        else:
            continue
        for name in node.input[1:4]:
            if name not in new:
                continue
            x, bound = new[name], 1 / np.sqrt(fan)
            if np.array_equal(x, old.get(name)):
                raise AssertionError(f"{name} is not fresh")
            # all inside, near the edge, with the deviation of a uniform draw
            if not (np.abs(x).max() <= bound * 1.0001 and np.abs(x).max() > bound * (1 - 12 / x.size) and
                    abs(x.std() - bound / np.sqrt(3)) < 5 * bound / np.sqrt(x.size)):
                raise AssertionError(f"{name}: largest {np.abs(x).max()}, deviation {x.std()}, bound {bound}")
            checked += 1
    if checked < 4:
        raise AssertionError(f"only {checked} weights checked")
    print(f"{os.path.basename(model)}: {checked} fresh weights as PyTorch draws them")


def check_freeze(mcompress, model, folder):
    out = os.path.join(folder, "frozen.onnx")
    names = list(weights(model))
    run([mcompress, "finetune", model, "-o", out, "--freeze", f"^{names[0]}$"] + SHORT)
    old, new = weights(model), weights(out)
    for name in names:
        if np.array_equal(old[name], new[name]) != (name == names[0]):
            raise AssertionError(f"--freeze {names[0]}: {name}")
    print(f"{names[0]} stays, the others are trained")


def check_recovery(mcompress, model, folder, images, labels):
    out, path = os.path.join(folder, "tuned.onnx"), os.path.join(folder, "report.json")
    run([mcompress, "svd", model, "-o", out, "--keep", "0.05", "--train", "fashion-mnist:train", "--finetune", "0.1",
         "--lr", "0.001", "--data", "fashion-mnist:test", "--report", path, "-q"])
    onnx.checker.check_model(out, full_check=True)
    told = json.load(open(path))["after"]["top1"]
    found = float((outputs(out, images).argmax(1) == labels).mean())
    if not abs(told - found) <= 2e-4:
        raise AssertionError(f"the report says {told}, ONNX Runtime gives {found}")
    if not found > 0.8:
        raise AssertionError(f"accuracy {found} after training")
    print(f"svd and training: {found:.4f} in ONNX Runtime, {told:.4f} in the report")


def check_names(mcompress, model, folder):
    """Teacher and student may call their one input and output differently."""
    renamed, out = os.path.join(folder, "renamed.onnx"), os.path.join(folder, "student.onnx")
    graph = onnx.load(model)
    names = {graph.graph.input[0].name: "picture", graph.graph.output[0].name: "answer"}
    for node in graph.graph.node:
        node.input[:] = [names.get(x, x) for x in node.input]
        node.output[:] = [names.get(x, x) for x in node.output]
    graph.graph.input[0].name, graph.graph.output[0].name = "picture", "answer"
    onnx.save(graph, renamed)
    run([mcompress, "distill", model, "--student", renamed, "-o", out, "--data", "fashion-mnist:test", "--samples",
         "100", "--require", "agreement>=0.5"] + SHORT)
    session = ort.InferenceSession(out, providers=["CPUExecutionProvider"])
    if (session.get_inputs()[0].name, session.get_outputs()[0].name) != ("picture", "answer"):
        raise AssertionError("the student lost its names")
    print("a student with other names follows")


def main():
    mcompress, models = sys.argv[1:3]
    images, labels = fashion.load("test")
    path = {m: os.path.join(models, f"fashion-{m}.onnx") for m in ("mlp", "lstm", "vit")}
    with tempfile.TemporaryDirectory() as folder:
        for model in path.values():
            check_head(mcompress, model, folder, images[:300])
        check_reinit(mcompress, path["mlp"], folder)
        check_reinit(mcompress, path["lstm"], folder)
        check_names(mcompress, path["mlp"], folder)
        check_freeze(mcompress, path["mlp"], folder)
        check_recovery(mcompress, path["mlp"], folder, images, labels)


if __name__ == "__main__":
    main()
