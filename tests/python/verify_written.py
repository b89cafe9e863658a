"""What mcompress writes, judged by the onnx checker and ONNX Runtime.

usage: verify_written.py MCOMPRESS MODELS_FOLDER
Each reference model is factorised in several ways. Every file must pass onnx.checker (full check), load in
ONNX Runtime, and give there what `mcompress eval` and the report say of it.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort

import fashion

WAYS = {
    "fashion-mlp": [["--keep", "0.25"], ["--rank", "16"],
                    ["--keep", "0.25", "--calib", "fashion-mnist:train"],
                    ["--keep", "0.4", "--external-data"]],
    "fashion-cnn": [["--keep", "0.25", "--calib", "fashion-mnist:train"], ["--energy", "0.8"]],
    "fashion-resnet": [["--keep", "0.6", "--calib", "fashion-mnist:train"]],
    "fashion-mobilenet": [["--energy", "0.9"]],
    "fashion-lstm": [["--rank", "4"], ["--keep", "0.5", "--calib", "fashion-mnist:train"]],
    "fashion-vit": [["--keep", "0.5", "--calib", "fashion-mnist:train"]],
}


def run(command, accept=(0,)):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in accept:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return done


def close(name, ours, theirs, tolerance):
    if not abs(ours - theirs) <= tolerance:
        raise AssertionError(f"{name}: mcompress says {ours}, ONNX Runtime gives {theirs}")


def outputs(path, images):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {feed: images[i:i + 500]})[0]
                           for i in range(0, len(images), 500)])


def check(mcompress, model, options, images, labels, before, folder):
    out = os.path.join(folder, "out.onnx")
    report_path = os.path.join(folder, "report.json")
    run([mcompress, "svd", model, "-o", out, "--data", "fashion-mnist:test", "-q", "--threads", "1",
         "--report", report_path] + options)
    report = json.load(open(report_path))
    onnx.checker.check_model(out, full_check=True)

    size = sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder)
               if f.startswith("out.onnx"))
    close("bytes", report["output"]["bytes"], size, 0)
    if "--keep" in options:
        keep = float(options[options.index("--keep") + 1])
        assert size <= keep * os.path.getsize(model) + 0.5, (size, keep)
    floats = sum(int(np.prod(t.dims)) for t in onnx.load(out).graph.initializer
                 if t.data_type == onnx.TensorProto.FLOAT)
    assert report["output"]["parameters"] >= floats, (report["output"]["parameters"], floats)

    after = outputs(out, images)
    top1 = float(np.mean(after.argmax(1) == labels))
    close("top1", report["after"]["top1"], top1, 2.0e-4)
    close("agreement", report["agreement"]["top1"],
          float(np.mean(after.argmax(1) == before.argmax(1))), 2.0e-4)
    noise = np.sum((after.astype(np.float64) - before) ** 2)
    close("sqnr", report["agreement"]["sqnr_db"],
          10 * np.log10(np.sum(before.astype(np.float64) ** 2) / noise), 0.01)

    said = json.loads(run([mcompress, "eval", out, model, "--data", "fashion-mnist:test", "--json",
                           "--threads", "1"]).stdout)
    close("eval top1", said["metrics"]["top1"], top1, 2.0e-4)
    shifted = after - after.max(1, keepdims=True)
    loss = np.mean(np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels])
    close("eval loss", said["metrics"]["loss"], float(loss), 1e-4)
    assert said["samples"] == len(labels)
    changed = [l for l in report["passes"][0]["layers"] if l["action"] == "factorised"]
    assert changed, "no layer was factorised"
    print(f"{os.path.basename(model)} {' '.join(options)}: {size} bytes, top1 {top1:.4f}, "
          f"{len(changed)} layers")


def main():
    mcompress, models = sys.argv[1:3]
    images, labels = fashion.load("test")
    failed = 0
    for name, ways in WAYS.items():
        model = os.path.join(models, name + ".onnx")
        before = outputs(model, images)
        for options in ways:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    check(mcompress, model, options, images, labels, before, folder)
                except AssertionError as e:
                    failed += 1
                    print(f"FAILED {name} {' '.join(options)}: {e}")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
