"""Keep a training run on disk so that it survives `kill -9`: a whole new file beside the old one, then one rename.

A reader sees the old file or the new one, never half of one (a rename within a folder is atomic; the bytes are forced to
disk before it). Files hold tensors, numbers, strings, lists and dicts only and are read with `weights_only=True`: reading
runs no code.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

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
