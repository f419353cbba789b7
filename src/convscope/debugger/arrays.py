"""Which array is which? Somebody's own arrays read from a file, and their names understood.

A name is `<layer address>.<what>`, for example `conv1.delta`, `fc.weight.gradient`, `lstm.weight_hh_l0.gradient`:

    activation     what the layer computed                       output, out, y
    delta          ∂L/∂(the layer's output)                      grad_output, dout, dy
    input_delta    ∂L/∂(the layer's input), through this layer   grad_input, dx
    weight, bias   the parameters themselves                     W, b
    …gradient      ∂L/∂(a parameter)                             weight_grad, grad_weight, dW, db

and by themselves `input` (x), `labels` (target, y), `loss`, `output`. Instead of the dot a slash or `__` will do
(`np.savez(conv1__delta=…)`), in file names `~` stands for the colon of a second call.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convscope.errors import DataError, UnknownName, UsageError, unknown

ACTIVATION, DELTA, INPUT_DELTA, GRADIENT, PARAMETER = "activation", "delta", "input_delta", "gradient", "parameter"
LOSS, LABELS, INPUT, WANTED = "loss", "labels", "input", "target"
_WORDS = {
    ACTIVATION: ("activation", "activations", "output", "out", "y", "forward", "value"),
    DELTA: ("delta", "grad_output", "output_grad", "output_delta", "output_gradient", "dout", "dy", "grad"),
    INPUT_DELTA: ("input_delta", "delta_input", "grad_input", "input_grad", "input_gradient", "dx", "din"),
}
_TOP = {
    INPUT: ("input", "x", "X", "image", "images", "inputs"),
    LABELS: ("labels", "label", "y", "classes"),
    LOSS: ("loss",),
    WANTED: ("target", "targets"),
}
_SHORT = {"weight": ("weight", "weights", "W", "w"), "bias": ("bias", "biases", "b")}
NAMES = (
    "<layer>.activation, .delta, .input_delta, .weight.gradient, .bias.gradient, .weight, .bias; input, labels, loss, output"
)


@dataclass(frozen=True)
class Name:
    """What a name in somebody's file means: the kind of array, the layer's address, which parameter."""

    kind: str
    layer: str = ""
    parameter: str = ""  # 'weight', 'bias', 'weight_hh_l0'

    def __str__(self) -> str:
        what = {GRADIENT: f"{self.parameter}.gradient", PARAMETER: self.parameter}.get(self.kind, self.kind)
        return f"{self.layer}.{what}" if self.layer else what


def read(source: Any) -> dict[str, Any]:
    """Arrays by name from an .npz, a .safetensors, a folder of .npy files, or a mapping (tensors are taken too).

    Raises DataError for what cannot be read, is empty, holds pickled objects, NaN or infinities.
    """
    if isinstance(source, Mapping):
        found = {str(k): _array(str(k), v) for k, v in source.items()}
    else:
        found = {k: _array(k, v) for k, v in _file(Path(source)).items()}
    if not found:
        raise DataError("there is nothing to verify", "no array was given", f"save arrays named {NAMES}")
    for name, value in found.items():
        if not np.isfinite(value).all():
            at = tuple(int(i) for i in np.argwhere(~np.isfinite(value))[0])
            raise DataError(
                f"{name} holds {value[at]}",
                f"first at index {list(at)}, {int((~np.isfinite(value)).sum())} in all",
                "look for a division by 0, log 0 or an overflow before anything else",
            )
    return found


def _file(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise DataError(f"there is no {path}", "", "give an .npz, a .safetensors or a folder of .npy files")
    if path.is_dir():
        return {p.stem.replace("~", ":"): _npy(p) for p in sorted(path.glob("*.npy"))}
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return dict(load_file(path))
        except SafetensorError as problem:
            raise DataError(f"{path.name} is no safetensors file", str(problem), "save it again") from problem
    if path.suffix == ".npy":
        raise DataError(
            f"{path.name} is one array without a name",
            "",
            "save several with np.savez, or put .npy files named like the arrays into a folder",
        )
    try:
        with np.load(path, allow_pickle=False) as kept:
            return {name: _member(path, kept, name) for name in kept.files}
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, AttributeError) as problem:
        raise DataError(
            f"{path.name} is no .npz file", str(problem), "save arrays with np.savez(path, **arrays)"
        ) from problem


def _member(path: Path, kept: Any, name: str) -> Any:
    try:
        return kept[name]
    except ValueError as problem:
        raise DataError(
            f"{name} in {path.name} cannot be read",
            str(problem),
            "save plain numeric arrays (no lists of arrays of unequal sizes, no objects)",
        ) from problem


def _npy(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as problem:
        raise DataError(f"{path.name} cannot be read", str(problem), "save a plain numeric array with np.save") from problem


def _array(name: str, value: Any) -> Any:
    """A NumPy array of numbers."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    made = np.asarray(value)
    if made.dtype.kind not in "fiub":
        raise DataError(f"{name} holds {made.dtype}, not numbers", "", "save plain numeric arrays")
    return made


