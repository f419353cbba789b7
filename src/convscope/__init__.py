"""convscope opens up a convolutional network: what every layer computes, which pixels decided, what each unit has learned.

    import convscope as cs
    net = cs.open(model, example=x)          # a module, or a reference such as 'zoo:resnet18'
    net.trace()                              # every layer: sizes, parameters, MACs, receptive field
    heat = cs.attribute(net, image)          # which pixels decided
    cs.atlas(net, images, out="atlas/")      # everything, for a browser

Names are imported when they are first used, so that `import convscope` costs nothing.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from convscope.actions import (
        ask,
        atlas,
        attribute,
        attribute_all,
        check,
        compare,
        demo,
        edit,
        equivalences,
        evaluate,
        feature,
        fit,
        open,
        predict,
        respond,
        scan,
        settle,
        steps,
        study,
        trace,
        update,
        verify,
    )
    from convscope.data import open_collection
    from convscope.images import Preprocess
    from convscope.network import Network
    from convscope.watch import watch

_WHERE = {
    **dict.fromkeys(
        (
            "ask",
            "atlas",
            "attribute",
            "attribute_all",
            "check",
            "compare",
            "demo",
            "edit",
            "equivalences",
            "evaluate",
            "feature",
            "fit",
            "open",
            "predict",
            "respond",
            "scan",
            "settle",
            "steps",
            "study",
            "trace",
            "update",
            "verify",
        ),
        "convscope.actions",
    ),
    "open_collection": "convscope.data",
    "Preprocess": "convscope.images",
    "Network": "convscope.network",
    "watch": "convscope.watch",
}

__all__ = [
    "Network",
    "Preprocess",
    "ask",
    "atlas",
    "attribute",
    "attribute_all",
    "check",
    "compare",
    "demo",
    "edit",
    "equivalences",
    "evaluate",
    "feature",
    "fit",
    "open",
    "open_collection",
    "predict",
    "respond",
    "scan",
    "settle",
    "steps",
    "study",
    "trace",
    "update",
    "verify",
    "watch",
]


class _Door(ModuleType):
    """`convscope.fit` is a sentence and a file too; importing the file must not take the sentence's place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _WHERE and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Door


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        found = getattr(importlib.import_module(_WHERE[name]), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module 'convscope' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
