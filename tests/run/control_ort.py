"""control_ort.py OP_CASE: graphs with control flow and shapes that hang on data, against onnxruntime.

Every graph runs on inputs of several shapes and contents one after another in one session.
"""
import os
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ops"))
import cases  # noqa: E402

RNG = np.random.default_rng(7)


def floats(*shape):
    return RNG.normal(0, 1, shape).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


# name: (graph in the text form of onnx.parser, list of input lists)
GRAPHS = {
    "if_by_sum": ("""
        (float[n] x) => (float[m] y) {
          zero = Constant <value = float {0.0}> ()
          sum = ReduceSum <keepdims = 0> (x)
          cond = Greater (sum, zero)
          y = If (cond) <
            then_branch = then () => (float[k] a) { a = Add (x, sum) },
            else_branch = other () => (float[k] b) { b = Concat <axis = 0> (x, x) }>
        }""", [[np.array([1, 2], np.float32)], [np.array([-1, -2], np.float32)],
               [np.array([3, 2, 1], np.float32)], [np.array([-1], np.float32)]]),
    "if_in_if": ("""
        (float[n] x, bool p, bool q) => (float[m] y) {
          s = Neg (x)
          y = If (p) <
            then_branch = outer () => (float[k] a) {
              t = Mul (s, x)
              a = If (q) <
                then_branch = inner () => (float[k] c) { c = Add (t, x) },
                else_branch = inner2 () => (float[k] d) { d = Identity (s) }> },
            else_branch = other () => (float[k] b) { b = Identity (x) }>
        }""", [[floats(n), np.array(p), np.array(q)]
               for n, p, q in ((3, True, True), (3, True, False), (3, False, False), (5, True, True))]),
    "loop_power": ("""
        (float[n, n] x, int64 trips) => (float[n, n] y, float[t, n] rows) {
          yes = Constant <value = bool {1}> ()
          y, rows = Loop (trips, yes, x) <
            body = step (int64 i, bool c, float[n, n] v) => (bool d, float[n, n] w, float[n] r) {
              d = Identity (c)
              f = Cast <to = 1> (i)
              s = Add (x, f)
              w = MatMul (v, s)
              r = ReduceMean <keepdims = 0, axes = [0]> (w)
            }>
        }""", [[floats(n, n), np.array(t, np.int64)] for n, t in ((2, 3), (2, 1), (3, 4), (2, 3))]),
    "loop_never": ("""
        (float[n] x, int64 trips) => (float[n] y, float[t, n] rows) {
          no = Constant <value = bool {0}> ()
          y, rows = Loop (trips, no, x) <
            body = step (int64 i, bool c, float[3] v) => (bool d, float[3] w, float[3] r) {
              d = Identity (c)
              w = Neg (v)
              r = Identity (w)
            }>
        }""", [[floats(3), np.array(4, np.int64)]]),
    "loop_while": ("""
        (float x, float bound) => (float y, int64 n) {
          zero = Constant <value = int64 {0}> ()
          one = Constant <value = int64 {1}> ()
          two = Constant <value = float {2.0}> ()
          start = Less (x, bound)
          y, n = Loop ("", start, x, zero) <
            body = step (int64 i, bool c, float v, int64 k) => (bool d, float w, int64 l) {
              w = Mul (v, two)
              l = Add (k, one)
              d = Less (w, bound)
            }>
        }""", [[np.float32(1), np.float32(b)] for b in (10, 1000, 0.5, 3)]),
    "loop_grows": ("""
        (float[n] x, int64 trips) => (float[m] y) {
          yes = Constant <value = bool {1}> ()
          y = Loop (trips, yes, x) <
            body = step (int64 i, bool c, float[k] v) => (bool d, float[l] w) {
              d = Identity (c)
              w = Concat <axis = 0> (v, x)
            }>
        }""", [[floats(2), np.array(t, np.int64)] for t in (0, 1, 5, 2)]),
    "loop_in_loop": ("""
        (float[n] x, int64 trips) => (float[n] y, float[t, t, n] all) {
          yes = Constant <value = bool {1}> ()
          h = Exp (x)
          y, all = Loop (trips, yes, x) <
            body = outer (int64 i, bool c, float[n] v) => (bool d, float[n] w, float[t, n] r) {
              d = Identity (c)
              g = Mul (v, h)
              w, r = Loop (trips, c, g) <
                body = inner (int64 j, bool e, float[n] a) => (bool f, float[n] b, float[n] o) {
                  f = Identity (e)
                  s = Add (a, g)
                  b = Sub (s, x)
                  o = Identity (b)
                }>
            }>
        }""", [[floats(n), np.array(t, np.int64)] for n, t in ((3, 2), (3, 3), (4, 1))]),
    "scan_directions": ("""
        (float[n] s, float[t, n] x, float[n, t] z) => (float[n] last, float[t, n] a, float[n, t] b) {
          k = Constant <value = float {0.5}> ()
          h = Mul (s, k)
          last, a, b = Scan (s, x, z) <
            num_scan_inputs = 2, scan_input_axes = [0, 1], scan_input_directions = [0, 1],
            scan_output_axes = [0, -1], scan_output_directions = [1, 0],
            body = step (float[n] v, float[n] p, float[n] q) => (float[n] w, float[n] o, float[n] r) {
              u = Add (v, p)
              w = Mul (u, k)
              o = Sub (w, q)
              r = Add (q, h)
            }>
        }""", [[floats(n), floats(t, n), floats(n, t)] for n, t in ((2, 3), (2, 5), (4, 1))]),
    "pick_nonzero": ("""
        (float[n, k] x, float[k, 3] w) => (float[m, 3] y, int64[2, c] at) {
          pos = Relu (x)
          at = NonZero (pos)
          zero = Constant <value = int64 {0}> ()
          row = Gather <axis = 0> (at, zero)
          picked = Gather <axis = 0> (x, row)
          shape = Shape (picked)
          to = Identity (shape)
          flat = Constant <value = int64[1] {-1}> ()
          line = Reshape (picked, flat)
          back = Reshape (line, to)
          z = MatMul (back, w)
          y = Tanh (z)
        }""", [[floats(n, k), floats(k, 3)] for n, k in ((3, 2), (4, 2), (3, 5), (3, 2))]
        + [[-np.abs(floats(2, 2)), floats(2, 3)]]),
    "computed_shapes": ("""
        (float[n, k] x, int64[n] len) => (float[a, b] y, float[c] r, float[d, e] z) {
          none = Constant <value = int64 {0}> ()
          one = Constant <value = int64 {1}> ()
          row = Constant <value = int64[1] {0}> ()
          most = ReduceMax <keepdims = 0> (len)
          up = Range (none, most, one)
          f = Cast <to = 1> (up)
          r = Sqrt (f)
          two = Unsqueeze (most, row)
          reps = Concat <axis = 0> (two, two)
          y = Tile (x, reps)
          col = Unsqueeze (f, row)
          wide = Transpose <perm = [1, 0]> (col)
          both = Concat <axis = 0> (two, two)
          z = Expand (wide, both)
        }""", [[floats(2, 3), ints(1, 3)], [floats(2, 3), ints(1, 2)], [floats(2, 1), ints(0, 0)],
               [floats(2, 3), ints(1, 3)]]),
    "slice_by_data": ("""
        (float[n] x) => (float[m] y, float[q] z) {
          ax = Constant <value = int64[1] {0}> ()
          best = ArgMax <axis = 0> (x)
          n = Shape (x)
          tail = Slice (x, best, n, ax)
          y = Exp (tail)
          rest = Sub (n, best)
          zero = Constant <value = int64[1] {0}> ()
          pads = Concat <axis = 0> (best, rest)
          z = Pad (y, pads)
        }""", [[floats(n)] for n in (5, 7, 5, 1)]),
    "boxes": ("""
        (float[1, n, 4] boxes, float[1, c, n] scores, float limit) => (float[m, 4] out, int64[m] cls) {
          most = Constant <value = int64[1] {10}> ()
          iou = Constant <value = float[1] {0.3}> ()
          shape1 = Constant <value = int64[1] {1}> ()
          low = Reshape (limit, shape1)
          found = NonMaxSuppression (boxes, scores, most, iou, low)
          two = Constant <value = int64 {2}> ()
          one = Constant <value = int64 {1}> ()
          which = Gather <axis = 1> (found, two)
          cls = Gather <axis = 1> (found, one)
          ax = Constant <value = int64[1] {0}> ()
          all = Squeeze (boxes, ax)
          out = Gather <axis = 0> (all, which)
        }""", [[np.sort(RNG.random((1, n, 2, 2)).astype(np.float32), 2).reshape(1, n, 4),
                RNG.random((1, c, n)).astype(np.float32), np.float32(low)]
               for n, c, low in ((20, 1, 0.1), (20, 1, 2), (20, 3, 0.1), (7, 1, 0.5))]),
    "outer_const": ("""
        (float[2, 3] x, bool p) => (float[a, b] y) {
          w = Constant <value = float[3, 2] {1, 2, 3, 4, 5, 6}> ()
          y = If (p) <
            then_branch = left () => (float[a, b] u) { u = MatMul (x, w) },
            else_branch = right () => (float[a, b] v) { v = Identity (w) }>
        }""", [[floats(2, 3), np.array(p)] for p in (True, False, True)]),
    "split_and_concat": ("""
        (float[n, k] x, int64[p] parts) => (float[m, k] y, float[c, n, 2] z, int64 count) {
          cut = SplitToSequence <axis = 0> (x, parts)
          first = Constant <value = int64 {0}> ()
          last = Constant <value = int64 {-1}> ()
          a = SequenceAt (cut, first)
          more = SequenceInsert (cut, a)
          back = SequenceErase (more, first)
          front = SequenceInsert (back, a, last)
          y = ConcatFromSequence <axis = 0> (front)
          count = SequenceLength (front)
          two = Constant <value = int64 {2}> ()
          wide = SplitToSequence <axis = 1> (x, two)
          z = ConcatFromSequence <axis = 0, new_axis = 1> (wide)
        }""", [[floats(n, k), ints(*p)] for n, k, p in ((4, 4, (1, 3)), (5, 2, (2, 1, 2)), (4, 4, (3, 1)))]),
    "sequence_in_loop": ("""
        (float[n] x, int64 trips) => (float[m] y, int64 count) {
          yes = Constant <value = bool {1}> ()
          none = SequenceEmpty ()
          one = SequenceInsert (none, x)
          all = Loop (trips, yes, one) <
            body = step (int64 i, bool c, seq(float[k]) v) => (bool d, seq(float[k]) w) {
              d = Identity (c)
              f = Cast <to = 1> (i)
              e = Add (x, f)
              w = SequenceInsert (v, e)
            }>
          y = ConcatFromSequence <axis = 0> (all)
          count = SequenceLength (all)
        }""", [[floats(n), np.array(t, np.int64)] for n, t in ((2, 3), (2, 0), (3, 1), (2, 3))]),
    "sequence_of_if": ("""
        (float[n] x, bool p) => (float[m] y) {
          two = Neg (x)
          s = If (p) <
            then_branch = both () => (seq(float[k]) a) { a = SequenceConstruct (x, two) },
            else_branch = single () => (seq(float[k]) b) { b = SequenceConstruct (x) }>
          same = Identity (s)
          y = ConcatFromSequence <axis = 0> (same)
        }""", [[floats(n), np.array(p)] for n, p in ((2, True), (2, False), (3, True))]),
    "mapped": ("""
        (float[n, k] x, float[k] w) => (float[n] y) {
          rows = SplitToSequence <axis = 0, keepdims = 0> (x)
          sums = SequenceMap (rows, w) <
            body = dot (float[k] r, float[k] v) => (float[1] t) {
              p = Mul (r, v)
              t = ReduceSum (p)
            }>
          y = ConcatFromSequence <axis = 0> (sums)
        }""", [[floats(n, k), floats(k)] for n, k in ((3, 2), (1, 4), (3, 2))]),
    "optionals": ("""
        (float[n] x) => (float[n] y, bool has, bool hasnot) {
          some = Optional (x)
          nothing = Optional <type = float[n]> ()
          has = OptionalHasElement (some)
          hasnot = OptionalHasElement (nothing)
          e = OptionalGetElement (some)
          y = Exp (e)
        }""", [[floats(2)], [floats(3)]]),
    "if_of_loop": ("""
        (float[n] x, int64 t) => (float[m] y) {
          yes = Constant <value = bool {1}> ()
          limit = Constant <value = int64 {2}> ()
          big = Greater (t, limit)
          h = Abs (x)
          y = If (big) <
            then_branch = many () => (float[k] a) {
              l, rows = Loop (t, yes, x) <
                body = step (int64 i, bool c, float[n] v) => (bool d, float[n] w, float[n] r) {
                  d = Identity (c)
                  w = Add (v, h)
                  r = Identity (h)
                }>
              flat = Constant <value = int64[1] {-1}> ()
              a = Reshape (rows, flat)
            },
            else_branch = few () => (float[k] b) { b = Identity (h) }>
        }""", [[floats(n), np.array(t, np.int64)] for n, t in ((2, 1), (2, 3), (3, 5), (3, 0))]),
}


def main():
    driver = sys.argv[1]
    bad = 0
    with tempfile.TemporaryDirectory() as work:
        folders = []
        for name, (text, sets) in GRAPHS.items():
            model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {name} {text}')
            options = ort.SessionOptions()
            options.log_severity_level = 3
            session = ort.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
            folder = os.path.join(work, name)
            for i, inputs in enumerate(sets):
                feed = {v.name: np.asarray(a) for v, a in zip(model.graph.input, inputs)}
                outputs = session.run(None, feed)
                if i == 0:
                    cases.write(folder, model, inputs, outputs, 1e-4, 1e-5)
                else:
                    cases.write_set(os.path.join(folder, f"test_data_set_{i}"), model.graph, inputs, outputs)
            folders.append(folder)
        for options in cases.variants(driver, None):
            for name, (verdict, reason) in cases.run(driver, work, folders, options).items():
                if verdict != "pass":
                    bad += 1
                    print(f"{' '.join(options)} {name}: {verdict} {reason}")
    print(f"{len(GRAPHS)} graphs, {bad} failures")
    return bad > 0


sys.exit(main())
