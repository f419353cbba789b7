"""What does watching cost? The same training loop bare, watched (sampled) and watched in full, interleaved in one run.

    python benchmarks/watch.py [--threads 1] [--rounds 9] [NET …]

`mlp` 64-64-64-10 on batches of 32 · `digits` a small CNN on 8×8, batch 64 · `resnet18` torchvision's at 32×32, batch 32; all
with Adam. A round trains `steps` steps each way, in turn, from the same weights; ratios are of CPU seconds, the median over
rounds of watched/bare in the same round. The watch's own beginning (4 windows that are looked at deeply) is within the time.
Page faults make the times of the middle one jump; MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ at 1073741824 calm them.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

import convscope as cs


def mlp() -> tuple[nn.Module, tuple[int, ...], int]:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), (32, 64), 1500


def digits() -> tuple[nn.Module, tuple[int, ...], int]:
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, 10))
    return net, (64, 1, 8, 8), 200


def resnet18() -> tuple[nn.Module, tuple[int, ...], int]:
    from tests.torchvision_shim import torchvision

    return torchvision().models.resnet18(weights=None, num_classes=10), (32, 3, 32, 32), 25


NETS = {"mlp": mlp, "digits": digits, "resnet18": resnet18}
WAYS: dict[str, dict[str, Any] | None] = {"bare": None, "sampled": {}, "full": {"full": True}}


def train(start: nn.Module, shape: tuple[int, ...], steps: int, how: dict[str, Any] | None) -> tuple[float, list[Any]]:
    """CPU seconds of a training run, and the weights at its end."""
    model = copy.deepcopy(start)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    torch.manual_seed(0)
    x, y = torch.randn(8, *shape), torch.randint(10, (8, shape[0]))
    began = time.process_time()
    with contextlib.nullcontext() if how is None else cs.watch(model, optimizer, **how):
        for k in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(x[k % 8]), y[k % 8]).backward()
            optimizer.step()
    return time.process_time() - began, list(model.state_dict().values())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("nets", nargs="*", default=list(NETS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print("| network | steps | ms a step, bare | sampled / bare (wanted ≤ 1.03) | full / bare (wanted ≤ 1.10) | weights |")
    print("|---|---|---|---|---|---|")
    for name in given.nets:
        torch.manual_seed(0)
        model, shape, steps = NETS[name]()
        for how in WAYS.values():
            train(model, shape, max(3, steps // 10), how)  # warm
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        equal = True
        for r in range(given.rounds):
            ends = {}
            ways = list(WAYS)[r % 3:] + list(WAYS)[: r % 3]  # nobody is always first
            for way in ways:
                took, ends[way] = train(model, shape, steps, WAYS[way])
                seconds[way].append(took)
            equal &= all(torch.equal(a, b) for way in WAYS for a, b in zip(ends["bare"], ends[way], strict=True))
        ratios = {way: statistics.median(s / b for s, b in zip(seconds[way], seconds["bare"], strict=True)) for way in WAYS}
        ms = 1000 * statistics.median(seconds["bare"]) / steps
        print(f"| {name} | {steps} | {ms:.2f} | {ratios['sampled']:.3f} | {ratios['full']:.3f} "
              f"| {'bit-equal' if equal else 'DIFFER'} |", flush=True)


if __name__ == "__main__":
    main()
