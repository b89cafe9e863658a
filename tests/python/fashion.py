"""Fashion-MNIST from the Debian package dataset-fashion-mnist, for reference programs."""
import gzip
import os
import struct

import numpy as np

FOLDER = os.path.join(os.environ.get("MCOMPRESS_DATA", "/usr/share/datasets"), "fashion-mnist")


def idx(name):
    with gzip.open(os.path.join(FOLDER, name)) as f:
        data = f.read()
    rank = data[3]
    dims = struct.unpack(">" + "I" * rank, data[4:4 + 4 * rank])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(dims)


def load(part):
    """Images as float32 [n,1,28,28] in 0..1, labels as int64 [n]; part is 'train' or 'test'."""
    stem = "t10k" if part == "test" else "train"
    images = idx(stem + "-images-idx3-ubyte.gz")
    labels = idx(stem + "-labels-idx1-ubyte.gz").astype(np.int64)
    return (images.astype(np.float32) / np.float32(255))[:, None], labels
