"""Open a `.pt2` file: a program saved by `torch.export.save`, with its module paths and source lines."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from convscope.errors import OpeningError
from convscope.export import Exported
from convscope.network import Network
from convscope.opening import Source


def find(path: Path) -> Source:
    if not path.is_file():
        raise OpeningError(f"cannot open {path}", "there is no such file", "save one with torch.export.save(program, 'net.pt2')")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(path)
    except Exception as problem:  # a damaged archive can fail anywhere inside
        raise OpeningError(f"cannot read {path}", f"{type(problem).__name__}: {str(problem).splitlines()[0][:200]}",
                           "it must be written by torch.export.save") from problem
    return Source(program.module(), path.stem, program=program)


def network(source: Source, facts: dict[str, Any]) -> Network:
    program = source.program.run_decompositions({})
    training = [n.name for n in program.graph.nodes if "batch_norm" in str(n.target) and "no_training" not in str(n.target)]
    if training:
        raise OpeningError(f"{source.name} was exported in training mode", f"{training[0]} normalises by the batch", "export it after model.eval()")
    wanted = program.graph_signature.user_inputs
    first = next(n for n in program.graph.nodes if n.op == "placeholder" and n.name in wanted)
    batch = first.meta["val"].shape[0]
    bound = batch if isinstance(batch, int) else None
    notes = (f"the batch is bound to {bound}: the program was exported so",) if bound else ()
    return Network.of(Exported(program, bound, notes), None, source.name, **facts)
