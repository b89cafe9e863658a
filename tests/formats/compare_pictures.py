"""compare_pictures.py DUMP PICTURES: pictures as samples (dump_samples), against what Pillow saw in them.

Every form of PNG and JPEG, every orientation, every layout of the input; resizing to the bit; class folders
and their order. Pictures of JPEG may differ by what versions of its library differ."""
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

DUMP, PICTURES = sys.argv[1], Path(sys.argv[2])
expected = np.load(PICTURES / "expected.npz")
UINT8, FLOAT = "2", "1"
checks = 0


def run(folder, dtype, dims, steps=None):
    options = ["-p", steps] if steps else []
    words = [DUMP, *options, str(folder), "x", dtype, ",".join(map(str, dims))]
    return subprocess.run(words, capture_output=True, check=False)


def read(folder, dtype, dims, steps=None):
    """batch [n, ...], labels"""
    done = run(folder, dtype, dims, steps)
    assert done.returncode == 0, (folder, dims, steps, done.stderr.decode())
    _, _, rest = done.stdout.partition(b"\n")
    line, _, rest = rest.partition(b"\n")
    shape = [int(d) for d in line.split()[1:]]
    kind = np.dtype("u1" if dtype == UINT8 else "<f4")
    size = int(np.prod(shape)) * kind.itemsize
    return np.frombuffer(rest[:size], kind).reshape(shape), np.frombuffer(rest[size:], "<i8")


def refused(folder, dtype, dims, steps, words):
    global checks
    done = run(folder, dtype, dims, steps)
    text = done.stderr.decode()
    assert done.returncode == 1 and text.count("\n") == 1 and words in text, (words, text)
    checks += 1


def near(got, want, most, what):
    global checks
    checks += 1
    assert got.shape == want.shape, (what, got.shape, want.shape)
    worst = np.abs(got.astype(float) - want).max()
    assert worst <= most, f"{what}: {worst} > {most}"


def folder_of(root, *names):
    folder = Path(tempfile.mkdtemp(dir=root))
    for name in names:
        shutil.copy(PICTURES / name, folder / name)
    return folder


def each_picture(root):
    """Pixels, upright, in every layout; resized."""
    for key in expected.files:
        name, form, *size = key.rsplit(".", 2) if key[-1].isdigit() else key.rsplit(".", 1)
        folder = folder_of(root, name)
        c = {"rgb": 3, "grey": 1}[form]
        steps = f"resize={size[0]}" if size else None
        want = expected[key]
        most = 0 if name.endswith(".png") else 3
        got, _ = read(folder, UINT8, (-1, -1, -1, c), steps)
        near(got[0], want, most, key)
        planes, _ = read(folder, FLOAT, (-1, c, -1, -1), steps)
        near(planes[0], got[0].transpose(2, 0, 1) / np.float32(255), 1e-7, f"{key} planes")
        flat, _ = read(folder, UINT8, (-1, want.size), steps)
        near(flat[0], got[0].transpose(2, 0, 1).ravel(), 0, f"{key} flat")


def steps(root):
    folder = folder_of(root, "colour.png")
    whole = expected["colour.png.rgb"].astype(np.float64)
    got, _ = read(folder, FLOAT, (-1, 3, 11, 20), "crop=20x11,scale=1,mean=1:2:3,std=2:4:8,bgr")
    want = (whole[6:17, 8:28, ::-1] - [1, 2, 3]) / [2, 4, 8]
    near(got[0], want.transpose(2, 0, 1), 1e-5, "crop, bgr")
    got, _ = read(folder, UINT8, (-1, -1, -1, 3), "resize=12")  # 23 high, 37 wide
    near(got[0], read(folder, UINT8, (-1, -1, -1, 3), "resize=19x12")[0][0], 0, "shorter side")
    grey, _ = read(folder, UINT8, (-1, 23, 37))
    near(grey[0], expected["colour.png.grey"][..., 0], 0, "no axis of channels")
    four, _ = read(folder, UINT8, (-1, -1, -1, 4))
    near(four[0, ..., 3], np.full((23, 37), 255), 0, "alpha where there is none")
    refused(folder, FLOAT, (-1, 3, 24, 37), None, "37 x 23 pixels")
    refused(folder, FLOAT, (-1, 3, -1, -1), "crop=100", "too few for crop=100x100")
    refused(folder, FLOAT, (-1, 5, 7, 9), None, "holds no pictures")
    refused(folder, FLOAT, (-1, 3, 24, 37), "resize=0x5", "needs WIDTHxHEIGHT")
    refused(folder, UINT8, (-1, 3, -1, -1), "mean=3", "takes the pixels as they are")
    refused(folder, "6", (-1, 3, -1, -1), None, "takes no pictures")


def classes(root):
    folder = Path(tempfile.mkdtemp(dir=root))
    for name, n in (("b", 3), ("a", 1), ("c", 2)):
        (folder / name).mkdir()
        for i in range(n):
            shutil.copy(PICTURES / f"turned{i + 4}.jpg", folder / name / f"{i}.jpg")
    (folder / "b" / "notes.txt").write_text("no picture")
    small = (-1, 3, 8, 8)
    _, labels = read(folder, FLOAT, small, "resize=8x8")
    assert labels.tolist() == [0, 1, 2, 1, 2, 1], labels
    (folder / "classes.txt").write_text("c\nnone of these\nb\r\na\n")
    _, labels = read(folder, FLOAT, small, "resize=8x8")
    assert labels.tolist() == [0, 2, 3, 0, 2, 2], labels
    (folder / "classes.txt").write_text("c\nb\n")
    refused(folder, FLOAT, small, "resize=8x8", "the folder 'a' is no class")
    (folder / "classes.txt").unlink()
    (folder / "empty").mkdir()
    refused(folder, FLOAT, small, "resize=8x8", "empty' holds no .png or .jpg")
    (folder / "empty").rmdir()
    refused(folder, FLOAT, (-1, 3, 16, 24), None, "pixels")  # one is turned
    shutil.copy(PICTURES / "grey.png", folder / "grey.png")
    refused(folder, FLOAT, small, "resize=8x8", "beside folders")
    _, none = read(folder_of(root, "grey.png", "grey.jpg"), FLOAT, small, "resize=8x8")
    assert none.size == 0
    refused(folder_of(root), FLOAT, small, None, "holds no samples")


def damaged(root):
    for name in ("colour.png", "deep.png", "colour.jpg", "progressive.jpeg", "cmyk.jpg"):
        folder = folder_of(root, name)
        data = (PICTURES / name).read_bytes()
        for cut in (0, 3, 10, 40, len(data) // 3, len(data) // 2, len(data) - 40):
            (folder / name).write_bytes(data[:cut])
            refused(folder, FLOAT, (-1, 3, 8, 8), "resize=8x8", name)
    folder = folder_of(root, "colour.png")
    data = bytearray((PICTURES / "colour.png").read_bytes())
    data[16:24] = b"\0\1\0\0" * 2  # 65536 x 65536, the checksum is wrong too
    (folder / "colour.png").write_bytes(data)
    refused(folder, FLOAT, (-1, 3, 8, 8), "resize=8x8", "colour.png")


with tempfile.TemporaryDirectory() as work:
    each_picture(work)
    steps(work)
    classes(work)
    damaged(work)
print(f"{checks} checks")
