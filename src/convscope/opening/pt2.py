"""Open a `.pt2` file: a program saved by `torch.export.save`, with its module paths and source lines.

A `.pt2` is a zip of JSON and raw tensors, but torch's reader unpickles entries that the archive *asks* to have
unpickled, and falls back to unsafe loading where safe loading fails. So the archive is looked through first, and refused
if it asks for that.
"""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from convscope.errors import OpeningError
from convscope.export import Exported
from convscope.network import Network
from convscope.opening import Source


def find(path: Path) -> Source:
    if not path.is_file():
        raise OpeningError(
            f"cannot open {path}", "there is no such file", "save one with torch.export.save(program, 'net.pt2')"
        )
    refuse_pickles(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(path)
    except Exception as problem:  # a damaged archive can fail anywhere inside
        raise OpeningError(
            f"cannot read {path}",
            f"{type(problem).__name__}: {str(problem).splitlines()[0][:200]}",
            "it must be written by torch.export.save",
        ) from problem
    return Source(program.module(), path.stem, program=program, folder=path.parent)


def refuse_pickles(path: Path) -> None:
    """Raise OpeningError for an archive that could run code when it is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            reasons = [n for n in names if "custom_obj" in n or n.endswith((".pkl", ".so", ".pyc"))]
            for name in names:
                if name.endswith("_config.json") and '"use_pickle": true' in json.dumps(json.loads(archive.read(name))):
                    reasons.append(name)
                if name.endswith(".pt"):
                    torch.load(io.BytesIO(archive.read(name)), weights_only=True)
            if not any(n.endswith("archive_format") for n in names):
                reasons.append("the old archive layout")
    except Exception as problem:  # not a zip, or an entry that only unsafe loading could read
        raise OpeningError(
            f"cannot read {path}",
            f"{type(problem).__name__}: {str(problem).splitlines()[0][:160]}",
            "it must be written by torch.export.save of torch 2.9 or newer",
        ) from problem
    if reasons:
        raise OpeningError(
            f"{path} asks to be unpickled, which can run code",
            f"entries: {', '.join(reasons[:4])}",
            "save it again with torch.export.save from plain tensors",
        )


def network(source: Source, facts: dict[str, Any]) -> Network:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about its own tree specifications
        program = source.program.run_decompositions({})
    training = [n.name for n in program.graph.nodes if "batch_norm" in str(n.target) and "no_training" not in str(n.target)]
    if training:
        raise OpeningError(
            f"{source.name} was exported in training mode",
            f"{training[0]} normalises by the batch",
            "export it after model.eval()",
        )
    wanted = program.graph_signature.user_inputs
    first = next(n for n in program.graph.nodes if n.op == "placeholder" and n.name in wanted)
    batch = first.meta["val"].shape[0]
    bound = batch if isinstance(batch, int) else None
    notes = (f"the batch is bound to {bound}: the program was exported so",) if bound else ()
    return Network.of(Exported(program, bound, notes), None, source.name, **facts)
