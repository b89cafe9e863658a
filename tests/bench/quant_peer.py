"""quant_peer.py --bin MCOMPRESS [--rounds N] [--samples N] MODELS...: whole commands that quantise, side by side.

Plain static int8 of `mcompress quant --form static --search off` beside a Python process that does the same with
onnxruntime.quantization (quant_pre_process, then quantize_static: min-max, QDQ, per channel), both reading the same
.npz of Fashion-MNIST's first training images; then `--form weight` and the default with its search, which have no peer here.
In turns, so that both meet the same machine: medians of seconds, of CPU seconds, and the highest peak memory."""
import argparse
import gzip
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time


def peer(model, calib, out):
    """What a user of onnxruntime.quantization writes."""
    import numpy as np
    from onnxruntime.quantization import (CalibrationDataReader, CalibrationMethod, QuantFormat,
                                          QuantType, quantize_static)
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            x = np.load(calib)["input"]
            self.batches = iter([{"input": x[i:i + 64]} for i in range(0, len(x), 64)])

        def get_next(self):
            return next(self.batches, None)

    prepared = out + ".prepared.onnx"
    quant_pre_process(model, prepared, skip_symbolic_shape=True)  # which is slow, and changes nothing here
    quantize_static(prepared, out, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                    calibrate_method=CalibrationMethod.MinMax)


def save_images(n, path):
    """An .npz of the first n training images, as floats. In a process of its own: what a parent has in memory when it
    starts another counts into that one's peak."""
    import numpy as np
    n = int(n)
    folder = os.environ.get("MCOMPRESS_DATA", "/usr/share/datasets")
    with gzip.open(os.path.join(folder, "fashion-mnist", "train-images-idx3-ubyte.gz")) as f:
        raw = np.frombuffer(f.read(16 + n * 784), np.uint8, offset=16)
    np.savez(path, input=raw.reshape(n, 1, 28, 28).astype(np.float32) / 255)


def cost(command):
    """Wall seconds, CPU seconds, peak bytes of one process."""
    start = time.monotonic()
    p = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(p.pid, 0)
    wall = time.monotonic() - start
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("models", nargs="*")
    ap.add_argument("--bin", default="build/mcompress")
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--samples", type=int, default=512)
    ap.add_argument("--peer", nargs=3, help=argparse.SUPPRESS)
    ap.add_argument("--save", nargs=2, help=argparse.SUPPRESS)
    args = ap.parse_args()
    if args.peer:
        return peer(*args.peer)
    if args.save:
        return save_images(*args.save)
    with tempfile.TemporaryDirectory() as d:
        calib, out = os.path.join(d, "calib.npz"), os.path.join(d, "out.onnx")
        cost([sys.executable, __file__, "--save", str(args.samples), calib])
        print("| | s | CPU s | MB |\n|---|---|---|---|")
        for model in args.models:
            ours = [args.bin, "quant", model, "-o", out]
            ways = {"onnxruntime static": [sys.executable, __file__, "--peer", model, calib, out],
                    "static": ours + ["--calib", calib, "--form", "static", "--search", "off"],
                    "weight": ours + ["--form", "weight"],
                    "default": ours + ["--calib", calib]}
            seen = {w: [] for w in ways}
            for _ in range(args.rounds):
                for way, command in ways.items():
                    seen[way].append(cost(command))
            for way, runs in seen.items():
                wall, cpu, peak = zip(*runs)
                print(f"| {os.path.basename(model)[:-5]} {way} | {statistics.median(wall):.3f} "
                      f"| {statistics.median(cpu):.3f} | {max(peak) / 1e6:.1f} |", flush=True)


if __name__ == "__main__":
    main()
