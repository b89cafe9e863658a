"""quant_traps.py MCOMPRESS MODELS [--samples N] [--table] [--only WORD] [--keep FOLDER]

Models that punish plain quantisation, made of those in the folder MODELS without changing what they compute: channels
of a depthwise network whose ranges differ 1000 times, a transformer with outlier channels, an LSTM whose inputs do,
tiny scores beside large boxes. The default keeps 99 % of the decisions, as far as so many images tell; ranges from
minimum to maximum with one scale for each tensor do not. Prints a table in Markdown; with --table of more ways to
quantise them, and with the transformer, whose search takes longest."""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import fashion  # noqa: E402

KEPT, FAILS, RANGE = 99.0, 97.0, 1000.0
PLAIN = ["--form", "static", "--method", "minmax", "--weight-method", "minmax", "--per-tensor", "--repair", "none",
         "--search", "off"]


class Model:
    def __init__(self, path):
        self.proto = onnx.load(path)
        self.graph = self.proto.graph
        self.by_name = {t.name: t for t in self.graph.initializer}

    def value(self, name):
        return numpy_helper.to_array(self.by_name[name]).astype(np.float64)

    def put(self, name, value):
        self.by_name[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))

    def scale(self, name, factors, axis):
        """Multiply a weight along one axis."""
        value = self.value(name)
        self.put(name, value * factors.reshape([-1 if i == axis else 1 for i in range(value.ndim)]))

    def nodes(self, kind):
        return [n for n in self.graph.node if n.op_type == kind]

    def add_weight(self, name, value):
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        self.by_name[name] = self.graph.initializer[-1]

    def reader(self, name, kind):
        return next((n for n in self.nodes(kind) if name in n.input), None)


def spread(rng, n):
    return RANGE ** rng.random(n)


def depthwise(folder):
    """Every expanded channel has a range of its own, before the depthwise convolution and after it, and so has every
    channel between the blocks. Clip at 6 becomes Relu: a channel that grew would meet it."""
    model, rng = Model(os.path.join(folder, "fashion-mobilenet.onnx")), np.random.default_rng(1)
    for clip in model.nodes("Clip"):
        relu = helper.make_node("Relu", clip.input[:1], clip.output, clip.name)
        clip.CopyFrom(relu)
    for constant in model.nodes("Constant"):  # the limits
        model.graph.node.remove(constant)
    made = {n.output[0]: n for n in model.graph.node}
    convs = model.nodes("Conv")

    def behind(conv):  # the convolution that alone reads it, through Relu
        relu = model.reader(conv.output[0], "Relu")
        return relu and model.reader(relu.output[0], "Conv")
    for conv in convs:
        following = behind(conv)
        if following is None or conv is convs[0]:
            continue
        factors = spread(rng, model.value(conv.input[2]).size)
        model.scale(conv.input[1], factors, 0)
        model.scale(conv.input[2], factors, 0)
        grouped = model.value(following.input[1]).shape[1] == 1
        model.scale(following.input[1], 1 / factors, 0 if grouped else 1)
    streams = {}  # convolutions without activation, by the sum they end up in

    def root(name):
        node = made[name]
        return root(node.input[0]) if node.op_type == "Add" else name
    for conv in convs:
        add = model.reader(conv.output[0], "Add")
        if add or (model.reader(conv.output[0], "Relu") is None and conv is not convs[0]):
            streams.setdefault(root((add or conv).output[0]), []).append(conv)
    for start, writers in streams.items():
        factors = spread(rng, model.value(writers[0].input[2]).size)
        for conv in writers:
            model.scale(conv.input[1], factors, 0)
            model.scale(conv.input[2], factors, 0)
        for conv in convs:
            if conv.input[0] in made and made[conv.input[0]].op_type in ("Conv", "Add") and root(conv.input[0]) == start:
                model.scale(conv.input[1], 1 / factors, 1)
    return model.proto, 0


def transformer(folder):
    """A few channels behind each normalisation, and of the values in attention, are up to 200 times as large."""
    model, rng = Model(os.path.join(folder, "fashion-vit.onnx")), np.random.default_rng(2)
    for norm in model.nodes("LayerNormalization"):
        following = model.reader(norm.output[0], "MatMul")
        if following is None:
            continue
        width = model.value(norm.input[1]).size
        factors = np.ones(width)
        factors[rng.choice(width, 4, replace=False)] = [30, 60, 100, 200]
        model.scale(norm.input[1], factors, 0)
        model.scale(norm.input[2], factors, 0)
        model.scale(following.input[1], 1 / factors, 0)
        bias = model.reader(following.output[0], "Add")
        if model.value(following.input[1]).shape[1] != 3 * width:
            continue
        proj = next(n for n in model.nodes("MatMul") if n.name == following.name.replace("qkv", "proj"))
        factors = np.ones(width)
        factors[rng.choice(width, 4, replace=False)] = [30, 60, 100, 200]
        values = np.concatenate([np.ones(2 * width), factors])
        model.scale(following.input[1], values, 1)
        model.scale(bias.input[0], values, 0)
        model.scale(proj.input[1], 1 / factors, 0)
    return model.proto, 0


