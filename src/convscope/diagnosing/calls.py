"""Which operations does a forward pass call, on what, and from which line? And: the same pass with some of them replaced.

Torch's own functions are seen as they are called (a `TorchFunctionMode`), so a functional ReLU, a reused module and a
Keras layer are calls like any other, and nothing is hung on the model. A call is known by its operation and its turn:
'softmax#0' is the first softmax. Calls that only move values (reshape, permute, to) carry on what they were given.
"""

from __future__ import annotations

import linecache
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Rule = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]  # (function, args, kwargs) -> value

_NAMES = {
    "conv1d": "conv", "conv2d": "conv", "conv3d": "conv", "_conv_forward": "conv", "convolution": "conv",
    "conv_transpose2d": "conv", "conv_transpose1d": "conv",
    "relu_": "relu", "relu6": "relu", "threshold": "relu", "clamp_min": "relu", "leaky_relu_": "leaky_relu",
    "prelu": "leaky_relu", "rrelu": "leaky_relu", "elu_": "elu", "sigmoid_": "sigmoid", "hardsigmoid": "sigmoid",
    "tanh_": "tanh", "hardtanh_": "hardtanh", "_softmax": "softmax", "_log_softmax": "log_softmax",
    "logsigmoid": "log_sigmoid",
    "silu_": "silu", "alpha_dropout": "dropout", "dropout1d": "dropout", "dropout2d": "dropout", "dropout3d": "dropout",
    "dropout_": "dropout", "feature_dropout": "dropout", "native_batch_norm": "batch_norm", "instance_norm": "instance_norm",
    "addmm": "linear", "baddbmm": "linear", "lstm": "lstm", "gru": "gru", "rnn_tanh": "rnn", "rnn_relu": "rnn",
    "lstm_cell": "lstm", "gru_cell": "gru", "rnn_tanh_cell": "rnn",
    "multi_head_attention_forward": "attention", "scaled_dot_product_attention": "attention",
}  # fmt: skip
ACTIVATIONS = ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus", "sigmoid", "tanh", "hardtanh",
               "softmax", "log_softmax", "log_sigmoid", "hardswish", "softsign")  # fmt: skip
WEIGHTED = ("linear", "conv", "lstm", "gru", "rnn", "embedding", "attention")
NORMS = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "local_response_norm", "rms_norm")
_PLUMBING = {
    "to", "type", "float", "double", "half", "contiguous", "view", "view_as", "reshape", "flatten", "unflatten", "squeeze",
    "unsqueeze", "permute", "transpose", "t", "movedim", "clone", "expand", "expand_as", "requires_grad_", "alias", "cpu",
    "cuda", "type_as", "__get__", "_to_copy", "moveaxis", "swapaxes", "getattr", "identity", "bfloat16", "as_tensor",
    "unsafe_chunk", "narrow", "requires_grad", "retain_grad", "channel_shuffle", "pixel_shuffle",
}  # fmt: skip
_OURS = str(Path(__file__).parents[1])
_OTHERS = (sysconfig.get_paths()["stdlib"], sysconfig.get_paths()["purelib"], _OURS)  # not the user's code


@dataclass(eq=False)
class Call:
    """One operation of one forward pass."""

    op: str  # 'linear', 'relu', 'softmax', …; torch's own name where it is none of those
    turn: int  # how many of the same operation came before
    value: Tensor  # what it gave, with its graph
    inputs: tuple[int, ...]  # the calls whose values it read; the network's input is −1
    parameters: tuple[str, ...] = ()  # names of what it read of the model
    module: str = ""  # the innermost module that it was called in
    line: str = ""  # 'net.py:31', of the user's own code
    text: str = ""  # that line
    settings: dict[str, Any] = field(default_factory=dict[str, Any])  # dim, p, training, inplace, …
    name: str = ""  # 'fc1', 'fc1>relu'

    @property
    def key(self) -> str:
        return f"{self.op}#{self.turn}"


