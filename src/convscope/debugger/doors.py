"""What `actions.verify` is handed: a network with arrays, or something with a backward pass of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from convscope import inputs, opening, run
from convscope.debugger import arrays as names
from convscope.debugger.differences import differences
from convscope.debugger.verify import Problem
from convscope.debugger.verify import verify as of_network
from convscope.errors import UsageError
from convscope.network import Network
from convscope.results import Findings


def verify(
    network: Any, arrays: Any, image: Any = None, label: Any = None, how: Mapping[str, Any] | None = None
) -> Findings:
    """Arrays of a network against autograd; or a Function, module or function against finite differences."""
    settings = dict(how or {})
    named = isinstance(arrays, (Mapping, str, Path))
    if not named:
        if isinstance(network, (str, Path, Network)):
            raise UsageError(
                "arrays of a network need names",
                f"got {type(arrays).__name__}",
                f"give a file or a mapping with {names.NAMES}",
            )
        return differences(network, arrays, **settings)
    strange = sorted(set(settings) - {"loss", "reduction", "training", "wanted"})
    if strange:
        raise UsageError(
            f"verify has no setting {', '.join(map(repr, strange))}",
            "it has loss, reduction, training and wanted",
            "leave it out",
        )
    given = names.read(arrays)
    if isinstance(network, nn.Module):
        example = next((given[k] for k in ("input", "x", "X", "image", "images", "inputs") if k in given), None)
        if example is None:
            raise UsageError(
                "a module needs an example of its input",
                "there is no array named 'input'",
                "save it with the others, or open the network first: cs.open(module, example)",
            )
        network = opening.open(network, torch.from_numpy(np.asarray(example, np.float32)))
    net = network if isinstance(network, Network) else opening.open(network)
    x = None if image is None else inputs.batch(net, image)[0]
    labels: tuple[int, ...] = ()
    if label is not None:
        several = label if isinstance(label, (list, tuple)) else [label]
        found = [run.target(net, one, x if x is not None else inputs.batch(net, None)[0]).index for one in several]
        labels = tuple(int(i) for i in found if i is not None)
        if len(labels) < len(several):
            raise UsageError(f"{label!r} is no class", "the loss needs a class", "give its index or name")
    return of_network(net, given, Problem(x, labels, **settings))
