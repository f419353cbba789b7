"""What every operation computes: numbers worked out, one training step, proofs, somebody's own backpropagation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convscope.actions.networks import make, open
from convscope.errors import UsageError
from convscope.results import Findings, Steps, Table

if TYPE_CHECKING:
    from convscope.network import Network


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
    asked = mechanics.question(net, layer, direction, **which)
    found = mechanics.work_out(Capture(net, x, loss, training), asked, pixels)
    assumed = () if direction == "forward" and asked.layer in net else assumed  # no loss plays a part
    return dataclasses.replace(found, notes=(*found.notes, *assumed, *notes))


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

    `arrays`: an .npz, a .safetensors, a folder of .npy files or a mapping, named as `debugger.arrays` says. `how`: loss,
    reduction, training, wanted (see `debugger.verify.Problem`). With a `torch.autograd.Function`, a module or a function as
    `network` and tensors as `arrays`, its backward pass is held against finite differences instead.

    >>> import numpy as np
    >>> verify("zoo:lenet5", {"input": np.zeros((1, 28, 28)), "fc3.activation": np.zeros(10)}).findings[0].where
    'fc3.activation'
    """
    from convscope.debugger import doors

    return doors.verify(network, arrays, image, label, how)


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
