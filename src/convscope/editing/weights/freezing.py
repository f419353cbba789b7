"""Freeze what a value is computed from: no gradients, and batch norms that keep to their statistics in training too.

Batch norm in train() normalises by the batch and lets its running statistics follow, frozen parameters or not: features of a
frozen part would change from batch to batch. `parts.FixedBatchNorm2d` does what evaluation does, always.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.fx import Node

from convscope.editing import writing
from convscope.editing.draft import Draft
from convscope.editing.modules import fixed
from convscope.errors import UsageError


def freeze(draft: Draft, upto: Iterable[Node] | None, features: Node) -> None:
    """Freeze all that `features` are computed from, or all up to and with the calls `upto`, which must lie before them."""
    before = sources(features)
    frozen = before
    if upto is not None:
        upto = list(upto)
        late = [draft.address(n) for n in upto if n not in before]
        if late:
            found = f"it is not before the head, which reads {draft.address(features)}"
            raise UsageError(f"cannot freeze up to {late[-1]}", found, "name a layer before the head, or use freeze=all")
        frozen = set[Node]().union(*(sources(n) for n in upto))
    calls = [n for n in draft.nodes if n.op == "call_module"]
    shared = {n.target for n in calls if n not in frozen}
    again = sorted({str(n.target) for n in calls if n in frozen and n.target in shared
                    and next(draft.module(n).parameters(), None) is not None})
    if again:
        draft.note(f"not frozen, as it is used again behind: {', '.join(again)}")
    count, fixed_ones = 0, 0
    for node in draft.root.graph.nodes:
        if node.op == "get_attr" and all(u in frozen for u in node.users):
            path, _, name = str(node.target).rpartition(".")
            held = [draft.root.get_submodule(path)._parameters.get(name)]
        elif node.op == "call_module" and node in frozen and node.target not in shared:
            module = draft.module(node)
            fixed_ones += _fix(draft, node, module)
            held = list(draft.module(node).parameters())
        else:
            continue
        for p in held:
            if p is not None and p.requires_grad:
                p.requires_grad_(False)
                count += p.numel()
    what = f"{count:,} parameters up to {draft.address(features if upto is None else upto[-1])}"
    kept = f"; statistics of batch norm stay in train(): {fixed_ones} layers" if fixed_ones else ""
    lines = [line.replace("self", "model", 1) for line in writing.frozen(draft.root)]
    if fixed_ones:
        lines += ["for part in model.modules():  # after every model.train()",
                  "    frozen = not any(p.requires_grad for p in part.parameters())",
                  "    if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)) and frozen:",
                  "        part.eval()"]
    draft.say(f"frozen: {what}{kept}", *lines)


def sources(node: Node) -> set[Node]:
    """The node and all that it is computed from."""
    found: set[Node] = set()
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += one.all_input_nodes
    return found


def _fix(draft: Draft, node: Node, module: nn.Module) -> int:
    if type(module) not in (nn.BatchNorm1d, nn.BatchNorm2d) or not module.track_running_stats:
        return 0
    draft.put(node, fixed(module), everywhere=True)
    return 1
