"""Generators for ort_cases.py: what works along spatial dimensions."""
import numpy as np


def conv_transpose(d):
    dims, group, per, fold = d.n(1, 3), d.one(1, 1, 2, 3), d.n(1, 5), d.n(1, 9)
    kernel = [d.n(1, 4) for _ in range(dims)]
    size = [d.n(1, 9) for _ in range(dims)]
    strides = [d.n(1, 3) for _ in range(dims)]
    attrs = {"group": group, "strides": strides}
    if d.n(0, 3) == 0:
        attrs["dilations"] = [d.n(1, 2) for _ in range(dims)]
    if d.coin():
        attrs["output_padding"] = [d.n(0, s - 1) for s in strides]
    dilations = attrs.get("dilations", [1] * dims)
    extra = attrs.get("output_padding", [0] * dims)
    full = [s * (n - 1) + e + (k - 1) * dil + 1
            for s, n, e, k, dil in zip(strides, size, extra, kernel, dilations)]
    how = d.one("NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
    if how != "NOTSET":
        attrs["auto_pad"] = how
    elif d.coin():
        pads = [d.n(0, min(k - 1, (f - 1) // 2)) for k, f in zip(kernel * 2, full * 2)]
        attrs["pads"] = pads
    if how != "VALID" and "pads" not in attrs and d.n(0, 3) == 0:
        attrs["output_shape"] = [d.n(max(1, f - k), f + 1) for f, k in zip(full, kernel)]
    if d.coin():
        attrs["kernel_shape"] = kernel
    inputs = [d.floats(d.n(1, 3), group * per, *size), d.floats(group * per, fold, *kernel)]
    if d.coin():
        inputs.append(d.floats(group * fold))
    return d.one(7, 11, 17), inputs, attrs, 1


def _roi(d, rank):
    start = [d.one(0.0, 0.1, 0.4, -0.2) for _ in range(rank)]
    return np.array(start + [s + d.one(0.3, 0.5, 1.0) for s in start], dtype=np.float32)


def _sizes(d, shape, axes, attrs):
    attrs["axes"] = axes
    if d.coin():
        attrs["keep_aspect_ratio_policy"] = d.one("stretch", "not_larger", "not_smaller")
    return [d.n(1, 12) for _ in axes]


def resize(d):
    opset = d.one(10, 11, 13, 18, 19)
    mode = d.one("nearest", "linear", "cubic") if opset > 10 else d.one("nearest", "linear")
    moved = d.one(1, 2, 2, 3) if mode == "nearest" else 2 if mode == "cubic" else d.one(2, 2, 3)
    lead = [d.n(1, 3), d.n(1, 4)]
    shape = lead + [d.n(1, 9) for _ in range(moved)]
    attrs = {"mode": mode}
    rank = len(shape)
    scales = [1.0, 1.0] + [d.one(2.0, 0.5, 3.0, 1.0, 0.6, 1.7, 2.3) for _ in range(moved)]
    # Below one pixel there is nothing left, and ONNX Runtime stumbles over it.
    scales = [s if int(np.float32(n) * np.float32(s)) > 0 else 1.0 for s, n in zip(scales, shape)]
    x = d.floats(*shape)
    if mode == "nearest" and d.n(0, 3) == 0:
        x = (x * 40).astype(d.one(np.uint8, np.int8, np.int32))
    if mode == "linear" and d.n(0, 3) == 0:  # scales whose weights leave nothing to round before the end
        scales = [1.0, 1.0] + [d.one(2.0, 4.0) for _ in range(moved)]
        attrs["coordinate_transformation_mode"] = d.one("half_pixel", "asymmetric")
        x = np.clip(x * 40, -128, 127).astype(np.int8) if d.coin() else abs(x * 40).astype(np.uint8)
        opset = max(opset, 11)
        return opset, [x, np.zeros(0, np.float32), np.array(scales, dtype=np.float32)], attrs, 1
    if opset == 10:
        return opset, [x, np.array(scales, dtype=np.float32)], attrs, 1
    coords = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
    coords += ["half_pixel_symmetric"] if opset >= 19 else []
    coords += ["tf_half_pixel_for_nn"] if opset == 11 and mode == "nearest" else []
    attrs["coordinate_transformation_mode"] = d.one(*coords, "tf_crop_and_resize")
    if mode == "nearest":
        attrs["nearest_mode"] = d.one("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    if mode == "cubic":
        attrs["cubic_coeff_a"] = d.one(-0.75, -0.5)
        attrs["exclude_outside"] = d.n(0, 1)
    crop = attrs["coordinate_transformation_mode"] == "tf_crop_and_resize"
    if crop:
        attrs["extrapolation_value"] = d.one(0.0, 7.0)
    if opset >= 18 and not crop and mode != "nearest" and moved == 2 and d.coin():
        attrs["antialias"] = 1
    roi = _roi(d, rank) if crop else np.zeros(0, dtype=np.float32)
    if crop:  # ONNX Runtime does not crop where the scale is 1
        roi[:2], roi[rank:rank + 2] = 0, 1
        scales = scales[:2] + [s if s != 1 else 2.0 for s in scales[2:]]
    if d.coin():
        return opset, [x, roi, np.array(scales, dtype=np.float32)], attrs, 1
    none = np.zeros(0, dtype=np.float32) if opset < 13 else None
    if opset >= 18 and not crop and d.coin():
        axes = list(range(2, rank))
        d.r.shuffle(axes)
        sizes = _sizes(d, shape, axes, attrs)
        return opset, [x, None, none, np.array(sizes, dtype=np.int64)], attrs, 1
    sizes = lead + [n + d.one(*[k for k in range(-n + 1, 9) if k]) for n in shape[2:]]
    return opset, [x, roi, none, np.array(sizes, dtype=np.int64)], attrs, 1


def upsample(d):
    mode, opset = d.one("nearest", "linear"), d.one(7, 9)
    scales = [1.0, 1.0] + [d.one(1.0, 2.0, 3.0, 1.5) for _ in range(2)]
    x = d.floats(d.n(1, 3), d.n(1, 4), d.n(1, 9), d.n(1, 9))
    if opset == 7:
        return opset, [x], {"mode": mode, "scales": scales}, 1
    return opset, [x, np.array(scales, dtype=np.float32)], {"mode": mode}, 1


SIZED = ("Resize", "Upsample")  # by all their inputs but the first
GENERATORS = {"ConvTranspose": conv_transpose, "Resize": resize, "Upsample": upsample}
