"""Open `zoo:NAME` or `zoo:NAME(arguments)`: a known architecture, freshly initialised from a fixed seed."""

from __future__ import annotations

import torch

from convscope import registry
from convscope.errors import UsageError
from convscope.opening import Source
from convscope.opening.factory import build, parse_call


def find(text: str) -> Source:
    name, args, kwargs = parse_call(text)
    if args:
        raise UsageError(
            f"zoo:{text} has arguments without names", f"got {args}", f"write them as keywords: zoo:{name}(num_classes=10)"
        )
    made = registry.factory(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = build(made, [], kwargs, f"zoo:{text}")
    sizes = registry.module_of("zoo", registry.factories()[name]).INPUTS
    example = (kwargs.get("in_channels", sizes[name][0]), *sizes[name][1:])
    if "inputs" in kwargs:  # networks that flatten whatever comes take one row of numbers
        example = (kwargs["inputs"],)
    return Source(module, name, example, random=True)
