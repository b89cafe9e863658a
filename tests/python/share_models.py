"""What share writes, judged by the onnx checker, numpy and ONNX Runtime.

usage: share_models.py MCOMPRESS MODELS_FOLDER
Codebooks of every width, shared gates of LSTM and GRU in both directions, tied tensors and fewer filters run in ONNX
Runtime with the outputs that mcompress computes, as functions and inlined; weights in the file are the codebook's
entries by its indices; gates take a quarter and a third of the bytes.
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

import fashion

RTOL = 1e-4  # of the largest output


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")


def outputs(path, x):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def tensors(path):
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


class Case:
    def __init__(self, mcompress, folder):
        self.mcompress, self.folder, self.n = mcompress, folder, 0

    def share(self, model, x, arguments, close=None):
        """The model made, checked; close: how far its outputs may be from the model's."""
        self.n += 1
        at = os.path.join(self.folder, f"{self.n}")
        data = at + ".npz"
        np.savez(data, **{onnx.load(model).graph.input[0].name: x})
        for more in [], ["--inline"]:
            run([self.mcompress, "share", model, "-o", at + ".onnx", "-q"] + arguments + more)
            onnx.checker.check_model(at + ".onnx", full_check=True)
            run([self.mcompress, "eval", at + ".onnx", "--data", data, "--save-outputs", at + "-y.npz", "-q"])
            ours = next(iter(np.load(at + "-y.npz").values()))
            theirs, before = outputs(at + ".onnx", x), outputs(model, x)
            error = np.abs(ours - theirs).max() / np.abs(theirs).max()
            if ours.shape != theirs.shape or not error <= RTOL:
                raise AssertionError(f"{arguments} of {model}: outputs differ by {error}")
            change = np.abs(theirs - before).max() / np.abs(before).max()
            if close is not None and not change <= close:
                raise AssertionError(f"{arguments} of {model}: outputs changed by {change}")
            if more and any(n.domain for n in onnx.load(at + ".onnx").graph.node):
                raise AssertionError("calls are left in an inlined model")
            if not more:
                kept = at + "-calls.onnx"
                os.rename(at + ".onnx", kept)
        print(f"{os.path.basename(model)} {' '.join(arguments[:2])}: as mcompress to {error:.1e}, "
              f"as before to {change:.1e}, {os.path.getsize(kept)} bytes")
        return kept


def check_entries(path):
    """Every call's weight by numpy: D[index], index in the lowest bits first, or in planes."""
    model, t = onnx.load(path), tensors(path)
    seen = 0
    for node in model.graph.node:
        a = {k.name: helper.get_attribute_value(k) for k in node.attribute}
        if node.op_type not in ("SharedWeight", "SharedPlanes"):
            continue
        bits, count = a["bits"][0], a["count"][0]
        index, book = t[node.input[0]], t[node.input[1]]
        flat = np.unpackbits(index, axis=-1, bitorder="little")
        if node.op_type == "SharedPlanes":
            index = sum(flat[p, :count].astype(int) << p for p in range(bits))
        else:
            index = (flat.reshape(-1, bits) << np.arange(bits)).sum(1)[:count]
        if len(book) != 1 << bits or np.any(np.diff(book) < 0) or count != np.prod(a["shape"]):
            raise AssertionError(f"{path}: {node.output[0]} is no codebook of {bits} bits")
        if index.max() >= 1 << bits or len(index) != count:
            raise AssertionError(f"{path}: {node.output[0]}: indices beyond the codebook")
        seen += 1
    if not seen:
        raise AssertionError(f"{path} has no codebooks")


def gru_model(path, rng, both):
    """Gates that are multiples of one matrix, so that sharing them changes nothing."""
    h, n, d = 24, 10, 1 + both
    scales = [1, -0.5, 2]
    w = [np.concatenate([np.concatenate([s * m for s in scales]) [None] for m in part])
         for part in (rng.normal(size=(d, h, n)) * 0.4, rng.normal(size=(d, h, h)) * 0.2)]
    b = rng.normal(size=(d, 6 * h)) * 0.1
    node = helper.make_node("GRU", ["x", "W", "R", "B"], ["y"], hidden_size=h, linear_before_reset=1,
                            direction="bidirectional" if both else "forward")
    save(path, [node], {"W": w[0], "R": w[1], "B": b}, [7, None, n], 4)


