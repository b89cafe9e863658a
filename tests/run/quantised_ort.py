"""quantised_ort.py RUN_MODEL MODEL...: run_model against onnxruntime on what its own quantiser makes of the models.

Both forms (QDQ and operators on integers), weights per channel. An output may be a few of its own steps away: a
number between two integers may be rounded either way in every layer. Nearly all decisions are the same.
"""
import gzip
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime import quantization as q
from onnxruntime.quantization.shape_inference import quant_pre_process

DATA = "/usr/share/datasets/fashion-mnist/"
IMAGES = 200
STEPS = 2
AGREE = 0.99


def images(name, count):
    with gzip.open(DATA + name) as f:
        raw = np.frombuffer(f.read(16 + count * 784), dtype=np.uint8, offset=16)
    return raw.reshape(count, 1, 28, 28).astype(np.float32) / 255


class Reader(q.CalibrationDataReader):
    def __init__(self, name, batch):
        self.left = [{name: batch}]

    def get_next(self):
        return self.left.pop() if self.left else None


def quantise(path, folder, form):
    float_path, out = os.path.join(folder, "float.onnx"), os.path.join(folder, "int8.onnx")
    quant_pre_process(path, float_path, skip_symbolic_shape=True)
    model = onnx.load(float_path)
    batch = images("train-images-idx3-ubyte.gz", 64)
    q.quantize_static(float_path, out, Reader(model.graph.input[0].name, batch), quant_format=form,
                      per_channel=True, activation_type=q.QuantType.QUInt8,
                      weight_type=q.QuantType.QInt8)
    return out


def output_step(path):
    model = onnx.load(path)
    last = [n for n in model.graph.node if n.output[0] == model.graph.output[0].name][0]
    assert last.op_type == "DequantizeLinear", last.op_type
    scale = [t for t in model.graph.initializer if t.name == last.input[1]][0]
    return float(onnx.numpy_helper.to_array(scale))


def compare(program, path, form, folder):
    out = os.path.join(folder, "out")
    model = quantise(path, folder, form)
    subprocess.run([program, model, "fashion-mnist:test", out, "1", str(IMAGES), "1"], check=True,
                   stdout=subprocess.DEVNULL)
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    x = images("t10k-images-idx3-ubyte.gz", IMAGES)
    want = session.run(None, {session.get_inputs()[0].name: x})[0]
    got = np.fromfile(out, dtype=np.float32).reshape(want.shape)
    far = np.abs(got - want).max() / output_step(model)
    agree = (got.argmax(1) == want.argmax(1)).mean()
    bad = not far <= STEPS + 0.01 or not agree >= AGREE
    print(f"{os.path.basename(path):28}{form}  {far:.2f} steps  agree {agree:.3f}{'  BAD' if bad else ''}")
    return bad


def main():
    program, models = sys.argv[1], sys.argv[2:]
    if not os.path.exists(DATA):
        print(f"no {DATA}: install dataset-fashion-mnist")
        return 77
    bad = 0
    for path in models:
        for form in (q.QuantFormat.QDQ, q.QuantFormat.QOperator):
            with tempfile.TemporaryDirectory() as folder:
                bad += compare(program, path, form, folder)
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
