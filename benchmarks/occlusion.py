"""What does an occlusion map cost? convscope, captum and plain loops, in one run: `benchmarks/occlusion.py resnet18 …`

For one image at 224×224 (inception_v3: 299×299), torchvision's architecture with seeded random weights:

    captum      captum.attr.Occlusion, 32 windows a pass, on the module as it is
    naive       a loop over batches of 32 covered images on the module as it is
    best loop   the same loop on a folded, channels-last copy: formatting without the algorithm
    exact       convscope, everything counted: the copy, the clean pass, the changed passes
    again       the same for a second image of the same network (the copy is there)
    fast        convscope's bfloat16 differences (approximate), everything counted

Plain loops and captum cost the same for every window; they are timed on `--sample` windows and scaled to all of them
(`--whole` runs them all). Times are CPU seconds of this process (`--wall`: wall-clock), medians of `--repeats`.
`bound`: a pass's MACs over those that a window can change; `reached`: (best loop / exact) / bound.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.torchvision_shim import torchvision

from convscope.attributions._covered import covered
from convscope.attributions.occlusion import spread, windows
from convscope.fast import fast
from convscope.incremental.deltas import Differences
from convscope.incremental.executor import Incremental
from convscope.network import Network

BATCH = 32


def opened(name: str) -> tuple[torch.nn.Module, Network, torch.Tensor]:
    """Torchvision's architecture with seeded weights and batch norm statistics of one batch, and an image."""
    options: dict[str, Any] = {"googlenet": {"init_weights": True, "aux_logits": False},
                               "inception_v3": {"init_weights": True, "aux_logits": False}}.get(name, {})
    torch.manual_seed(0)
    module = getattr(torchvision().models, name)(weights=None, **options)
    size = 299 if name == "inception_v3" else 224
    with torch.no_grad():  # so that values keep their size through the depth, as in a trained network
        for part in module.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.momentum = None
        module.train()(torch.randn(4, 3, size, size))
    module.eval()
    return module, Network.open(module, (3, size, size)), torch.randn(1, 3, size, size)


def timed(work: Callable[[], Any], clock: Callable[[], float], repeats: int) -> tuple[float, Any]:
    took, found = [], None
    for _ in range(repeats):
        began = clock()
        found = work()
        took.append(clock() - began)
    return statistics.median(took), found


def measure(name: str, window: int, stride: int, asked: argparse.Namespace) -> dict[str, Any]:
    module, net, x = opened(name)
    clock = time.perf_counter if asked.wall else time.process_time
    places = windows(x.shape[2], x.shape[3], window, stride)
    filled = torch.zeros_like(x)
    some = places if asked.whole else places[:: max(1, len(places) // asked.sample)][: asked.sample]
    scale = len(places) / len(some)
    with torch.no_grad():
        target = int(module(x).argmax())

    def loop(run: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        with torch.inference_mode():
            return torch.cat([run(covered(x[0], some[a : a + BATCH], filled[0]))[:, target]
                              for a in range(0, len(some), BATCH)])

    def peer() -> Any:
        from captum.attr import Occlusion

        side, step = (window, stride) if asked.whole else (spacing(), spacing())
        return Occlusion(module).attribute(x, (3, side, side), strides=(3, step, step), target=target,
                                           perturbations_per_eval=BATCH)

    def spacing() -> int:
        """About as many windows as the sample, spread over the image: captum has no way to take single ones."""
        return max(stride, round(x.shape[2] / max(1, round(len(some) ** 0.5))))

    def counted() -> int:
        return len(places) if asked.whole else len(windows(x.shape[2], x.shape[3], spacing(), spacing()))

    def ours(kind: type[Incremental]) -> tuple[Incremental, torch.Tensor]:
        passes = kind(net, x)
        return passes, passes.covered(places, filled, asked.batch, read=lambda v: v[:, target])

    copy = fast(net, ())
    ours(Incremental)  # warm
    exact, (passes, values) = timed(lambda: ours(Incremental), clock, asked.repeats)
    quick, (_, rough) = timed(lambda: ours(Differences), clock, asked.repeats)
    best, _ = timed(lambda: loop(lambda b: copy.run(b)), clock, asked.repeats)
    naive, plain = timed(lambda: loop(module), clock, asked.repeats)
    captum, _ = timed(peer, clock, asked.repeats)
    captum *= len(places) / counted()
    best, naive = best * scale, naive * scale
    size = tuple(x.shape[2:])
    height, width = size
    drops = [spread((passes.clean[0, target] - v).double().numpy()[None], places, (height, width)) for v in (values, rough)]
    agreement = float(np.corrcoef([d.ravel() for d in drops])[0, 1])
    bound = passes.bound(places)
    index = [places.index(p) for p in some]
    return {"network": name, "window": window, "stride": stride, "windows": len(places), "captum": captum / exact,
            "naive": naive / exact, "best loop": best / exact, "bound": 1 / bound, "reached": best / exact * bound,
            "fast": captum / quick, "agreement": agreement, "difference": float((values[index] - plain).abs().max()),
            "seconds": exact}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=["vgg16", "resnet18", "resnet50", "googlenet", "mobilenet_v2"])
    parser.add_argument("--windows", type=int, nargs="*", default=[16, 32])
    parser.add_argument("--strides", type=int, nargs="*", default=[8, 16])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sample", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--wall", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    head = ("network", "window", "stride", "windows", "captum", "naive", "best loop", "bound", "reached", "fast",
            "agreement", "difference", "seconds")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head), flush=True)
    for name in asked.networks:
        for window in asked.windows:
            for stride in asked.strides:
                row = measure(name, window, stride, asked)
                print("| " + " | ".join(f"{row[k]:.4g}" if isinstance(row[k], float) else str(row[k]) for k in head) + " |",
                      flush=True)


if __name__ == "__main__":
    main()
