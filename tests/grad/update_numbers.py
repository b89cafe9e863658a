"""Write update_numbers.h: parameters after five steps of torch.optim, in doubles.

    python3 tests/grad/update_numbers.py > tests/grad/update_numbers.h

Six parameters decay and two do not; parameter k begins at cos(k + 1), its gradient in step t is
sin(k + 1 + 3 t). The average is one of torch.optim.swa_utils.AveragedModel's kind with the warm-up of
tf.train.ExponentialMovingAverage, written out here.
"""
import torch

torch.set_default_dtype(torch.float64)

CASES = [
    ("SGD", torch.optim.SGD, dict(lr=0.1), 0, 0),
    ("MOMENTUM", torch.optim.SGD, dict(lr=0.1, momentum=0.9), 0, 0),
    ("NESTEROV", torch.optim.SGD, dict(lr=0.1, momentum=0.9, nesterov=True), 0.01, 0),
    ("CLIPPED", torch.optim.SGD, dict(lr=0.1, momentum=0.5), 0.1, 0.75),
    ("ADAM", torch.optim.Adam, dict(lr=0.01, betas=(0.9, 0.999), eps=1e-8), 0, 0),
    ("ADAM_DECAY", torch.optim.Adam, dict(lr=0.01, betas=(0.8, 0.99), eps=1e-3), 0.1, 0.5),
    ("ADAMW", torch.optim.AdamW, dict(lr=0.01, betas=(0.9, 0.999), eps=1e-8), 0.1, 0),
]


def run(kind, opts, decay, clip):
    k = torch.arange(8) + 1.0
    w = torch.nn.Parameter(torch.cos(k[:6]))
    b = torch.nn.Parameter(torch.cos(k[6:]))
    optim = kind([dict(params=[w], weight_decay=decay), dict(params=[b], weight_decay=0)], **opts)
    mean = torch.cat([w, b]).detach().clone()
    norm = 0
    for t in range(1, 6):
        g = torch.sin(k + 3 * t)
        w.grad, b.grad = g[:6].clone(), g[6:].clone()
        norm = torch.nn.utils.clip_grad_norm_([w, b], clip or float("inf"))
        optim.step()
        d = min(0.3, (1 + t) / (10 + t))
        mean = d * mean + (1 - d) * torch.cat([w, b]).detach()
    return torch.cat([w, b]).detach(), mean, norm


def row(x):
    return "{" + ", ".join(repr(float(v)) for v in x) + "}"


print("/* Made by update_numbers.py. */\n/* clang-format off */")
for name, kind, opts, decay, clip in CASES:
    params, mean, norm = run(kind, opts, decay, clip)
    print(f"#define {name}_PARAMS {row(params)}")
    print(f"#define {name}_AVERAGE {row(mean)}")
    print(f"#define {name}_NORM {float(norm)!r}")
