"""Weights for a module: safetensors, or `.pt` read with `weights_only=True`. What does not fit is shown as a table.

Checkpoints wrap their tensors in many ways; the usual wrappings are taken off and said.
"""

from __future__ import annotations

import copy
import difflib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convscope.errors import OpeningError

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "ema", "module")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")


def read(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The named tensors of a file, and what was taken off to reach them."""
    if not path.is_file():
        raise OpeningError(f"cannot read weights from {path}", "there is no such file", "check the path")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:  # damaged files fail in many ways, unsafe pickles in another
        raise OpeningError(
            f"cannot read weights from {path}",
            f"{type(problem).__name__}: {str(problem).splitlines()[0][:160]}",
            "only tensors and plain values are read (weights_only=True); save model.state_dict(), or as .safetensors",
        ) from problem
    notes: list[str] = []
    while isinstance(found, dict) and not any(isinstance(v, Tensor) for v in found.values()):
        inner = next((k for k in _WRAPPERS if isinstance(found.get(k), dict)), None)
        if inner is None:
            raise OpeningError(
                f"{path} holds no named tensors", f"its entries are {list(found)[:6]}", "save model.state_dict()"
            )
        notes.append(f"weights taken from entry {inner!r}")
        found = found[inner]
    if not isinstance(found, dict):
        raise OpeningError(
            f"{path} holds a {type(found).__name__}", "a dictionary of tensors is needed", "save model.state_dict()"
        )
    return {k: v for k, v in found.items() if isinstance(v, Tensor)}, notes


def load_into(module: nn.Module, path: Path, *, partial: bool = False, ours: bool = True) -> tuple[nn.Module, list[str]]:
    """`module` with the file's weights (a copy where the module is the user's own), and notes on what was done."""
    given, notes = read(path)
    wanted = module.state_dict()
    rename = getattr(module, "published_name", None)  # a zoo network knows the names of its weights
    if rename is not None:
        given = {new: value for name, value in given.items() if (new := rename(name)) is not None}
    while (prefix := _prefix(given, wanted)) is not None:
        given = {k.removeprefix(prefix): v for k, v in given.items()}
        notes.append(f"prefix {prefix!r} taken off all names")
    counters = {k for k in wanted if k.endswith("num_batches_tracked")}  # counts batches, decides nothing in evaluation
    missing = [k for k in wanted if k not in given and k not in counters]
    unexpected = [k for k in given if k not in wanted]
    shapes = [k for k in given if k in wanted and given[k].shape != wanted[k].shape]
    if shapes or unexpected or (missing and not partial):
        raise OpeningError(
            f"the weights in {path.name} do not fit {type(module).__name__}",
            table(missing, unexpected, shapes, given, wanted),
            "give the architecture that they were trained for"
            + ("" if partial else ", or --partial to leave the missing ones as they are"),
        )
    target = module if ours else copy.deepcopy(module)
    target.load_state_dict({**{k: wanted[k] for k in (*missing, *counters) if k in wanted}, **given})
    if missing:
        notes.append(f"{len(missing)} of {len(wanted)} tensors were not in {path.name} and keep their initial values")
    kinds = {str(v.dtype).removeprefix("torch.") for k, v in given.items() if v.dtype != wanted[k].dtype}
    if kinds:
        computed = str(next(iter(wanted.values())).dtype).removeprefix("torch.")
        notes.append(f"weights stored as {', '.join(sorted(kinds))}, computed in {computed}")
    return target, notes


def _prefix(given: dict[str, Tensor], wanted: dict[str, Tensor]) -> str | None:
    """A wrapper's name that stands before every name of the file and before none of the network's."""
    common = (
        p for p in _PREFIXES if given and all(k.startswith(p) for k in given) and not any(k.startswith(p) for k in wanted)
    )
    return next(common, None)


def table(
    missing: list[str], unexpected: list[str], shapes: list[str], given: dict[str, Tensor], wanted: dict[str, Tensor]
) -> str:
    """What does not fit, name by name, with the nearest name on the other side."""

    def near(name: str, names: list[str]) -> str:
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
        return f"  (did you mean {close[0]}?)" if close else ""

    rows = [f"  wrong shape  {k}: file {tuple(given[k].shape)}, network {tuple(wanted[k].shape)}" for k in shapes]
    rows += [f"  missing      {k} {tuple(wanted[k].shape)}{near(k, unexpected)}" for k in missing]
    rows += [f"  unexpected   {k} {tuple(given[k].shape)}{near(k, missing)}" for k in unexpected]
    more = [f"  … and {len(rows) - 12} more"] if len(rows) > 12 else []
    return (
        f"{len(shapes)} of wrong shape, {len(missing)} missing, {len(unexpected)} unexpected:\n"
        + "\n".join(rows[:12] + more)
        + "\n"
    )
