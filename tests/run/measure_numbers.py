"""Write measure_numbers.h: what numpy says about the scores of test_measure.c.

    python3 tests/run/measure_numbers.py > tests/run/measure_numbers.h
"""
import numpy as np

ref = np.array([
    [2, 1, 0, -1, -2, -3], [0, 3, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1], [-1, -2, 4, 3.5, 0, 0],
    [0, 0, 0, 5, 1, 1], [1, 0, 0, 0, np.float32(0.9), 0.5], [90, 80, 0, 0, 0, 0],
    [-5, -4, -3, -2, -1, 0]], dtype=np.float32)
bias = np.array([0, 0, 0, 1, 0.25, 0], dtype=np.float32)
model = ref + bias
labels = np.array([0, 1, 0, 2, 3, 4, 1, 0])
n = len(labels)


def against_labels(x):
    x = x.astype(np.float64)
    order = np.argsort(-x, axis=1, kind="stable")
    top1 = np.mean(order[:, 0] == labels)
    top5 = np.mean([l in o[:5] for l, o in zip(labels, order)])
    log_softmax = x - np.logaddexp.reduce(x, axis=1, keepdims=True)
    return top1, top5, -np.mean(log_softmax[np.arange(n), labels])


a, b = ref.astype(np.float64), model.astype(np.float64)
right_a, right_b = a.argmax(1) == labels, b.argmax(1) == labels
d = right_a.astype(int) - right_b.astype(int)
padded = np.concatenate([d, [1, -1]])
half = 1.959963984540054 * padded.std() / np.sqrt(len(padded))
# The variance is about the observed mean of the padded samples; std() of numpy divides by n.
values = dict(zip(("REF_TOP1", "REF_TOP5", "REF_LOSS"), against_labels(ref)))
values.update(zip(("TOP1", "TOP5", "LOSS"), against_labels(model)))
values.update(
    AGREE=np.mean(a.argmax(1) == b.argmax(1)),
    COSINE=np.mean((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)),
    SQNR=10 * np.log10((a * a).sum() / ((a - b) ** 2).sum()),
    DROP=d.mean(), DROP_LOW=d.mean() - half, DROP_HIGH=d.mean() + half)
print("/* Made by measure_numbers.py. */")
for k, v in values.items():
    print(f"#define {k} {float(v)!r}")
