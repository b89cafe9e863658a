"""Folders of a model with inputs and expected outputs, as op_case (and `mcompress eval`) reads them."""
import os
import subprocess

import numpy as np
import onnx
from onnx import numpy_helper


def _message(value, info):
    """The protobuf message of a test's value; info: the graph's input or output that it is for."""
    if not isinstance(value, onnx.ModelProto) and hasattr(value, "SerializeToString"):
        message = type(value)()
        message.CopyFrom(value)
        message.name = info.name
        return message
    kind = info.type.WhichOneof("value")
    if kind == "sequence_type":
        return numpy_helper.from_list(value, info.name)
    if kind == "optional_type":
        return numpy_helper.from_optional(value, info.name)
    return numpy_helper.from_array(np.asarray(value), info.name)


def write_set(folder, graph, inputs, outputs):
    """inputs and outputs are in the order of the graph's."""
    os.makedirs(folder, exist_ok=True)
    for what, infos, values in (("input", graph.input, inputs), ("output", graph.output, outputs)):
        for i, (info, value) in enumerate(zip(infos, values)):
            with open(os.path.join(folder, f"{what}_{i}.pb"), "wb") as f:
                f.write(_message(value, info).SerializeToString())


def write(folder, model, inputs, outputs, rtol=1e-3, atol=1e-7):
    """A case with one set of test data."""
    write_set(os.path.join(folder, "test_data_set_0"), model.graph, inputs, outputs)
    with open(os.path.join(folder, "model.onnx"), "wb") as f:
        f.write(model.SerializeToString())
    with open(os.path.join(folder, "tolerance"), "w", encoding="utf-8") as f:
        f.write(f"{rtol} {atol}\n")


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
        if done.returncode > 0:
            result["op_case"] = ("crash", done.stderr[-2000:])
        if len(lines) < len(rest):
            result[os.path.basename(rest[len(lines)])] = ("crash", done.stderr[-2000:])
        rest = rest[len(lines) + 1:]
    return result


def variants(driver, level):
    """Options of op_case for a level, for "f64", for a device, or (None) for every one of the CPU."""
    if level == "f64":
        return [["--f64"]]
    if level and level.startswith("cuda"):
        return [["--device", level]]
    if level:
        return [["--kernels", level]]
    done = subprocess.run([driver, "--levels"], capture_output=True, text=True, check=True)
    return [["--kernels", name] for name in done.stdout.split()] + [["--f64"]]
