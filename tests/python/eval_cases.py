"""eval_cases.py MCOMPRESS: `mcompress eval MODEL --data FOLDER` on test data of the onnx package, and on data
that was changed.

A few dozen node cases must agree, with exit status 0; each with one expected value, one shape or one type
changed must not, with exit status 1 and the place named. Several sets, sets without outputs, weights given as
inputs, tolerances, the JSON."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ops"))
import cases  # noqa: E402

MCOMPRESS = sys.argv[1]
NAMES = """abs add add_uint8 and2d argmax_default_axis_example averagepool_2d_default basic_conv_with_padding
batchnorm_epsilon cast_FLOAT_to_FLOAT16 clip concat_2d_axis_0 constant cumsum_1d div equal flatten_axis1
gather_0 gemm_all_attributes globalaveragepool greater identity layer_normalization_2d_axis0 leakyrelu
logsoftmax_axis_0 lstm_defaults matmul_3d max_example maxpool_2d_default neg_example not_2d pow_types_int64_int64
reduce_mean_default_axes_keepdims_example reshape_zero_dim shape size slice softmax_axis_0
split_equal_parts_1d_opset13 split_zero_size_splits_opset13 squeeze sum_two_inputs transpose_default
where_long_example""".split()
checks = 0


def run(*words, status):
    global checks
    checks += 1
    done = subprocess.run([MCOMPRESS, "eval", *words], capture_output=True, text=True, check=False)
    assert done.returncode == status, (words, status, done.returncode, done.stdout, done.stderr)
    assert done.stderr.count("\n") == (status != 0), (words, done.stderr)
    return done


def change(path, how):
    tensor = TensorProto.FromString(open(path, "rb").read())
    with open(path, "wb") as f:
        f.write(numpy_helper.from_array(how(numpy_helper.to_array(tensor)), tensor.name)
                .SerializeToString())


def other_value(x):
    x = x.copy()
    flat = x.reshape(-1)
    flat[-1] = not flat[-1] if x.dtype == bool else flat[-1] + 1 if np.isfinite(flat[-1]) else 7
    return x


def one_case(folder):
    model = os.path.join(folder, "model.onnx")
    report = json.loads(run(model, "--data", folder, "--json", status=0).stdout)
    outputs = report["sets"][0]["outputs"]
    assert report["different"] == 0 and report["compared"] == len(outputs)
    assert all(o["verdict"] == "agrees" for o in outputs), outputs
    for i, o in enumerate(outputs):
        for how in (other_value, lambda x: x[None], lambda x: np.zeros(x.shape, np.uint16)):
            changed = folder + ".changed"
            shutil.copytree(folder, changed)
            if how is other_value and o["elements"] == 0:
                how = lambda x: np.zeros(1, x.dtype)  # noqa: E731
            change(os.path.join(changed, "test_data_set_0", f"output_{i}.pb"), how)
            done = run(model, "--data", os.path.join(changed, "test_data_set_0"), "--json", status=1)
            assert f"'{o['name']}'" in done.stderr, done.stderr
            got = json.loads(done.stdout)["sets"][0]["outputs"][i]
            if how is other_value:
                last = [d - 1 for d in o["shape"]]
                assert got["verdict"] == "differs" and got["outside"] == 1, got
                assert got["first"] == last, (got, last)
            else:
                assert got["verdict"] in ("shape", "type"), got
            shutil.rmtree(changed)


def node_cases(work):
    from onnx.backend.test.case.node import collect_testcases
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = {case.name: case for case in collect_testcases(None)}
    for name in NAMES:
        case = known[f"test_{name}"]
        folder = os.path.join(work, name)
        cases.write(folder, case.model, *case.data_sets[0])
        one_case(folder)


def vector(name, *dims):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)


def made_model(work):
    """y = x * w with w an initializer that is an input too: two sets, one with w."""
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "g",
                              [vector("x", "n", 2), vector("w", 2)], [vector("y", "n", 2)],
                              [numpy_helper.from_array(np.float32([2, 3]), "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder = os.path.join(work, "made")
    path = os.path.join(work, "made.onnx")
    onnx.save(model, path)
    x = np.float32([[1, 2], [3, 4], [5, np.nan]])
    cases.write_set(os.path.join(folder, "test_data_set_0"), graph, [x], [x * np.float32([2, 3])])
    w = np.float32([7, np.inf])
    cases.write_set(os.path.join(folder, "test_data_set_10"), graph, [x[:1], w], [x[:1] * w])
    cases.write_set(os.path.join(folder, "test_data_set_2"), graph, [x[:0]], [x[:0]])
    report = json.loads(run(path, "--data", folder, "--json", status=0).stdout)
    assert [s["set"][14:] for s in report["sets"]] == ["0", "2", "10"], report["sets"]

    first = os.path.join(folder, "test_data_set_0", "output_0.pb")
    change(first, lambda y: y * np.float32(1.002))
    assert "5 of 6 values" in run(path, "--data", folder, status=1).stderr
    run(path, "--data", folder, "--rtol", "0.01", status=0)
    run(path, "--data", folder, "--rtol", "0", "--atol", "0.1", status=0)
    run(path, "--data", folder, "--samples", "1", status=1)
    text = run(path, "--data", folder, "-q", "--report", os.path.join(work, "r.txt"), status=1)
    assert not text.stdout and "at [0,0]: 2, expected 2.004" in open(os.path.join(work, "r.txt")).read()

    os.remove(first)
    os.remove(os.path.join(folder, "test_data_set_2", "output_0.pb"))
    os.remove(os.path.join(folder, "test_data_set_10", "output_0.pb"))
    done = run(path, "--data", folder, "--save-outputs", os.path.join(work, "y.npz"), status=0)
    assert "only run" in done.stdout and "16.7 % NaN" in done.stdout, done.stdout
    saved = np.load(os.path.join(work, "y.npz"))
    assert {k: v.shape for k, v in saved.items()} == {"y_0": (3, 2), "y_1": (0, 2), "y_2": (1, 2)}
    assert saved["y_0"][:2].tolist() == [[2, 6], [6, 12]] and np.isnan(saved["y_0"][2, 1])
    # The same folder as samples: with a reference, agreement is measured.
    os.rename(os.path.join(folder, "test_data_set_0"), os.path.join(work, "kept"))
    shutil.rmtree(os.path.join(folder, "test_data_set_2"))
    broken(work, path)


def broken(work, path):
    lone = os.path.join(work, "kept")
    data = open(os.path.join(lone, "input_0.pb"), "rb").read()
    for cut in (0, 1, 5, len(data) - 1):
        with open(os.path.join(lone, "input_0.pb"), "wb") as f:
            f.write(data[:cut])
        assert "input_0.pb" in run(path, "--data", lone, status=3).stderr
    with open(os.path.join(lone, "input_0.pb"), "wb") as f:
        f.write(TensorProto(data_type=1, dims=[2**40, 2**40]).SerializeToString())
    assert "too large to exist" in run(path, "--data", lone, status=3).stderr
    with open(os.path.join(lone, "input_0.pb"), "wb") as f:
        f.write(numpy_helper.from_array(np.array([b"a", b"b"], object), "x").SerializeToString())
    assert "strings" in run(path, "--data", lone, status=3).stderr
    with open(os.path.join(lone, "input_0.pb"), "wb") as f:
        f.write(numpy_helper.from_array(np.zeros((2, 3), np.float32), "x").SerializeToString())
    assert "'x'" in run(path, "--data", lone, status=3).stderr
    with open(os.path.join(lone, "input_2.pb"), "wb") as f:
        f.write(data)
    assert "input_2.pb" in run(path, "--data", lone, status=3).stderr


LISTS = """identity_sequence identity_opt if_seq if_opt loop13_seq loop16_seq_none optional_get_element_sequence
optional_has_element_empty_optional_input optional_get_element_optional_sequence sequence_insert_at_back
sequence_map_add_2_sequences split_to_sequence_2""".split()


def list_cases(work):
    from onnx.backend.test.case.node import collect_testcases
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = {case.name: case for case in collect_testcases(None)}
    for name in LISTS:
        case = known[f"test_{name}"]
        folder = os.path.join(work, name)
        cases.write(folder, case.model, *case.data_sets[0])
        path = os.path.join(folder, "model.onnx")
        report = json.loads(run(path, "--data", folder, "--json", status=0).stdout)
        assert report["different"] == 0 and report["compared"] == len(case.model.graph.output)
    changed_lists(os.path.join(work, "split_to_sequence_2"))
    broken_lists(work)


def write(path, message):
    with open(path, "wb") as f:
        f.write(message.SerializeToString())


def sequence(*items):
    return numpy_helper.from_list([np.asarray(x, np.float32) for x in items], "y")


def changed_lists(folder):
    """Expected sequences of which one value, one shape, one type, or the length is another."""
    model = os.path.join(folder, "model.onnx")
    output = os.path.join(folder, "test_data_set_0", "output_0.pb")
    right = onnx.SequenceProto.FromString(open(output, "rb").read())
    name = onnx.load(model).graph.output[0].name
    items = [numpy_helper.to_array(t) for t in right.tensor_values]
    assert len(items) == 2

    def differs(message, text, **row):
        write(output, message)
        done = run(model, "--data", folder, "--json", status=1)
        assert f"'{name}'{text}" in done.stderr, done.stderr
        got = json.loads(done.stdout)["sets"][0]["outputs"][0]
        assert {k: got.get(k) for k in row} == row, got

    other = items[1].copy()
    other.flat[-1] += 1
    last = [d - 1 for d in other.shape]
    differs(sequence(items[0], other), "[1] of test_data_set_0: 1 of", verdict="differs", item="[1]",
            outside=1, first=last)
    differs(sequence(items[0], items[1][None]), "[1] of test_data_set_0 has shape", verdict="shape",
            item="[1]", expected_shape=[1, *other.shape])
    differs(sequence(items[0]), " of test_data_set_0 is a sequence of 2, a sequence of 1", verdict="shape")
    mixed = sequence(items[0], items[1])
    mixed.tensor_values[0].CopyFrom(numpy_helper.from_array(items[0].astype(np.int64)))
    differs(mixed, "[0] of test_data_set_0 is float, int64 is", verdict="type", expected_type="int64")
    write(output, right)
    report = os.path.join(folder, "r.txt")
    run(model, "--data", folder, "--report", report, status=0)
    assert "not a tensor" in open(report).read()
    done = run(model, "--data", folder, "--save-outputs", os.path.join(folder, "y.npz"), status=3)
    assert "--save-outputs" in done.stderr, done.stderr


def broken_lists(work):
    """identity_sequence and identity_opt with files that are not what their models take."""
    for name, element in (("identity_sequence", lambda s: s), ("identity_opt", lambda o: o.sequence_value)):
        model = os.path.join(work, name, "model.onnx")
        lone = os.path.join(work, name, "test_data_set_0")
        path = os.path.join(lone, "input_0.pb")
        data = open(path, "rb").read()
        kind = onnx.SequenceProto if name == "identity_sequence" else onnx.OptionalProto

        def bad(text, edit=None, raw=None):
            message = kind.FromString(data)
            if edit:
                edit(message)
            with open(path, "wb") as f:
                f.write(message.SerializeToString() if raw is None else raw)
            done = run(model, "--data", lone, status=3)
            assert text in done.stderr, (text, done.stderr)

        bad("no kind", raw=b"")
        bad("input_0.pb", raw=data[:-1])
        bad("input_0.pb", raw=data[:len(data) // 2])
        bad("input_0.pb", raw=numpy_helper.from_array(np.float32([1, 2]), "x").SerializeToString())
        bad("of other kinds", lambda m: setattr(m, "elem_type", 4))
        bad("of other kinds", lambda m: element(m).sequence_values.add())
        bad("no element type", lambda m: element(m).tensor_values.add())
        bad("needs", lambda m: element(m).tensor_values[0].dims.append(7))
        ints = numpy_helper.from_array(np.int64([1]), "x")
        bad("int64", lambda m: element(m).tensor_values.add().CopyFrom(ints))
        words = numpy_helper.from_array(np.array([b"a"], object), "x")
        bad("strings", lambda m: element(m).tensor_values.add().CopyFrom(words))

        def only(m, field, value):
            element(m).Clear()
            element(m).elem_type = value
            getattr(element(m), field).add()
        bad("maps", lambda m: only(m, "map_values", 4))
        bad("sparse tensors", lambda m: only(m, "sparse_tensor_values", 2))
        with open(path, "wb") as f:
            f.write(data)
        run(model, "--data", lone, status=0)


with tempfile.TemporaryDirectory() as folder:
    node_cases(folder)
    list_cases(folder)
    made_model(folder)
print(f"{checks} runs")