def doubled_model(path, rng):
    """An embedding, its transpose as the last layer, and one matrix twice, a little off the second time."""
    e, w = rng.normal(size=(30, 12)), rng.normal(size=(12, 12)) / 3
    nodes = [helper.make_node("MatMul", ["x", "E"], ["a"]), helper.make_node("Tanh", ["a"], ["b"]),
             helper.make_node("MatMul", ["b", "W"], ["c"]), helper.make_node("Tanh", ["c"], ["d"]),
             helper.make_node("MatMul", ["d", "W2"], ["f"]), helper.make_node("MatMul", ["f", "ET"], ["y"])]
    save(path, nodes, {"E": e, "ET": e.T.copy(), "W": w, "W2": w + 1e-3 * rng.normal(size=w.shape)}, [None, 30], 2)


def save(path, nodes, weights, shape, rank):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def bytes_of(path, names):
    return sum(v.nbytes for k, v in tensors(path).items() if any(k.startswith(n) for n in names))


def check_crafted(case, rng):
    for both in False, True:
        model = os.path.join(case.folder, f"gru{both}.onnx")
        gru_model(model, rng, both)
        x = rng.normal(size=(7, 5, 10)).astype(np.float32)
        made = case.share(model, x, ["--gates"], 1e-5)
        before, after = bytes_of(model, ["W", "R"]), bytes_of(made, ["W", "R"])
        scales = 4 * 2 * (1 + both) * 3 * 24
        if after != before // 3 + scales:
            raise AssertionError(f"gates of a GRU: {before} -> {after} bytes")
    model = os.path.join(case.folder, "doubled.onnx")
    doubled_model(model, rng)
    x = rng.normal(size=(64, 30)).astype(np.float32)
    calib = os.path.join(case.folder, "calib.npz")
    np.savez(calib, x=rng.normal(size=(256, 30)).astype(np.float32))
    made = case.share(model, x, ["--tie", "auto"], 1e-6)
    if set(tensors(made)) != {"E", "W", "W2"}:
        raise AssertionError(f"--tie auto leaves {sorted(tensors(made))}")
    made = case.share(model, x, ["--tie", "auto", "--calib", calib], 1e-2)
    if set(tensors(made)) != {"E", "W"}:
        raise AssertionError(f"--tie auto with samples leaves {sorted(tensors(made))}")
    made = case.share(model, x, ["--tie", "^W"], 1e-2)
    if not np.allclose(tensors(made)["W"], (tensors(model)["W"] + tensors(model)["W2"]) / 2, atol=1e-6):
        raise AssertionError("what is tied is not the mean")


def main(mcompress, models):
    rng = np.random.default_rng(7)
    images = fashion.load("test")[0][:64]
    with tempfile.TemporaryDirectory() as folder:
        case = Case(mcompress, folder)
        check_crafted(case, rng)
        for name in "mlp", "cnn", "resnet", "mobilenet", "lstm", "vit":
            made = case.share(os.path.join(models, f"fashion-{name}.onnx"), images, ["--bits", "4"])
            check_entries(made)
        lstm = os.path.join(models, "fashion-lstm.onnx")
        for bits in range(1, 9):
            check_entries(case.share(lstm, images, ["--bits", str(bits)]))
        made = case.share(lstm, images, ["--gates"])
        dense = bytes_of(lstm, ["onnx::LSTM_111", "onnx::LSTM_112"])
        if bytes_of(made, ["onnx::LSTM_111_", "onnx::LSTM_112_"]) != dense // 4 + 2 * 4 * 512:
            raise AssertionError("gates of the LSTM do not take a quarter")
        check_entries(case.share(lstm, images, ["--gates", "--bits", "4"]))
        for name in "cnn", "resnet":
            case.share(os.path.join(models, f"fashion-{name}.onnx"), images, ["--filters", "0.5"])
        case.share(os.path.join(models, "fashion-resnet.onnx"), images, ["--filters", "0.75", "--bits", "5"])


if __name__ == "__main__":
    main(*sys.argv[1:3])
