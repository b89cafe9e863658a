"""A control: does a small network of the same bytes, trained from random weights for the teacher's epochs plus those
of the fine-tuning, do as well as compressing and fine-tuning?

    python3 tests/bench/control.py build/mcompress models/fashion-mlp.onnx --keep 0.2552 --epochs 13
    python3 tests/bench/control.py build/mcompress models/fashion-cnn.onnx --compress prune --target bytes=863k --epochs 9

Rows: compressed; compressed and fine-tuned for an epoch; the compressed architecture from random weights, for all
epochs; a thinner net with the layers of the original, likewise. Top-1 on the test images, a number a seed."""
import argparse
import json
import os
import subprocess
import tempfile

DATA = ["--data", "fashion-mnist:test"]
TRAIN = ["--train", "fashion-mnist:train"]
FRESH = ["--reinit", "--augment", "flip", "--schedule", "onecycle", "--holdout", "0"]


def run(binary, *words):
    done = subprocess.run([binary, *map(str, words), "--json"], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def thinner(binary, model, target):
    """The widest copy that is not larger: halving the interval of --width."""
    low, high = 0.01, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        got = run(binary, "distill", model, "--width", middle, *TRAIN, "--dry-run")
        low, high = (middle, high) if got["output"]["bytes"] <= target else (low, middle)
    return low


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("model")
    parser.add_argument("--compress", choices=["svd", "prune"], default="svd")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--keep", type=float)
    how.add_argument("--target")
    parser.add_argument("--epochs", type=int, required=True, help="of the nets from random weights")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--no-thinner", action="store_true", help="leave out the thinner net")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        small, thin, out = (os.path.join(folder, n) for n in ("small.onnx", "thin.onnx", "out.onnx"))
        much = ["--keep", args.keep] if args.target is None else ["--target", args.target]
        compress = [args.compress, args.model, *much, "--calib", "fashion-mnist:train"]
        first = run(args.binary, *compress, *DATA, "-o", small)
        size = first["output"]["bytes"]
        print(f"{args.compress}, {size} bytes: {100 * first['after']['top1']:.2f}", flush=True)
        fresh = ["-o", out, *TRAIN, *DATA, *FRESH, "--epochs", args.epochs]
        ways = {
            f"{args.compress}, 1 epoch": [*compress, *TRAIN, *DATA, "--finetune", 1, "-o", out],
            f"{args.compress}, {args.epochs} epochs from random weights": ["finetune", small, *fresh],
        }
        if not args.no_thinner:
            width = thinner(args.binary, args.model, size)
            # weights do not matter, they are drawn again
            made = run(args.binary, "distill", args.model, "--width", width, *TRAIN, "--epochs", 0.01, "--lr", 1e-6,
                       "-o", thin)
            print(f"width {width:.4f}: {made['output']['bytes']} bytes", flush=True)
            ways[f"thinner, {args.epochs} epochs from random weights"] = ["finetune", thin, *fresh]
        for name, words in ways.items():
            tops = []
            for seed in range(args.seeds):
                tops.append(100 * run(args.binary, *words, "--seed", seed)["after"]["top1"])
                print(f"    {name}, seed {seed}: {tops[-1]:.2f}", flush=True)
            print(f"{name}: {sum(tops) / len(tops):.2f} ({', '.join(f'{t:.2f}' for t in tops)})", flush=True)


if __name__ == "__main__":
    main()
