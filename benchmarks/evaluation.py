"""Deletion and insertion of every method on photographs: `benchmarks/evaluation.py [METHOD …]`

The trained SqueezeNet 1.1 and the 28 photographs of ../shared/data (227×227), each asked about its best class; one thread.
Every method as it is by default. `--images N` takes every (28/N)th photograph, for slow methods. A method beats a baseline
where the mean over the same photographs is better; ± is the standard error of the mean difference to the edge map.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convscope import registry, run
from convscope.errors import UsageError
from convscope.evaluations._baselines import BASELINES, baseline
from convscope.evaluations._case import Case
from convscope.evaluations.deletion import Deletion
from convscope.evaluations.insertion import Insertion
from convscope.network import Network

SHARED = Path(__file__).parents[2] / "shared/data"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=registry.names("attributions"))
    parser.add_argument("--images", type=int, default=28)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    sys.path.insert(0, str(SHARED))
    load = importlib.import_module("load")
    model, info = load.load_model("squeezenet1_1")
    photographs = sorted((SHARED / "images/imagenet").glob("*.JPEG"))
    chosen = photographs[:: len(photographs) // asked.images][: asked.images]
    images = [load.prepare(load.load_image(f"imagenet/{path.name}"), info) for path in chosen]
    net = Network.open(model, images[0])
    measures = (Deletion(), Insertion())

    def judged(method: Any) -> np.ndarray:
        """(2, N): deletion and insertion of each photograph."""
        found = []
        for x in images:
            target = run.target(net, None, x)
            case = Case(net, x, target, method(net, x, target), method)
            found.append([float(m(case).columns[m.name][0]) for m in measures])
        return np.array(found).T

    known = {name: judged(baseline(name, 0)) for name in BASELINES}
    head = ("deletion ↓", "over edges", "insertion ↑", "over edges", "beats both in", "s an image")
    print(f"| method ({len(images)} photographs) | {' | '.join(head)} |\n|" + "---|" * 7)
    for name, values in known.items():
        print(f"| *{name}* | {values[0].mean():.3f} | | {values[1].mean():.3f} | | | |", flush=True)
    for name in asked.methods:
        began = time.process_time()
        try:
            values = judged(registry.load("attributions", name)())
        except UsageError as reason:
            print(f"| {name} | does not apply: {reason.asked} | | | | | |", flush=True)
            continue
        took = (time.process_time() - began) / len(images)
        better = [all(sign * (values[i].mean() - other[i].mean()) > 0 for other in known.values())
                  for i, sign in ((0, -1), (1, 1))]
        beaten = [word for word, yes in zip(("deletion", "insertion"), better, strict=True) if yes]
        words = "both" if len(beaten) == 2 else "".join(beaten) or "–"
        over = values - known["edge map"]
        cells = [f"{v.mean():.3f} | {d.mean():+.3f} ± {d.std(ddof=1) / len(d)**0.5:.3f}"
                 for v, d in zip(values, over, strict=True)]
        print(f"| {name} | {cells[0]} | {cells[1]} | {words} | {took:.1f} |", flush=True)


if __name__ == "__main__":
    main()
