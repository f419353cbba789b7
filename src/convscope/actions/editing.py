"""What if the network were changed? A copy that is fully convolutional, a layer less, inverted, … and the receipt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.actions.networks import Progress, make, open

if TYPE_CHECKING:
    from convscope.network import Network
    from convscope.results import Receipt, Table


def edit(
    network: Any,
    method: str,
    *,
    data: Any = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
    **parameters: Any,
) -> tuple[Network, Receipt]:
    """Change a copy of a network. Returns it, and the receipt: what changed, sizes, cost, how far the answers moved.

    `method`: a leaf of `edits/`. `data`: images on which the drift is measured, and from which some edits learn; a folder,
    an archive, or 'digits', 'faces'. `out`: a folder for the edited network, opened again as `out/network.py:network`.
    `parameters`: the edit's own. The network that was given stays as it is, bit for bit.

    >>> net, receipt = edit("zoo:lenet5", "swap-activation", new="tanh")
    >>> receipt.before.parameters == receipt.after.parameters
    True
    """
    import torch

    from convscope.data import open_collection
    from convscope.editing import Draft, Given, keeping, receipt

    net = open(network)
    asked = make("edits", method, parameters)
    collection = None if data is None else open_collection(data)
    labels = () if collection is None or collection.labels is None else tuple(int(n) for n in collection.labels)
    given = Given(collection, labels, progress)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(getattr(asked, "seed", 0))
        draft = Draft.of(net)
        asked(draft, given)
        edited, source = draft.finish()
    told = receipt.written(asked, draft, edited, source, given)
    if out is not None:
        keeping.keep(edited, told, out)
    return edited, told


def ablation(
    network: Any, data: Any, *, out: str | Path | None = None, progress: Progress | None = None, **settings: Any
) -> Table:
    """What does each layer contribute? Every layer or block removed in turn, judged as it is and after equal fine-tuning.

    `data`: a labelled collection. `out`: a folder that keeps every run; the same call goes on from it. `settings`: those of
    `studying.AblationStudy`. The first note of the table is the answer in one sentence.
    """
    from convscope.data import open_collection
    from convscope.studying import AblationStudy

    folder = None if out is None else Path(out)
    return AblationStudy(**settings)(open(network), open_collection(data), folder, progress)
