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


def grid_sample(d):
    opset, dims = d.one(16, 20, 22), d.one(2, 2, 3)
    dims = 2 if opset == 16 else dims
    modes = ["bilinear", "nearest", "bicubic"] if opset == 16 else ["linear", "nearest", "cubic"]
    attrs = {"mode": d.one(*modes[:2 if dims == 3 else 3]), "align_corners": d.n(0, 1),
             "padding_mode": d.one("zeros", "border", "reflection")}
    batch = d.n(1, 3)
    grid = d.np.uniform(-1.4, 1.4, (batch, *d.dims(dims, dims, 6), dims)).astype(np.float32)
    return opset, [d.floats(batch, d.n(1, 3), *d.dims(dims, dims, 7)), grid], attrs, 1


def affine_grid(d):
    dims, batch = d.one(2, 3), d.n(1, 3)
    size = [batch, d.n(1, 3)] + d.dims(dims, dims, 7)
    inputs = [d.floats(batch, dims, dims + 1), np.array(size, dtype=np.int64)]
    return 20, inputs, {"align_corners": d.n(0, 1)}, 1


def _boxes(d, count, size):
    a, b = d.np.uniform(-2, size, (count, 2)), d.np.uniform(0, 1.2 * size, (count, 2))
    return np.concatenate([np.minimum(a, b), np.maximum(a, b)], axis=1).astype(np.float32)


def roi_align(d):
    opset, batch, count, size = d.one(10, 16, 22), d.n(1, 3), d.n(1, 6), d.n(2, 12)
    attrs = {"output_height": d.n(1, 5), "output_width": d.n(1, 5), "sampling_ratio": d.n(0, 3),
             "spatial_scale": d.one(1.0, 0.5), "mode": d.one("avg", "avg", "max")}
    if opset >= 16:
        attrs["coordinate_transformation_mode"] = d.one("half_pixel", "output_half_pixel")
    index = np.array([d.n(0, batch - 1) for _ in range(count)], dtype=np.int64)
    x = d.floats(batch, d.n(1, 4), size, d.n(2, 12))
    return opset, [x, _boxes(d, count, size / attrs["spatial_scale"]), index], attrs, 1


def max_roi_pool(d):
    batch, count, size = d.n(1, 3), d.n(1, 6), d.n(3, 12)
    scale = d.one(1.0, 0.5)
    boxes = _boxes(d, count, size / scale)
    index = np.array([[d.n(0, batch - 1)] for _ in range(count)], dtype=np.float32)
    attrs = {"pooled_shape": [d.n(1, 5), d.n(1, 5)], "spatial_scale": scale}
    x = d.floats(batch, d.n(1, 4), size, d.n(3, 12))
    return 7, [x, np.concatenate([index, boxes], axis=1)], attrs, 1


def lrn(d):
    x = d.floats(*d.dims(4, 4, 20)) * 9
    return d.one(7, 13), [x], {"size": d.one(1, 3, 5, 7), "alpha": d.one(1e-4, 0.5), "bias": d.one(1.0, 2.0),
                               "beta": d.one(0.75, 0.5, 1.3)}, 1


def lp_pool(d):
    kernel = [d.n(1, 4), d.n(1, 4)]
    attrs = {"kernel_shape": kernel, "p": d.n(1, 3), "strides": [d.n(1, 3), d.n(1, 3)]}
    how = d.one("NOTSET", "VALID", "SAME_UPPER")
    if how != "NOTSET":
        attrs["auto_pad"] = how
    elif d.coin():
        attrs["pads"] = [d.n(0, k - 1) for k in kernel * 2]
    if how == "SAME_UPPER":  # ONNX Runtime pads by less than nothing where a stride is longer
        attrs["strides"] = [min(s, k) for s, k in zip(attrs["strides"], kernel)]
    return d.one(7, 11), [d.floats(d.n(1, 3), d.n(1, 4), d.n(4, 9), d.n(4, 9))], attrs, 1


def global_lp_pool(d):
    return 7, [d.floats(*d.dims(3, 5, 6))], {"p": d.n(1, 3)}, 1


