"""make_tensor_corpus.py FOLDER: small values in files of their own, valid ones, for tests/fuzz/fuzz_tensor.c.
Needs the onnx package."""
import sys
from pathlib import Path

import numpy as np
from onnx import OptionalProto, SequenceProto, TensorProto, helper, numpy_helper

out = Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
tensors = {
    "float": numpy_helper.from_array(np.arange(6, dtype="f4").reshape(2, 3), "x"),
    "scalar": numpy_helper.from_array(np.float64(1.5), "y"),
    "empty": numpy_helper.from_array(np.zeros((0, 3), "i8"), "z"),
    "float_field": helper.make_tensor("f", TensorProto.FLOAT, [2], [1, 2]),
    "half_field": helper.make_tensor("h", TensorProto.FLOAT16, [2], [1, 2]),
    "int4_field": helper.make_tensor("i4", TensorProto.INT4, [3], [1, -2, 3]),
    "float8_raw": helper.make_tensor("f8", TensorProto.FLOAT8E4M3FN, [2], b"\x38\x40", raw=True),
    "complex": numpy_helper.from_array(np.array([1 + 2j], "c8"), "c"),
    "strings": numpy_helper.from_array(np.array([b"one", b"two"], object), "s"),
    "nameless": TensorProto(data_type=TensorProto.BOOL, dims=[1], int32_data=[1]),
}
numbers = numpy_helper.from_list([np.zeros(2, "f4"), np.ones((1, 3), "f4")], "x")
lists = {
    "sequence": numbers,
    "sequence_empty": numpy_helper.from_list([], "x"),
    "sequence_nested": SequenceProto(elem_type=SequenceProto.SEQUENCE, sequence_values=[numbers, numbers]),
    "sequence_of_optionals": SequenceProto(elem_type=SequenceProto.OPTIONAL, optional_values=[
        OptionalProto(elem_type=OptionalProto.UNDEFINED),
        OptionalProto(elem_type=OptionalProto.TENSOR, tensor_value=tensors["float"])]),
    "optional_empty": numpy_helper.from_optional(None, "x"),
    "optional_sequence": OptionalProto(elem_type=OptionalProto.SEQUENCE, sequence_value=numbers),
}
for name, tensor in (tensors | lists).items():
    (out / f"{name}.pb").write_bytes(tensor.SerializeToString())
