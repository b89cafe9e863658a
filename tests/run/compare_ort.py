"""compare_ort.py RUN_MODEL MODEL...: run_model against onnxruntime on all test images of Fashion-MNIST.

Outputs may differ by 1e-4 of the largest output, accuracies by 0.02 points. What measuring says about the
first samples must be what numpy says about the same outputs, and a second thread must not change a bit.
"""
import gzip
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime as ort

DATA = "/usr/share/datasets/fashion-mnist/"
OUTPUT_TOLERANCE = 1e-4
ACCURACY_TOLERANCE = 0.0002
# Full batches, as in the long run: the last bits of an output may depend on the size of its batch.
MEASURED = 1024
THREADED = 512


def idx(name, offset):
    with gzip.open(DATA + name) as f:
        return np.frombuffer(f.read(), dtype=np.uint8, offset=offset)


def onnxruntime(path, images):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate(
        [session.run(None, {name: images[i:i + 250]})[0] for i in range(0, len(images), 250)])


def mcompress(program, path, threads, count, measured):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        command = [program, path, "fashion-mnist:test", out]
        text = subprocess.run(command + [str(n) for n in (threads, count, measured)], check=True,
                              stdout=subprocess.PIPE, text=True).stdout
        return np.fromfile(out, dtype=np.float32), [float(x) for x in text.split()]


def numbers(scores, labels):
    x = scores.astype(np.float64)
    order = np.argsort(-x, axis=1, kind="stable")
    log_softmax = x - np.logaddexp.reduce(x, axis=1, keepdims=True)
    return [np.mean(order[:, 0] == labels), np.mean((order[:, :5] == labels[:, None]).any(1)),
            -np.mean(log_softmax[np.arange(len(labels)), labels]), len(labels)]


def main():
    program, models = sys.argv[1], sys.argv[2:]
    if not os.path.exists(DATA):
        print(f"no {DATA}: install dataset-fashion-mnist")
        return 77
    images = idx("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28).astype(np.float32) / 255
    labels = idx("t10k-labels-idx1-ubyte.gz", 8).astype(np.int64)
    bad = 0
    for path in models:
        want = onnxruntime(path, images)
        got, said = mcompress(program, path, 1, len(images), MEASURED)
        if got.size != want.size:
            print(f"{path}: {got.size} numbers, not {want.size}")
            bad += 1
            continue
        got = got.reshape(want.shape)
        error = np.abs(got - want).max() / np.abs(want).max()
        ours, theirs = numbers(got, labels), numbers(want, labels)
        first = numbers(got[:MEASURED], labels[:MEASURED])
        again, _ = mcompress(program, path, 2, THREADED, 1)
        ok = (error <= OUTPUT_TOLERANCE and abs(ours[0] - theirs[0]) <= ACCURACY_TOLERANCE
              and np.allclose(said, first, rtol=1e-9, atol=0)
              and again.tobytes() == got[:THREADED].tobytes())
        bad += not ok
        print(f"{os.path.basename(path):24} error {error:.1e}  accuracy {100 * ours[0]:.2f} "
              f"(onnxruntime {100 * theirs[0]:.2f})  loss {ours[2]:.4f}  "
              f"{'ok' if ok else 'WRONG, measured ' + str(said)}")
    return bad > 0


sys.exit(main())
