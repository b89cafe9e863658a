"""What `mcompress quant` does to the reference models, beside onnxruntime.quantization: accuracy, bytes, time.

    MCOMPRESS_TEST_PYTHON tests/bench/quant_table.py accuracy build/mcompress models/fashion-*.onnx --results quant.jsonl
    MCOMPRESS_TEST_PYTHON tests/bench/quant_table.py time build/mcompress models/fashion-*.onnx --results quant.jsonl

Calibrated on the first 512 training images. `accuracy`: on all 10,000 test images, what is written runs in ONNX
Runtime; rows of EVALUATED also by `mcompress eval`, and a line on the error output says where it decides differently.
`time`: milliseconds of one thread in ONNX Runtime at batch 1 and 64, all files of a model taking turns. Every run adds
a line to the results, and those that stand there already are not made again. Prints tables in Markdown."""
import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

from prune_table import Results, milliseconds, name_of, session

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
import fashion  # noqa: E402

CALIBRATION, BATCH = 512, 256
PLAIN = ["--search", "off", "--repair", "none"]  # the forms and ranges alone
METHODS = ("minmax", "percentile", "entropy", "mse")
OURS = {"weight": ["--form", "weight"], "weight, per tensor": ["--form", "weight", "--per-tensor"],
        "dynamic": ["--form", "dynamic"], "dynamic, per tensor": ["--form", "dynamic", "--per-tensor"],
        **{f"static, {m}{where}": ["--form", "static", "--method", m, *PLAIN, *word]
           for where, word in (("", []), (", per tensor", ["--per-tensor"])) for m in METHODS},
        "static, repaired": ["--form", "static", "--search", "off"],
        "default": [], "default, fewest bytes": ["--minimise", "bytes"],
        "weight4": ["--form", "weight4"], "w4a8": ["--form", "static", "--bits", "w4a8", "--search", "off"],
        "fp16": ["--form", "fp16"]}
EVALUATED = ("float", "weight", "dynamic", "static, mse", "default", "weight4", "w4a8", "fp16")
PEERS = ("ort dynamic", "ort dynamic, per channel", "ort minmax", "ort minmax, per channel", "ort entropy, per channel",
         "ort entropy of 2048 bins, per channel", "ort percentile, per channel")
TIMED = ("float", "weight", "dynamic", "static, mse", "default", "ort dynamic", "ort minmax, per channel")
# Other tools at 8 bits, measured once: top-1 and kB. NNCF 3.4, neural-compressor 2.6, AIMET 2.42, MNN 3.6.1.
OTHERS = {
    "nncf": {"mlp": (89.40, 950), "cnn": (91.94, 866), "resnet": (93.16, 740), "mobilenet": (92.26, 161),
             "lstm": (88.81, 329), "vit": (86.84, 322)},
    "neural-compressor": {"mlp": (89.44, 951), "cnn": (91.85, 868), "resnet": (93.27, 745), "mobilenet": (92.28, 165),
                          "lstm": (88.82, 328), "vit": (87.00, 320)},
    "aimet": {"mlp": (89.22, 949), "cnn": (91.81, 866), "resnet": (93.25, 729), "mobilenet": (92.36, 156),
              "lstm": (88.91, 92), "vit": (86.86, 328)},
    "mnn, weights": {"mlp": (89.43, 957), "cnn": (91.94, 868), "resnet": (93.23, 719), "mobilenet": (92.30, 137),
                     "lstm": (88.81, 106), "vit": (87.03, 295)}}


@functools.cache
def images(part):
    return fashion.load(part)


def decisions(path):
    """Of all test images, in ONNX Runtime."""
    x, _ = images("test")
    run = session(path)
    name = run.get_inputs()[0].name
    return np.concatenate([run.run(None, {name: x[i:i + BATCH]})[0].argmax(-1) for i in range(0, len(x), BATCH)])