def understand(text: str, addresses: Mapping[str, tuple[str, ...]], together: Any = ()) -> Name:
    """What a name means in a network: `addresses` gives each layer's parameters.

    `together`: all names of the file, to see whether a layer that is called twice is meant as a whole. Raises UnknownName.

    >>> str(understand("conv1__dW", {"conv1": ("weight", "bias")}))
    'conv1.weight.gradient'
    """
    for kind, words in _TOP.items():
        if text in words:
            return Name(kind)
    if text in ("output", "out", "logits", "scores"):
        return Name(ACTIVATION)
    plain = text.replace("__", ".").replace("/", ".").replace("~", ":")
    if plain.split(".")[0] in ("output", "input", "logits", "scores", "loss") and plain.split(".")[0] not in addresses:
        kind = _top_delta(plain)
        if kind is not None:
            return kind
    for address in sorted(addresses, key=len, reverse=True):  # the longest first: 'relu:1' before 'relu'
        for prefix in (f"{address}.", f"{address}_", f"{address}:0."):
            if plain.startswith(prefix):
                found = _what(plain[len(prefix) :], addresses[address])
                if found is not None:
                    kind, parameter = found
                    if kind in (ACTIVATION, DELTA, INPUT_DELTA) and not prefix.endswith(":0."):
                        _require_one_call(text, address, addresses, together)
                    return Name(kind, address, parameter)
    _complain(text, plain, addresses)
    raise AssertionError(text)  # _complain always raises


def _top_delta(plain: str) -> Name | None:
    """'output.delta', 'input.gradient'."""
    first, _, what = plain.partition(".")
    if what in (*_WORDS[DELTA], "gradient"):
        return Name(DELTA, "" if first != "input" else INPUT)
    return None


def _what(word: str, parameters: tuple[str, ...]) -> tuple[str, str] | None:
    """(kind, parameter) of the part behind the address."""
    for kind, words in _WORDS.items():
        if word in words:
            return kind, ""
    for parameter in parameters:
        for short in _SHORT.get(parameter, (parameter,)):
            if word == short:
                return PARAMETER, parameter
            gradients = (
                f"{short}.gradient",
                f"{short}.grad",
                f"{short}_gradient",
                f"{short}_grad",
                f"grad_{short}",
                f"d{short}",
                f"d_{short}",
                f"{short}.delta",
            )
            if word in gradients:
                return GRADIENT, parameter
    return None


def _require_one_call(text: str, address: str, addresses: Mapping[str, Any], together: Any) -> None:
    """A module that is called several times: its bare name is understood only where its other calls are named too."""
    siblings = [a for a in addresses if a.startswith(f"{address}:")]
    named = any(str(t).replace("~", ":").startswith(tuple(siblings)) for t in together) if siblings else True
    if siblings and not named:
        raise UsageError(
            f"{text}: {address} is called {len(siblings) + 1} times",
            f"its calls are {', '.join([f'{address}:0', *siblings])}",
            f"say which one is meant, for example {siblings[0]}, or {address}:0 for the first",
        )


def _complain(text: str, plain: str, addresses: Mapping[str, tuple[str, ...]]) -> None:
    known = [a for a in addresses if plain == a or plain.startswith(f"{a}.")]
    if known:
        address = max(known, key=len)
        parameters = addresses[address]
        words = ["activation", "delta", "input_delta", *(f"{p}.gradient" for p in parameters), *parameters]
        raise UnknownName(
            f"{text}: no array of {address} goes by that name",
            f"expected {address}." + f", {address}.".join(words),
            "`convscope verify --help` lists all names",
        )
    head = plain.rsplit(".", 2 if plain.endswith(("gradient", "grad")) and plain.count(".") > 1 else 1)[0]
    raise unknown("layer", head, addresses, f"arrays are named {NAMES}") from None
