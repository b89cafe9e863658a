"""compare_samples.py DUMP: samples as mcompress reads them (dump_samples) against what NumPy wrote.

Every dtype, byte order and memory order, npy versions 1 to 3, stored, deflated and zip64 archives, names with
':' and '/', gzip, IDX, forwards and out of order, value by value."""

import gzip
import itertools
import os
import subprocess
import sys
import tempfile
import zipfile

import numpy as np

DUMP = sys.argv[1]
ONNX = {"f4": 1, "u1": 2, "i1": 3, "u2": 4, "i2": 5, "i4": 6, "i8": 7, "b1": 9, "f2": 10, "f8": 11,
        "u4": 12, "u8": 13, "c8": 14, "c16": 15}
checks = 0


def read(spec, inputs, *options):
    """inputs: (name, dtype, dims) -> count, whole, classes, arrays, labels"""
    words = [DUMP, *options, spec]
    for name, dtype, dims in inputs:
        words += [name, str(ONNX[np.dtype(dtype).str[1:]]), ",".join(map(str, dims))]
    run = subprocess.run(words, capture_output=True)
    assert run.returncode == 0, f"{words}: {run.stderr.decode()}"
    line, _, rest = run.stdout.partition(b"\n")
    count, whole, classes = map(int, line.split())
    arrays = {}
    for name, dtype, _ in inputs:
        line, _, rest = rest.partition(b"\n")
        got, *dims = line.decode().rsplit(" ", len(line.decode()[len(name):].split()))
        assert got == name, (got, name)
        dims = list(map(int, dims))
        size = int(np.prod(dims)) * np.dtype(dtype).itemsize
        arrays[name] = np.frombuffer(rest[:size], dtype).reshape(dims)
        rest = rest[size:]
    labels = np.frombuffer(rest, "<i8") if rest else None
    return count, whole, classes, arrays, labels


def same(got, want, what):
    global checks
    checks += 1
    assert got.dtype == want.dtype and got.shape == want.shape, (what, got.dtype, got.shape, want.shape)
    assert got.tobytes() == np.ascontiguousarray(want).tobytes(), what


def sample_values(dtype, shape, rng):
    dtype = np.dtype(dtype)
    n = int(np.prod(shape))
    if dtype.kind == "b":
        v = rng.integers(0, 2, n).astype(bool)
    elif dtype.kind in "iu":
        info = np.iinfo(dtype)
        v = rng.integers(info.min, info.max, n, dtype=dtype.newbyteorder("="), endpoint=True)
        v[:2] = info.min, info.max
    else:
        v = rng.standard_normal(n).astype(dtype)
        if dtype.kind == "c":
            v = v + 1j * rng.standard_normal(n)
        v[:4] = [0, -0.0, np.inf, np.finfo(dtype).smallest_subnormal]
    return v.astype(dtype).reshape(shape)


def npy_files(folder, rng):
    for code, order, shape, fortran in itertools.product(
            ONNX, "<>", [(5, 3, 4), (7, 2), (9,)], [False, True]):
        if order == ">" and np.dtype(code).itemsize == 1:
            continue
        a = sample_values(order + code, shape, rng)
        a = np.asfortranarray(a) if fortran else a
        path = os.path.join(folder, "a.npy")
        version = [(1, 0), (2, 0), (3, 0)][len(shape) - 1]
        with open(path, "wb") as f:
            np.lib.format.write_array(f, a, version=version)
        want = a.astype("<" + code)
        what = (code, order, shape, fortran)
        for options in [(), ("-r",)] if len(shape) == 3 else [()]:
            count, whole, _, arrays, _ = read(path, [("x", "<" + code, (-1, *shape[1:]))], *options)
            assert count == shape[0] and not whole, what
            same(arrays["x"], want, what)
        if len(shape) == 3:
            _, whole, _, arrays, _ = read(path, [("x", "<" + code, shape[1:])])
            assert whole, what
            same(arrays["x"], want, what)


def casts(folder, rng):
    """Every numeric type into floats, nearest even; 64-bit integers by way of double."""
    path = os.path.join(folder, "c.npy")
    for source, target in itertools.product(ONNX, ["f4", "f8", "f2"]):
        if np.dtype(source).kind == "c":
            continue
        a = sample_values(source, (50, 20), rng)
        if target == "f2" and np.dtype(source).kind != "b":  # within its range
            integer = np.dtype(source).kind in "iu"
            a = a if a.itemsize == 1 else a % a.dtype.type(1000) if integer else np.clip(a, -1000, 1000)
        np.save(path, a)
        _, _, _, arrays, _ = read(path, [("x", target, (-1, 20))])
        want = a.astype("f8").astype(target) if np.dtype(source).kind in "iu" else a.astype(target)
        same(arrays["x"], want, (source, target))


