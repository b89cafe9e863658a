#!/usr/bin/env python3
"""Gradients and a loss curve of the reference models by PyTorch, in float64: what test_models compares with.

    golden.py > golden_models.txt

Each ONNX graph is run by a small interpreter over torch, so that what is differentiated is the file itself. Needs
torch, onnx, numpy, and Fashion-MNIST. Run by hand; the tests read the file."""
import os
import sys

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "python"))
import fashion  # noqa: E402

NAMES = ["mlp", "cnn", "resnet", "mobilenet", "lstm", "vit"]
BATCH, STEPS, PICKED = 16, 20, 32
RATE, MOMENTUM = 0.01, 0.9
SHRINK = 0.5  # the curve begins at the shipped weights times this: a loss that has far to fall
DTYPE = torch.float64


def ints(t):
    return [int(i) for i in t.reshape(-1)]


def pair_pads(x, pads, value=0.0):
    n = len(pads) // 2
    both = [p for i in range(n - 1, -1, -1) for p in (pads[i], pads[i + n])]
    return F.pad(x, both, value=value) if any(both) else x


def conv(a, x, w, b=None):
    x = pair_pads(x, a.get("pads", [0] * 4))
    return F.conv2d(x, w, b, a.get("strides", 1), 0, a.get("dilations", 1), a.get("group", 1))


def max_pool(a, x):
    x = pair_pads(x, a.get("pads", [0] * 4), -float("inf"))
    return F.max_pool2d(x, a["kernel_shape"], a.get("strides", 1), ceil_mode=bool(a.get("ceil_mode", 0)))


def gemm(a, x, w, c=None):
    x = x.T if a.get("transA", 0) else x
    w = w.T if a.get("transB", 0) else w
    y = a.get("alpha", 1.0) * (x @ w)
    return y if c is None else y + a.get("beta", 1.0) * c


