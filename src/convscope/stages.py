"""Train a network part by part, and what it knows already more gently than what is new.

    stages = head:5, layer4:5, all:5        5 epochs the head alone; 5 more layer4 with it; 5 more everything
    θ_new ← optimiser(rate)                 θ_old ← optimiser(old_rate · rate)

A part is a layer or block by its address, 'all', or 'head': the module named new_head or head (`replace-head` makes such
groups), else the last layer with parameters. Naming a frozen part thaws it for the run. Parameters that do not
train get no gradient, so that neither momentum nor weight decay moves them; a batch norm whose parameters do not train (one
that has none: whose neighbour before it does not) keeps its running statistics and uses them.

Sources: Yosinski et al. 2014, "How transferable are features in deep neural networks?"; Howard and Ruder 2018, "Universal
language model fine-tuning for text classification" (gradual unfreezing, discriminative rates).
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from convscope.errors import unknown
from convscope.recipe import FitSettings, stages_of


class Plan:
    """Who trains in which epoch. `groups`: for the optimiser, with the share of the rate that each gets.

    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> plan = Plan(net, FitSettings(stages="head:1,all:1", old_rate=0.1))
    >>> plan.notes[0]
    'epoch 0 trains 8 of 23 parameters: head (2.weight, 2.bias)'
    """

    def __init__(self, model: nn.Module, settings: FitSettings) -> None:
        self.model = model
        self.named = [(k, p) for k, p in model.named_parameters(remove_duplicate=False) if p.is_floating_point()]
        every = {id(p): p for _, p in self.named}
        self.notes: list[str] = []
        self.spans: list[tuple[int, set[int]]] = []  # the epoch that a span ends before, and who trains in it
        trained: set[int] = set()
        stages = stages_of(settings.stages) if settings.stages else ()
        for stage in stages:
            begun = self.spans[-1][0] if self.spans else 0
            trained = trained.union(*(self.part(word) for word in stage.parts))
            self.spans.append((begun + stage.epochs, trained))
            span = f"epoch {begun} trains" if stage.epochs == 1 else f"epochs {begun} to {begun + stage.epochs - 1} train"
            self.notes.append(f"{span} {self._count(trained):,} of {self._count(set(every)):,} parameters: "
                              f"{'' if not begun else 'also '}{', '.join(map(self._said, stage.parts))}")
        if not stages:
            trained = {i for i, p in every.items() if p.requires_grad}
            self.spans.append((settings.epochs, trained))
        self.parameters = [p for i, p in every.items() if i in trained]
        self.frozen = self._count(set(every) - trained)
        self.groups: list[Any] = self.parameters
        if settings.old_rate != 1 and trained:
            new = set().union(*(self.part(word) for word in stages[0].parts)) if stages else self.part("head")
            both = [[p for p in self.parameters if (id(p) in new) is fresh] for fresh in (True, False)]
            shares = (1.0, settings.old_rate)
            self.groups = [{"params": p, "share": share} for p, share in zip(both, shares, strict=True) if p]
            old = sum(p.numel() for p in both[1])
            self.notes.append(f"{old:,} old parameters train at {settings.old_rate:g} of the rate")
        if self.frozen:
            self.notes.append(f"{self.frozen:,} parameters stay as they are: frozen")
        fixed = len(self._fixed(trained))
        if fixed:
            self.notes.append(f"{fixed} batch norms of frozen parts keep their statistics")

    def begin(self, epoch: int) -> None:
        """Thaw who trains in this epoch, freeze the others. Call it after `model.train()`."""
        trained = next(who for end, who in self.spans if epoch < end)
        for _, p in self.named:
            p.requires_grad_(id(p) in trained)
        for module in self._fixed(trained):
            module.training = False

    def part(self, word: str) -> set[int]:
        """Whose parameters are meant? Errors: UnknownName."""
        if word == "all":
            return {id(p) for _, p in self.named}
        found = {id(p) for k, p in self.named if k == word or k.startswith(f"{word}.")}
        if word == "head":
            found = {id(p) for k, p in self.named if k.startswith("new_head.")} or found or self._last()
        if not found:
            names = {k.rsplit(".", i)[0] for k, _ in self.named for i in range(k.count(".") + 1)}
            raise unknown("part with parameters", word, sorted(names), "use an address of `convscope trace`, head or all")
        return found

    def _last(self) -> set[int]:
        """The parameters of the last layer that has some, in the order of the module."""
        last = [m for m in self.model.modules() if any(p.is_floating_point() for p in m.parameters(recurse=False))][-1:]
        return {id(p) for m in last for p in m.parameters(recurse=False)}

    def _fixed(self, trained: set[int]) -> list[nn.Module]:
        """The batch norms that keep their statistics while only `trained` train."""
        found: list[nn.Module] = []
        still = False  # does the layer before, in the order of the module, stay as it is?
        for module in self.model.modules():
            own = [p for p in module.parameters(recurse=False) if p.is_floating_point()]
            if own:
                still = not any(id(p) in trained for p in own)
            if still and isinstance(module, _BatchNorm):
                found.append(module)
        return found

    def _count(self, who: set[int]) -> int:
        return sum(p.numel() for p in {id(p): p for _, p in self.named if id(p) in who}.values())

    def _said(self, word: str) -> str:
        """The part in words: 'head (fc.weight, fc.bias)' where it had to be found out."""
        if word != "head":
            return word
        names = [k for k, p in self.named if id(p) in self.part(word)]
        if all(k.startswith("head.") for k in names):
            return word
        return f"head ({', '.join(names[:4])}{', …' if len(names) > 4 else ''})"
