"""What does the last layer hold: logits, probabilities, or their logarithms? And from there to probabilities, applied once.

    logits z            p = softmax(z / T)          one logit: p = sigmoid(z / T) of the second of two classes
    log-probabilities   p = softmax(log p / T)      they are logits with a constant taken off
    probabilities       p = softmax(log p / T)      as they are for T = 1
    sigmoid             p = sigmoid(logit(p) / T)   every output is a class of its own: multi-label

The *graph* is asked first: its last operation, through plumbing. Where that says nothing (a division by a sum), the
numbers are: eight random inputs from a fixed seed, never the user's images, so that one image is read as a batch is.
T is the temperature of Guo et al. 2017, "On Calibration of Modern Neural Networks".
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.fx import Node

from convscope import run
from convscope.errors import DataError, UsageError, unknown
from convscope.export import random_input
from convscope.layers import op_name, shape_of
from convscope.network import Network

KINDS = ("logits", "probabilities", "log-probabilities", "sigmoid", "log-sigmoid")
SUMS = 1e-3  # how far a sum of probabilities may be from 1
PROBES = 8
BINS = 15  # of the expected calibration error
COLDEST, HOTTEST = 0.01, 100.0  # where a temperature is looked for
_KINDS = {"softmax": "probabilities", "_softmax": "probabilities", "log_softmax": "log-probabilities",
          "_log_softmax": "log-probabilities", "sigmoid": "sigmoid", "hardsigmoid": "sigmoid",
          "log_sigmoid": "log-sigmoid", "log_sigmoid_forward": "log-sigmoid"}  # fmt: skip
_SCORES = {"linear", "addmm", "mm", "matmul", "conv1d", "conv2d", "conv3d", "convolution", "einsum"}
_SAME = {"clone", "alias", "detach", "contiguous", "lift_fresh_copy", "_to_copy", "to", "getitem", "dropout"}
_SHAPED = {"view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "expand"}
_PRIME = 1009  # stands for the free batch axis, so that no other axis is taken for it
_known: weakref.WeakKeyDictionary[Network, Reading] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Reading:
    """How outputs become probabilities. `each` gives one per output (B, K), `classes` two columns where K = 1."""

    kind: str  # one of KINDS
    how: str  # how that was found out, in words
    warnings: tuple[str, ...] = ()
    multi_label: bool = False  # every output stands by itself
    temperature: float = 1.0

    @property
    def does(self) -> str:
        """What turns the outputs into probabilities, in words; the temperature too."""
        one = {"logits": "sigmoid of the outputs" if self.multi_label else "softmax of the outputs",
               "probabilities": "the outputs are probabilities", "log-probabilities": "exp of the outputs",
               "sigmoid": "the outputs are probabilities, each by itself",
               "log-sigmoid": "exp of the outputs, each by itself"}[self.kind]  # fmt: skip
        return one if self.temperature == 1 else f"{one}, at temperature {self.temperature:.4g}"

    def scores(self, output: Tensor) -> Tensor:
        """(B, K) float64 z, so that softmax(z), or sigmoid(z) where each stands by itself, gives the network's own p."""
        z = output.double()
        if self.kind in ("sigmoid", "log-sigmoid"):
            p = z if self.kind == "sigmoid" else z.exp()
            return torch.logit(p) if self.kind == "sigmoid" else z - torch.log1p(-p)
        if self.kind == "probabilities":
            return torch.logit(z) if self.multi_label or output.shape[1] == 1 else z.log()
        return z

    def each(self, output: Tensor) -> Tensor:
        """(B, K) → (B, K) probability of every output."""
        alone = self.multi_label or output.shape[1] == 1
        if self.temperature == 1:
            if self.kind in ("probabilities", "sigmoid"):
                return output
            if self.kind == "log-sigmoid" or (self.kind == "log-probabilities" and not alone):
                return output.exp()
        z = self.scores(output) / self.temperature
        return (z.sigmoid() if alone else z.softmax(1)).to(output.dtype)

    def classes(self, output: Tensor) -> Tensor:
        """(B, K) → (B, max(K, 2)): one output alone says how likely the second of two classes is."""
        p = self.each(output)
        return torch.cat([1 - p, p], 1) if p.shape[1] == 1 and not self.multi_label else p


