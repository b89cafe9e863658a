"""train_gpu_torch.py --program TIME_TRAIN_GPU --models FOLDER: training on the GPU beside PyTorch, same card, same batch.

A step is forward, cross entropy, backward and SGD on random images that are on the device already for PyTorch, and
come from the host for mcompress. PyTorch eager and torch.compile, float32 (and with --precision tf32 or bf16, both
with that). Images per second of the median of several times ten steps, the ratio, and the most device memory of each.
"""
import argparse
import os
import re
import statistics
import subprocess
import sys
import time

import torch
from torch.nn import functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'bench'))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from train_torch import network  # noqa: E402

STEPS = 10


def theirs(name, batch, steps, compiled, precision):
    torch.manual_seed(0)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    net = network(name).cuda()
    x = torch.rand(batch, 1, 28, 28, device='cuda')
    labels = torch.arange(batch, device='cuda') * 7 % 10
    update = torch.optim.SGD(net.parameters(), 1e-3)

    def step():
        update.zero_grad()
        with torch.autocast('cuda', torch.bfloat16, enabled=precision == 'bf16'):
            loss = F.cross_entropy(net(x), labels)
        loss.backward()
        update.step()

    if compiled:
        net = torch.compile(net)
    times = []
    for i in range(steps + 3):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(STEPS):
            step()
        torch.cuda.synchronize()
        if i >= 3:
            times.append((time.perf_counter() - start) / STEPS)
    return batch / statistics.median(times), torch.cuda.max_memory_allocated()


def ours(program, path, batch, steps, precision):
    out = subprocess.run([program, path, '--batch', str(batch), '--steps', str(steps), '--device', 'cuda', '--precision',
                          precision], capture_output=True, text=True)
    speed = re.search(r': (\d+) images/s', out.stdout)
    memory = re.search(r': (\d+) bytes of device memory', out.stdout)
    if out.returncode or not speed or not memory:
        sys.exit(f'{program}: {out.stderr.strip() or out.stdout.strip()}')
    return float(speed[1]), int(memory[1])


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--program', required=True)
    p.add_argument('--models', required=True)
    p.add_argument('--precision', default='fp32', choices=['fp32', 'tf32', 'bf16'])
    p.add_argument('--batches', default='128,1024')
    p.add_argument('--steps', type=int, default=15)
    p.add_argument('--no-compile', action='store_true')
    args = p.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.precision != 'fp32'
    print(f'{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, {args.precision}')
    print('model      batch  images/s      eager  ratio    compile  ratio   MB of device memory: ours, eager')
    for name in ('mlp', 'cnn', 'resnet', 'mobilenet', 'lstm', 'vit'):
        for batch in map(int, args.batches.split(',')):
            mine, memory = ours(args.program, os.path.join(args.models, f'fashion-{name}.onnx'), batch, args.steps,
                                args.precision)
            eager, eager_memory = theirs(name, batch, args.steps, False, args.precision)
            try:
                compiled = 0 if args.no_compile else theirs(name, batch, args.steps, True, args.precision)[0]
            except Exception as e:  # a compiler that is missing is no reason to show nothing
                print(f'{name}: torch.compile: {str(e).splitlines()[0]}')
                compiled = 0
            print(f'{name:10} {batch:5} {mine:9.0f} {eager:10.0f} {mine / eager:6.2f} {compiled:10.0f} '
                  f'{mine / compiled if compiled else float("nan"):6.2f}   {memory / 1e6:.1f}, {eager_memory / 1e6:.1f}',
                  flush=True)


if __name__ == '__main__':
    main()