def lstm(a, x, w, r, b, lengths, h, c):
    """Gates in ONNX's order: input, output, forget, cell."""
    assert lengths is None and a.get("direction", b"forward") == b"forward"
    n = a["hidden_size"]
    w, r, b, h, c = w[0], r[0], b[0][:4 * n] + b[0][4 * n:], h[0], c[0]
    out = []
    for t in range(x.shape[0]):
        i, o, f, g = (x[t] @ w.T + h @ r.T + b).split(n, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        out.append(h)
    return torch.stack(out)[:, None], h[None], c[None]


def reshape(a, x, shape):
    return x.reshape([x.shape[i] if d == 0 else d for i, d in enumerate(ints(shape))])


def squeeze(a, x, axes):
    for i in sorted((i % x.dim() for i in ints(axes)), reverse=True):
        x = x.squeeze(i)
    return x


def slice_(a, x, starts, ends, axes):
    (start,), (end,), (axis,) = ints(starts), ints(ends), ints(axes)
    return x.narrow(axis, start, min(end, x.shape[axis]) - start)


def gather(a, x, index):
    axis = a.get("axis", 0)
    y = x.index_select(axis, index.reshape(-1) % x.shape[axis])
    return y.reshape(x.shape[:axis] + index.shape + x.shape[axis:][1:])


OPS = {
    "Conv": conv, "MaxPool": max_pool, "Gemm": gemm, "LSTM": lstm, "Reshape": reshape,
    "Squeeze": squeeze, "Slice": slice_, "Gather": gather,
    "Relu": lambda a, x: torch.relu(x),
    "Clip": lambda a, x, lo, hi: torch.clamp(x, lo.item(), hi.item()),
    "Erf": lambda a, x: torch.erf(x),
    "Softmax": lambda a, x: torch.softmax(x, a.get("axis", -1)),
    "Add": lambda a, x, y: x + y,
    "Mul": lambda a, x, y: x * y,
    "Div": lambda a, x, y: x / y,
    "MatMul": lambda a, x, y: x @ y,
    "Flatten": lambda a, x: x.flatten(a.get("axis", 1)),
    "GlobalAveragePool": lambda a, x: x.mean((2, 3), keepdim=True),
    "ReduceMean": lambda a, x: x.mean(a["axes"], keepdim=bool(a.get("keepdims", 1))),
    "Transpose": lambda a, x: x.permute(a["perm"]),
    "Unsqueeze": lambda a, x, axes: x.unsqueeze(ints(axes)[0]),
    "Concat": lambda a, *x: torch.cat(x, a["axis"]),
    "Split": lambda a, x, sizes: x.split(ints(sizes), a.get("axis", 0)),
    "Shape": lambda a, x: torch.tensor(x.shape),
    "LayerNormalization": lambda a, x, s, b: F.layer_norm(x, x.shape[a["axis"]:], s, b, a["epsilon"]),
}


def tensor(t):
    x = torch.from_numpy(numpy_helper.to_array(t).copy())
    return x.to(DTYPE) if x.is_floating_point() else x


class Model:
    def __init__(self, path, shrink=1.0):
        self.graph = onnx.load(path).graph
        self.weights = {t.name: tensor(t) * shrink for t in self.graph.initializer}
        for w in self.weights.values():
            assert w.is_floating_point()
            w.requires_grad_()

    def __call__(self, x):
        values = dict(self.weights)
        values[self.graph.input[0].name] = x
        values[""] = None
        for node in self.graph.node:
            a = {i.name: onnx.helper.get_attribute_value(i) for i in node.attribute}
            if node.op_type == "Constant":
                y = tensor(a["value"])
            elif node.op_type == "ConstantOfShape":
                y = torch.full(ints(values[node.input[0]]), numpy_helper.to_array(a["value"]).item(), dtype=DTYPE)
            else:
                y = OPS[node.op_type](a, *[values[i] for i in node.input])
            values.update(zip(node.output, y if isinstance(y, tuple) else [y]))
        return values[self.graph.output[0].name]


def picked(count):
    """Positions that are looked at: spread over the whole by a golden section, the same in the test."""
    return [(i * 2654435761 + 12345) % count for i in range(min(PICKED, count))]


def step(path, images, labels, first):
    model = Model(path)
    at = slice(first, first + BATCH)
    loss = F.cross_entropy(model(images[at].to(DTYPE)), labels[at])
    loss.backward()
    return loss.item(), {name: w.grad.reshape(-1) for name, w in model.weights.items()}


def curve(path, images, labels, first):
    model = Model(path, SHRINK)
    optimizer = torch.optim.SGD(model.weights.values(), RATE, MOMENTUM)
    losses = []
    for i in range(STEPS):
        at = slice(first + i * BATCH, first + (i + 1) * BATCH)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images[at].to(DTYPE)), labels[at])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def both(f, *args):
    """In float64 and in float32."""
    global DTYPE
    ret = []
    for DTYPE in (torch.float64, torch.float32):
        ret.append(f(*args))
    return ret


def smooth(f, apart, *args):
    """f from the first batch at which rounding does not move a value across a kink (ReLU6 at 6, a pool's tie): there
    a gradient jumps, and float32 by itself is off by more than any tolerance. Returns batch and result."""
    for first in range(0, 40 * BATCH, BATCH):
        exact, rounded = both(f, *args, first)
        worst = apart(exact, rounded)
        print("%s: batch %d, float32 differs by %.3g" % (f.__name__, first // BATCH, worst), file=sys.stderr)
        if worst < 1e-5:
            return first, exact
    sys.exit("no batch without kinks")


def grads_apart(a, b):
    return max((a[1][k] - b[1][k].double()).norm() / a[1][k].norm() for k in a[1]).item()


def curves_apart(a, b):
    return max(abs(x / y - 1) for x, y in zip(a, b))


def main():
    images, labels = fashion.load("train")
    images, labels = torch.from_numpy(images), torch.from_numpy(labels)
    for name in NAMES:
        path = os.path.join(HERE, "..", "..", "models", "fashion-%s.onnx" % name)
        first, (loss, grads) = smooth(step, grads_apart, path, images, labels)
        print("model fashion-%s %d" % (name, len(grads)))
        print("step %d %.12g" % (first, loss))
        for key, g in grads.items():
            at = picked(g.numel())
            print("weight %s %d %d %.9g" % (key, g.numel(), len(at), g.norm().item()))
            print(" ".join("%.9g" % g[i].item() for i in at))
        first, losses = smooth(curve, curves_apart, path, images, labels)
        print("curve %d %d" % (first, STEPS))
        print(" ".join("%.9g" % i for i in losses))


if __name__ == "__main__":
    main()
