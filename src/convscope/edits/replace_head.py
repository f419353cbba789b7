"""Transfer learning: the feature detector stays, what names the classes is new.

    z = W φ(x) + b        φ: all below the old last layer, its weights kept; W (K, n), b (K,) new
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.fx import Node

from convscope.editing import Draft, Given
from convscope.editing.modules import constructor
from convscope.editing.weights import freezing
from convscope.errors import ShapeError, UsageError
from convscope.fields import param, validate

_SQUASHED = {"Softmax", "softmax.int", "LogSoftmax", "log_softmax.int", "Sigmoid", "sigmoid.default"}


@dataclass(frozen=True)
class ReplaceHead:
    """What if the network told other classes apart with the features that it has?

    The head is the last dense layer or convolution and what follows it without weights. `linear`: z = W φ + b on its input φ
    (n,), of a map (C, h, w) on the mean over positions; `mlp`: z = W₂ max(0, W₁ φ + b₁) + b₂ with dropout; both give scores,
    so that an activation, softmax or pooling behind goes. `same`: the last layer alone is new. What is frozen gets no
    gradient, and its batch norms keep their statistics in train() too. Then `convscope fit FOLDER/network.py:network`, in
    stages if wanted: --stages head:5,all:5 --old-rate 0.1.
    Misleads: `same` keeps a softmax or ReLU behind the scores, on which `fit` learns badly; it is said. New weights are
    random, from `seed`. Errors: UsageError (no head that can be told, no classes), ShapeError (what is behind does not fit).
    Source: Yosinski et al. 2014; Donahue et al. 2014 (DeCAF).

    >>> import convscope as cs
    >>> net, receipt = cs.edit("zoo:digits", "replace-head", into="even,odd")
    >>> receipt.changes[1], net.classes
    ('fc: Linear of 10 becomes Linear(64, 2) (even, odd)', ('even', 'odd'))
    """

    into: str = param("", "how many new classes, or their names: cat,dog; empty: those of the images")
    head: str = param("linear", "what comes in", choices=("linear", "mlp", "same"))
    freeze: str = param("all", "all: what comes before the head; none; or a layer or block: up to there")
    hidden: int = param(256, "units of the mlp's inner layer", low=1)
    drop: float = param(0.5, "share of the mlp's inner units that dropout takes in training", low=0, high=1)
    seed: int = param(0, "of the new weights", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, draft: Draft, given: Given) -> None:
        names, count = self._classes(given)
        last, behind = _head(draft)
        features, old, end = last.all_input_nodes[0], draft.module(last), draft.output
        address, kind, width = draft.address(last), type(old).__name__, old.get_parameter("weight").shape[0]
        if self.freeze != "none":
            freezing.freeze(draft, None if self.freeze == "all" else draft.under(self.freeze), features)
        stays = behind if self.head == "same" else []
        gone = [n for n in reversed(behind) if n not in stays]
        if self.head == "same":
            made = [_like(old, count, address)]
            draft.put(last, made[0])
        else:
            made = self._scores(draft, last, features, count)
            draft.redirect(end, made.pop())
        words = [str(constructor(module)) for module in made]
        call = words[0] if len(words) == 1 else f"nn.Sequential({', '.join(words)})"
        said = f" ({', '.join(names[:6])}{', …' if len(names) > 6 else ''})" if names else ""
        draft.say(f"{address}: {kind} of {width} becomes {', '.join(w[3:] for w in words)}{said}",
                  f"{draft.python(address)} = {call}")
        if gone:
            draft.say(f"gone behind it, so that the outputs are scores: {', '.join(map(draft.address, gone))}",
                      *(f"{draft.python(draft.address(n))} = nn.Identity()" for n in gone if n.op == "call_module"))
        kept = [draft.address(n) for n in stays if draft.kind(n) in _SQUASHED]
        if kept:
            draft.note(f"{', '.join(kept)} stays behind the scores; `fit` wants them plain: head=linear drops it")
        draft.classes = names
        draft.note(f"the new weights are random, torch's own initial ones, from seed {self.seed}")
        try:
            draft.measure()
        except ShapeError as problem:
            raise ShapeError(f"{address} cannot have {count} outputs: {problem.asked}", problem.found,
                             "head=linear drops what is behind it") from problem

    def _classes(self, given: Given) -> tuple[tuple[str, ...], int]:
        """Names and number of the new classes."""
        text = self.into.strip()
        if not text:
            names = () if given.images is None else tuple(given.images.classes)
            if len(names) < 2:
                found = "no images were given" if given.images is None else f"{given.images.name} has {len(names)}"
                raise UsageError("replace-head needs the new classes", found,
                                 "name or count them: into=cat,dog or into=5; or give labelled images: data")
            return names, len(names)
        if text.isdigit() and int(text) > 0:
            return (), int(text)
        names = tuple(part.strip() for part in text.split(","))
        if len(names) < 2 or "" in names or len(set(names)) < len(names):
            raise UsageError(f"cannot read the classes {text!r}", "they are no number, and no two or more different names",
                             "for example into=5 or into=cat,dog")
        return names, len(names)

    def _scores(self, draft: Draft, last: Node, features: Node, count: int) -> list[Any]:
        """Put the new modules behind the features. They, and the node of the scores."""
        shape = draft.shape(features)
        if len(shape) not in (1, 3):
            raise UsageError(f"a {self.head} head on {draft.address(features)}",
                             f"its value is {'×'.join(map(str, shape))}, no vector and no map", "use head=same")
        whole = getattr(draft.module(last), "kernel_size", None) == shape[1:]  # a dense layer in the shape of a convolution
        n = math.prod(shape) if whole else shape[0]
        made: list[tuple[str, nn.Module]] = []
        if len(shape) == 3:
            made = [] if whole else [("pool", nn.AdaptiveAvgPool2d(1))]
            made.append(("flatten", nn.Flatten()))
        if self.head == "mlp":
            made += [("hidden", nn.Linear(n, self.hidden)), ("relu", nn.ReLU()), ("dropout", nn.Dropout(self.drop))]
        made.append(("scores", nn.Linear(self.hidden if self.head == "mlp" else n, count)))
        if len(made) == 1:
            draft.put(last, made[0][1])
            return [made[0][1], last]
        value, group = features, "head" if draft.free("head") == "head" else draft.free("new_head")  # `fit` knows both
        for name, module in made:
            value = draft.call(value, module, value, name=f"{group}.{name}")
        return [*(module for _, module in made), value]


def _head(draft: Draft) -> tuple[Node, list[Node]]:
    """The last dense layer or convolution, and the calls behind it, the answer first."""
    behind: list[Node] = []
    node = draft.output
    while not (node.op == "call_module" and isinstance(draft.module(node), (nn.Linear, nn.Conv2d))):
        read = [a for a in node.all_input_nodes if a.op == "get_attr" or a.meta.get("shape")]
        held = node.op == "call_module" and not isinstance(draft.module(node), nn.modules.batchnorm._BatchNorm) \
            and next(draft.module(node).parameters(), None) is not None
        if len(read) != 1 or read[0].op not in ("call_module", "call_function") or held:
            found = "has weights of its own" if held else f"reads {len(read)} values" if len(read) > 1 else "reads the image"
            raise UsageError(f"the head of {draft.net.name} cannot be told",
                             f"{draft.address(node)} comes after the last dense layer or convolution and {found}",
                             "edit a network that ends in one dense layer or convolution")
        behind.append(node)
        node = read[0]
    return node, behind


def _like(old: nn.Module, count: int, address: str) -> nn.Module:
    """The same layer with another number of outputs."""
    if isinstance(old, nn.Linear):
        return nn.Linear(old.in_features, count, old.bias is not None)
    assert isinstance(old, nn.Conv2d)
    if old.groups != 1:
        raise UsageError(f"{address} with {count} outputs", f"it is a convolution in {old.groups} groups", "use head=linear")
    return nn.Conv2d(old.in_channels, count, old.kernel_size, old.stride, old.padding, old.dilation,  # type: ignore[arg-type]
                     bias=old.bias is not None)
