"""Run the node cases of the onnx package for all operators that mcompress has.

onnx_cases.py DRIVER LISTED [--operators NAME,…] [--kernels LEVEL|f64] [--update]
LISTED holds the cases that passed once: one that does not pass any more is a failure. --update adds the new
ones to it. --operators limits the run, with a look at everything that does not pass. Without --kernels every
level of this CPU has to pass, and the reference in float64.
"""
import argparse
import collections
import os
import sys
import tempfile
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cases  # noqa: E402


def read_list(path):
    with open(path, encoding="utf-8") as f:
        return [line.strip() for line in f if line.strip() and not line.startswith("#")]


def collect(names, wanted, operators):
    """[(case, operators in it)]: the listed ones, and all whose operators are known."""
    from onnx.backend.test.case.node import collect_testcases
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in collect_testcases(None):
            if case.model is None or not case.data_sets:
                continue
            ops = {node.op_type for node in case.model.graph.node}
            if (ops & operators) if operators else (case.name in wanted or ops <= names):
                yield case


def report(result, wanted, only):
    """Print what did not pass; the number of cases that had to."""
    bad = 0
    for name, (verdict, reason) in sorted(result.items()):
        if verdict == "pass":
            continue
        listed = name in wanted
        if listed or only or verdict != "unsupported":
            print(f"{'LISTED ' if listed else ''}{verdict} {name}: {reason}")
        bad += listed or verdict == "crash"
    if not only:
        for name in sorted(wanted - set(result)):
            print(f"LISTED but gone: {name}")
            bad += 1
    return bad


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("listed")
    parser.add_argument("--operators")
    parser.add_argument("--kernels")
    parser.add_argument("--update", action="store_true")
    args = parser.parse_args()
    wanted = set(read_list(args.listed))
    known = set(cases.operators(args.driver))
    only = set(args.operators.split(",")) if args.operators else None
    with tempfile.TemporaryDirectory() as work:
        folders, skipped, count = [], collections.Counter(), 0
        for case in collect(known, wanted, only):
            count += 1
            inputs, outputs = case.data_sets[0]
            folder = os.path.join(work, case.name)
            try:
                cases.write(folder, case.model, inputs, outputs, case.rtol, case.atol)
            except cases.Skip as why:
                skipped[str(why)] += 1
                continue
            folders.append(folder)
        results = [(" ".join(options), cases.run(args.driver, work, folders, options))
                   for options in cases.variants(args.driver, args.kernels)]
    print(f"{count} cases, not for op_case: {dict(skipped)}")
    bad, passed = 0, None
    for options, result in results:
        verdicts = collections.Counter(v for v, _ in result.values())
        print(f"{options}: {dict(verdicts)}")
        if "--f64" in options:  # computes half types in float64 and does not round to them
            result = {name: v for name, v in result.items() if "float16" not in name.lower()}
            bad += report(result, {name for name in wanted if "float16" not in name.lower()}, only)
        else:
            bad += report(result, wanted, only)
        good = {name for name, (v, _) in result.items() if v == "pass"}
        passed = good if passed is None else passed & good
    new = sorted(passed - wanted)
    if args.update:
        with open(args.listed, "w", encoding="utf-8") as f:
            f.write("# Node cases of onnx that pass; kept by tests/ops/onnx_cases.py --update.\n")
            f.writelines(f"{name}\n" for name in sorted(wanted | passed))
    elif new:
        print(f"{len(new)} pass that are not listed: --update adds them, e.g. {new[0]}")
    return 1 if bad or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