def read(
    net: Network, *, multi_label: bool = False, outputs: str | None = None, temperature: float | None = None
) -> Reading:
    """How the outputs of `net` are to be read. Errors: UsageError.

    `multi_label`: every output is a yes or no of its own. `outputs`: one of KINDS, instead of finding out. `temperature`:
    by default the one that was fitted for the network (`Network.temperature`), else 1.

    >>> from convscope import opening
    >>> read(opening.open("zoo:lenet5")).how
    'the last operation, fc3 (linear), gives scores'
    """
    heat = temperature if temperature is not None else net.temperature if net.temperature is not None else 1.0
    if not (isinstance(heat, (int, float)) and 0 < heat < float("inf")):
        raise UsageError("a temperature is a positive number", f"got {heat!r}", "1 leaves the probabilities as they are")
    if outputs is None:
        if net not in _known:
            _known[net] = _found(net)
        found = _known[net]
    elif outputs not in KINDS:
        raise unknown("kind of output", outputs, KINDS)
    else:
        found = Reading(outputs, "you said so", multi_label=outputs in ("sigmoid", "log-sigmoid"))
    if multi_label and found.kind == "log-probabilities":
        raise UsageError("these outputs cannot be read label by label", f"{found.how}: they share one sum",
                         "leave --multi-label out, or train with a sigmoid for each output")  # fmt: skip
    if multi_label and found.kind == "probabilities":
        raise UsageError("these outputs cannot be read label by label", f"{found.how}: they add up to 1",
                         "leave --multi-label out, or say what they are: --outputs sigmoid")  # fmt: skip
    return replace(found, multi_label=multi_label or found.multi_label, temperature=float(heat))


def _found(net: Network) -> Reading:
    by_graph = of_graph(net)
    return by_graph if by_graph is not None else _of_numbers(net)


def of_graph(net: Network) -> Reading | None:
    """What the last operation says, through plumbing; None where it says nothing."""
    node, axis = _last(net)
    name, where = op_name(node), _address(net, node)
    if name in _SCORES:
        return Reading("logits", f"the last operation, {where} ({name}), gives scores")
    inner = _through(node.all_input_nodes[0], None)[0] if node.all_input_nodes else node
    if name == "log" and op_name(inner) in ("softmax", "_softmax"):
        axis, node, kind = _before(node, axis), inner, "log-probabilities"
    elif name == "exp" and op_name(inner) in ("log_softmax", "_log_softmax"):
        axis, node, kind = _before(node, axis), inner, "probabilities"
    elif name in _KINDS:
        kind = _KINDS[name]
    else:
        return None
    how = f"the last operation is {name.strip('_')} ({where})"
    warnings = _twice(node)
    if "sigmoid" in kind:
        count = shape_of(net.inputs[0].meta["val"])[0] * _classes(net)
        return Reading(kind, how, warnings, multi_label=count > 1)
    assert isinstance(node.args[1], int)
    wrong = _wrong_axis(net, node, node.args[1], axis)
    if wrong:
        return Reading(kind, how, (wrong, *warnings))
    return Reading(kind, f"{how}, over the classes", warnings)


def _classes(net: Network) -> int:
    shape = net.output.output_shape
    return shape[1] if len(shape) > 1 else 1


def _last(net: Network) -> tuple[Node, int | None]:
    """The operation whose value is the answer, and which of its axes counts the classes (None: no longer known)."""
    nodes = net.program.graph.nodes
    answer = next(n for n in nodes if n.op == "output").args[0]
    assert isinstance(answer, (list, tuple))
    node = answer[net.output_at]
    assert isinstance(node, Node)
    rank = len(shape_of(node.meta["val"]))
    return _through(node, 1 if rank in (2, 4, 5) else None)


def _through(node: Node, axis: int | None) -> tuple[Node, int | None]:
    """Up through operations that only move numbers, with the axis of the classes."""
    while op_name(node) in _SAME | _SHAPED | {"permute", "transpose"} and node.all_input_nodes:
        before = node.all_input_nodes[0]
        if before.op != "call_function":
            break
        axis = _moved(node, before, axis)
        node = before
    return node, axis


def _before(node: Node, axis: int | None) -> int | None:
    return _through(node.all_input_nodes[0], axis)[1]


def _moved(node: Node, before: Node, axis: int | None) -> int | None:
    """The axis of `before` that is `axis` of `node`."""
    name, after = op_name(node), _sizes(node)
    if axis is None or name in _SAME:
        return axis
    if name == "permute":
        order = node.args[1]
        assert isinstance(order, (list, tuple))
        return int(str(order[axis])) % len(after)
    if name == "transpose":
        a, b = (int(str(n)) % len(after) for n in node.args[1:3])
        return {a: b, b: a}.get(axis, axis)
    long = [i for i, n in enumerate(after) if n != 1]  # axes of one entry come and go
    came = [i for i, n in enumerate(_sizes(before)) if n != 1]
    same = [after[i] for i in long] == [_sizes(before)[i] for i in came]
    return came[long.index(axis)] if same and axis in long else None


def _sizes(node: Node) -> tuple[int, ...]:
    return shape_of(node.meta["val"], _PRIME)


def _wrong_axis(net: Network, node: Node, over: int, axis: int | None) -> str:
    """What is wrong with a softmax over axis `over`, where `axis` counts the classes; '' if nothing is."""
    sizes = _sizes(node)
    over %= len(sizes)
    named = f"the softmax runs over axis {over} of {('B', *map(str, sizes[1:]))}".replace("'", "")
    if sizes[over] == _PRIME or (over == 0 and net.batch is not None):
        return f"{named}: over the images of a batch, not over the classes; it should be softmax over axis 1"
    if sizes[over] == 1:
        return f"{named}: over a single number, which always gives 1; use a sigmoid, or two outputs"
    if axis is not None and over != axis and sizes[over] != len(net.classes):
        return f"{named}: over positions, not over the {sizes[axis]} classes; it should be softmax over axis {axis}"
    return ""


