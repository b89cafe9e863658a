"""Peak memory and time on large models (a benchmark: no part of the tests).

usage: big_model.py MCOMPRESS FOLDER
Writes a 500 MB model and a 2.5 GB one with external data into FOLDER (about 6 GB are needed), runs
`info` on the first and `svd` on the second, and prints seconds, peak heap and peak anonymous memory.
"""
import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import onnx
from onnx import TensorProto, helper


def write(path, layers, rows, columns, external):
    """A chain of MatMuls [rows,columns], [columns,rows], …: low rank plus noise, each tensor in raw_data."""
    rng = np.random.default_rng(0)
    nodes, inits, value = [], [], "x"
    base = rng.standard_normal((rows, 64), np.float32) @ rng.standard_normal((64, columns), np.float32)
    for i in range(layers):
        w = (base + 0.5 * rng.standard_normal((rows, columns), np.float32)) / np.float32(rows)
        w = w if i % 2 == 0 else np.ascontiguousarray(w.T)
        inits.append(helper.make_tensor(f"w{i}", TensorProto.FLOAT, w.shape, w.tobytes(), raw=True))
        nodes.append(helper.make_node("MatMul", [value, f"w{i}"], [f"y{i}"], name=f"layer{i}"))
        value = f"y{i}"
    width = columns if layers % 2 else rows
    graph = helper.make_graph(
        nodes, "big", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", rows])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, ["batch", width])], inits)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path, save_as_external_data=external, location=os.path.basename(path) + ".data")


def anonymous(pid):
    try:
        for line in open(f"/proc/{pid}/status"):
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def watch(command):
    """Exit code, seconds, peak anonymous bytes (sampled every 2 ms), standard output."""
    start = time.perf_counter()
    p = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak, stop = [0], threading.Event()

    def sample():
        while not stop.is_set():
            peak[0] = max(peak[0], anonymous(p.pid))
            time.sleep(0.002)

    t = threading.Thread(target=sample)
    t.start()
    out = p.communicate()[0]
    seconds = time.perf_counter() - start
    stop.set()
    t.join()
    return p.returncode, seconds, peak[0], out


def main():
    mcompress, folder = sys.argv[1:3]
    small, big = os.path.join(folder, "m500.onnx"), os.path.join(folder, "m2500.onnx")
    if not os.path.exists(small):
        write(small, 30, 2048, 2048, False)
    if not os.path.exists(big):
        write(big, 38, 2048, 8192, True)
    times = sorted(watch([mcompress, "info", small])[1] for _ in range(7))
    print(f"info on {os.path.getsize(small) / 1e6:.0f} MB: median {times[3]:.4f} s start to exit, "
          f"anonymous {watch([mcompress, 'info', small])[2] / 1e6:.1f} MB")
    largest = 2048 * 8192 * 4
    total = os.path.getsize(big) + os.path.getsize(big + ".data")
    for way in ("random", "exact"):
        out = os.path.join(folder, "out.onnx")
        rc, seconds, peak, text = watch([mcompress, "svd", big, "-o", out, "--rank", "64", "--svd", way,
                                         "--threads", "1", "--json"])
        after = json.loads(text)["output"]["bytes"] if rc == 0 else 0
        print(f"svd --svd {way} on {total / 1e9:.2f} GB: exit {rc}, {seconds:.1f} s, {after / 1e6:.1f} MB "
              f"out, peak anonymous {peak / largest:.2f} times the largest tensor")


if __name__ == "__main__":
    main()