def max_unpool(d):
    batch, channels, h, w = d.n(1, 3), d.n(1, 3), d.n(1, 5), d.n(1, 5)
    big = batch * channels * h * w * 4
    at = d.np.permutation(big)[:big // 4].reshape(batch, channels, h, w).astype(np.int64)
    attrs = {"kernel_shape": [2, 2], "strides": [2, 2]}
    return d.one(9, 11), [d.floats(batch, channels, h, w), at], attrs, 1


def blocks(d):
    b, name = d.n(1, 3), d.one("DepthToSpace", "SpaceToDepth")
    lead, h, w = d.n(1, 3), d.n(1, 5), d.n(1, 5)
    if name == "SpaceToDepth":
        return d.one(7, 13), [d.floats(lead, d.n(1, 4), h * b, w * b)], {"blocksize": b}, 1, name
    opset, attrs = d.one(7, 11, 13), {"blocksize": b}
    if opset >= 11:
        attrs["mode"] = d.one("DCR", "CRD")
    return opset, [d.floats(lead, d.n(1, 4) * b * b, h, w)], attrs, 1, name


def deform_conv(d):
    group, parts, kernel = d.one(1, 2), d.one(1, 2), [d.n(1, 3), d.n(1, 3)]
    batch, per = d.n(1, 2), d.n(1, 3) * 2
    size, stride, dilation = [d.n(5, 9), d.n(5, 9)], [d.n(1, 2), d.n(1, 2)], [d.n(1, 2), d.n(1, 2)]
    pads = [d.n(0, 2) for _ in range(4)]
    out = [(n + pads[i] + pads[i + 2] - (k - 1) * dil - 1) // s + 1
           for i, (n, k, dil, s) in enumerate(zip(size, kernel, dilation, stride))]
    taps = kernel[0] * kernel[1] * parts
    oc = group * d.n(1, 4)
    inputs = [d.floats(batch, group * per, *size), d.floats(oc, per, *kernel),
              d.floats(batch, 2 * taps, *out), d.floats(oc) if d.coin() else None,
              d.floats(batch, taps, *out) if d.coin() else None]
    attrs = {"group": group, "offset_group": parts, "pads": pads, "strides": stride, "dilations": dilation,
             "kernel_shape": kernel}
    return d.one(19, 22), inputs, attrs, 1


def batch_norm(d):
    x = d.floats(*d.dims(2, 5, 7))
    c = x.shape[1]
    opset = d.one(7, 9, 14, 15)
    inputs = [x, d.floats(c), d.floats(c), d.floats(c), abs(d.floats(c))]
    if opset >= 14 and x.size > c and d.coin():
        return opset, inputs, {"training_mode": 1, "momentum": d.one(0.9, 0.5)}, 3
    return opset, inputs, {}, 1


def col2im(d):
    dims = 2  # in others, ONNX Runtime 1.32 differs from the definition where there are pads or dilations
    block, image = d.dims(dims, dims, 3), [d.n(6, 9) for _ in range(dims)]
    stride, dilation = d.dims(dims, dims, 2), d.dims(dims, dims, 2)
    pads = [d.n(0, 1) for _ in range(2 * dims)]
    count = [(n + pads[i] + pads[i + dims] - (k - 1) * dil - 1) // s + 1
             for i, (n, k, dil, s) in enumerate(zip(image, block, dilation, stride))]
    x = d.floats(d.n(1, 2), d.n(1, 3) * int(np.prod(block)), int(np.prod(count)))
    attrs = {"strides": stride, "dilations": dilation, "pads": pads}
    return 18, [x, np.array(image, dtype=np.int64), np.array(block, dtype=np.int64)], attrs, 1


GENERATORS = {
    "ConvTranspose": conv_transpose, "Resize": resize, "Upsample": upsample, "GridSample": grid_sample,
    "AffineGrid": affine_grid, "RoiAlign": roi_align, "MaxRoiPool": max_roi_pool, "LRN": lrn,
    "LpPool": lp_pool, "GlobalLpPool": global_lp_pool, "MaxUnpool": max_unpool, "Blocks": blocks,
    "DeformConv": deform_conv, "BatchNormalization": batch_norm, "Col2Im": col2im,
}