def npz_files(folder, rng):
    path = os.path.join(folder, "a.npz")
    arrays = {"model/in:0": sample_values("f4", (40, 3, 5), rng),
              "ids": np.asfortranarray(sample_values(">i4", (40, 6), rng)),
              "mask": sample_values("b1", (40,), rng),
              "ünïcode": sample_values("f2", (40, 1), rng),
              "labels": rng.integers(0, 17, 40).astype("i2")}
    inputs = [(k, v.dtype.newbyteorder("<"), (-1, *v.shape[1:])) for k, v in arrays.items() if k != "labels"]

    def check(what):
        for options in [(), ("-r",)]:
            count, whole, classes, got, labels = read(path, inputs, *options)
            assert count == 40 and not whole and classes == arrays["labels"].max() + 1, what
            for name, dtype, _ in inputs:
                same(got[name], arrays[name].astype(dtype), (what, name, options))
            same(labels, arrays["labels"].astype("<i8"), what)

    np.savez(path, **arrays)
    check("savez")
    np.savez_compressed(path, **arrays)
    check("savez_compressed")
    limit = zipfile.ZIP64_LIMIT
    zipfile.ZIP64_LIMIT = 0
    np.savez_compressed(path, **arrays)
    zipfile.ZIP64_LIMIT = limit
    assert b"PK\6\6" in open(path, "rb").read()
    check("zip64")
    with open(path, "wb") as f:  # a pipe has no seek: data descriptors
        read_end, write_end = os.pipe()
        if os.fork() == 0:
            os.close(read_end)
            with os.fdopen(write_end, "wb") as pipe:
                with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as z:
                    for name, a in arrays.items():
                        with z.open(name + ".npy", "w") as member:
                            np.lib.format.write_array(member, a)
            os._exit(0)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            f.write(pipe.read())
        os.wait()
    assert all(i.flag_bits & 8 for i in zipfile.ZipFile(path).infolist())
    check("descriptors")


def idx_files(folder, rng):
    path = os.path.join(folder, "x.idx")
    x = rng.integers(0, 256, (30, 3, 6, 4)).astype("u1")
    y = rng.integers(0, 9, 30).astype("u1")
    for opener, name in [(open, ""), (gzip.open, ".gz")]:
        with opener(path + name, "wb") as f:
            f.write(bytes([0, 0, 8, 4]) + np.array(x.shape, ">u4").tobytes() + x.tobytes())
        with opener(path + ".y" + name, "wb") as f:
            f.write(bytes([0, 0, 8, 1]) + np.array(y.shape, ">u4").tobytes() + y.tobytes())
        spec = f"{path}{name}:{path}.y{name}"
        for options in [(), ("-r",)]:
            for want, dims in [(x, (-1, 3, 6, 4)), (x.transpose(0, 2, 3, 1), (-1, 6, 4, 3)),
                               (x.reshape(30, -1), (-1, 72))]:
                _, _, _, got, labels = read(spec, [("x", "f4", dims)], *options)
                same(got["x"], want.astype("f4") / np.float32(255), (spec, dims))
                same(labels, y.astype("<i8"), spec)
                _, _, _, got, _ = read(spec, [("x", "u1", dims)], *options)
                same(got["x"], want, (spec, dims))
        mean, std = np.array([.485, .456, .406]), np.array([.229, .224, .225])
        _, _, _, got, _ = read(spec, [("x", "f8", (-1, 6, 4, 3))], "-p",
                               "mean=0.485:0.456:0.406,std=0.229:0.224:0.225")
        same(got["x"], (x.transpose(0, 2, 3, 1) / 255. - mean) / std, "preprocess")


def fashion():
    folder = "/usr/share/datasets/fashion-mnist/"
    if not os.path.exists(folder):
        print("fashion-mnist: not installed, not compared")
        return
    with gzip.open(folder + "t10k-images-idx3-ubyte.gz") as f:
        x = np.frombuffer(f.read(), "u1", offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(folder + "t10k-labels-idx1-ubyte.gz") as f:
        y = np.frombuffer(f.read(), "u1", offset=8)
    for options in [(), ("-r",)]:
        _, _, classes, got, labels = read("fashion-mnist:test", [("x", "f4", (-1, 1, 28, 28))], *options)
        assert classes == 10
        same(got["x"], x.astype("f4") / np.float32(255), "fashion-mnist")
        same(labels, y.astype("<i8"), "fashion-mnist labels")


seed = int(os.environ.get("SEED", "1"))
print("seed", seed)
with tempfile.TemporaryDirectory() as folder:
    npy_files(folder, np.random.default_rng(seed))
    casts(folder, np.random.default_rng(seed + 1))
    npz_files(folder, np.random.default_rng(seed + 2))
    idx_files(folder, np.random.default_rng(seed + 3))
fashion()
print(checks, "arrays equal")
assert checks > 200
