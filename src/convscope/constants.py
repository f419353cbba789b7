"""Weights that were traced as constants although they are the module's parameters.

A `forward` that reaches its weights by another way than the module's own attributes (Keras keeps its own variables) hides
them from torch.export: the graph then reads copies of no name, and the parameters are read by nobody.
"""

from __future__ import annotations

from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind


def own_weights(program: ExportedProgram) -> None:
    """Let the graph read the parameter or buffer wherever it reads a constant that lies in the very same memory."""
    named = {n.name: n for n in program.graph.nodes if n.op == "placeholder"}
    held: dict[tuple[object, ...], str] = {}
    for spec in program.graph_signature.input_specs:
        name, target = spec.arg.name, str(spec.target)
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            place = _place(program.state_dict.get(target, program.constants.get(target)))
            better = place not in held or (not named[held[place]].users and len(name) < len(held[place]))
            if place and better:
                held[place] = name
        elif spec.kind is InputKind.CONSTANT_TENSOR:
            place = _place(program.constants[target])
            if place in held:
                named[name].replace_all_uses_with(named[held[place]])
    program.graph_module.recompile()


def _place(value: object) -> tuple[object, ...]:
    """Where a tensor lies in memory, and how; () of anything else."""
    if not isinstance(value, Tensor) or not value.numel():
        return ()
    return value.data_ptr(), tuple(value.shape), value.stride(), value.dtype
