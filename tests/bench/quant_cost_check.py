"""quant_cost_check.py ESTIMATE_COST FLOAT.onnx QUANTISED.onnx...: how long quantised models take in ONNX Runtime at batch 1,
in times of the float one, and what passes/quant estimates.

One thread; they take turns with short runs, of which the fastest counts.
"""
import os
import subprocess
import sys
import time

import numpy as np
import onnxruntime as ort

ROUNDS = int(os.environ.get("ROUNDS", "150"))
OPEN = {4: 224}  # size of a free dimension behind the first, by rank; else 32: as the estimate has it


class Model:
    def __init__(self, path):
        o = ort.SessionOptions()
        o.intra_op_num_threads = o.inter_op_num_threads = 1
        o.log_severity_level = 4
        self.session = ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])
        self.feed = {i.name: self.noise(i) for i in self.session.get_inputs()}
        self.repeat, self.best = 1, float("inf")
        self.run()
        self.run()
        self.repeat = max(1, min(200, int(1e5 / self.best)))

    @staticmethod
    def noise(i):
        shape = [d if isinstance(d, int) else 1 if k == 0 else OPEN.get(len(i.shape), 32)
                 for k, d in enumerate(i.shape)]
        rng = np.random.default_rng(0)
        return rng.random(shape, dtype=np.float32) if "float" in i.type else np.ones(shape, np.int64)

    def run(self):
        start = time.thread_time_ns()
        for _ in range(self.repeat):
            self.session.run(None, self.feed)
        self.best = min(self.best, (time.thread_time_ns() - start) / self.repeat)


def main():
    program, paths = sys.argv[1], sys.argv[2:]
    out = subprocess.run([program] + paths, capture_output=True, text=True, check=True).stdout
    guess = [float(line) for line in out.split()]
    models = [Model(p) for p in paths]
    for _ in range(ROUNDS):
        for m in models:
            m.run()
    print(f"{'':32s} measured  estimated   (float: {models[0].best / 1e3:.0f} us, {guess[0] / 1e3:.0f} us)")
    for path, m, g in zip(paths[1:], models[1:], guess[1:]):
        a, b = m.best / models[0].best, g / guess[0]
        print(f"{os.path.basename(path):32s} {a:8.2f} {b:8.2f}  {100 * (b / a - 1):+6.0f} %")


if __name__ == "__main__":
    main()