def ours(binary, path, out, words):
    """The report."""
    done = subprocess.run([binary, "quant", path, "-o", out, "--calib", "fashion-mnist:train", "--threads", "1",
                           "--no-latency", "--json", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{path} {words}: status {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def evaluated(binary, path, out):
    """Decisions by `mcompress eval`."""
    file = out + ".npz"
    subprocess.run([binary, "eval", path, "--data", "fashion-mnist:test", "--threads", "1", "--save-outputs", file,
                    "--quiet"], check=True, stdout=subprocess.DEVNULL)
    with np.load(file) as outputs:
        return outputs[outputs.files[0]].argmax(-1)


class Images:
    """The calibration samples for onnxruntime.quantization."""

    def __init__(self, name):
        x, _ = images("train")
        self.feeds = iter([{name: x[i:i + 32]} for i in range(0, CALIBRATION, 32)])

    def get_next(self):
        return next(self.feeds, None)


def searched_entropy(calibrate, bins):
    """Entropy looks for the range among histogram bins beyond those of the integers, and has as many of one as of
    the other unless told, so that there is nothing to look among."""
    plain = calibrate.EntropyCalibrater

    class Searched(plain):
        def __init__(self, *args, **words):
            super().__init__(*args, **{**words, "num_bins": bins, "num_quantized_bins": 128})
    return plain, Searched


def theirs(method, path, out):
    import logging
    logging.disable(logging.WARNING)
    from onnxruntime import quantization as q
    from onnxruntime.quantization import calibrate
    from onnxruntime.quantization.shape_inference import quant_pre_process
    per_channel = method.endswith("per channel")
    prepared = out + ".prepared"
    quant_pre_process(path, prepared, skip_symbolic_shape=True)
    if "dynamic" in method:
        q.quantize_dynamic(prepared, out, per_channel=per_channel)
        return
    plain, searched = searched_entropy(calibrate, 2048)
    calibrate.EntropyCalibrater = searched if "2048" in method else plain
    kind = {"minmax": q.CalibrationMethod.MinMax, "entropy": q.CalibrationMethod.Entropy,
            "percentile": q.CalibrationMethod.Percentile}[method.split()[1].rstrip(",")]
    try:
        with open(os.devnull, "w") as quiet:
            shown, sys.stdout = sys.stdout, quiet
            try:
                q.quantize_static(prepared, out, Images(session(path).get_inputs()[0].name), calibrate_method=kind,
                                  per_channel=per_channel, activation_type=q.QuantType.QUInt8,
                                  weight_type=q.QuantType.QInt8)
            finally:
                sys.stdout = shown
    finally:
        calibrate.EntropyCalibrater = plain


def make(binary, method, path, out):
    if method in OURS:
        return ours(binary, path, out, OURS[method])
    theirs(method, path, out)
    return None


def measure_accuracy(binary, method, path):
    with tempfile.TemporaryDirectory() as folder:
        out = path if method == "float" else os.path.join(folder, "out.onnx")
        if method != "float":
            make(binary, method, path, out)
        got, labels = decisions(out), images("test")[1]
        row = {"top1": 100 * float((got == labels).mean()), "bytes": os.path.getsize(out)}
        row["kept"] = 100 * float((got == decisions(path)).mean())
        if method in EVALUATED:
            mine = evaluated(binary, out, os.path.join(folder, "outputs"))
            row["eval"] = {"top1": 100 * float((mine == labels).mean()), "others": int((mine != got).sum())}
    return row


def print_accuracy(args, results):
    rows = {}
    for method in ("float", *OURS, *PEERS):
        for path in args.models:
            name = name_of(path)
            rows[method, name] = row = results.get(
                "accuracy", method, name, make=lambda: measure_accuracy(args.binary, method, path))
            if row.get("eval", {}).get("others"):
                print(f"{method} {name}: eval decides {row['eval']['others']} differently, top-1 {row['eval']['top1']:.2f} "
                      f"instead of {row['top1']:.2f}", file=sys.stderr)
    names = [name_of(path) for path in args.models]
    print(f"| | {' | '.join(names)} |")
    print("|---" * (len(names) + 1) + "|")
    for method in ("float", *OURS, *PEERS):
        cells = [f"{rows[method, n]['top1']:.2f} ({rows[method, n]['bytes'] / 1e3:.0f})" for n in names]
        print(f"| {method} | {' | '.join(cells)} |")
    for method, known in OTHERS.items():
        print(f"| {method} | {' | '.join('{:.2f} ({})'.format(*known[n]) if n in known else '' for n in names)} |")
    missed = 0
    for name in names:
        row = rows["default", name]
        if rows["float", name]["top1"] - row["top1"] > 0.15:
            print(f"{name}: {row['top1']:.2f} is more than 0.15 below float", file=sys.stderr)
            missed += 1
        smaller = [(rows[m, name]["top1"], m) for m in PEERS if rows[m, name]["bytes"] <= row["bytes"] * 1.01]
        smaller += [(o[name][0], m) for m, o in OTHERS.items() if name in o and o[name][1] <= row["bytes"] * 1.01e-3]
        best = max(smaller, default=(0, "nobody"))
        if best[0] - row["top1"] > 0.1:
            print(f"{name}: {row['top1']:.2f} is more than 0.1 below {best[0]:.2f} of {best[1]}", file=sys.stderr)
            missed += 1
    return missed


def measure_time(binary, path):
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for i, method in enumerate(TIMED):
            files.append(path if method == "float" else os.path.join(folder, f"{i}.onnx"))
            if method != "float":
                make(binary, method, path, files[i])
        return {str(batch): milliseconds(files, batch) for batch in (1, 64)}


def print_time(args, results):
    times = {name_of(p): results.get("time", name_of(p), make=lambda: measure_time(args.binary, p)) for p in args.models}
    print(f"| | {' | '.join(times)} |")
    print("|---" * (len(times) + 1) + "|")
    for i, method in enumerate(TIMED):
        cells = []
        for t in times.values():
            cells.append(" / ".join(f"{t[b][i]:.3g}" for b in ("1", "64")) if i == 0 else
                         " / ".join(f"{t[b][i] / t[b][0]:.2f}" for b in ("1", "64")))
        print(f"| {method}{', ms' if i == 0 else ''} | {' | '.join(cells)} |")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["accuracy", "time"])
    parser.add_argument("binary")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--results", required=True)
    args = parser.parse_args()
    return {"accuracy": print_accuracy, "time": print_time}[args.what](args, Results(args.results)) > 0


if __name__ == "__main__":
    sys.exit(main())
