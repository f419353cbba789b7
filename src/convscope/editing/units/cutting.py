"""A piece of a network away: its one value in goes on in place of its one value out, and what then parts is mended.

Channels part: the layers that read them keep the weights that fit (new columns start at 0), or a 1×1 convolution, started as
the identity as far as it goes, joins the two sizes; whichever needs fewer new parameters. A branch that ends in
concatenations leaves them, and the rows that read it.

Maps part: where they meet others or a dense layer, they are pooled to the size of before. If that would put back what was
taken away, the dense layer is rebuilt for the larger map: each weight shared out over the pixels that its pixel became,
W′[c, y′, x′] = W[c, ⌊y′h/h′⌋, ⌊x′w/w′⌋] · hw / h′w′.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn
from torch.fx import Node

from convscope.editing import parts
from convscope.editing.draft import Draft
from convscope.editing.sizes import Parting, said
from convscope.editing.units import moving
from convscope.editing.units.channels import Channels
from convscope.editing.units.fits import fitting, joiner, times
from convscope.editing.units.moving import Moved
from convscope.errors import ConvscopeError, ShapeError, UsageError, unknown

_MANY = 200  # repairs of maps: more would be no repair


@dataclass
class Cut:
    """What is to go from a draft: `nodes`, called `name`; the value of `entry` goes on in place of that of `leaving`."""

    draft: Draft
    name: str
    nodes: list[Node]
    entry: Node
    leaving: Node
    shapes: dict[Node, tuple[int, ...]] = field(default_factory=dict[Node, tuple[int, ...]])  # before, without the batch

    @classmethod
    def of(cls, draft: Draft, name: str, on: str = "") -> Cut:
        """A layer or block that has one value out, and one in (or the one named `on`)."""
        nodes = draft.under(name)
        inside = set(nodes)
        coming = list(dict.fromkeys(a for n in nodes for a in n.all_input_nodes if a not in inside and _shape(a)))
        leaving = [n for n in nodes if any(u not in inside for u in n.users)]
        if len(leaving) != 1:
            raise UsageError(f"{name} cannot be taken out in one piece",
                             f"{len(leaving)} of its values are read outside it: {', '.join(map(said, leaving[:4]))}",
                             "take out its layers one by one")
        names = {draft.address(a): a for a in coming}
        if on and on not in names:
            raise unknown(f"value that {name} reads", on, names)
        if not on and len(coming) != 1:
            first = next(iter(names), "")
            raise UsageError(f"{name} cannot be taken out as it is", f"it joins {len(coming)} values: {', '.join(names)}",
                             f"say which of them goes on: on={first!r}" if first else "choose another layer")
        entry = names[on] if on else coming[0]
        if entry.op == "placeholder" and _answers(leaving[0]):
            raise UsageError(f"{name} is the whole network", "nothing would be left", "take out a part of it")
        shapes = {n: s for n in draft.root.graph.nodes if (s := _shape(n))}
        draft.shape(leaving[0])  # a single tensor, or an error
        return cls(draft, name, nodes, entry, leaving[0], shapes)

    @property
    def parameters(self) -> int:
        held = {id(p): p.numel() for n in self.nodes if n.op == "call_module" for p in self.draft.module(n).parameters()}
        return sum(held.values())

    @property
    def joins(self) -> list[Node]:
        """The concatenations that a branch of another size ends in, if it ends nowhere else."""
        found = [u for u in self.leaving.users if _concatenates(self.draft, u)]
        branch = len(found) == len(self.leaving.users) and all(len(_operands(u)) > 1 for u in found)
        return found if branch and self.shapes[self.entry] != self.shapes[self.leaving] else []

    # ---- without repair ----------------------------------------------------------------------------------------------

    def bare(self) -> None:
        """Cut, and mend nothing; ShapeError says where the sizes part."""
        self.draft.redirect(self.leaving, self.entry)
        problem = self._parting()
        if problem is not None:
            raise problem

    def _parting(self) -> Parting | None:
        """Where do the sizes part now? Also where torch would spread one value over another instead."""
        try:
            self.draft.measure()
        except Parting as problem:
            return problem
        for node in self.draft.nodes:
            live = [a for a in node.all_input_nodes if a.op != "get_attr" and _shape(a)]
            was = {self.shapes.get(a) for a in live} - {None}
            if len(live) > 1 and len({_shape(a) for a in live}) > 1 and len(was) == 1 and _sums(self.draft, node):
                problem = Parting(f"{said(node)} would mix what it is given",
                                  f"it gets {' and '.join(times(_shape(a)) for a in live)}", "change that layer too")
                problem.node = node
                return problem
        return None

    # ---- with ----------------------------------------------------------------------------------------------------------

    def mended(self) -> None:
        """Cut, and make the smallest repair of the sizes after it; every step is said."""
        draft = self.draft
        old, new = self.shapes[self.leaving], self.shapes[self.entry]
        if self.joins:
            return self._branch(self.joins)
        if _answers(self.leaving) and len(self.leaving.users) == 1:
            draft.redirect(self.leaving, self.entry)
            if old != new:
                draft.classes = ()
                draft.note(f"the network answers with the {times(new)} numbers of {said(self.entry)}: no classes any more")
            return draft.measure()
        value = self.entry
        axes = (len(old), len(new))
        if axes[0] == 1 and axes[1] > 1:
            if len(self.nodes) == 1 and math.prod(new) == old[0]:
                raise ShapeError(f"{self.name} cannot go", f"it turns {times(new)} into the {old[0]} numbers that are read "
                                 "after it, and nothing else does", "take out the layers after it, or `convolutionalize`")
            value = draft.call(self.entry, nn.Flatten(), self.entry, name=f"{self.name}_flatten")
            draft.say(f"{said(value)}: {times(new)} as {math.prod(new)} numbers")
            new = (math.prod(new),)
        elif axes[0] != axes[1]:
            raise ShapeError(f"{self.name} cannot go", f"it turns {times(new)} into {times(old)}", "take out more with it")
        if old[0] != new[0]:
            value = self._channels(value, old[0], new[0])
        self._dense(value)
        draft.redirect(self.leaving, value, but=(value,))
        return self._maps()

    def _branch(self, joins: list[Node]) -> None:
        """A branch leaves the concatenations it ends in, with the weights that read it."""
        plan = Channels(self.draft)
        none = {self.leaving: Moved(np.arange(0), np.ones(0))}
        changes = moving.apply(plan, moving.maps(plan, {}, none), none)
        for join in joins:
            left = [v for v in _operands(join) if v is not self.leaving]
            settings: Any = join.args[1:]
            join.args = tuple(left) if join.op == "call_module" else (left, *settings)
        self.draft.measure()
        self.draft.say(f"its {self.shapes[self.leaving][0]} channels leave {', '.join(map(said, joins[:4]))}"
                       f"{' …' if len(joins) > 4 else ''} and its readers: {moving.words(changes)}; no new parameters")

    def _channels(self, value: Node, old: int, new: int) -> Node:
        """Readers that keep what fits, or a 1×1 convolution: whichever brings fewer new parameters."""
        fits = {self.leaving: Moved(np.where(np.arange(new) < old, np.arange(new), -1), np.ones(new))}
        trial = self.draft.copy()
        twins = {n.name: n for n in trial.root.graph.nodes}
        cost: int | None = None
        reason = ""
        try:
            plan = Channels(trial)
            moved = {twins[k.name]: v for k, v in fits.items()}
            cost = moving.new_parameters(moving.apply(plan, moving.maps(plan, {}, moved), moved))
        except UsageError as problem:
            reason = f"{problem.asked}: {problem.found}"
        if cost is not None and (cost <= old * new or self._is_mixer()):
            plan = Channels(self.draft)
            changes = moving.apply(plan, moving.maps(plan, {}, fits), fits)
            self.draft.say(f"{new} channels instead of {old}: the readers keep the weights that fit, "
                           f"{moving.words(changes)}; {cost:,} new parameters" + (", which start at 0" if cost else ""))
            return value
        if self._is_mixer():
            raise ShapeError(f"{self.name} cannot go", f"it turns {new} channels into {old}, and its readers cannot be "
                             f"changed ({reason})", "take out the block that it is in")
        flat = len(self.shapes[self.leaving]) == 1
        joined = joiner(new, old, flat)
        added = self.draft.call(value, joined, value, name=f"{self.name}_fit")
        kind = "a dense layer" if flat else "a 1×1 convolution"
        self.draft.say(f"{said(added)}: {kind} from {new} to {old} channels, at first the identity as far as it goes; "
                       f"{old * new:,} new parameters", f"# {self.draft.python(said(added))} = nn.Conv2d({new}, {old}, 1, "
                       "bias=False)" if not flat else f"# {said(added)} = nn.Linear({new}, {old}, bias=False)")
        return added

    def _is_mixer(self) -> bool:
        """Is what goes itself just a 1×1 convolution or dense layer? Then none is put in its place."""
        mine = [m for n in self.nodes if n.op == "call_module" for m in [self.draft.module(n)] if list(m.parameters())]
        return len(mine) == 1 and (isinstance(mine[0], nn.Linear)
                                   or (isinstance(mine[0], nn.Conv2d) and set(mine[0].kernel_size) == {1}))

    def _dense(self, value: Node) -> None:
        """If pooling is what goes, and a dense layer reads right behind it, that layer is rebuilt for the larger map."""
        old, new = self.shapes[self.leaving], self.shapes[self.entry]
        flat = _flattened(self.draft, self.leaving)
        if self.parameters or flat is None or value is not self.entry or len(old) < 3 or len(new) < 3 or old[1:] == new[1:]:
            return
        cells = np.ravel_multi_index(np.meshgrid(*[np.arange(n) * o // n for o, n in zip(old[1:], new[1:], strict=True)],
                                                 indexing="ij"), old[1:]).ravel()
        share = math.prod(old[1:]) / math.prod(new[1:])
        index = (np.arange(old[0])[:, None] * math.prod(old[1:]) + cells).ravel()
        forced = {flat: Moved(index, np.full(len(index), share))}
        plan = Channels(self.draft)
        changes = moving.apply(plan, moving.maps(plan, {}, forced), forced)
        moving.resize(flat, math.prod(old), len(index))
        self.draft.say(f"{times(new[1:])} instead of {times(old[1:])} values a channel: each weight shared out, "
                       f"{moving.words(changes)}; {moving.new_parameters(changes):,} new parameters")

    def _maps(self) -> None:
        """Pool (or repeat) to the size of before wherever maps part."""
        for _ in range(_MANY):
            problem = self._parting()
            if problem is None:
                return
            node = problem.node
            if isinstance(self.draft.root.get_submodule(str(node.target)) if node.op == "call_module" else None, nn.Linear):
                node = _flattening(self.draft, node) or node
            before = len(self.draft.changes)
            for value in node.all_input_nodes:
                wanted = self.shapes.get(value, self.shapes[self.leaving])
                if len(_shape(value)) > 2 and len(wanted) == len(_shape(value)) and wanted[1:] != _shape(value)[1:]:
                    self._resize(node, value, wanted)
            if len(self.draft.changes) == before:
                raise ShapeError(f"{self.name} cannot go: {problem.asked}", problem.found,
                                 "take out the layers after it too")
        raise ShapeError(f"{self.name} cannot go", f"the sizes part in more than {_MANY} places", "take out a smaller part")

    def _resize(self, reader: Node, value: Node, wanted: tuple[int, ...]) -> None:
        fitted = fitting(_shape(value)[1:], wanted[1:])
        new = self.draft.call(value, fitted, value, name=f"{self.name}_pool")
        reader.replace_input_with(value, new)
        self.draft.say(f"{said(new)}: {times(_shape(value))} pooled to {times((_shape(value)[0], *wanted[1:]))} before "
                       f"{said(reader)}; no new parameters")


def proposal(draft: Draft, name: str, on: str) -> str:
    """What `repair=auto` would do, in words; or why it cannot."""
    trial = draft.copy()
    trial.changes.clear()
    try:
        Cut.of(trial, name, on).mended()
    except ConvscopeError as problem:
        return f"no repair is known: {problem.asked}, {problem.found}"
    return f"repair=auto would do it: {'; '.join(trial.changes)}"


def _shape(node: Node) -> tuple[int, ...]:
    shape: Any = node.meta.get("shape") or ()
    whole = all(isinstance(n, int) for n in shape) and node.op != "get_attr"
    return tuple(int(n) for n in shape[1:]) if whole else ()


def _answers(node: Node) -> bool:
    return any(u.op == "output" for u in node.users)


def _sums(draft: Draft, node: Node) -> bool:
    return draft.kind(node) == "Add" or draft.kind(node).split(".")[0] in ("add", "mul", "sub", "div")


def _concatenates(draft: Draft, node: Node) -> bool:
    if node.op == "call_module":
        module = draft.module(node)
        return isinstance(module, parts.Concat) and int(module.dim) == 1
    settings: Any = (*node.args[1:], node.kwargs.get("dim", 0))
    return node.op == "call_function" and draft.kind(node) in ("cat.default", "cat") and settings[0] == 1


def _operands(join: Node) -> list[Node]:
    args: Any = join.args
    return list(args if join.op == "call_module" else args[0])


def _flattened(draft: Draft, node: Node) -> Node | None:
    """The flattening that reads this map, with nothing on the way that changes its size or has weights."""
    for user in node.users:
        if user.op == "output":
            continue
        if len(_shape(user)) == 1 and math.prod(_shape(node)) == _shape(user)[0]:
            return user
        weights = user.op == "call_module" and next(draft.module(user).parameters(), None) is not None
        if _shape(user) == _shape(node) and not weights and len(node.users) == 1 and len(user.all_input_nodes) == 1:
            return _flattened(draft, user)
    return None


def _flattening(draft: Draft, node: Node) -> Node | None:
    """The call that made a vector of the map that this dense layer reads."""
    while len(node.all_input_nodes) == 1:
        value = node.all_input_nodes[0]
        if len(_shape(value)) > 1:
            return node
        if value.op == "call_module" and next(draft.module(value).parameters(), None) is not None:
            return None
        node = value
    return None