def _twice(node: Node) -> tuple[str, ...]:
    """A second softmax or sigmoid right below the last."""
    if not node.all_input_nodes:
        return ()
    below = op_name(_through(node.all_input_nodes[0], None)[0])
    if below in _KINDS:
        return (f"{op_name(node).strip('_')} is applied to the result of {below.strip('_')}: one of the two is too many",)
    return ()


def _address(net: Network, node: Node) -> str:
    return next((layer.address for layer in net.layers if layer.node == node.name), net.output.address)


def _of_numbers(net: Network) -> Reading:
    """What eight random inputs say (as many as the network takes at once, where its batch is bound)."""
    like = net.module if net.module is not None else torch.nn.Identity()
    x = net.check_input(random_input((net.batch or PROBES, *net.input_shape[1:]), like))
    kind, seen = of_numbers(run.run(net, x).output)
    last = op_name(_last(net)[0]).strip("_")
    how = f"the graph does not say (its last operation is {last}); on {len(x)} random inputs {seen}"
    return Reading(kind, how)


def of_numbers(output: Tensor) -> tuple[str, str]:
    """(B, K, …) → what these numbers must be, and what was seen."""
    output = output.double()
    if output.ndim > 1 and output.shape[1] > 1 and bool(output.isfinite().all()):
        if bool((output >= 0).all()) and bool((output.sum(1) - 1).abs().max() < SUMS):
            return "probabilities", "the outputs are not negative and add up to 1"
        if bool((output <= 0).all()) and bool((output.exp().sum(1) - 1).abs().max() < SUMS):
            return "log-probabilities", "exp of the outputs adds up to 1"
    return "logits", "the outputs do not add up to 1, nor do their exponentials"


# ---- temperature: how sure may the network be? ---------------------------------------------------------------------------


def nll(z: Tensor, labels: Tensor, temperature: float = 1.0) -> Tensor:
    """(N, K) scores, or (N, 1) of two classes → (N,): −log p of the right class, in nats."""
    z = two(z.double()) / temperature
    return -z.log_softmax(1)[torch.arange(len(z)), labels]


def two(z: Tensor) -> Tensor:
    """One score alone is that of the second of two classes: sigmoid(z) = softmax(0, z)."""
    return torch.cat([torch.zeros_like(z), z], 1) if z.shape[1] == 1 else z


def fit_temperature(z: Tensor, labels: Tensor, low: float = COLDEST, high: float = HOTTEST) -> float:
    """The T in [low, high] with the smallest mean NLL. It is convex in 1/T, so there is one minimum."""
    from scipy.optimize import minimize_scalar

    z = two(z.double())
    found = minimize_scalar(lambda log: float(nll(z, labels, float(np.exp(log))).mean()),
                            bounds=(np.log(low), np.log(high)), method="bounded", options={"xatol": 1e-6})  # fmt: skip
    return float(np.exp(found.x))


def calibration_error(p: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Expected calibration error: Σ over bins of n_b/N · |share right − mean confidence|; bins of equal width of max p.

    >>> calibration_error(torch.tensor([[0.5, 0.5], [0.5, 0.5]]), torch.tensor([0, 1]))
    0.0
    """
    sure, best = p.double().max(1)
    right = (best == labels).double()
    at = (sure * bins).ceil().long().clamp(1, bins) - 1  # a bin holds its upper end, as (0, 1/15], (1/15, 2/15], …
    total = torch.zeros(bins, dtype=torch.float64)
    return float(total.index_add(0, at, right - sure).abs().sum() / len(p))


def indices(net: Network, names: Sequence[str]) -> tuple[NDArray[np.int64], str]:
    """Which output each class of a collection is, and how that was found. Errors: DataError."""
    count = max(2, _classes(net))
    own = {_plain(part): at for at, name in reversed(list(enumerate(net.classes))) for part in (*name.split(","), name)}
    asked = [_plain(name) for name in names]
    if own and all(name in own for name in asked):
        return np.array([own[name] for name in asked], np.int64), "labels went by the names of the classes"
    numbered = all(name.isdecimal() and int(name) < count for name in asked)
    if numbered:
        return np.array([int(name) for name in asked], np.int64), "labels are numbers of outputs"
    if not own and len(asked) == count:
        return np.arange(count), f"the network has no names: the images' {count} classes were taken for its outputs in order"
    strange = [name for name, plain in zip(names, asked, strict=True) if plain not in own]
    raise DataError(f"the images' classes do not fit {net.name}",
                    f"not among its {count} classes: {', '.join(map(repr, strange[:5]))}"
                    + (f" and {len(strange) - 5} more" if len(strange) > 5 else ""),
                    "give the network's names in its order: --classes FILE")  # fmt: skip


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", " ")
