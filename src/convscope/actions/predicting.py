"""What does a network say of images: labels and probabilities, how sure it may be, whether its preprocessing fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.actions.networks import Progress, open
from convscope.errors import ConvscopeError, DataError, UsageError
from convscope.results import Findings, Table

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from convscope.network import Network
    from convscope.outputs import Reading

BATCH = 32
GLANCE = 8  # images that the short look at the preprocessing takes


@dataclass(frozen=True)
class _Image:
    """One image of those asked about, read when its turn comes."""

    name: str
    get: Callable[[], Any]
    lone: bool  # named by the user: it must be readable


def predict(
    network: Any,
    image: Any,
    top: int = 5,
    progress: Progress | None = None,
    *,
    check: bool = True,
    **reading: Any,
) -> Table:
    """What does the network see in an image, or in each of several? Its highest outputs, as probabilities.

    `image`: one image; or several: a list, a folder, an archive, a built-in set, a Collection: then a row is an image and a
    rank. `reading`: `multi_label`, `outputs`, `temperature`, as in `outputs.read`. `check`: with several images, a short
    look at whether the preprocessing fits them. How the outputs were read is said.

    >>> predict("zoo:digits", ["digits/0001", "digits/0002"], top=1).columns["image"].tolist()
    ['digits/0001', 'digits/0002']
    """
    from convscope import outputs

    if top < 1:
        raise UsageError("top must be at least 1", f"got {top}", "it is how many classes are shown")
    net = open(network)
    how = outputs.read(net, **reading)
    asked, several = _gather(image)
    rows: list[tuple[Any, ...]] = []
    said: dict[str, None] = {}
    prints: Tensor | None = None
    for done, (names, x, notes) in enumerate(_batches(net, asked, said), start=1):
        output, shares, more = _answers(net, how, x)
        said.update(dict.fromkeys((*notes, *more)))
        prints = x if prints is None else prints
        for at, name in enumerate(names):
            rows += _rows(net, name, output[at], shares[at], top)
        if progress is not None:
            progress(min(done * (net.batch or BATCH), len(asked)), len(asked), "images")
    if not rows:
        raise DataError("none of the images can be used", next(iter(said), ""), "look at the files")
    notes = (f"read as {how.kind}: {how.how}", *(f"warning: {w}" for w in how.warnings), *said, *_of_opening(net))
    if several and check:
        notes = (*notes, *_glance(net, asked))
    return _table(net, rows, how, notes, several, prints)


def calibrate(network: Any, images: Any, keep: str | Path | None = None, progress: Progress | None = None) -> Table:
    """How sure may the network be? Fits its temperature on labelled images; kept in the folder `keep` as calibration.json.

    Guo et al. 2017: the T with the smallest mean −log softmax(z/T)[right class]. Rows: before, after, and after with T
    fitted on one half of the images and measured on the other, both ways. Errors: DataError (no labels, other classes).
    """
    import numpy as np
    import torch

    from convscope import outputs
    from convscope.opening import beside

    net = open(network)
    how = outputs.read(net, temperature=1.0)
    if how.multi_label:
        raise UsageError("a temperature is fitted where classes exclude each other", f"{net.name}: {how.how}",
                         "set one yourself: --temperature")  # fmt: skip
    z, y, notes = _labelled(net, how, images, progress)
    heat = outputs.fit_temperature(z, y)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(y)))
    halves = (order[::2], order[1::2])
    crossed = torch.empty(len(y), dtype=torch.float64)
    for mine, other in (halves, halves[::-1]):
        crossed[mine] = outputs.fit_temperature(z[other], y[other])
    wide = outputs.two(z)
    stages = {"before": torch.ones_like(crossed), "after": torch.full_like(crossed, heat), "after, held out": crossed}
    shares = {name: (wide / t[:, None]).softmax(1) for name, t in stages.items()}
    at = torch.arange(len(y))
    columns = {
        "stage": np.array(list(stages)),
        "temperature": np.array([float(t.mean()) for t in stages.values()]),
        "nll": np.array([float(-(wide / t[:, None]).log_softmax(1)[at, y].mean()) for t in stages.values()]),
        "ece": np.array([outputs.calibration_error(p, y) for p in shares.values()]),
        "confidence": np.array([float(p.max(1).values.mean()) for p in shares.values()]),
        "accuracy": np.array([float((p.argmax(1) == y).double().mean()) for p in shares.values()]),
    }
    if not outputs.COLDEST * 1.1 < heat < outputs.HOTTEST / 1.1:
        notes += (f"T ended at the border of {outputs.COLDEST:g} … {outputs.HOTTEST:g}: the images do not bound it (all "
                  "right, or scores that say nothing); use images that the network was not trained on",)  # fmt: skip
    if keep is not None:
        facts = {"temperature": heat, "network": net.print, "images": len(y), "collection": str(images)[:200],
                 "bins": outputs.BINS, **{k: dict(zip(stages, columns[k].tolist(), strict=True)) for k in ("nll", "ece")}}
        notes += (f"kept in {beside.write_calibration(Path(keep), facts)}; from now on used with these weights",)
    units = {
        "temperature": "T; held out: the mean of the two halves' T", "nll": "mean −log p of the right class, nats",
        "ece": f"expected calibration error: Σ n_b/N·|accuracy − confidence| over {outputs.BINS} bins of equal width",
        "confidence": "mean probability of the highest class", "accuracy": "share of images with the right class highest",
    }
    return Table(columns=columns, units=units, title=f"calibration of {net.name} on {len(y):,} images",
                 notes=(f"read as {how.kind}: {how.how}", *notes, "halves drawn with seed 0"),
                 origin=net.origin("calibrate", seed=0))  # fmt: skip


def folder_of(network: Any, weights: str | Path | None = None) -> Path | None:
    """Where what belongs to a network is kept: beside its weights, else beside its factory's file; None: nowhere."""
    from convscope import opening

    return opening.folder_of(network, weights)


