"""eval_shapes.py MCOMPRESS: samples of different shape are run shape by shape and come back in their own order.

Outputs that `eval --save-outputs` writes, against ONNX Runtime: arrays x_0, x_1, … of an archive with and without
a batch axis, labels, test data, one array in batches, a batch axis frozen to 4; and the same with a reference,
for 1 and 2 threads."""
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ops"))
import cases  # noqa: E402

MCOMPRESS = sys.argv[1]
rng = np.random.default_rng(11)
work = tempfile.mkdtemp()
checks = 0


def at(name):
    return os.path.join(work, name)


def value(name, dims):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)


def model(batch):
    """Convolution over rows of any length; scores, and the length of each row."""
    weights = [numpy_helper.from_array(rng.standard_normal((5, 2, 3)).astype("f4"), "w")]
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1]),
             helper.make_node("Relu", ["c"], ["features"]),
             helper.make_node("ReduceMean", ["features"], ["scores"], axes=[2], keepdims=0),
             helper.make_node("Shape", ["x"], ["shape"])]
    graph = helper.make_graph(nodes, "g", [value("x", [batch, 2, None])],
                              [value("features", [batch, 5, None]), value("scores", [batch, 5]),
                               helper.make_tensor_value_info("shape", TensorProto.INT64, [3])],
                              weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = at(f"model{batch}.onnx")
    onnx.save(made, path)
    return path, graph


def run(*words):
    done = subprocess.run([MCOMPRESS, "eval", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def saved(path, data, *options):
    run(path, "--data", data, "--save-outputs", at("out.npz"), *options)
    with np.load(at("out.npz")) as z:
        return dict(z)


def near(got, want, what):
    global checks
    checks += 1
    assert got.shape == want.shape and got.dtype == want.dtype, (what, got.shape, want.shape)
    assert np.allclose(got, want, rtol=1e-4, atol=1e-5), (what, np.abs(got - want).max())


path, graph = model("n")
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
lengths = rng.choice([4, 7, 9], 30)
rows = [rng.standard_normal((2, n)).astype("f4") for n in lengths]
want = [session.run(None, {"x": row[None]}) for row in rows]
labels = np.array([w[1].argmax() for w in want])
labels[0] = (labels[0] + 1) % 5  # one of 30 is wrong

np.savez(at("rows.npz"), **{f"x_{i}": row for i, row in enumerate(rows)})
for threads in "1", "2":
    got = saved(path, at("rows.npz"), "--threads", threads)
    near(got["scores"], np.concatenate([w[1] for w in want]), "scores in order")
    for i, w in enumerate(want):
        near(got[f"features_{i}"], w[0], f"features of {i}")
np.savez_compressed(at("labelled.npz"), labels=labels, **{f"x{i}": row for i, row in enumerate(rows)})
text = run(path, "--data", at("labelled.npz"))
assert "top-1  96.67 %" in text and "measured on 30 samples" in text, text

np.savez(at("whole.npz"), **{f"x_{i}": row[None] for i, row in enumerate(rows)})
got = saved(path, at("whole.npz"))
for i, w in enumerate(want):
    for k, name in enumerate(("features", "scores", "shape")):
        near(got[f"{name}_{i}"], w[k], f"{name} of {i}")
for i, (row, w) in enumerate(zip(rows, want)):
    cases.write_set(at(f"sets/test_data_set_{i}"), graph, [row[None]], w)
got = saved(path, at("sets"))
near(got["features_17"], want[17][0], "test data")
for data in at("rows.npz"), at("whole.npz"), at("sets"):
    text = run(path, path, "--data", data)
    assert "equal outputs" in text and "measured on 30 samples" in text, text
    checks += 1

same = np.stack([row[:, :4] for row in rows])
np.save(at("same.npy"), same)
full = session.run(None, {"x": same})
got = saved(path, at("same.npy"))
near(got["features"], full[0], "one array")
frozen, _ = model(4)
session = onnxruntime.InferenceSession(frozen, providers=["CPUExecutionProvider"])
padded = np.concatenate([same, same[-1:], same[-1:]])
full = np.concatenate([session.run(None, {"x": padded[i:i + 4]})[0] for i in range(0, 32, 4)])[:30]
near(saved(frozen, at("same.npy"))["features"], full, "a frozen batch axis")
print(f"{checks} checks")
subprocess.run(["rm", "-r", work], check=True)
