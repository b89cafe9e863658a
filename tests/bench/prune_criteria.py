"""Accuracy of the reference models by every criterion of `mcompress prune`, before any training.

    python3 tests/bench/prune_criteria.py build/mcompress models/fashion-*.onnx --results criteria.jsonl

Hidden nodes go where the criterion alone says that it costs least (global), or as many from every layer (layer), and
what stays is left as it is or fitted. Raw norms and random scores are the controls. Criteria that need samples are not
in the first table: with samples the pass measures layers instead of believing scores. Every run adds a line to the
results, and those that stand there already are not made again. Prints the tables in Markdown."""
import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

CALIB = ["--calib", "fashion-mnist:train"]
SEEDS = range(3)
# criterion, options: those that look at no samples get none, so that nothing is searched by measuring
CRITERIA = {
    "raw l2": ["--importance", "l2", "--unnormalised"],
    "random": ["--importance", "random"],
    "l1": ["--importance", "l1"],
    "l2": ["--importance", "l2"],
    "node": ["--importance", "node"],
    "fpgm": ["--importance", "fpgm"],
    "entropy": ["--importance", "entropy", *CALIB],
    "activation": ["--importance", "activation", *CALIB],
    "taylor": ["--importance", "taylor", *CALIB],
    "fisher": ["--importance", "fisher", *CALIB],
    "obs": ["--importance", "obs", *CALIB],
}
# how, options, share of the nodes that stays: without a fit half of them leaves nothing to compare
WAYS = {
    "global, not fitted": (["--scope", "global", "--no-repair"], 0.8,
                           ["raw l2", "random", "l1", "l2", "node", "fpgm", "obs"]),
    "layer, not fitted": (["--scope", "layer", "--no-repair"], 0.8, list(CRITERIA)[1:]),
    "layer, fitted": (["--scope", "layer"], 0.5, list(CRITERIA)[1:]),
}


def name_of(path):
    return os.path.basename(path).replace("fashion-", "").replace(".onnx", "")


def run(args, path, keep, criterion, way, seed):
    words = [*CRITERIA[criterion], *WAYS[way][0]]
    if "--no-repair" not in words and CALIB[0] not in words:
        words += CALIB
    with tempfile.TemporaryDirectory() as folder:
        command = [args.binary, "prune", path, "-o", os.path.join(folder, "out.onnx"), "--keep", str(keep), *words,
                   "--seed", str(seed), "--data", "fashion-mnist:test", "--samples", str(args.samples), "--json",
                   "--no-latency", "--no-history"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if done.returncode not in (0, 4):
        raise SystemExit(f"{' '.join(command)}: status {done.returncode}")
    report = json.loads(done.stdout)
    return {"top1": 100 * report["after"]["top1"], "before": 100 * report["before"]["top1"],
            "share": report["output"]["macs"] / report["input"]["macs"], "seconds": report["seconds"]}


class Results:
    def __init__(self, path):
        self.path, self.rows = path, {}
        if os.path.exists(path):
            with open(path) as file:
                for line in file:
                    key, row = json.loads(line)
                    self.rows[tuple(key)] = row

    def get(self, args, *key):
        path, *rest = key
        key = (name_of(path), *rest)
        if key not in self.rows and time.time() < args.until:
            self.rows[key] = run(args, path, *rest)
            with open(self.path, "a") as file:
                file.write(json.dumps([key, self.rows[key]]) + "\n")
        return self.rows.get(key)


def cell(rows):
    rows = [r for r in rows if r]
    if not rows:
        return ""
    top1 = statistics.mean(r["top1"] for r in rows)
    spread = f" ± {statistics.stdev(r['top1'] for r in rows):.1f}" if len(rows) > 1 else ""
    return f"{top1:.2f}{spread} ({100 * statistics.mean(r['share'] for r in rows):.0f} %)"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--results", required=True)
    parser.add_argument("--samples", type=int, default=10000, help="test images, from the first")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--until", type=float, default=float("inf"), help="begin no run after this time (seconds)")
    args = parser.parse_args()
    results = Results(args.results)
    for way in args.ways:
        _, keep, criteria = WAYS[way]
        print(f"\n{way}, --keep {keep:g}: top-1, and the share of the multiply-accumulates that stays\n")
        print("| | " + " | ".join(map(name_of, args.models)) + " |")
        print("|---|" + "---|" * len(args.models))
        for criterion in criteria:
            seeds = SEEDS if criterion == "random" else [0]
            cells = [cell([results.get(args, p, keep, criterion, way, s) for s in seeds]) for p in args.models]
            print(f"| {criterion} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
