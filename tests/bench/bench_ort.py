"""bench_ort.py TIME_MODEL [--batch N] [--rounds N] [--shape NAME=1x3x224x224] (MODEL... | --light):
our CPU time per run beside ONNX Runtime's, one thread each.

The two take turns, so that whatever else the machine does hits both; the ratio is the median of the paired
ratios. Inputs are seeded noise; a free first dimension is the batch, other free ones need --shape. The
largest difference of an output, relative to its largest value, is shown: numbers that differ are not worth
timing.
"""
import argparse
import os
import statistics
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime as ort

import light
from bench_ours import Ours

SAME = 1e-3  # relative to an output's largest value


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("program")
    p.add_argument("models", nargs="*")
    p.add_argument("--light", action="store_true")
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--seconds", type=float, default=10, help="for one model, about")
    p.add_argument("--shape", action="append", default=[])
    p.add_argument("--only", default="")
    return p.parse_intermixed_args()


def inputs_of(session, batch, shapes):
    rng = np.random.default_rng(0)
    feeds = {}
    for i in session.get_inputs():
        dims = shapes.get(i.name) or [
            d if isinstance(d, int) else batch if at == 0 else None for at, d in enumerate(i.shape)]
        if None in dims:
            raise ValueError(f"input {i.name} is {i.shape}: give --shape {i.name}=…")
        if i.type == "tensor(float)":
            feeds[i.name] = rng.standard_normal(dims).astype(np.float32)
        else:
            kind = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8,
                    "tensor(double)": np.float64, "tensor(bool)": bool}[i.type]
            feeds[i.name] = np.ones(dims, kind)
    return feeds


def difference(want, got):
    """Largest relative difference over all outputs."""
    worst, at = 0.0, 0
    for w in want:
        mine = np.frombuffer(got[at:at + w.nbytes], w.dtype)
        at += w.nbytes
        if mine.size != w.size:
            return float("inf")
        if w.size:
            a, b = w.ravel().astype(np.float64), mine.astype(np.float64)
            worst = max(worst, float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-30)))
    return worst if at == len(got) else float("inf")


def measure(options, name, path, shapes):
    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = 1
    session_options.inter_op_num_threads = 1
    session_options.log_severity_level = 3
    session = ort.InferenceSession(path, session_options, providers=["CPUExecutionProvider"])
    feeds = inputs_of(session, options.batch, shapes)
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(options.program, path, feeds, folder)
        try:
            want = session.run(None, feeds)
            ours.run()
            error = difference(want, ours.outputs())
            mine, theirs, started = [], [], time.monotonic()
            while len(mine) < options.rounds and (
                    len(mine) < 3 or time.monotonic() - started < options.seconds):
                mine.append(ours.run())
                start = time.thread_time_ns()
                session.run(None, feeds)
                theirs.append((time.thread_time_ns() - start) / 1e9)
        finally:
            ours.close()
    ratio = statistics.median(a / b for a, b in zip(mine, theirs))
    same = error <= SAME
    print(f"{name:34} {1e3 * statistics.median(mine):9.2f} ms  onnxruntime "
          f"{1e3 * statistics.median(theirs):9.2f} ms  ratio {ratio:5.2f}  difference {error:.1e}"
          f"{'' if same else '  WRONG'}", flush=True)
    return same


def main():
    options = arguments()
    shapes = {}
    for text in options.shape:
        name, dims = text.rsplit("=", 1)
        shapes[name] = [int(d) for d in dims.split("x")]
    print(f"one thread, batch {options.batch}, medians of at most {options.rounds} pairs", flush=True)
    failed = 0
    jobs = [(os.path.basename(p), p) for p in options.models]
    jobs += [(os.path.basename(p), p) for p in light.paths()] if options.light else []
    for name, path in jobs:
        if options.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                if options.light:
                    model = light.refill(path, options.batch)
                    path = os.path.join(folder, name)
                    onnx.save(model, path)
                failed += not measure(options, name, path, shapes)
            except Exception as error:  # the others are still worth their time
                print(f"{name:34} FAILED: {str(error)[:200]}", flush=True)
                failed += 1
    return failed > 0


sys.exit(main())
