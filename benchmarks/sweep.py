"""What does a sweep cost over the forward pass alone? Prints a Markdown table.

    python benchmarks/sweep.py --nets resnet18 vgg16 googlenet --batch 32 --rounds 7 --threads 1

Random networks of the zoo, their batch norm calibrated on one batch; normal random images. All variants take turns within
each round, in one process, and the median over rounds is given. With one thread the clock is the process's CPU time, which
other processes disturb less; with more it is the wall clock. Newcomers among the strongest images cost most at the start of
a collection and become rare as 1/N: the figures are for the first `batch · rounds` images, so on the safe side.

    bare           the fast private copy (channels-last, batch norm folded) without looking at anything
    same copy      the copy that the variant runs on: convolutions that are looked at keep their batch norm
    naive          the user's own module, eager, NCHW, under no_grad
    whole sweep    `Sweep()` on a collection in memory, its preparation, decoding and files included, over the naive loop on
                   the same batches of the same collection, decoding included
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope import record, registry
from convscope.data import Collection, open_collection
from convscope.fast import Fast, fast
from convscope.glance import Glance
from convscope.images import PRESETS
from convscope.network import Network, units_of
from convscope.results import Layer
from convscope.sweep import Sweep
from convscope.tally import Tally

TOP, CLASSES = 9, 10
WANTED = {"top, convolutions": 1.05, "moments, convolutions": 1.10, "moments, every layer": 1.15, "all, every layer": None}
WANTED_GOOGLENET = {"moments, every layer": 1.30}


def calibrated(name: str, x: Tensor) -> nn.Module:
    """A random network whose batch norms hold the statistics of `x`, so that values neither vanish nor explode."""
    torch.manual_seed(0)
    model = registry.factory(name)()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(x)
    return model.eval()


class Variant:
    """A sweep's inner loop: one batch through a fast copy, tallies updated as values appear."""

    def __init__(self, net: Network, layers: list[Layer], measure: str) -> None:
        self.layers, self.measure = {layer.address for layer in layers}, measure
        self.quick: Fast = fast(net, self.layers)
        self.tallies = {layer.address: Tally(units_of(layer) or 0, TOP, CLASSES, measure == "all") for layer in layers}
        self.batch = 0

    def __call__(self, x: Tensor) -> None:
        index = np.arange(self.batch * len(x), (self.batch + 1) * len(x))

        seen: dict[str, Glance] = {}

        def see(layer: Layer, value: Tensor) -> None:
            value = value.movedim(layer.unit_axis or 1, 1)
            before = seen.get(layer.parents[0]) if layer.operator == "relu" else None
            one = self.tallies[layer.address]
            seen[layer.address] = one.update(value, self.batch, index, index % CLASSES, self.measure != "top", before)

        self.quick.run(x, see)
        self.batch += 1


def seconds(work: Callable[[], Any], clock: Callable[[], float]) -> float:
    before = clock()
    work()
    return clock() - before


def measure(name: str, asked: argparse.Namespace, clock: Callable[[], float]) -> list[str]:
    """Rows of the table for one network."""
    shape = (asked.batch, 3, asked.size, asked.size)
    first = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    model = calibrated(name, first)
    net = Network.open(model, first[:1])
    every = list(record.measurable(net.layers))
    convolutions = [layer for layer in every if layer.operator == "conv2d"]
    kinds = (("top", "convolutions"), ("moments", "convolutions"), ("moments", "every layer"), ("all", "every layer"))
    chosen = {"convolutions": convolutions, "every layer": every}
    variants = {f"{how}, {which}": Variant(net, chosen[which], how) for how, which in kinds}
    bare = fast(net, ())
    work: dict[str, Callable[[Tensor], Any]] = {"bare": bare.run, "naive": model.forward, **variants}
    work |= {f"same copy: {k}": v.quick.run for k, v in variants.items()}
    times: dict[str, list[float]] = {k: [] for k in work}
    for at in range(asked.warm + asked.rounds):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(at))
        for key, one in work.items():
            with torch.no_grad():
                spent = seconds(lambda one=one, x=x: one(x), clock)
            if at >= asked.warm:
                times[key].append(spent)
    median = {k: statistics.median(v) for k, v in times.items()}
    rows = [row(name, "naive", median["naive"], median, "", None)]
    wanted = WANTED | (WANTED_GOOGLENET if name == "googlenet" else {})
    return rows + [row(name, k, median[k], median, f"same copy: {k}", wanted[k]) for k in variants]


def row(name: str, what: str, spent: float, median: dict[str, float], same: str, wanted: float | None) -> str:
    over_same = f"{spent / median[same]:.3f}" if same else ""
    bound = "" if wanted is None else f"≤ {wanted:.2f}"
    over_bare, over_naive = spent / median["bare"], spent / median["naive"]
    return f"| {name} | {what} | {spent:.3f} | {over_bare:.3f} | {over_same} | {over_naive:.3f} | {bound} |"


def images(count: int, size: int) -> Collection:
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
    return open_collection([(one, k % CLASSES) for k, one in enumerate(pixels)], name="random")


def whole(name: str, batch: int, rounds: int, size: int, clock: Callable[[], float]) -> str:
    """The whole sweep over the user's own loop, on `rounds` batches; each once, after a batch to warm up."""
    import dataclasses

    preprocess = dataclasses.replace(PRESETS["imagenet"], size=(size, size), resize_to=None)
    model = calibrated(name, torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0)))
    net, found = Network.open(model, (3, size, size)), images(batch * rounds, size)

    def naive() -> None:
        with torch.no_grad():
            for one in found.batches(preprocess, batch):
                model(one.x)

    def sweep() -> None:
        with tempfile.TemporaryDirectory() as folder:
            Sweep(top=TOP, batch=batch)(net, found, preprocess, folder)

    with torch.no_grad():
        model(torch.zeros(batch, 3, size, size))
    own, ours = seconds(naive, clock), seconds(sweep, clock)
    return f"| {name} | whole sweep (all, every layer; {len(found)} images) | {ours:.2f} | | | {ours / own:.3f} | < 1.00 |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=["resnet18", "vgg16", "googlenet"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--warm", type=int, default=2, help="uncounted batches; they fill the lists of images")
    parser.add_argument("--batches", type=int, default=16, help="of the whole sweep")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    clock, said = (time.process_time, "CPU seconds") if asked.threads == 1 else (time.perf_counter, "wall seconds")
    print(f"{asked.threads} thread(s), batch {asked.batch}, {asked.size}×{asked.size}, float32, torch {torch.__version__}; "
          f"{said} a batch, median of {asked.rounds} interleaved rounds after {asked.warm} that are not counted\n")
    print("| network | what | seconds | over bare | over the same copy | over naive | wanted |")
    print("|---|---|---|---|---|---|---|")
    for name in asked.nets:
        rows = measure(name, asked, clock)
        print("\n".join([*rows, whole(name, asked.batch, asked.batches, asked.size, clock)]), flush=True)


if __name__ == "__main__":
    main()
