"""The sentences that command line and web page both speak: plain values in, a Result out.

Nothing is imported before a sentence needs it, so that lists, help and stored results come without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope import registry
from convscope.errors import UsageError
from convscope.results import Findings, Heatmap, Origin, Picture, Result, Run, Steps, Table, Trace

if TYPE_CHECKING:

    from convscope.images import Preprocess
    from convscope.network import Network
    from convscope.record import Record
    from convscope.session import Session

Progress = Callable[[int, int, str], None]  # done, total, of what; may raise to stop


def open(
    network: Any,
    example: Any = None,
    *,
    weights: str | Path | None = None,
    classes: Any = None,
    preprocess: str | Preprocess | Mapping[str, Any] | None = None,
    partial: bool = False,
) -> Network:
    """Open a network: a module with an example input, or a reference such as `zoo:resnet18` (see `convscope.opening`).

    `preprocess`: a name ('imagenet', 'unit', …), a `preprocess.json`, a mapping of its fields, or a Preprocess.

    >>> open("zoo:lenet5")
    Network(lenet5, input 1×28×28, 12 layers, 61,706 parameters)
    """
    from convscope import opening

    return opening.open(
        network, example, weights=weights, classes=classes, preprocess=read_preprocess(preprocess), partial=partial
    )


def read_preprocess(given: Any) -> Preprocess | None:
    """A Preprocess from a name, a file, a mapping, or itself."""
    from convscope import images

    if given is None or isinstance(given, images.Preprocess):
        return given
    if isinstance(given, Mapping):
        return images.Preprocess.from_dict(dict(given))
    return images.preset(str(given))


def read_pixels(image: Any) -> Any:
    """uint8 (H, W, C) of a file, a built-in id ('digits/0042') or an array."""
    from convscope import inputs

    return inputs.read_pixels(image)


def trace(network: Any, example: Any = None, *, backward: bool = False, **how: Any) -> Trace:
    """What does every layer compute? Sizes, parameters, MACs, receptive fields, bytes kept for the backward pass.

    `backward`: also how the backward pass gets each gradient, with its sizes and MACs.
    """
    return open(network, example, **how).trace(backward=backward)


def predict(network: Any, image: Any, top: int = 5) -> Table:
    """What does the network see in an image? Its highest outputs, as probabilities; how they were read is said."""
    import numpy as np

    from convscope import inputs, run
    from convscope.sweep import probabilities

    net = open(network)
    x, notes = inputs.prepare(net, image)
    output = run.run(net, x).output.flatten(1)
    shares, how = probabilities(output.float())
    best = shares[0].topk(min(top, shares.shape[1])).indices
    columns = {
        "class": np.array([run.class_name(net, int(i)) for i in best]),
        "probability": shares[0, best].numpy(),
        "output": output[0, best].float().numpy(),
        "index": best.numpy(),
    }
    return Table(
        columns=columns,
        units={"probability": how, "output": "the last layer's value"},
        title=f"{net.name} says",
        notes=notes,
        origin=net.origin("predict", x),
    )


def steps(
    network: Any,
    image: Any = None,
    layer: str | None = None,
    direction: str = "forward",
    *,
    label: Any = None,
    training: bool = False,
    **which: Any,
) -> Steps:
    """How does one number come about? An output value, an input's delta or a weight's gradient, worked out step by step.

    `layer`: an address, a unit ('conv1/3@5,9') or 'loss'; by default the first convolution. `image`: one, or several for a
    batch. `which`: channel, position, inner, example, array (see `mechanics.steps.Question`); what is left open is taken
    where the number is largest. `label`: class of the loss, or one an image; by default the
    class that the network names.

    >>> steps("zoo:lenet5", layer="conv1/3@5,9").difference < 1e-10
    True
    """
    import dataclasses

    from convscope import inputs
    from convscope.mechanics import steps as mechanics
    from convscope.mechanics.capture import Capture

    net = open(network)
    x, pixels, notes = inputs.batch(net, image)
    net = net.at(x.shape[1:])
    loss, assumed = _loss(net, x, label)
    found = mechanics.work_out(Capture(net, x, loss, training), mechanics.question(net, layer, direction, **which), pixels)
    return dataclasses.replace(found, notes=(*found.notes, *assumed, *notes))


def _loss(net: Network, x: Any, label: Any) -> tuple[Any, tuple[str, ...]]:
    """Cross-entropy with the labels that were given, or with the classes that the network names."""
    from convscope import run
    from convscope.mechanics.loss import Loss

    if label is None:
        best = run.run(net, x).output.flatten(1).argmax(1)
        return Loss(labels=tuple(best.tolist())), ("no label given: taken to be the class that the network names",)
    given = label if isinstance(label, (list, tuple)) else [label] * len(x)
    found = [run.target(net, one, x).index for one in given]
    if None in found:
        raise UsageError(f"{label!r} is no class", "the loss needs a class", "give its index or name")
    return Loss(labels=tuple(int(i) for i in found if i is not None)), ()


def update(
    network: Any,
    image: Any = None,
    layer: str | None = None,
    *,
    label: Any = None,
    rate: float = 0.01,
    **how: Any,
) -> Steps:
    """What does one step of gradient descent on a batch change in one filter, and which image and place asked for it?

    `image`: one, or several for a batch. `layer`: an address or a unit ('conv1/3'); by default the first convolution.
    `rate`: the learning rate. `how`: channel (by default 0), training. See `mechanics.update`. The network itself is not
    changed.

    >>> update("zoo:lenet5", layer="conv1/3", rate=0.1).at[0]
    3
    """
    import dataclasses

    from convscope import inputs
    from convscope.mechanics.steps import question
    from convscope.mechanics.update import Update, explain_update

    net = open(network)
    x, _, notes = inputs.batch(net, image)
    net = net.at(x.shape[1:])
    loss, assumed = _loss(net, x, label)
    asked = question(net, layer, "weights", channel=how.get("channel"))
    found = explain_update(net, x, loss, Update(asked.layer, asked.channel or 0, rate, bool(how.get("training"))))
    return dataclasses.replace(found, notes=(*found.notes, *assumed, *notes))


def equivalences(network: Any, layer: str | None = None, image: Any = None, *, method: str | None = None) -> Table:
    """What is this layer the same as? Every equivalence that applies, proved on its own numbers; or one, row by row.

    `layer`: an address, by default the first convolution. `image`: one, several, or random numbers. `method`: one leaf of
    `equivalences/`, whose own table is given instead.

    >>> equivalences("zoo:lenet5").title
    'conv1 (conv2d): 4 of 7 apply'
    """
    import dataclasses

    from convscope import inputs
    from convscope.equivalences._all import prove_all
    from convscope.mechanics.capture import Capture
    from convscope.mechanics.steps import question

    net = open(network)
    x, _, notes = inputs.batch(net, image)
    net = net.at(x.shape[1:])
    kept, asked = Capture(net, x), net[question(net, layer, "forward").layer]
    found = prove_all(kept, asked) if method is None else make("equivalences", method, {})(kept, asked)
    return dataclasses.replace(found, notes=(*found.notes, *notes))


def verify(network: Any, arrays: Any, *, image: Any = None, label: Any = None, **how: Any) -> Findings:
    """Is somebody's own backpropagation right? The first wrong array, and the mistake that makes exactly this array.

    `arrays`: an .npz, a .safetensors, a folder of .npy files or a mapping, named as `mechanics.arrays` says. `how`: loss,
    reduction, training, wanted (see `mechanics.verify.Problem`). With a `torch.autograd.Function`, a module or a function as
    `network` and tensors as `arrays`, its backward pass is held against finite differences instead.

    >>> import numpy as np
    >>> verify("zoo:lenet5", {"input": np.zeros((1, 28, 28)), "fc3.activation": np.zeros(10)}).findings[0].where
    'fc3.activation'
    """
    from convscope.mechanics import doors

    return doors.verify(network, arrays, image, label, how)


def attribute(
    network: Any,
    image: Any,
    method: str = "gradient",
    target: str | int | None = None,
    *,
    progress: Progress | None = None,
    **parameters: Any,
) -> Heatmap:
    """Which pixels decided? A signed map of `image`; `target`: class, unit address, or None for the best class."""
    import dataclasses

    from convscope import inputs, run

    net = open(network)
    x, notes = inputs.prepare(net, image)
    asked = run.target(net, target, x)
    made = make("attributions", method, parameters)
    extra = {"progress": progress} if "progress" in made.__call__.__code__.co_varnames else {}
    found: Heatmap = made(net, x, asked, **extra)
    return dataclasses.replace(found, notes=(*found.notes, *notes))


def feature(network: Any, layer: str, method: str = "filters", **parameters: Any) -> Picture:
    """What has this layer learned to look for? By default its filters, as pictures."""
    net = open(network)
    return make("features", method, parameters)(net, net[layer].address)


def respond(
    network: Any,
    images: Any,
    out: str | Path,
    *,
    progress: Progress | None = None,
    layers: tuple[str, ...] = (),
    embed: tuple[str, ...] = (),
    **parameters: Any,
) -> Record:
    """What did every unit do over a collection? Sweeps it once into the folder `out`, going on with what is there."""
    from convscope import inputs
    from convscope.data import open_collection
    from convscope.sweep import Sweep

    net = open(network)
    preprocess, _ = inputs.preprocess_of(net)
    return Sweep(**parameters)(net, open_collection(images), preprocess, out, layers=layers, embed=embed, progress=progress)


def study(network: Any, images: Any, record: str | Path, layer: str, method: str = "units", **parameters: Any) -> Result:
    """How does a layer respond to a whole collection? Asks the record of a sweep: top images, neighbours, a map, …"""
    from convscope import inputs
    from convscope.data import open_collection
    from convscope.record import Record
    from convscope.responses._study import Study

    net = open(network)
    preprocess, _ = inputs.preprocess_of(net)
    asked = Study(Record(record), net, open_collection(images), preprocess)
    return make("responses", method, parameters)(asked, net[layer].address)


def atlas(network: Any, images: Any, out: str | Path, *, progress: Progress | None = None, **settings: Any) -> Path:
    """Everything about all layers and units over a collection, as a folder that a browser opens. Returns its page."""
    from convscope.atlas import Settings, write
    from convscope.data import open_collection

    source = str(images) if isinstance(images, (str, Path)) else ""
    return write(open(network), open_collection(images), Path(out), Settings(**settings), progress, source)


def open_atlas(folder: str | Path) -> Session:
    """An atlas that can be asked further questions."""
    from convscope.session import Session

    return Session(folder)


def fit(
    network: Any,
    images: Any,
    *,
    held_out: float = 0.2,
    out: str | Path | None = None,
    progress: Progress | None = None,
    preprocess: Any = None,
    weights: str | Path | None = None,
    **settings: Any,
) -> tuple[Network, Run]:
    """Train a network on a labelled collection, a share held out. Returns the trained network and the record of the run.

    `out`: a folder for `checkpoint.pt` (taken up if it is there), `weights.safetensors`, `preprocess.json`, `classes.txt`
    and `run.npz`. `settings`: those of `FitSettings`; `engine="numpy"` trains by our own operators with no torch in the
    loop, in float32 or with `precision="float64"` (its checkpoint is `checkpoint.npz`).
    """
    from convscope import training

    return training.train(
        network,
        images,
        held_out=held_out,
        out=None if out is None else Path(out),
        progress=progress,
        preprocess=read_preprocess(preprocess),
        weights=weights,
        settings=settings,
    )


def demo(out: str | Path, *, progress: Progress | None = None, **settings: Any) -> tuple[Path, float]:
    """Train the digit network on real handwritten digits, write its atlas. Returns the page and the held-out accuracy."""
    from convscope.opening import demo as trained

    net, run = trained.network("digits", progress)
    return atlas(net, "digits", out, progress=progress, **settings), float(run.epochs["held_out_accuracy"][-1])


def swept(record: Record) -> Table:
    """What a sweep measured: one row a layer."""
    import numpy as np

    tables = [record.table(address) for address in record.facts.layers]
    columns: dict[str, Any] = {"layer": np.array(record.facts.layers), "units": np.array(record.facts.units)}
    columns["silent"] = np.array([int((t.columns["maximum"] <= 0).sum()) for t in tables])
    columns["maximum"] = np.array([float(t.columns["maximum"].max()) for t in tables])
    for name in ("fires", "selectivity"):
        if all(name in t.columns for t in tables):
            columns[name] = np.array(
                [float(np.nanmean(t.columns[name])) if np.isfinite(t.columns[name]).any() else np.nan for t in tables]
            )
    units = {
        "silent": "units that were above zero on no image",
        "maximum": "largest value of any unit",
        "fires": "mean share of values above zero",
        "selectivity": "mean class selectivity of the units",
    }
    notes = (
        f"{record.counted:,} images measured, {len(record.skipped)} could not be used",
        *(f"skipped {i}: {why}" for i, why in record.skipped[:10]),
    )
    return Table(
        columns=columns,
        units={k: v for k, v in units.items() if k in columns},
        title=f"sweep in {record.folder}",
        notes=notes,
        origin=tables[0].origin if tables else Origin(),
    )


def make(family: str, method: str, parameters: Mapping[str, Any]) -> Any:
    """A method by name with its parameters, or an error that lists the ones it has."""
    described = registry.describe(family, method)
    known = {p.name for p in described.parameters}
    strange = [k for k in parameters if k not in known]
    if strange:
        raise UsageError(
            f"{method} has no parameter {', '.join(map(repr, strange))}",
            f"it has {', '.join(sorted(known)) or 'none'}",
            f"`convscope list {family}` shows all",
        )
    return registry.load(family, method)(**parameters)
