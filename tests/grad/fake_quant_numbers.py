"""Write fake_quant_numbers.h: gradients of a small net with learned step sizes by torch, in doubles.

    python3 tests/grad/fake_quant_numbers.py > tests/grad/fake_quant_numbers.h

Convolution and dense layer of 4 bits with an activation of 4 bits before each, as LSQ's authors write it: round and
clamp by torch, the gradient of a step size times 1 / sqrt(n q). Number i of tensor k is sin(0.37 i i + k); a step size has
grown by exp(0.1).
"""
import math

import torch

torch.set_default_dtype(torch.float64)


def numbers(k, *shape):
    i = torch.arange(math.prod(shape), dtype=torch.float64)
    return torch.sin(0.37 * i * i + k).reshape(shape).float().double()


class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, by):
        ctx.by = by
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g * ctx.by, None


class Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.round(x)

    @staticmethod
    def backward(ctx, g):
        return g


def lsq(x, s, lo, hi, zero, n, shape=()):
    s = Scaled.apply(s, 1 / math.sqrt(n * max(hi - zero, zero - lo - 1)))
    s = s.reshape(shape) if shape else s
    return Round.apply((x / s).clamp(lo - zero, hi - zero)) * s


x = numbers(0, 2, 2, 5, 5)
w = numbers(1, 3, 2, 3, 3).requires_grad_()
v = numbers(2, 12, 4).requires_grad_()
start = dict(x=torch.tensor(0.15), w=torch.tensor([0.11, 0.13, 0.07]), r=torch.tensor(0.3),
             v=torch.tensor([0.12, 0.09, 0.1, 0.14]))
start = {k: t.float().double() for k, t in start.items()}
grow = torch.tensor(0.1).float().double()
s = {k: (t * torch.exp(grow)).requires_grad_() for k, t in start.items()}

y = torch.nn.functional.conv2d(lsq(x, s["x"], 0, 15, 7, 50), lsq(w, s["w"], -8, 7, 0, 18, (3, 1, 1, 1)),
                               numbers(4, 3) / 8, stride=2)
r = lsq(torch.relu(y), s["r"], 0, 15, 0, 12)
y = r.reshape(2, 12) @ lsq(v, s["v"], -7, 7, 0, 12)
loss = (y * numbers(3, 2, 4) / 16).sum()
loss.backward()


def put(name, t):
    print("#define %s {%s}" % (name, ", ".join(repr(float(e)) for e in t.reshape(-1))))


print("/* Made by fake_quant_numbers.py. */")
print("/* clang-format off */")
put("LSQ_LOSS", loss.detach())
put("LSQ_DW", w.grad)
put("LSQ_DV", v.grad)
for k in s:  # of the growth: ds / start, times s / start, within 1
    put("LSQ_D" + k.upper() + "_SCALE", (s[k].grad / start[k] * s[k].detach() / start[k]).clamp(-1, 1))
print("/* clang-format on */")
