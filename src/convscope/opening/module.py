"""Open a module object. It stays the user's: nothing is ever written to it."""

from __future__ import annotations

from typing import Any

from torch import nn

from convscope.errors import UsageError
from convscope.opening import Source


def find(asked: Any) -> Source:
    if isinstance(asked, nn.Module):
        return Source(asked, type(asked).__name__, ours=False)
    kind = type(asked).__name__
    if isinstance(asked, dict):
        raise UsageError(
            "a state dict has no graph", f"got {len(asked)} named tensors", "load it into its module and open the module"
        )
    hint = (
        "call it and open what it returns"
        if callable(asked)
        else "open a torch.nn.Module or a reference such as 'zoo:resnet18'"
    )
    raise UsageError(f"cannot open a {kind}", "it is no torch.nn.Module", hint)
