"""make_pictures.py FOLDER: small pictures of every form, and the pixels that Pillow sees in them.

Needs Pillow and NumPy, not for the tests: its results are in tests/formats/pictures. FOLDER/expected.npz holds
uint8 arrays [height, width, channels]: NAME.FORM with FORM one of rgb, grey (upright, as stored), and
NAME.FORM.WxH resized by Pillow's BILINEAR.
"""
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

out = Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(7)
y, x = np.mgrid[0:23, 0:37]
smooth = np.stack([x * 6, y * 10, 255 - x * 3 - y * 3], -1).clip(0, 255)
colour = (smooth + rng.integers(-20, 20, smooth.shape)).clip(0, 255).astype("u1")
grey = colour[..., 1]
alpha = (x * 7 % 256).astype("u1")
exif = Image.Exif()


def save(name, image, **how):
    image.save(out / name, **how)


save("grey.png", Image.fromarray(grey))
save("colour.png", Image.fromarray(colour))
save("alpha.png", Image.fromarray(np.dstack([colour, alpha])))
save("grey-alpha.png", Image.fromarray(np.dstack([grey, alpha])))
save("palette.png", Image.fromarray(colour).quantize(31))
save("one-bit.png", Image.fromarray(grey).convert("1"))
save("deep.png", Image.fromarray((grey.astype("u2") * 257 + rng.integers(-100, 100, grey.shape)).clip(0, 65535).astype("u2")))
save("colour.jpg", Image.fromarray(colour), quality=85)
save("sharp.jpg", Image.fromarray(colour), quality=95, subsampling=0)
save("progressive.jpeg", Image.fromarray(colour), quality=80, progressive=True)
save("grey.jpg", Image.fromarray(grey), quality=90)
save("cmyk.jpg", Image.fromarray(colour).convert("CMYK"), quality=90)
for turn in range(1, 9):
    exif[0x0112] = turn
    save(f"turned{turn}.jpg", Image.fromarray(colour[:16, :24]), quality=90, exif=exif)
exif[0x0112] = 6
save("turned.png", Image.fromarray(colour), exif=exif)

expected = {}
for path in sorted(out.iterdir()):
    if path.suffix not in (".png", ".jpg", ".jpeg"):
        continue
    image = ImageOps.exif_transpose(Image.open(path))
    if path.name == "deep.png":  # Pillow cuts 16 bits off at 255 where it should scale them
        deep = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((deep * 255 + 32895) >> 16).astype("u1"))
    if path.name == "grey-alpha.png":
        image = image.convert("L")
    for form, mode in (("rgb", "RGB"), ("grey", "L")):
        pixels = image.convert("RGB").convert(mode)
        expected[f"{path.name}.{form}"] = np.atleast_3d(np.asarray(pixels))
        for w, h in ((16, 12), (64, 23), (5, 50)) if path.stem in ("colour", "grey") else ():
            resized = pixels.resize((w, h), Image.Resampling.BILINEAR)
            expected[f"{path.name}.{form}.{w}x{h}"] = np.atleast_3d(np.asarray(resized))
np.savez_compressed(out / "expected.npz", **expected)
