"""Does a new head on old features beat the same network from nothing, when there are few images?

Two cases, several draws of the few images each; everything is measured on images that neither saw.

*digits*: the network of the demo, trained on all images of the digits 0 … 4; new classes 5 … 9, five images of each.
*squeezenet*: SqueezeNet 1.1 with its ImageNet weights; the ten classes of CIFAR-10, ten images of each, enlarged to 96 px.

`head`: `replace-head`, all features frozen. `stages`: the head alone, then all at a tenth of its rate. `scratch`: the same
network with random weights. All take the same number of epochs by the same optimiser, each at the best of the same rates.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared/data"
sys.path[:0] = [str(ROOT), str(DATA)]

from convscope import actions  # noqa: E402
from convscope.collection import Collection  # noqa: E402
from convscope.data import open_collection  # noqa: E402
from convscope.fit import FitSettings, evaluate, fit  # noqa: E402
from convscope.images import PRESETS, Preprocess  # noqa: E402
from convscope.network import Network  # noqa: E402

WAYS = ("scratch", "head", "stages")
RATES = (0.001, 0.003, 0.01, 0.03)


def few(images: Collection, each: int, seed: int) -> tuple[Collection, Collection]:
    """`each` images of every class drawn by `seed`, and all others."""
    order = np.random.default_rng(seed).permutation(len(images))
    taken = np.concatenate([order[images.labels[order] == k][:each] for k in np.unique(images.labels)])
    return images.take(np.sort(taken)), images.take(np.setdiff1d(order, taken))


def accuracies(trained: Network, fresh: Any, images: Collection, each: int, how: dict[str, Any]) -> dict[str, list[float]]:
    """Accuracy of each way on the other images, one a draw. `fresh(seed)`: the same network with random weights."""
    found: dict[str, list[float]] = {f"{way}, rate {rate:g}": [] for way in WAYS for rate in how["rates"]}
    epochs = how["epochs"]
    prepared = trained.preprocess
    assert prepared is not None
    cases = [(seed, way, rate) for seed in range(how["draws"]) for way in WAYS for rate in how["rates"]]
    for seed, way, rate in cases:
        train, test = few(images, each, seed)
        if way == "scratch":
            module = fresh(seed)
        else:
            module = actions.edit(trained, "replace-head", into=",".join(images.classes), seed=seed)[0].module
        assert module is not None
        more: dict[str, Any] = {"epochs": epochs}
        if way == "stages":
            more = {"stages": f"head:{epochs // 2},all:{epochs - epochs // 2}", "old_rate": 0.1}
        settings = FitSettings(batch_size=25, rate=rate, seed=seed, **more)
        fit(module, train, None, prepared, settings)
        key = f"{way}, rate {rate:g}"
        found[key].append(evaluate(module, test, prepared).accuracy)
        print(f"{images.name} draw {seed} {key}: {found[key][-1]:.3f}", file=sys.stderr, flush=True)
    best = [max((k for k in found if k.startswith(way)), key=lambda k: float(np.mean(found[k]))) for way in WAYS]
    return {key: found[key] for key in best}


def relabelled(images: Collection, name: str, classes: list[int]) -> Collection:
    """The images of these classes, numbered from 0."""
    part = images.take(np.flatnonzero(np.isin(images.labels, classes)))
    labels = np.searchsorted(classes, part.labels)
    return Collection(name, part.ids, labels, tuple(images.classes[k] for k in classes), part.read, part.sizes)


def digits(draws: int = 5, epochs: int = 40) -> dict[str, list[float]]:
    """The case of the digits."""
    every = open_collection("digits")
    old, new = (relabelled(every, f"digits {c[0]} to {c[-1]}", c) for c in ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9]))

    def fresh(seed: int) -> torch.nn.Module:
        from convscope.zoo.digits import digits as make

        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return make(num_classes=5)

    module = fresh(99)
    fit(module, old, None, PRESETS["digits"], FitSettings(epochs=10))
    net = actions.open(module, (1, 8, 8), preprocess=PRESETS["digits"])
    return accuracies(net, fresh, new, 5, {"epochs": epochs, "draws": draws, "rates": RATES})


def squeezenet(draws: int = 2, epochs: int = 12, rates: tuple[float, ...] = RATES[:3], side: int = 96,
               tested: int = 200) -> dict[str, list[float]]:
    """The case of SqueezeNet; it needs the folder shared/data."""
    import load  # pyright: ignore[reportMissingImports]

    pixels, labels = load.load_set("cifar10_train_lossless")
    pairs = list(zip(pixels, labels.tolist(), strict=True))[: tested + 150]
    images = open_collection(pairs, name="cifar10")
    images.classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    module, _ = load.load_model("squeezenet1_1")
    prepared = Preprocess(size=(side, side), resize="stretch", mean=(123.0, 117.0, 104.0), std=(1.0,), range=255)
    net = actions.open(module, (3, side, side), preprocess=prepared)

    def fresh(seed: int) -> torch.nn.Module:
        from convscope.zoo.squeezenet import squeezenet1_1

        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return squeezenet1_1(num_classes=10)

    return accuracies(net, fresh, images, 10, {"epochs": epochs, "draws": draws, "rates": rates})


def main() -> None:
    for case in (digits, *((squeezenet,) if DATA.exists() else ())):
        found = case()
        for way, values in found.items():
            spread = f"{min(values):.1%} to {max(values):.1%}"
            print(f"| {case.__name__} | {way} | {np.mean(values):.1%} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
