"""Run the cases of the onnx package's backend test, and count.

onnx_cases.py DRIVER LISTED [--operators NAME,…] [--kernels LEVEL|f64|cuda] [--update]
Five groups: the node cases whose inputs and outputs are all float, int8, uint8, int32, int64 or bool, the other
node cases, and the models of the folders simple, pytorch-converted and pytorch-operator. A case counts where
every kernel level of this CPU passes (or the one asked for). What does not pass is printed, by reason.

On a device (a driver that has one: --kernels cuda) what the CPU ran all the same is counted, by operator.

LISTED holds the cases that passed once: one that does not pass any more is a failure, here and in float64
(but for half types, which are not rounded to there). --update adds the new ones. --operators limits the run to
the cases that have one of these.
"""
import argparse
import collections
import os
import re
import sys
import tempfile
import textwrap
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import onnx  # noqa: E402
from onnx import TensorProto  # noqa: E402

import cases  # noqa: E402

PLAIN = {TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32,
         TensorProto.INT64, TensorProto.BOOL}
# Drawn bits, of which type and shape can be compared; zeros that the reference computed in float32.
ATOL = {"test_bernoulli": 1, "test_dft_inverse": 1e-6}
PLACE = {TensorProto.FLOAT16: 2**-9, TensorProto.BFLOAT16: 2**-6}
HALVES = {TensorProto.FLOAT16, TensorProto.BFLOAT16}
FOLDERS = ("simple", "pytorch-converted", "pytorch-operator")
NODE, OTHER = "node cases of plain types", "node cases of other types"


class Case:
    def __init__(self, name, group, folder, half=False):
        self.name, self.group, self.folder, self.half = name, group, folder, half


def read_list(path):
    with open(path, encoding="utf-8") as f:
        return [line.strip() for line in f if line.strip() and not line.startswith("#")]


def types_of(graph):
    """Element types of inputs and outputs; -1 for what is no tensor."""
    for value in [*graph.input, *graph.output]:
        tensor = value.type.HasField("tensor_type")
        yield value.type.tensor_type.elem_type if tensor else -1


def operators_of(graph):
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:
            for body in [attribute.g, *attribute.graphs]:
                yield from operators_of(body)


def node_cases(work, only):
    from onnx.backend.test.case.node import collect_testcases
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collected = collect_testcases(None)
    for case in collected:
        graph = case.model.graph
        if only and not only & set(operators_of(graph)):
            continue
        folder = os.path.join(work, case.name)
        inputs, outputs = case.data_sets[0]
        types = set(types_of(graph))
        # Values between nodes are not rounded to half types, those of the reference are: two places.
        places = [PLACE.get(kind, 0) for kind in types]
        atol = max([case.atol, *(v for k, v in ATOL.items() if case.name.startswith(k))])
        cases.write(folder, case.model, inputs, outputs, max([case.rtol, *places]), atol)
        yield Case(case.name, NODE if types <= PLAIN else OTHER, folder,
                   bool(types & HALVES) or "float16" in case.name.lower())


def model_cases(only):
    from onnx.backend.test.loader import load_model_tests
    for kind in FOLDERS:
        for case in load_model_tests(kind=kind):
            graph = onnx.load(os.path.join(case.model_dir, "model.onnx")).graph
            if not only or only & set(operators_of(graph)):
                yield Case(case.name, kind, case.model_dir)


def reason_of(verdict, text):
    """The same words for every node that has the same problem."""
    if verdict == "unsupported":
        text = re.sub(r"^node '[^']*': ", "", text)
        if not text.startswith("operator "):
            text = re.sub(r"'[^']*'", "…", text)
    return f"{verdict}: {text}"


def print_missing(group, result):
    """What does not pass, by reason."""
    reasons = collections.defaultdict(list)
    for case in group:
        verdict, text = result[case.name]
        if verdict != "pass":
            reasons[reason_of(verdict, text)].append(case.name)
    for reason, names in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])):
        print(f"  {len(names)} {reason}")
        print(textwrap.fill(" ".join(names), 120, initial_indent="      ",
                            subsequent_indent="      ", break_on_hyphens=False))


def merge(results):
    """The worst of what the levels gave."""
    merged = {}
    for options, result in results:
        for name, (verdict, text) in result.items():
            if merged.get(name, ("pass", ""))[0] == "pass":
                merged[name] = (verdict, f"{text} ({options})" if verdict == "fail" else text)
    return merged


def print_fallback(result):
    """What a device left to the CPU, by operator."""
    left = collections.Counter()
    whole = 0
    for verdict, text in result.values():
        whole += verdict == "pass" and not text
        if verdict == "pass" and text.startswith("["):
            left.update(text.strip("[]").split())
    print(f"{whole} of {len(result)} wholly on the device; cases with a step on the CPU:")
    print(textwrap.fill(" ".join(f"{name} {n}" for name, n in sorted(left.items())), 120,
                        initial_indent="      ", subsequent_indent="      "))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("listed")
    parser.add_argument("--operators")
    parser.add_argument("--kernels")
    parser.add_argument("--update", action="store_true")
    args = parser.parse_args()
    wanted = set(read_list(args.listed))
    only = set(args.operators.split(",")) if args.operators else None
    with tempfile.TemporaryDirectory() as work:
        every = [*node_cases(work, only), *model_cases(only)]
        folders = [case.folder for case in every]
        results = [(" ".join(options), cases.run(args.driver, work, folders, options))
                   for options in cases.variants(args.driver, args.kernels)]
    for options, result in results:
        print(f"{options}: {dict(collections.Counter(v for v, _ in result.values()))}")
        if options.startswith("--device"):
            print_fallback(result)
    levels = [r for r in results if r[0] != "--f64" or args.kernels]
    merged = merge(levels)
    for name in dict.fromkeys(case.group for case in every):
        group = [case for case in every if case.group == name]
        good = sum(merged[case.name][0] == "pass" for case in group)
        print(f"{good} of {len(group)} pass: {name}")
        print_missing(group, merged)
    halves = {case.name for case in every if case.half}
    bad = 0
    for options, result in results:
        exempt = halves if options == "--f64" else set()
        for name, (verdict, text) in sorted(result.items()):
            if verdict == "crash" or (verdict != "pass" and name in wanted - exempt):
                print(f"FAILURE {options} {name}: {verdict}: {text}")
                bad += 1
    for name in sorted(wanted - set(merged)) if not only else ():
        print(f"FAILURE {name}: listed, but there is no such case")
        bad += 1
    passed = {name for name, (verdict, _) in merged.items() if verdict == "pass"}
    new = sorted(passed - wanted)
    if args.update:
        with open(args.listed, "w", encoding="utf-8") as f:
            f.write("# Cases of onnx's backend test that pass; kept by onnx_cases.py --update.\n")
            f.writelines(f"{name}\n" for name in sorted(wanted | passed))
    elif new:
        print(f"{len(new)} pass that are not listed: --update adds them, e.g. {new[0]}")
    return 1 if bad or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
