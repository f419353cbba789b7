"""Where in the user's network? Calls that have weights, these weights by unit, and how a place and a line are written."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from convscope.diagnosing.calls import WEIGHTED, Call, Recorder, Rule, replacing
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import Program, left_alone


def weighted(evidence: Evidence) -> list[Call]:
    """The calls of the forward pass that read a weight, in their order."""
    return [c for c in evidence.calls if c.op in WEIGHTED and c.parameters]


def weight(call: Call, program: Program) -> tuple[str, Tensor] | None:
    """Name and values of the first parameter of a call that has two axes or more."""
    known = dict(program.model.named_parameters())
    found = [(n, known[n]) for n in call.parameters if n in known and known[n].ndim >= 2 and known[n].is_floating_point()]
    return found[0] if found else None


def rows(p: Tensor, program: Program) -> Tensor:
    """(units, fan-in): torch keeps units on the first axis, Keras on the last."""
    return p.reshape(len(p), -1) if program.framework == "torch" else p.reshape(-1, p.shape[-1]).T


def ancestors(evidence: Evidence) -> set[int]:
    """The calls that the output hangs on, by their number; empty where the output is not a recorded call's."""
    recorder = evidence.first[1]
    found: set[int] = set()
    last = None if evidence.tensor is None else recorder.of(evidence.tensor)
    todo = [] if last is None else [recorder.calls.index(last)]
    while todo:
        here = todo.pop()
        if here >= 0 and here not in found:
            found.add(here)
            todo.extend(recorder.calls[here].inputs)
    return found


def place(call: Call) -> str:
    """'fc1 (net.py:31)'."""
    return f"{call.name} ({call.line})" if call.line else call.name


def line(call: Call, new: str, keep: bool = False) -> str:
    """The change of one line of the user's program: theirs with '-', ours with '+'; `keep` adds ours behind theirs."""
    old = call.text or f"({call.module or call.name}) {call.op}"
    return f"+ {new}  # behind: {old}" if keep else f"- {old}\n+ {new}"


def again(
    program: Program, x: Tensor, training: bool = False, rules: dict[str, Rule] | None = None, seed: int = 0
) -> tuple[Any, Recorder] | None:
    """Output and calls of another forward pass, without gradient; None where it raises. Statistics stay as they are."""
    buffers = {n: b.detach().clone() for n, b in program.model.named_buffers()}
    recorder = Recorder(program.model, (x,))
    with left_alone(program.model), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program.model.train(training)
        torch.manual_seed(seed)
        try:
            with replacing({**program.rules, **(rules or {})}), recorder:
                out = program.model(x)
        except Exception:  # noqa: BLE001 - a network that fails is told of by `evidence.first`
            return None
        finally:
            if training:
                for n, b in program.model.named_buffers():
                    b.copy_(buffers[n])
    return out, recorder
