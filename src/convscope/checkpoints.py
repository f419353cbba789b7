"""Keep a training run on disk so that it survives `kill -9`: a whole new file beside the old one, then one rename.

A reader sees the old file or the new one, never half of one (a rename within a folder is atomic; the bytes are forced to
disk before it). Files hold tensors, numbers, strings, lists and dicts only and are read with `weights_only=True`: reading
runs no code.

Besides the one to go on from, weights along the way can be kept for good (`Kept`), to see later what training changed.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convscope import store
from convscope.errors import StoreError, UsageError
from convscope.recipe import differences

FORMAT = "convscope training run 1"


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint. Killed meanwhile, it leaves the one before and a `….partial` for the next write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        torch.save({"format": FORMAT, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """Read a checkpoint of the run that `identity` describes. Errors: StoreError (damaged), UsageError (of another run)."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise StoreError(f"cannot read the checkpoint {path}", reason, "remove it to start anew") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise StoreError(f"{path} is no checkpoint of a training run", "it was not written by `fit`", "give another path")
    found = list(differences(state["identity"], identity))
    if found:
        raise UsageError(f"the checkpoint {path} is of another run", "; ".join(found)[:500],
                         "repeat the call that made it, or give another path")
    return state


@dataclass(frozen=True)
class Kept:
    """Weights along the way: `folder/epoch-0000.safetensors` before the first step, then one after every `every` epochs.

    Or after every `every` steps: `step-000000.safetensors`, … Each file appears whole or not at all. A run that is taken up
    again writes the same files.
    """

    folder: Path
    every: int = 1
    unit: str = "epochs"  # or 'steps'

    @classmethod
    def read(cls, folder: Path, text: str | int) -> Kept:
        """`text` says how often: 5 or '5 epochs', '100 steps'. Errors: UsageError.

        >>> Kept.read(Path("kept"), "100 steps").every
        100
        """
        found = re.fullmatch(r"\s*(\d+)\s*(epochs?|steps?)?\s*", str(text))
        if found is None or int(found[1]) < 1:
            raise UsageError(f"cannot keep weights every {text!r}", "it is no number of epochs or steps",
                             "for example 5, '5 epochs' or '100 steps'")
        return cls(folder, int(found[1]), "steps" if (found[2] or "").startswith("step") else "epochs")

    def see(self, unit: str, done: int, state: Mapping[str, Tensor]) -> None:
        """After so many epochs or steps: write the weights if it is their turn. `state` is the model's state dict."""
        if unit != self.unit or done % self.every:
            return
        from safetensors.torch import save as to_bytes

        digits = 4 if unit == "epochs" else 6
        self.folder.mkdir(parents=True, exist_ok=True)
        with store.atomic(self.folder / f"{unit[:-1]}-{done:0{digits}}.safetensors") as file:
            # tensors that share their numbers are written once each: the format knows no sharing
            file.write(to_bytes({k: v.detach().cpu().clone().contiguous() for k, v in state.items()}))
