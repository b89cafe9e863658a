"""Golden conversions of element types, from ml_dtypes, numpy and onnx: writes dtype.bin, or with --check
compares it with what they say today.

Layout, little endian: uint32 count of inputs, the inputs as float32, then for every type of FLOATS the code
of each input (2 bytes for 16-bit types, else 1); then for every type of TABLES the float32 of each code;
then for every type of PACKED 13 int8 values and their packed bytes as onnx writes them."""
import sys

import ml_dtypes
import numpy as np
import onnx.numpy_helper

FLOATS = [np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz,
          ml_dtypes.float8_e5m2, ml_dtypes.float8_e5m2fnuz, ml_dtypes.float4_e2m1fn,
          ml_dtypes.float8_e8m0fnu]
TABLES = FLOATS[2:]
PACKED = [ml_dtypes.uint4, ml_dtypes.int4, ml_dtypes.uint2, ml_dtypes.int2]


def inputs():
    rng = np.random.default_rng(7)
    values = [np.array([np.nan, np.inf, 0, 1e-45, 1e-40, 2.0**-127, 2.0**-128, 3.4e38, 65504, 65519,
                        65520, 448, 464, 465, 480, 57344, 61440, 240, 248, 2.6e38], np.float32)]
    # Around every code of the small types: the code, the middle to the next, and the neighbours of both.
    for t in [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.float4_e2m1fn]:
        codes = np.arange(16 if t is ml_dtypes.float4_e2m1fn else 128, dtype=np.uint8)
        at = codes.view(t).astype(np.float32)
        at = np.unique(at[np.isfinite(at) & (at >= 0)])
        middle = (at[1:] + at[:-1]) / 2
        values += [middle, np.nextafter(middle, np.float32(np.inf)),
                   np.nextafter(middle, np.float32(0))]
    values.append((rng.standard_normal(64) * 10.0**rng.integers(-8, 8, 64)).astype(np.float32))
    v = np.unique(np.concatenate(values).astype(np.float32))
    return np.concatenate([v, -v])


def codes_of(x, t):
    with np.errstate(over="ignore", invalid="ignore"):
        return x.astype(t).view(np.uint16 if np.dtype(t).itemsize == 2 else np.uint8)


def golden():
    x = inputs()
    parts = [np.array([len(x)], "<u4"), x.astype("<f4")]
    parts += [codes_of(x, t) for t in FLOATS]
    for t in TABLES:
        n = 16 if t is ml_dtypes.float4_e2m1fn else 256
        parts.append(np.arange(n, dtype=np.uint8).view(t).astype("<f4"))
    for t in PACKED:
        info = ml_dtypes.iinfo(t)
        v = np.array([info.min, info.max] + [info.min + 5 * i % (info.max - info.min + 1)
                                             for i in range(11)], np.int8)
        parts += [v, np.frombuffer(onnx.numpy_helper.from_array(v.astype(t)).raw_data, np.uint8)]
    return b"".join(p.tobytes() for p in parts)


if sys.argv[1] == "--check":
    same = open(sys.argv[2], "rb").read() == golden()
    print("dtype.bin is", "what they say" if same else "NOT what they say")
    sys.exit(not same)
open(sys.argv[1], "wb").write(golden())
