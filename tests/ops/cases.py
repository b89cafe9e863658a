"""Folders of a model with inputs and expected outputs, as op_case reads them."""
import os
import subprocess

import numpy as np
import onnx
from onnx import helper, numpy_helper

NAMES = {
    onnx.TensorProto.FLOAT: "float", onnx.TensorProto.UINT8: "uint8", onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.UINT16: "uint16", onnx.TensorProto.INT16: "int16",
    onnx.TensorProto.INT32: "int32", onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.BOOL: "bool", onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.DOUBLE: "double", onnx.TensorProto.UINT32: "uint32",
    onnx.TensorProto.UINT64: "uint64", onnx.TensorProto.BFLOAT16: "bfloat16",
}


class Skip(Exception):
    """A case that op_case cannot hold: strings, sequences, types below 16 bits of float."""


def _as_array(value):
    """(type name, array) of a test's value."""
    if isinstance(value, onnx.TensorProto):
        if value.data_type not in NAMES:
            raise Skip(helper.tensor_dtype_to_string(value.data_type))
        return NAMES[value.data_type], numpy_helper.to_array(value)
    if not isinstance(value, (np.ndarray, np.generic)):
        raise Skip(type(value).__name__)
    value = np.asarray(value)
    kind = {np.dtype("float32"): "float", np.dtype("float64"): "double"}.get(value.dtype)
    kind = kind or value.dtype.name
    if kind not in NAMES.values():
        raise Skip(kind)
    return kind, value


def write(folder, model, inputs, outputs, rtol=1e-3, atol=1e-7):
    """inputs and outputs are in the order of the graph's."""
    lines = [f"tolerance {rtol} {atol}"]
    blobs = []
    for what, infos, values in (("input", model.graph.input, inputs),
                                ("output", model.graph.output, outputs)):
        if len(values) > len(infos):
            raise Skip("more values than names")
        for i, (info, value) in enumerate(zip(infos, values)):
            kind, array = _as_array(value)
            if not info.type.HasField("tensor_type"):
                raise Skip("no tensor")
            dims = " ".join(str(d) for d in array.shape)
            lines.append(f"{what} {info.name} {kind} {array.ndim} {dims} {what}{i}.bin")
            blobs.append((f"{what}{i}.bin", np.ascontiguousarray(array).tobytes()))
    os.makedirs(folder, exist_ok=True)
    for name, data in blobs:
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)
    with open(os.path.join(folder, "model.onnx"), "wb") as f:
        f.write(model.SerializeToString())
    with open(os.path.join(folder, "case.txt"), "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")


def run(driver, work, folders, options=()):
    """{case name: (verdict, reason)} of all folders; a case in which op_case dies is 'crash'."""
    result = {}
    rest = list(folders)
    while rest:
        path = os.path.join(work, "list.txt")
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(rest) + "\n")
        done = subprocess.run([driver, *options, path], capture_output=True, text=True, check=False)
        lines = [line.split("\t") for line in done.stdout.splitlines()]
        for name, verdict, reason in lines:
            result[name] = (verdict, reason)
        if len(lines) < len(rest):
            result[os.path.basename(rest[len(lines)])] = ("crash", done.stderr[-2000:])
        rest = rest[len(lines) + 1:]
    return result


def operators(driver):
    """Names of the operators that mcompress has."""
    done = subprocess.run([driver, "--operators"], capture_output=True, text=True, check=True)
    return done.stdout.split()


def variants(driver, level):
    """Options of op_case for a level, for "f64", or (None) for every one of them."""
    if level == "f64":
        return [["--f64"]]
    if level:
        return [["--kernels", level]]
    done = subprocess.run([driver, "--levels"], capture_output=True, text=True, check=True)
    return [["--kernels", name] for name in done.stdout.split()] + [["--f64"]]
