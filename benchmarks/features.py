"""What does a step of feature visualisation cost? convscope, Lucent and the bare passes, in one run.

    benchmarks/features.py resnet18:layer1 resnet18:layer4 vgg16:features.28     cost
    benchmarks/features.py --converge squeezenet1_1 vgg-type                     `converging.py`

For one channel of a layer, on an image of `--size` px (224), Lucid's moves, Fourier coefficients, decorrelated colour:

    lucent      a step of lucent.optvis.render.render_vis, its defaults but for the size; one image
    convscope   a step of `synthesis.loop.Ascent`, per image, in batches of `--batch`
    bare        forward and backward to the input, same cut (folded, channels-last, frozen), same batch, per image
    neuron      a step of the neuron objective on its own canvas, per image

Step cost: (time of 1 + `--steps` steps − time of 1 step) / `--steps`: what is prepared once does not count. CPU
seconds of this process (`--wall`: wall-clock), medians of `--repeats` rounds in turn.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from converging import CASES, converge
from tests.torchvision_shim import torchvision

from convscope.images import PRESETS
from convscope.network import Network
from convscope.synthesis.colours import IMAGENET
from convscope.synthesis.forward import Cut
from convscope.synthesis.image import Image, Reading
from convscope.synthesis.loop import Ascent, Wanted
from convscope.synthesis.objective import Channel, Neuron
from convscope.synthesis.response import canvas_for
from convscope.synthesis.shake import LUCID

READ = Reading(PRESETS["imagenet"], 3)


def lucents(module: torch.nn.Module, layer: str, size: int) -> Callable[[int], Any]:
    from lucent.optvis import param, render

    name = layer.replace(".", "_")
    image = lambda: param.image(size)  # noqa: E731
    return lambda steps: render.render_vis(module, f"{name}:0", image, thresholds=(steps,), progress=False, show_image=False)


def ours(net: Network, layer: str, size: tuple[int, int], batch: int, kind: Any) -> Callable[[int], Any]:
    wanted = [Wanted(f"{layer}/{u}", kind(layer, u)) for u in range(batch)]
    image = Image("fourier", size, IMAGENET)
    return lambda steps: Ascent((net,), image, READ, LUCID, steps, batch=batch, settle=0.0)(wanted)


def bare(net: Network, layer: str, size: int, batch: int) -> Callable[[int], Any]:
    cut, x = Cut(net, [layer]), torch.randn(batch, 3, size, size).requires_grad_()

    def run(steps: int) -> None:
        for _ in range(steps):
            value = cut(x)[layer]
            torch.autograd.grad(value[torch.arange(batch), torch.arange(batch)].mean(), x)

    return run


def cost(case: str, asked: argparse.Namespace) -> str:
    name, _, prefix = case.partition(":")
    torch.manual_seed(0)
    module = getattr(torchvision().models, name)(weights=None).eval()
    for p in module.parameters():
        p.requires_grad_(True)  # as a user has it
    net = Network.open(module, (3, asked.size, asked.size), name)
    inside = [one.address for one in net.layers if one.address == prefix or one.address.startswith(prefix + ".")]
    layer, theirs = inside[-1], prefix
    clock = time.perf_counter if asked.wall else time.process_time
    runs = {"lucent": (lucents(module, theirs, asked.size), 1),
            "convscope": (ours(net, layer, (asked.size, asked.size), asked.batch, Channel), asked.batch),
            "bare": (bare(net, layer, asked.size, asked.batch), asked.batch),
            "neuron": (ours(net, layer, canvas_for(net, net[layer]), asked.batch, Neuron), asked.batch)}
    took: dict[str, list[float]] = {key: [] for key in runs}
    for _ in range(asked.repeats):
        for key, (run, images) in runs.items():
            times = []
            for steps in (1, 1 + asked.steps):
                began = clock()
                run(steps)
                times.append(clock() - began)
            took[key].append((times[1] - times[0]) / asked.steps / images * 1000)
    ms = {key: statistics.median(values) for key, values in took.items()}
    side = canvas_for(net, net[layer])
    return (f"| {name} {prefix} | " + " | ".join(f"{ms[k]:.1f}" for k in ("lucent", "convscope", "bare"))
            + f" | {ms['convscope'] / ms['lucent']:.2f} | {ms['convscope'] / ms['bare']:.2f} | {ms['neuron']:.1f} "
            f"({side[0]}×{side[1]}) |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help="network:module, or with --converge names of trained networks")
    parser.add_argument("--converge", action="store_true", help=f"of {', '.join(CASES)}")
    parser.add_argument("--channels", type=int, default=48, help="with --converge: live channels of a layer, sampled")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--wall", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.converge:
        converge(asked.cases or list(CASES), asked.channels)
        return
    print("| network, layer | lucent, ms | convscope, ms | bare, ms | over lucent | over bare | neuron, ms (canvas) |\n"
          "|---|---|---|---|---|---|---|")
    for case in asked.cases or [*(f"resnet18:layer{i}" for i in range(1, 5)), "vgg16:features.28"]:
        print(cost(case, asked), flush=True)


if __name__ == "__main__":
    main()
