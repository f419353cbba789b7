"""How far is the readable engine from torch? Seconds per training step of a network of the zoo. Prints a Markdown table.

    python benchmarks/glass.py --net lenet5 --batch 64 --threads 1 --rounds 7 --steps 10

A step is forward, backward and one step of SGD with momentum, in float32, on random images. Both engines take turns within
each round, in one process, with the same number of threads (torch's own, and BLAS's for NumPy); the median over rounds is
given. `--layers` adds the share of each operation of the NumPy engine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections import defaultdict
from typing import Any

parser = argparse.ArgumentParser(description="Seconds per training step, NumPy engine and torch.")
parser.add_argument("--net", default="lenet5")
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--rounds", type=int, default=7)
parser.add_argument("--steps", type=int, default=10, help="steps timed together in each round")
parser.add_argument("--layers", action="store_true", help="what the time goes to")


def main() -> None:
    """Time both engines in turns."""
    asked = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # read when the libraries are loaded
        os.environ[name] = str(asked.threads)
    import numpy as np
    import torch

    from convscope import descent, glass_training, registry
    from convscope.mechanics.engine import trainable
    from convscope.recipe import FitSettings

    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    module = registry.factory(asked.net)()
    x = torch.rand(asked.batch, *inputs(asked.net))
    labels = torch.randint(10, (asked.batch,))
    box = glass_training.in_training(trainable(module, x[:1], asked.net).astype(np.float32))
    moving = descent.make(FitSettings(optimizer="sgd", rate=0.01, momentum=0.9))
    optimizer = torch.optim.SGD(module.train().parameters(), lr=0.01, momentum=0.9)
    parameters: dict[str, Any] = dict(box.parameters)
    pixels, targets = x.numpy(), labels.numpy()

    def ours() -> None:
        done = glass_training.step(box, parameters, pixels, targets)
        parameters.update(moving.step({name: parameters[name] for name in box.learned}, done.gradients, 0.01))

    def torchs() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(x), labels).backward()
        optimizer.step()

    seconds: dict[str, list[float]] = {"NumPy": [], "torch": []}
    for round_ in range(asked.rounds + 1):
        for name, step in (("NumPy", ours), ("torch", torchs)):
            started = time.perf_counter()
            for _ in range(asked.steps):
                step()
            if round_:  # the first one warms up
                seconds[name].append((time.perf_counter() - started) / asked.steps)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    print("| network | batch | threads | NumPy, s a step | torch, s a step | ratio |\n|---|---|---|---|---|---|")
    print(f"| {asked.net} | {asked.batch} | {asked.threads} | {median['NumPy']:.5f} | {median['torch']:.5f} | "
          f"{median['NumPy'] / median['torch']:.2f} |")
    if asked.layers:
        for name, spent in shares(box, parameters, pixels, targets, asked.steps):
            print(f"{name:<28} {1000 * spent:8.3f} ms")


def inputs(name: str) -> tuple[int, ...]:
    """(C, H, W) that a network of the zoo reads."""
    from convscope import registry

    return sys.modules[registry.factory(name).__module__].INPUTS[name]


def shares(box: Any, parameters: Any, x: Any, labels: Any, steps: int) -> list[tuple[str, float]]:
    """Seconds a step of each call, forward and backward, largest first."""
    import dataclasses

    from convscope import glass_training

    spent: dict[str, float] = defaultdict(float)

    def timed(operator: Any, name: str) -> Any:
        class Timed(type(operator)):
            def forward(self, *arrays: Any, **named: Any) -> Any:
                started = time.perf_counter()
                value = super().forward(*arrays, **named)
                spent[f"{name} forward"] += (time.perf_counter() - started) / steps
                return value

            def backward_for(self, needed: Any, delta: Any, *arrays: Any, **named: Any) -> Any:
                started = time.perf_counter()
                value = super().backward_for(needed, delta, *arrays, **named)
                spent[f"{name} backward"] += (time.perf_counter() - started) / steps
                return value

        return Timed(**{f.name: getattr(operator, f.name) for f in dataclasses.fields(operator)})

    calls = tuple(dataclasses.replace(c, operator=timed(c.operator, c.name)) for c in box.calls if c.operator is not None)
    watched = dataclasses.replace(box, calls=calls)
    for _ in range(steps):
        glass_training.step(watched, parameters, x, labels)
    return sorted(spent.items(), key=lambda each: -each[1])


if __name__ == "__main__":
    main()
