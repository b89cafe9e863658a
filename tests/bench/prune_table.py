"""What `mcompress prune` does to the reference models: time saved in ONNX Runtime, and accuracy beside torch-pruning.

    MCOMPRESS_TEST_PYTHON tests/bench/prune_table.py time build/mcompress models/fashion-*.onnx --results time.jsonl
    MCOMPRESS_TEST_PYTHON tests/bench/prune_table.py peer build/mcompress models --results peer.jsonl

`time`: half of the hidden nodes, and half of the multiply-accumulates; milliseconds of one thread, before and after
taking turns, at batch 1 and 64. `peer`: at most the bytes that torch-pruning leaves at half the channels, untrained and
after one epoch with seeds 0, 1, 2. Accuracy is on all 10,000 test images. Every run adds a line to the results, and
those that stand there already are not made again. Prints tables in Markdown; `time` needs numpy and onnxruntime."""
import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

DATA = ["--data", "fashion-mnist:test"]
CALIB = ["--calib", "fashion-mnist:train"]
TRAIN = ["--train", "fashion-mnist:train"]
HALVES = {"half the nodes": ["--keep", "0.5"], "half the MACs": ["--target", "macs=0.5"]}
# bytes, before training, after one epoch: torch-pruning 1.6.1 at half the channels
PEER = {"mlp": (1341, 86.38, 89.02), "cnn": (863, 78.80, 91.26), "resnet": (704, 17.22, 91.94),
        "mobilenet": (121, 10.00, 90.18)}
ROUNDS = 41


def name_of(path):
    return os.path.basename(path).replace("fashion-", "").replace(".onnx", "")


def prune(binary, path, out, *words):
    done = subprocess.run([binary, "prune", path, "-o", out, *map(str, words), "--json", "--no-latency"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if done.returncode not in (0, 4):
        raise SystemExit(f"{path} {words}: status {done.returncode}")
    report = json.loads(done.stdout)
    return {"status": done.returncode, "bytes": report["output"]["bytes"], "seconds": report["seconds"],
            "before": 100 * report["before"]["top1"], "top1": 100 * report["after"]["top1"],
            "macs": [report["input"].get("macs"), report["output"].get("macs")]}


class Results:
    def __init__(self, path):
        self.path, self.rows = path, {}
        if os.path.exists(path):
            with open(path) as file:
                for line in file:
                    key, row = json.loads(line)
                    self.rows[tuple(key)] = row

    def get(self, *key, make):
        if key not in self.rows:
            self.rows[key] = make()
            with open(self.path, "a") as file:
                file.write(json.dumps([key, self.rows[key]]) + "\n")
        return self.rows[key]


def session(path):
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def milliseconds(paths, batch):
    """Medians of the models, which take turns."""
    import numpy as np
    sessions = [session(p) for p in paths]
    given = sessions[0].get_inputs()[0]
    shape = [batch] + [d if isinstance(d, int) else 1 for d in given.shape[1:]]
    x = {given.name: np.random.default_rng(0).random(shape, dtype=np.float32)}
    repeat, times = 1, [[] for _ in paths]
    for s in sessions:
        s.run(None, x)
    begin = time.process_time()
    sessions[0].run(None, x)
    repeat = max(1, int(0.01 / max(1e-6, time.process_time() - begin)))
    for _ in range(ROUNDS):
        for k, s in enumerate(sessions):
            begin = time.process_time()
            for _ in range(repeat):
                s.run(None, x)
            times[k].append((time.process_time() - begin) / repeat * 1e3)
    return [statistics.median(t) for t in times]


def measure_time(binary, path, words):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out.onnx")
        row = prune(binary, path, out, *words, *CALIB, *DATA)
        for batch in (1, 64):
            row[f"ms{batch}"] = milliseconds([path, out], batch)
    return row


def print_times(args, results):
    print("| model | | top-1 | bytes | MACs | ms, batch 1 | ms, batch 64 |")
    print("|---|---|---|---|---|---|---|")
    for path in args.models:
        for what, words in HALVES.items():
            row = results.get(name_of(path), what, make=lambda: measure_time(args.binary, path, words))
            macs = row["macs"]
            share = f"{macs[0] / 1e6:.2f} -> {macs[1] / 1e6:.2f} M, {100 * macs[1] / macs[0]:.0f} %" if macs[0] else ""
            ms = [f"{a:.3g} -> {b:.3g}, {100 * b / a:.0f} %" for a, b in (row["ms1"], row["ms64"])]
            missed = " *" if row["status"] == 4 else ""
            print(f"| {name_of(path)} | {what} | {row['before']:.2f} -> {row['top1']:.2f} | {row['bytes'] / 1e3:.0f} kB{missed} "
                  f"| {share} | {ms[0]} | {ms[1]} |")


def print_peer(args, results):
    print("| model | kB at most | torch-pruning | and 1 epoch | mcompress | and 1 epoch, mean | seeds 0, 1, 2 |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out.onnx")
        for name, (kilobytes, raw, trained) in PEER.items():
            path = os.path.join(args.models[0], f"fashion-{name}.onnx")
            words = ["--target", f"bytes={kilobytes}k", "--round-to", 1, *DATA]  # to fill the bytes
            plain = results.get(name, "plain", make=lambda: prune(args.binary, path, out, *words, *CALIB))
            tops = [results.get(name, seed, make=lambda: prune(
                args.binary, path, out, *words, *CALIB, *TRAIN, "--finetune", 1, "--seed", seed))
                for seed in range(args.seeds)]
            mean = statistics.mean(t["top1"] for t in tops)
            each = ", ".join(f"{t['top1']:.2f}" for t in tops)
            print(f"| {name} | {kilobytes} | {raw:.2f} | {trained:.2f} | {plain['top1']:.2f} | {mean:.2f} | {each}; "
                  f"{max(t['bytes'] for t in tops + [plain]) / 1e3:.1f} kB |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["time", "peer"])
    parser.add_argument("binary")
    parser.add_argument("models", nargs="+", help="models; for peer the folder they are in")
    parser.add_argument("--results", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    {"time": print_times, "peer": print_peer}[args.what](args, Results(args.results))


if __name__ == "__main__":
    main()
