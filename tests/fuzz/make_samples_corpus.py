"""make_samples_corpus.py FOLDER: small files of samples, valid ones, for tests/fuzz/fuzz_samples.c."""

import gzip
import io
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np

out = Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)


def npy(array, version=None):
    f = io.BytesIO()
    np.lib.format.write_array(f, array, version=version)
    return f.getvalue()


def idx(array, code):
    head = struct.pack(">BBBB", 0, 0, code, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


class Pipe(io.BytesIO):
    """Not seekable: zipfile writes the sizes behind each member, in a data descriptor."""

    def seek(self, *_):
        raise OSError

    def tell(self):
        raise OSError


def npz(arrays, method, zip64=False, f=None):
    f = f or io.BytesIO()
    zipfile.ZIP64_LIMIT = 0 if zip64 else 2**31 - 1
    with zipfile.ZipFile(f, "w", method) as z:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(name + ".npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = method
            with z.open(info, "w", force_zip64=zip64) as member:
                member.write(npy(array))
    return f.getvalue()


x = np.arange(12, dtype="<f4").reshape(3, 4)
two = {"x": x, "b/in:0": np.arange(3), "labels": np.array([1, 0, 4], "u1")}
pixels = np.arange(12, dtype="u1").reshape(3, 2, 2)
files = {
    "f4.npy": npy(x),
    "f2-fortran.npy": npy(np.asfortranarray(x.astype("<f2"))),
    "i4-big.npy": npy(np.arange(6, dtype=">i4").reshape(3, 2), (2, 0)),
    "c16.npy": npy(np.ones((2, 2), "<c16")),
    "scalar.npy": npy(np.float32(1)),
    "bool.npy.gz": gzip.compress(npy(np.array([True, False]), (3, 0)), mtime=0),
    "stored.npz": npz(two, zipfile.ZIP_STORED),
    "deflated.npz": npz(two, zipfile.ZIP_DEFLATED),
    "zip64.npz": npz(two, zipfile.ZIP_DEFLATED, zip64=True),
    "descriptor.npz": npz({"x": x}, zipfile.ZIP_DEFLATED, f=Pipe()),
    "lone.npz": npz({"arr_0": x}, zipfile.ZIP_STORED),
    "grey.idx": idx(pixels, 8),
    "grey.idx.gz": gzip.compress(idx(pixels, 8), mtime=0),
    "colour.idx": idx(np.arange(24, dtype="u1").reshape(2, 3, 2, 2), 8),
    "f8.idx": idx(np.array([[1.5, 2.5]]), 14),
    "joined.idx.gz": gzip.compress(idx(pixels, 8)[:9], mtime=0) + gzip.compress(idx(pixels, 8)[9:], mtime=0),
}
files |= {
    "list.npz": npz({"x_0": x, "x_1": x[:2], "labels": np.array([1, 0])}, zipfile.ZIP_DEFLATED),
    "plain.csv": b"1,2,3,4\n5,6,7,8\n",
    "header.csv": b'x_0,"x_1",b/in:0,label\r\n1.5, 2e3,3,0\r\n"4",5,6,7\r\n',
    "table.tsv.gz": gzip.compress(b"x\tb/in:0\n1\t2\n", mtime=0),
}
for name, data in files.items():
    (out / name).write_bytes(data)