def recurrent(folder):
    """The features of a step have ranges of their own."""
    model, rng = Model(os.path.join(folder, "fashion-lstm.onnx")), np.random.default_rng(3)
    lstm = model.nodes("LSTM")[0]
    factors = spread(rng, model.value(lstm.input[1]).shape[2])
    model.scale(lstm.input[1], 1 / factors, 2)
    model.add_weight("features", factors)
    wide = helper.make_node("Mul", [lstm.input[0], "features"], ["wide"], "wide")
    lstm.input[0] = "wide"
    model.graph.node.insert(list(model.graph.node).index(lstm), wide)
    return model.proto, 0


def head(folder):
    """One product gives the box round what is in the image, in pixels of 640, and the scores of its class, of some
    thousandths. Boxes are fitted to the last hidden layer."""
    path = os.path.join(folder, "fashion-mlp.onnx")
    model = Model(path)
    last = model.nodes("Gemm")[-1]
    probe = onnx.load(path)
    probe.graph.output[0].CopyFrom(helper.make_tensor_value_info(last.input[0], onnx.TensorProto.FLOAT, None))
    x = fashion.load("train")[0][:2000]
    session = ort.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    hidden = session.run(None, {session.get_inputs()[0].name: x})[0].astype(np.float64)
    seen = x[:, 0] > 0.2
    box = np.stack([edge for axis in (2, 1) for line in [seen.any(axis=3 - axis)]
                    for edge in (line.argmax(1), 28 - line[:, ::-1].argmax(1))], axis=1) * (640 / 28)
    given = np.concatenate([hidden, np.ones((len(hidden), 1))], axis=1)
    fit = np.linalg.solve(given.T @ given + 1e-1 * np.eye(given.shape[1]), given.T @ box)
    weight, bias = model.value(last.input[1]), model.value(last.input[2])
    small = 1e-3 / np.abs(hidden @ weight.T + bias).max()
    model.put(last.input[1], np.concatenate([fit[:-1].T, small * weight]))
    model.put(last.input[2], np.concatenate([fit[-1], small * bias]))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 14
    return model.proto, 4  # scores begin here


TRAPS = {"depthwise, channels differ 1000 times": depthwise, "transformer, outlier channels": transformer,
         "LSTM, inputs differ 1000 times": recurrent, "tiny scores beside boxes": head}

SLOW = (transformer,)


def decisions(path, x, first):
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: x[i:i + 250]})[0][:, first:].argmax(-1)
                           for i in range(0, len(x), 250)])


def quantise(binary, path, out, words):
    done = subprocess.run([binary, "quant", path, "-o", out, "--calib", "fashion-mnist:train", "--no-latency", "--json",
                           "--threads", "1", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{path} {words}: status {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("models")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--keep", help="a folder for the models and what becomes of them")
    args = parser.parse_args()
    x, labels = (part[:args.samples] for part in fashion.load("test"))
    rows = {"default": [], "plain min-max, per tensor": PLAIN}
    if args.table:
        rows |= {"weights alone": ["--form", "weight"], "static": ["--form", "static", "--search", "off"],
                 "static, equalised": ["--form", "static", "--search", "off", "--repair", "fold,equalise,smooth,bias"]}
    failed = 0
    print(f"| | float | {' | '.join(rows)} |")
    print("|---" * (len(rows) + 2) + "|")
    with tempfile.TemporaryDirectory() as folder:
        folder = args.keep or folder
        for name, make in TRAPS.items():
            if args.only not in name or make in SLOW and not (args.table or args.only):
                continue
            path = os.path.join(folder, f"{make.__name__}.onnx")
            model, first = make(args.models)
            onnx.checker.check_model(model)
            onnx.save(model, path)
            want = decisions(path, x, first)
            cells = [f"{100 * (want == labels).mean():.2f} ({os.path.getsize(path) / 1e3:.0f})"]
            for n, (row, words) in enumerate(rows.items()):
                out = os.path.join(folder, f"{make.__name__}.{n}.onnx")
                quantise(args.binary, path, out, words)
                got = decisions(out, x, first)
                kept = 100 * (got == want).mean()
                cells.append(f"{kept:.2f} % kept, {100 * (got == labels).mean():.2f} ({os.path.getsize(out) / 1e3:.0f})")
                if not kept >= KEPT and row == "default" or not kept < FAILS and words is PLAIN:
                    failed += 1
                    print(f"{name}: {row} keeps {kept:.2f} % of decisions", file=sys.stderr)
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