def check_preprocess(network: Any, images: Any, progress: Progress | None = None, *, seed: int = 0) -> Findings:
    """Does the preprocessing fit the network? Tried against others on these images, with their labels where known."""
    import numpy as np

    from convscope import mismatch, outputs
    from convscope.data import open_collection

    net = open(network)
    asked, several = _gather(images)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(asked))[: mismatch.MOST])
    notes = [f"sampled: {len(chosen)} of {len(asked):,} images, seed {seed}"] if len(chosen) < len(asked) else []
    pixels, which = [], []
    for at in chosen:
        one = _pixels(asked[at], notes)
        if one is not None:
            pixels.append(one)
            which.append(int(at))
    labels = None
    if several and not isinstance(images, (list, tuple)):
        collection = open_collection(images)
        if (collection.labels[which] >= 0).all():
            number, how = outputs.indices(net, collection.classes)
            labels, notes = number[collection.labels[which]], [*notes, how]
    return mismatch.check(net, pixels, labels, tuple(notes), progress)


def _gather(image: Any, opened: dict[str, Any] | None = None) -> tuple[list[_Image], bool]:
    """The images asked about, and whether several were asked for. `opened`: built-in sets, each opened once."""
    from convscope import data, inputs

    opened = {} if opened is None else opened
    if isinstance(image, (list, tuple)):
        return [one for part in image for one in _gather(part, opened)[0]], True
    path = Path(image) if isinstance(image, (str, Path)) else None
    lone = path is None or path.suffix.lower() in data.SUFFIXES
    builtin = str(image).split("/")[0]
    if path is not None and not path.exists() and "/" in str(image) and builtin in data.BUILT_IN:
        found = opened[builtin] = opened.get(builtin) or data.open_collection(builtin)
        at = found.find(str(image))
        return [_Image(str(image), lambda: found[at], True)], False
    if path is not None and not path.exists() and str(image) not in data.BUILT_IN:
        lone = True  # reading it says that it is not there
    if lone and not isinstance(image, data.Collection):
        name = str(image) if path is not None else "image"
        return [_Image(name, lambda: image if path is None else inputs.read_pixels(image), True)], False
    found = data.open_collection(image)
    return [_Image(found.ids[i], lambda i=i: found[i], False) for i in range(len(found))], True


def _pixels(one: _Image, notes: list[str]) -> np.ndarray | None:
    from convscope import inputs

    try:
        return inputs.read_pixels(one.get())
    except ConvscopeError as problem:
        if one.lone:
            raise
        notes.append(f"skipped {one.name}: {problem}")
        return None


def _batches(net: Network, asked: list[_Image], said: dict[str, None]) -> Iterator[tuple[list[str], Tensor, list[str]]]:
    """Images as the network reads them, some at a time; in `said`, which could not be used."""
    import torch

    from convscope import inputs

    size = net.batch or BATCH
    for start in range(0, len(asked), size):
        names, parts, notes = [], [], []
        for one in asked[start : start + size]:
            try:
                x, more = inputs.prepare(net, one.get())
            except ConvscopeError as problem:
                if one.lone:
                    raise
                said[f"skipped {one.name}: {problem}"] = None
                continue
            names, parts, notes = [*names, one.name], [*parts, x], [*notes, *more]
        if parts:
            yield names, torch.cat(parts), notes