class Recorder(TorchFunctionMode):
    """Every call of the forward passes inside the block, in order."""

    def __init__(self, model: nn.Module, inputs: tuple[Tensor, ...] = (), where: bool = False) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self._from: dict[int, int] = {id(x): -1 for x in inputs}
        self._parameters = {id(p): n for n, p in [*model.named_parameters(), *model.named_buffers()]}
        self._made: dict[int, tuple[str, ...]] = {}  # tensors that come from parameters alone
        self._held: list[Tensor] = list(inputs)  # or their ids would be given out again
        self._turns: dict[str, int] = {}
        self._named: dict[str, int] = {}
        self._modules = {id(m): n for n, m in model.named_modules() if not any(True for _ in m.children())} if where else {}
        self._where = where

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        value = func(*args, **kwargs)
        name = _name(func)
        given = _tensors((args, kwargs))
        for out in _tensors(value):
            self._held.append(out)
        outs = _tensors(value)
        if not outs:
            return value
        live = [t for t in given if id(t) in self._from]
        names = tuple(dict.fromkeys(n for t in given for n in self._names_of(t)))
        if not live:
            for out in outs:
                if names:
                    self._made[id(out)] = names
            return value
        sources = tuple(dict.fromkeys(self._from[id(t)] for t in live))
        op = canonical(name, bool(names))
        if op in _PLUMBING or (op in ("add", "bias") and names and len(live) == 1):
            if names and sources[0] >= 0:
                last = self.calls[sources[0]]
                last.parameters = (*last.parameters, *names)
                last.value = outs[0]
            for out in outs:
                self._from[id(out)] = sources[0]
            if op in _PLUMBING:
                return value
            return value
        call = Call(op, self._turns.get(op, 0), outs[0], sources, names, settings=_settings(args, kwargs, outs[0]))
        self._turns[op] = call.turn + 1
        if self._where:
            call.module, call.line, call.text = self._place()
        call.name = self._called(call)
        self.calls.append(call)
        for out in outs:
            self._from[id(out)] = len(self.calls) - 1
        return value

    def of(self, value: Any) -> Call | None:
        """The call that gave this value."""
        at = self._from.get(id(value), -1)
        return self.calls[at] if at >= 0 else None

    def _names_of(self, t: Tensor) -> tuple[str, ...]:
        if id(t) in self._parameters:
            return (self._parameters[id(t)],)
        return self._made.get(id(t), ())

    def _called(self, call: Call) -> str:
        if call.parameters:
            name = _stem(call.parameters[0])
        else:
            before = next((self.calls[i].name for i in call.inputs if i >= 0), "input")
            name = call.module if call.module and call.module not in self._named else f"{before.split('>')[0]}>{call.op}"
        count = self._named[name] = self._named.get(name, -1) + 1
        return f"{name}:{count}" if count else name

    def _place(self) -> tuple[str, str, str]:
        frame, module, line, text = sys._getframe(2), "", "", ""
        for _ in range(60):
            if frame is None:
                break
            here = frame.f_locals.get("self")
            if not module and isinstance(here, nn.Module) and id(here) in self._modules:
                module = self._modules[id(here)]
            file = frame.f_code.co_filename
            if file.startswith(_OURS) and frame.f_code.co_name != "_place":
                break  # beyond this frame is whoever asked, not the network
            if not line and not file.startswith(_OTHERS) and file[:1] != "<":
                line, text = f"{Path(file).name}:{frame.f_lineno}", linecache.getline(file, frame.f_lineno).strip()
            if module and line:
                break
            frame = frame.f_back  # type: ignore[assignment]
        return module, line, text


class Replacing(TorchFunctionMode):
    """Some calls do something else: `rules` by key ('softmax#0') or operation ('dropout')."""

    def __init__(self, rules: dict[str, Rule]) -> None:
        super().__init__()
        self.rules = rules
        self.turns: dict[str, int] = {}
        self.watched = {key.split("#")[0] for key in rules}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        op = canonical(_name(func), any(isinstance(a, nn.Parameter) for a in args))
        if op not in self.watched:
            return func(*args, **kwargs)
        turn = self.turns[op] = self.turns.get(op, -1) + 1
        rule = self.rules.get(f"{op}#{turn}") or self.rules.get(op)
        return func(*args, **kwargs) if rule is None else rule(func, args, kwargs)


@contextmanager
def replacing(rules: dict[str, Rule]) -> Iterator[None]:
    """Forward passes inside the block follow `rules`. One pass a block: turns are counted from its begin."""
    if not rules:
        yield
        return
    with Replacing(rules):
        yield


def identity(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """A rule: the call gives what it was given."""
    return args[0] if args else kwargs["input"]


def instead(function: Callable[[Tensor], Tensor]) -> Rule:
    """A rule: another function of the first argument."""
    return lambda func, args, kwargs: function(args[0] if args else kwargs["input"])  # noqa: ARG005


def canonical(name: str, weighted: bool) -> str:
    """One name an operation: 'conv2d' is conv, matmul with a weight is linear."""
    name = _NAMES.get(name, name)
    if weighted and name in ("matmul", "mm", "bmm", "__matmul__", "einsum", "__rmatmul__"):
        return "linear"
    if name in ("__add__", "__iadd__", "add_", "__radd__"):
        return "add"
    return name


def record(model: nn.Module, x: Tensor, rules: dict[str, Rule] | None = None, where: bool = False) -> tuple[Any, Recorder]:
    """One forward pass: its output, and its calls."""
    recorder = Recorder(model, (x,), where)
    with replacing(rules or {}), recorder:
        output = model(x)
    return output, recorder


def _name(func: Any) -> str:
    return getattr(func, "__name__", None) or str(func)


def _stem(parameter: str) -> str:
    for ending in ("weight", "bias", "kernel", "gamma", "beta", "running_mean", "running_var", "num_batches_tracked",
                   "weight_ih_l0", "recurrent_kernel", "moving_mean", "moving_variance"):  # fmt: skip
        if parameter.endswith((f".{ending}", f"/{ending}")):
            return parameter[: -len(ending) - 1]
    return parameter.rpartition(".")[0] or parameter


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [t for v in cast("tuple[Any, ...]", value) for t in _tensors(v)]
    if isinstance(value, dict):
        return [t for v in cast("dict[str, Any]", value).values() for t in _tensors(v)]
    return []


def _settings(args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor) -> dict[str, Any]:
    """The plain arguments: `dim` as a number from 0, the others by their keyword."""
    plain_types = (int, float, bool, str)
    found: dict[str, Any] = {k: v for k, v in kwargs.items() if isinstance(v, plain_types) and not k.startswith("_")}
    plain = [a for a in args[1:] if isinstance(a, (int, float, bool))]
    if plain and "dim" not in found and isinstance(plain[0], int) and not isinstance(plain[0], bool):
        found["dim"] = plain[0]
    if plain and "p" not in found and isinstance(plain[0], float):
        found["p"] = plain[0]
    if isinstance(found.get("dim"), int) and found["dim"] < 0:
        found["dim"] += out.ndim
    return found
