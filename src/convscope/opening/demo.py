"""Open `demo:digits`: the network of `convscope demo`, trained on scikit-learn's 1,797 handwritten digits in seconds.

`demo:planted` is trained on images whose evidence is known (`convscope.planted`), to see which attributions find it;
`demo:faces` on scikit-image's 200 patches, half of them faces, to find faces in photographs (`convscope scan`).
Each is trained on this machine at the first use and kept in the user's cache folder (`XDG_CACHE_HOME`, else `~/.cache`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from convscope.errors import unknown
from convscope.network import Network
from convscope.opening import Source, read_classes
from convscope.results import Run

# network, collection, preprocessing (None: 0 … 1), settings of the training
RECIPES: dict[str, tuple[str, str, str | None, dict[str, object]]] = {
    "digits": ("zoo:digits", "digits", None, {}),
    "planted": ("zoo:planted", "planted", "signed", {"epochs": 8}),
    "faces": ("zoo:faces", "faces", "faces", {}),
}


def cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "convscope"


def find(name: str) -> Source:
    """The trained network, from the cache if it is there."""
    _known(name)
    folder = cache() / f"demo-{name}"
    if not (folder / "weights.safetensors").exists():
        network(name)
    from convscope.images import Preprocess
    from convscope.opening import weights, zoo

    source = zoo.find(RECIPES[name][0].removeprefix("zoo:"))
    module, _ = weights.load_into(source.module, folder / "weights.safetensors")
    return Source(
        module,
        f"demo:{name}",
        source.example,
        Preprocess.load(folder / "preprocess.json"),
        read_classes(folder / "classes.txt"),
        folder=folder,
    )


def network(name: str, progress: Callable[[int, int, str], None] | None = None) -> tuple[Network, Run]:
    """Train it anew, keep it in the cache, and open it; with the record of the training."""
    import dataclasses

    from convscope import training
    from convscope.images import preset

    _known(name)
    reference, images, prepared, settings = RECIPES[name]
    folder = cache() / f"demo-{name}"
    if name == "faces":
        return _detector(folder, progress)
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    net, run = training.train(
        reference,
        images,
        held_out=0.2,
        out=folder,
        progress=progress,
        preprocess=None if prepared is None else preset(prepared),
        weights=None,
        settings=settings,
    )
    return dataclasses.replace(net, name=f"demo:{name}", reference=f"demo:{name}"), run


def _detector(folder: Path, progress: Callable[[int, int, str], None] | None) -> tuple[Network, Run]:
    """Faces are trained twice, the second time with the mistakes of the first (`dense/mining.py`)."""
    from convscope import training
    from convscope.dense import mining
    from convscope.images import preset
    from convscope.opening import zoo

    source, preprocess = zoo.find("faces"), preset("faces")
    run, patches = mining.train_on_faces(source.module, preprocess, progress)
    folder.mkdir(parents=True, exist_ok=True)
    training.keep(folder, source.module, preprocess, patches.classes, run)
    net = Network.open(source.module, source.example, "demo:faces", reference="demo:faces", classes=patches.classes,
                       preprocess=preprocess)
    return net, run


def _known(name: str) -> None:
    if name not in RECIPES:
        raise unknown("demo", name, RECIPES, "`convscope list demo` shows all")
