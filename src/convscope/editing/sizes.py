"""Which size has every value of a draft? The graph is run on shapes; where they part, layer and numbers are said."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import GraphModule, Interpreter, Node

from convscope.errors import ShapeError

BATCH = 2  # torch takes sizes 0 and 1 for constants


class Parting(ShapeError):
    """Sizes that part at a call of a draft."""

    node: Node


class Shapes(Interpreter):
    """Runs on fake tensors and writes each value's shape, with its batch of 2, into `node.meta['shape']`."""

    def __init__(self, root: GraphModule) -> None:
        super().__init__(root)
        self.at: Node | None = None

    def run_node(self, n: Node) -> Any:
        self.at = n
        value = super().run_node(n)
        n.meta["shape"] = shape(value)
        return value


def shape(value: Any) -> Any:
    """The shape of a tensor; of several values one each; None of anything else."""
    if isinstance(value, Tensor):
        return tuple(int(n) for n in value.shape)
    return tuple(shape(v) for v in value) if isinstance(value, (list, tuple)) else None


def measure(root: GraphModule, inputs: list[tuple[int, ...]], dtype: torch.dtype) -> None:
    """Write the shapes, for inputs (C, H, W) without the batch; ShapeError names the layer at which they part."""
    runner = Shapes(root)
    training = root.training
    log = logging.getLogger("torch._subclasses.fake_tensor")  # it would print a traceback of sizes that part
    silent = log.disabled
    log.disabled = True
    root.eval()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            runner.run(*[torch.empty((BATCH, *size), dtype=dtype) for size in inputs])
    except (RuntimeError, ValueError, IndexError, TypeError, AssertionError) as problem:
        node = runner.at
        assert node is not None
        error = Parting(f"{said(node)} cannot take what it is given", _numbers(root, node, problem),
                        "change that layer too, or edit another one")
        error.node = node
        raise error from problem
    finally:
        log.disabled = silent
        root.train(training)


def said(node: Node) -> str:
    """A node as a person knows it: its layer's address."""
    return node.meta.get("address") or (str(node.target) if node.op == "call_module" else node.name)


def _numbers(root: GraphModule, node: Node, problem: Exception) -> str:
    shapes = [_text(a.meta.get("shape")) for a in node.all_input_nodes if a.meta.get("shape")]
    gets = f"it gets {' and '.join(shapes)}"
    if node.op == "call_module":
        module = root.get_submodule(str(node.target))
        wants = getattr(module, "in_features", None) or getattr(module, "in_channels", None)
        wants = wants or getattr(module, "num_features", None)
        if wants is not None:
            return f"{gets} and takes {wants} {'numbers' if hasattr(module, 'in_features') else 'channels'}"
    return f"{gets}; torch says: {str(problem).splitlines()[0][:160]}"


def _text(size: Any) -> str:
    if size and isinstance(size[0], tuple):
        return ", ".join(map(_text, size))
    return "×".join(map(str, size[1:])) + (f" ({math.prod(size[1:]):,} numbers)" if len(size) > 2 else "")
