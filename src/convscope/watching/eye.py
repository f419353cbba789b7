"""The eye: sees every torch function that a training loop calls, with no hook on any module.

    h = F.relu(F.linear(x, W))      W is fc1.weight: this call is the layer 'fc1', the next one 'fc1>relu'

A layer is named by the parameter that the call uses, so functional calls are layers as modules are; its second call in
one forward pass is 'fc1:1'. In a *deep* window (one optimiser step) values are sampled and their gradients asked for by a
tensor hook; otherwise passes, modes and losses are counted alone. What a compiled or scripted part computes is not seen.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from convscope.watching import names
from convscope.watching.samples import sample
from convscope.watching.tallies import Tallies
from convscope.watching.window import Window

HALF = (torch.float16, torch.bfloat16)


@dataclass(eq=False, slots=True)
class _Known:
    """A tensor that comes from the model, or from its weights alone."""

    of: Any  # weakref to the tensor
    layer: str  # that produced it; for weights: their owner
    axis: int = 1
    weight: str = ""  # the parameter's name if it was computed from weights alone
    cut: bool = False


class Eye(TorchFunctionMode):
    """One for each watch; `window` is the time since the last step."""

    def __init__(self, model: nn.Module, most: int, tallies: Tallies) -> None:
        super().__init__()
        self.model, self.most, self.tallies = model, most, tallies
        self.window = Window()
        self.inside = 0  # > 0 while a torch function runs: the stack of modes is then not ours to change
        self.open = True
        self.first: int | None = None  # id of the weight that a forward pass begins with
        self.head: int | None = None  # and of the one that it ends with
        self.last: int | None = None
        self.ended = False  # the head was used since the forward pass began
        self.shape: tuple[int, ...] = ()  # of the model's last output
        self.known: dict[int, _Known] = {}
        self.calls: dict[str, int] = {}
        self.extra: set[Any] = set()  # functions outside LAYERS that begin or end this model
        self.lost: str = ""  # the layer whose values left torch (numpy, item, tolist)
        self.heard = 0  # torch functions called
        self.work = 0.0  # multiply-accumulates of the layers named so far, about
        self.after_backward: Callable[[], None] = lambda: None
        self.kinds: dict[Any, names.Kind] = {}
        self.refresh()

    def refresh(self) -> None:
        """Learn the parameters anew: a loop may replace a layer."""
        self.names = names.owners(self.model)
        self.modal = names.modal(self.model)
        self.tallies.has_modes |= bool(self.modal)

    def begin(self, window: Window) -> None:
        self.window = window
        self.known.clear()
        self.lost = ""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        kind = self.kinds.get(func)
        if kind is None:
            if len(self.kinds) > 4096:
                self.kinds.clear()  # functions that are made anew at each step shall not fill the memory
            kind = self.kinds[func] = names.kind(func)
        self.heard += 1
        if kind.passes or not self.open:
            return func(*args, **kwargs) if kwargs else func(*args)
        kwargs = kwargs or {}
        self.inside += 1
        try:
            if func is Tensor.backward:
                return self._backward(func, args, kwargs)
            out = func(*args, **kwargs)
        finally:
            self.inside -= 1
        if self.window.deep:
            self._follow(kind, func, args, kwargs, out)
        elif kind.layer or func in self.extra:
            self._layer_used(func, args, kwargs, out)
        if kind.note:
            self._note(func, args, kwargs)
        return out

    # --- forward passes

    def _layer_used(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Count forward passes by their first and last weight."""
        for part in _tensors(args, kwargs):
            if id(part) in self.names:
                self._weight_used(id(part), args, _first(out), func)
                return

    def _weight_used(self, key: int, args: tuple[Any, ...], out: Tensor | None, func: Any) -> None:
        if self.first is None:
            self.first = key
            self.extra.add(func)
            self._forward(args)
        elif key == self.first and (self.ended if self.head is not None else self.last != key):
            self._forward(args)
        if key == self.head:
            self.ended = True
        if key != self.last or key == self.head:
            self.last = key
            self.extra.add(func)
        if out is not None and (self.head is None or key == self.head):
            self.shape = tuple(out.shape)

    def _forward(self, args: tuple[Any, ...]) -> None:
        self.ended = self.head == self.first
        self.calls.clear()
        self.lost = ""
        for one in args:
            if isinstance(one, Tensor) and id(one) not in self.names and one.ndim:
                self.tallies.batch(one.shape[0])
                break
        if torch.is_grad_enabled():
            self.window.waiting += 1
        self.tallies.forward(torch.is_grad_enabled(), [m.training for m in self.modal])

    # --- values, in deep windows

    def _follow(self, kind: names.Kind, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Name what was computed after what it was computed from."""
        weight, owner, data, from_model, key, used = "", "", None, None, 0, None
        for part in _tensors(args, kwargs):
            named = self.names.get(id(part))
            if named is not None:
                if not weight:
                    (owner, weight), key = named, id(part)
                if used is None and part.ndim > 1:
                    used = part
                continue
            known = self._known(part)
            if known is not None and known.weight:
                if not weight:
                    owner, weight = known.layer, known.weight
                    key = next((k for k, n in self.names.items() if n[1] == weight), 0)
                continue
            data = part if data is None else data
            from_model = from_model or known
        if kind.leaves:
            self.lost = from_model.layer if from_model and args[0].numel() > 1 else self.lost
            return
        if not weight and from_model is None:
            return
        result = _first(out)
        if result is None or id(result) in self.names or not result.is_floating_point():
            return
        if not weight:
            self._passed_on(kind, args, result, from_model)  # type: ignore[arg-type]
        elif data is None:
            if result.ndim:
                self._learn(result, _Known(None, owner, 1, weight))
        elif result.ndim:
            self._weight_used(key, args, result, func)
            self._cut_before(data, from_model)
            self.work += 0 if used is None else result.numel() * used.numel() / used.shape[0]
            name = self._layer(result, owner or kind.spoken, "", kind.axis, key)
            if kind.activation:
                self.window.words[name] = kind.spoken
        elif from_model is not None:
            self._passed_on(kind, args, result, from_model)

    def _passed_on(self, kind: names.Kind, args: tuple[Any, ...], result: Tensor, source: _Known) -> None:
        """A call without weights on a value of the model."""
        if kind.activation:
            if self.ended and torch.is_grad_enabled():
                self.tallies.after_output(kind.spoken)
            self._layer(result, f"{source.layer}>{kind.spoken}", kind.spoken, source.axis, 0)
            return
        self._learn(result, _Known(None, source.layer, source.axis, cut=source.cut or kind.cuts))
        if kind.spoken in ("mul", "rmul") and result.numel() == 1 and torch.is_grad_enabled():
            self._scaled(args)
        if self.ended and torch.is_grad_enabled() and result.requires_grad:
            self.tallies.after_output(kind.spoken)

    def _scaled(self, args: tuple[Any, ...]) -> None:
        """A gradient scaler multiplies the loss by a tensor that is a power of two."""
        for other in args:
            if isinstance(other, Tensor) and not other.requires_grad and other.numel() == 1 and self._known(other) is None:
                factor = float(other)
                if factor >= 2 and math.frexp(factor)[0] == 0.5:
                    self.window.scale = factor

    def _cut_before(self, data: Tensor, source: _Known | None) -> None:
        """A layer after the first whose input carries no gradient though it comes from a layer."""
        if not torch.is_grad_enabled() or data.requires_grad:
            return
        if source is not None and source.cut:
            self.tallies.cut(source.layer)
        elif source is None and self.lost:
            self.tallies.cut(self.lost)
        self.lost = ""

    def _layer(self, out: Tensor, name: str, spoken: str, axis: int, key: int) -> str:
        again = self.calls[name] = self.calls.get(name, -1) + 1
        name = f"{name}:{again}" if again else name
        self._learn(out, _Known(None, name, axis))
        window = self.window
        if not torch.is_grad_enabled() or name in window.values or not out.numel() or out.layout != torch.strided:
            return name
        window.values[name] = sample(out, self.most, axis)
        window.words[name], window.weights[name] = spoken, key
        self.tallies.halves(out.dtype in HALF)
        if out.dtype in HALF and key:
            window.halves.add(key)
        if out.requires_grad:
            out.register_hook(lambda gradient: self._gradient(window, name, axis, gradient))
        return name

    def _gradient(self, window: Window, name: str, axis: int, gradient: Tensor) -> None:
        if self.open and window is self.window and name not in window.gradients and gradient.layout == torch.strided:
            window.gradients[name] = sample(gradient, self.most, axis)

    def _learn(self, tensor: Tensor, known: _Known) -> None:
        known.of = weakref.ref(tensor)
        self.known[id(tensor)] = known

    def _known(self, tensor: Tensor) -> _Known | None:
        found = self.known.get(id(tensor))
        return found if found is not None and found.of() is tensor else None

    # --- the loss and what is read off the output

    def _backward(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        loss, window = args[0], self.window
        if self.head is None:
            self.head, self.ended = self.last, True
        self.tallies.backward(loss)
        self.tallies.before_backward()
        window.losses.append(loss.detach())
        done = func(*args, **kwargs)
        window.backwards += 1
        window.waiting = 0
        self.after_backward()
        return done

    def _note(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        spoken: str = names.word(func)
        tensor: Tensor = args[0] if args else kwargs["input"]
        if func in names.ZEROED:
            if tensor.ndim == 0 and tensor.dtype == torch.int64:
                self.tallies.restarted()
        elif func in names.DROPOUTS:
            self.tallies.has_modes |= bool(kwargs.get("p", args[1] if len(args) > 1 else 0.5))
        elif func in names.SOFTMAXES:
            self.tallies.softmax(spoken, kwargs.get("dim", args[1] if len(args) > 1 else None), tensor.ndim)
        elif tuple(tensor.shape) == self.shape and len(self.shape) > 1:
            at = 2 if spoken == "topk" else 1
            dim = kwargs.get("dim", args[at] if len(args) > at else (-1 if spoken == "topk" else None))
            if not isinstance(dim, Tensor) and not (dim is None and spoken == "max"):
                self.tallies.argmax(dim, tensor.ndim)


def _tensors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for one in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(one, Tensor):
            found.append(one)
        elif isinstance(one, (list, tuple)):
            found.extend(inner for inner in one if isinstance(inner, Tensor))
    return found


def _first(out: Any) -> Tensor | None:
    if isinstance(out, (tuple, list)) and out:
        out = out[0]
    return out if isinstance(out, Tensor) else None
