"""Keyed images: a key, images stored unreadable, a network trained on them, and how far the attacks come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.actions.networks import Progress, open, read_preprocess
from convscope.errors import UsageError

if TYPE_CHECKING:
    from convscope.images import Preprocess
    from convscope.keys.report import Report
    from convscope.network import Network
    from convscope.results import Picture, Run, Table


def new_key(file: str | Path, kind: str = "orthogonal", block: int = 4, shape: Sequence[int] = (3, 32, 32),
            seed: int | None = None) -> dict[str, Any]:
    """Make a key for images (C, H, W) and keep it in a file of mode 0600. What may be said of it."""
    from convscope.keys import Key

    key = Key.new(kind, block, tuple(shape), seed)
    key.save(file)
    return {"file": str(file), "kind": key.kind, "block": key.block, "channels": key.channels, "print": key.print,
            "notes": list(key.notes)}


def key_images(file: str | Path, images: Any, out: str | Path, *, like: Any = None, preprocess: Any = None,
               progress: Progress | None = None) -> dict[str, Any]:
    """Write a collection keyed to `out` (.npz). `like`: a network, whose preprocessing goes before the key."""
    from convscope import inputs
    from convscope.data import open_collection
    from convscope.keys import Key, stored

    if like is not None and preprocess is not None:
        raise UsageError("a network and a preprocessing exclude each other", "both were given", "give one of them")
    reading = read_preprocess(preprocess) if like is None else inputs.preprocess_of(open(like))[0]
    kept = stored.keep(Key.load(file), open_collection(images), out, reading, progress)
    return {"out": str(kept.path), "images": kept.count, "shape": list(kept.shape), "dtype": kept.dtype, "low": kept.low,
            "high": kept.high, "notes": list(kept.notes)}


def restore_images(file: str | Path, keyed: str | Path, out: str | Path) -> int:
    """Undo the key on images that `key_images` wrote; how many they are."""
    from convscope.keys import Key, stored

    return stored.restore(Key.load(file), keyed, out)


def fit_keyed(network: Any, keyed: str | Path, *, out: str | Path | None = None, held_out: float = 0.2,
              progress: Progress | None = None, **settings: Any) -> tuple[Network, Run]:
    """Train a copy of a network on keyed images as they are stored; neither key nor picture is needed."""
    from convscope.fit import FitSettings
    from convscope.keys import fitting

    return fitting.fit_keyed(network, keyed, None if out is None else Path(out), held_out, FitSettings(**settings), progress)


def attack_key(file: str | Path, images: Any, *, seed: int = 0, steps: int | None = None,
               progress: Progress | None = None) -> Report:
    """Every attack that applies to a key, on images: `report.table`, and `report.picture` of plain, keyed and rebuilt."""
    from convscope.data import open_collection
    from convscope.keys import Key
    from convscope.keys.inverter import Effort
    from convscope.keys.report import attack_report

    return attack_report(Key.load(file), open_collection(images), None, seed, Effort() if steps is None else Effort(steps),
                         progress)


def key_accuracy(file: str | Path, images: Any, *, progress: Progress | None = None, **settings: Any) -> Table:
    """What the key costs: two networks trained on plain and on keyed images, from the same seed."""
    from convscope.data import open_collection
    from convscope.fit import FitSettings
    from convscope.keys import Key
    from convscope.keys.accuracy import accuracies

    key, collection = Key.load(file), open_collection(images)
    return accuracies(key, collection, _sized(key, collection), FitSettings(**settings), progress)


def key_front(network: Any, layers: Sequence[str], images: Any, *, steps: int | None = None, seed: int = 0,
              progress: Progress | None = None) -> tuple[Table, Picture]:
    """Features of a frozen front part instead of images: what a head learns from them, what an inverter rebuilds."""
    from convscope.data import open_collection
    from convscope.fit import FitSettings
    from convscope.keys.inverter import Effort
    from convscope.keys.one_way import inverted_features

    net = open(network)
    if not layers:
        raise UsageError("where does the front part end?", "no layer was named", "`convscope trace` lists all")
    return inverted_features(net, layers, open_collection(images), Effort() if steps is None else Effort(steps),
                             FitSettings(epochs=8, seed=seed), progress)


def _sized(key: Any, collection: Any) -> Preprocess:
    """Pixels over 255, at the first image's size cut to whole blocks, or at the size that the key is for."""
    from convscope.images import PRESETS, sized

    height, width, _ = collection[0].shape
    size = key.size or (height - height % key.block, width - width % key.block)
    return sized(PRESETS["unit"], (key.channels, *size))


def told(values: Mapping[str, Any]) -> str:
    """What was made, in words: one fact a line."""
    said = {name: ", ".join(map(str, v)) if isinstance(v, list) else v for name, v in values.items() if v != []}
    return "\n".join(f"{name}: {value}" for name, value in said.items())
