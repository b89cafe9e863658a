"""peak_torch.py STEP_PEAK MODEL...: planned memory of a training step beside PyTorch's peak of live tensors.

Cross entropy and SGD with momentum at batch 128, third step; the networks are those of train_torch.py. PyTorch's
number is the largest sum of the storages of all tensors alive between two operators: parameters, gradients, moments,
inputs, activations, results; what its kernels allocate inside is not seen, while ours has their scratch in it.
Run by hand with a Python that has torch: nothing else here needs it.
"""
import os
import subprocess
import sys
import weakref

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from train_torch import network


class Live(TorchDispatchMode):
    """Counts the bytes of storages alive."""

    def __init__(self):
        super().__init__()
        self.seen, self.now, self.peak = {}, 0, 0

    def drop(self, key):
        self.now -= self.seen.pop(key, 0)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for t in tree_flatten(out)[0]:
            s = t.untyped_storage() if isinstance(t, torch.Tensor) else None
            if s is None or s._cdata in self.seen or not s.nbytes():
                continue
            self.seen[s._cdata] = s.nbytes()
            self.now += s.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(s, self.drop, s._cdata)
        return out


def peak(name, batch):
    with Live() as live:
        net = network(name)
        optim = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.9)
        x, y = torch.rand(batch, 1, 28, 28), torch.arange(batch) % 10
        for _ in range(3):
            live.peak = live.now
            optim.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optim.step()
            del loss
    return live.peak


torch.set_num_threads(1)
for path in sys.argv[2:]:
    ours = subprocess.run([sys.argv[1], path, '128'], capture_output=True, text=True, check=True).stdout.strip()
    print(f"{ours}; PyTorch {peak(os.path.basename(path).split('-')[1].split('.')[0], 128) / 1e6:.2f}", flush=True)
