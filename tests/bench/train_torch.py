"""train_torch.py TIME_TRAIN MODEL...: steps of training timed beside PyTorch, 1 thread each, turn and turn about.

Forward, cross entropy, backward and plain SGD at batch 128 on random images; the networks are those of models/ as
PyTorch would write them. Prints images per second of both (median of the steps, CPU time) and their ratio.
Run by hand with a Python that has torch: nothing else here needs it.
"""
import argparse
import os
import statistics
import subprocess
import time

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.a = nn.Conv2d(i, o, 3, stride, 1)
        self.b = nn.Conv2d(o, o, 3, 1, 1)
        self.short = nn.Conv2d(i, o, 1, stride) if stride > 1 or i != o else nn.Identity()

    def forward(self, x):
        return F.relu(self.b(F.relu(self.a(x))) + self.short(x))


def resnet():
    layers, width = [nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU()], 32
    for w, stride in ((32, 1), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1)):
        layers.append(Block(width, w, stride))
        width = w
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


class Inverted(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        e = 4 * i
        self.f = nn.Sequential(nn.Conv2d(i, e, 1), nn.ReLU6(), nn.Conv2d(e, e, 3, stride, 1, groups=e), nn.ReLU6(),
                               nn.Conv2d(e, o, 1))
        self.same = stride == 1 and i == o

    def forward(self, x):
        return x + self.f(x) if self.same else self.f(x)


def mobilenet():
    layers, width = [nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU6()], 16
    for w, stride in ((24, 1), (24, 1), (40, 2), (40, 1), (64, 2), (64, 1)):
        layers.append(Inverted(width, w, stride))
        width = w
    return nn.Sequential(*layers, nn.Conv2d(64, 192, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(192, 10))


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.out = nn.LSTM(28, 128, batch_first=True), nn.Linear(128, 10)

    def forward(self, x):
        return self.out(self.cell(x.squeeze(1))[0][:, -1])


class Layer(nn.Module):
    def __init__(self, d=64, heads=4):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.f1, self.f2, self.heads = nn.Linear(d, 4 * d), nn.Linear(4 * d, d), heads

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(self.n1(x)).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        a = ((q @ k.transpose(-1, -2)) * (d // self.heads) ** -0.5).softmax(-1)
        x = x + self.proj((a @ v).transpose(1, 2).reshape(b, n, d))
        return x + self.f2(F.gelu(self.f1(self.n2(x))))


class Vit(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch, self.pos = nn.Conv2d(1, 64, 4, 4), nn.Parameter(torch.zeros(1, 49, 64))
        self.layers = nn.Sequential(*[Layer() for _ in range(4)])
        self.norm, self.head = nn.LayerNorm(64), nn.Linear(64, 10)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2) + self.pos
        return self.head(self.norm(self.layers(x)).mean(1))


def network(name):
    if name == 'mlp':
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(),
                             nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    if name == 'cnn':
        return nn.Sequential(nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 5, padding=2),
                             nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3136, 256), nn.ReLU(), nn.Linear(256, 10))
    return {'resnet': resnet, 'mobilenet': mobilenet, 'lstm': Lstm, 'vit': Vit}[name]()


def main():
    p = argparse.ArgumentParser()
    p.add_argument('program')
    p.add_argument('models', nargs='+')
    p.add_argument('--steps', type=int, default=20)
    p.add_argument('--batch', type=int, default=128)
    args = p.parse_args()
    torch.set_num_threads(1)
    for path in args.models:
        name = os.path.basename(path).split('-')[1].split('.')[0]
        net, x = network(name), torch.rand(args.batch, 1, 28, 28)
        labels = torch.arange(args.batch) * 7 % 10
        update = torch.optim.SGD(net.parameters(), 1e-3)
        ours = subprocess.Popen([args.program, path, '--batch', str(args.batch), '--serve'], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True)
        mine, theirs = [], []
        for i in range(args.steps + 3):
            ours.stdin.write('run\n')
            ours.stdin.flush()
            answer = ours.stdout.readline()
            while answer.startswith('frozen'):
                print(answer.strip())
                answer = ours.stdout.readline()
            start = time.thread_time_ns()
            update.zero_grad()
            F.cross_entropy(net(x), labels).backward()
            update.step()
            if i >= 3:
                mine.append(int(answer))
                theirs.append(time.thread_time_ns() - start)
        ours.stdin.close()
        ours.wait()
        a, b = (args.batch / statistics.median(t) * 1e9 for t in (mine, theirs))
        print(f'{name}: {a:.0f} images/s, PyTorch {torch.__version__} {b:.0f}, ratio {a / b:.2f}', flush=True)


if __name__ == '__main__':
    main()