def _answers(net: Network, how: Reading, x: Tensor) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """(B, K) outputs and (B, K or 2) probabilities; of a map of answers, their means over the positions."""
    output = net.run(x).output.float()
    if output.ndim < 4 or output[0, 0].numel() == 1:
        output = output.reshape(len(output), -1)
        return output, how.classes(output), ()
    places = output[0, 0].numel()
    rows = output.flatten(2).movedim(1, 2)  # (B, positions, K)
    shares = how.classes(rows.flatten(0, 1)).reshape(len(x), places, -1).mean(1)
    size = "×".join(map(str, output.shape[2:]))
    return rows.mean(1), shares, (f"the output is a map of {size}: numbers are means over its {places} positions",)


def _rows(net: Network, name: str, output: Tensor, shares: Tensor, top: int) -> list[tuple[Any, ...]]:
    best = shares.topk(min(top, len(shares)))
    ranked = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    lone = len(output) == 1
    return [(name, rank, _class(net, at, len(shares)), p, float(output[0 if lone else at]), at)
            for rank, (at, p) in enumerate(ranked, start=1)]  # fmt: skip


def _class(net: Network, at: int, count: int) -> str:
    """The name of a class; of one output that has one name, 'not it' and 'it'."""
    from convscope import run

    if count == 2 and len(net.classes) == 1:
        return f"{at} {'' if at else 'not '}{net.classes[0]}"
    return run.class_name(net, at)


def _of_opening(net: Network) -> tuple[str, ...]:
    """What was read beside the weights."""
    return tuple(n for n in net.notes if "preprocess.json" in n or "classes.txt" in n or "calibration.json" in n)


def _glance(net: Network, asked: Sequence[_Image]) -> tuple[str, ...]:
    """One line if a short look finds another preprocessing much better."""
    from convscope import mismatch

    step = max(1, -(-len(asked) // GLANCE))
    notes: list[str] = []
    try:
        found = [one for image in asked[::step] if (one := _pixels(image, notes)) is not None]
    except DataError:
        return ()  # inputs that are numbers already: there is no preprocessing to doubt
    worst = mismatch.glance(net, found)
    return () if worst is None else (f"warning: {worst}; --check-preprocess shows the evidence",)


def _table(
    net: Network, rows: list[tuple[Any, ...]], how: Reading, notes: tuple[str, ...], several: bool, x: Tensor | None
) -> Table:
    import numpy as np

    names = ("image", "rank", "class", "probability", "output", "index")
    columns = {name: np.array(cells) for name, cells in zip(names, zip(*rows, strict=True), strict=True)}
    count = len(dict.fromkeys(columns["image"].tolist()))
    if not several:
        columns = {name: columns[name] for name in names[2:]}
    title = f"{net.name} says" + (f" of {count:,} images" if several else "")
    return Table(columns=columns, units={"probability": how.does, "output": "the last layer's value"}, title=title,
                 notes=notes, origin=net.origin("predict", x))  # fmt: skip


def _labelled(net: Network, how: Reading, images: Any, progress: Progress | None) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """(N, K) scores and (N,) labels of a collection."""
    import torch

    from convscope import inputs, outputs
    from convscope.data import open_collection

    collection = open_collection(images)
    if not (collection.labels >= 0).any():
        raise DataError(f"{collection.name} has no labels", "a temperature is fitted to right answers",
                        "give a folder with a folder for each class, or a labelled set")  # fmt: skip
    number, said = outputs.indices(net, collection.classes)
    labelled = collection.take((collection.labels >= 0).nonzero()[0])
    preprocess, assumed = inputs.preprocess_of(net)
    scores, labels = [], []
    for batch in labelled.batches(preprocess, net.batch or BATCH):
        scores.append(how.scores(net.run(batch.x).output.float().flatten(1)))
        labels.append(torch.from_numpy(number[batch.labels]))
        if progress is not None:
            progress(batch.stop, len(labelled), "images")
    notes = (said, assumed, *(f"skipped {s.id}: {s.reason}" for s in labelled.skipped[:10]))
    if len(labelled) < len(collection):
        notes = (*notes, f"{len(collection) - len(labelled)} images without a label were left out")
    return torch.cat(scores), torch.cat(labels), tuple(n for n in notes if n)
