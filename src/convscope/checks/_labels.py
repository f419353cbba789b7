"""Labels in another coding than the loss reads: which coding it takes instead, found out by calling it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.diagnosing import changes
from convscope.diagnosing.calls import WEIGHTED, Recorder
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.losses import quiet
from convscope.diagnosing.program import Program
from convscope.diagnosing.suspicion import EXACT, STRONG, Change, Suspicion


def codings(y: Tensor, o: Tensor) -> list[tuple[str, str, Callable[[Tensor], Tensor]]]:
    """Other ways to write labels (B, …) for outputs (B, K): words, code, function."""
    k = o.shape[1] if o.ndim > 1 else 1
    low = y.double().min().item() if y.numel() else 0.0
    whole = bool((y == y.round()).all()) if y.is_floating_point() else True
    found: list[tuple[str, str, Callable[[Tensor], Tensor]]] = [("floating numbers", "y.float()", lambda v: v.float())]
    if whole:
        found.append(("whole numbers", "y.long()", lambda v: v.long()))
    if y.ndim == 1:
        found.append(("a column", "y.float()[:, None]", lambda v: v.float()[:, None]))
    if whole and y.ndim == 2 and y.shape[1] == 1:
        found.append(("class numbers in a row", "y.long().squeeze(1)", lambda v: v.long().squeeze(1)))
    if y.ndim == 2 and y.shape[1] > 1:
        found.append(("class numbers", "y.argmax(1)", lambda v: v.float().argmax(1)))
    if whole and low != 0 and float(y.double().max()) - low < max(k, 2):
        found.append((f"numbers from 0 instead of {low:g}", f"(y - {low:g}).long()", lambda v: (v.double() - low).long()))
    if whole and low != 0 and y.numel() == o.numel():
        found.append((f"0 … for {low:g} …", f"(y.float() - {low:g})", lambda v: (v.float() - low).reshape(-1, *o.shape[1:])))
    if whole and k > 1 and y.numel() == len(y) and low >= 0 and float(y.double().max()) < k:
        found.append(("one-hot rows", f"F.one_hot(y, {k}).float()", lambda v: F.one_hot(v.long().reshape(-1), k).float()))
    return found


def refused(evidence: Evidence, y: Tensor | None, problem: str) -> Iterator[Suspicion]:
    """A loss that raises, and takes the labels (B, …) in another coding; `problem` is what it raised."""
    o = evidence.tensor
    if y is None or o is None or len(y) != len(o) or math.isfinite(float(quiet(evidence.twin, o.detach(), y))):
        return  # what raised was something else
    for words, code, function in codings(y, o):
        if math.isfinite(float(quiet(evidence.twin, o.detach(), function(y)))):
            shape = f"{str(y.dtype).removeprefix('torch.')} {tuple(y.shape)}"
            yield Suspicion(
                "D6", EXACT, f"the loss raises an error: {problem.splitlines()[0][:160]}",
                f"labels are {shape}, outputs {tuple(o.shape)}: the loss refuses them, and takes them as {words}",
                f"give the labels as {words}",
                {"labels": shape, "outputs": str(tuple(o.shape)), "highest label": evidence.targets.high},
                where="labels", code=f"- loss(output, y)\n+ loss(output, {code})", disproof=f"{code} is refused too",
                change=changes.answers(function, f"labels as {words}"), shows=True,
            )  # fmt: skip
            return
    high = float(y.double().max())
    shrunk = quiet(evidence.twin, o.detach(), y.float() / max(high, 1.0))
    if high > 1 and float(y.double().min()) >= 0 and math.isfinite(float(shrunk)):
        yield from outside(evidence, f"the loss raises an error: {problem.splitlines()[0][:120]}")


def outside(evidence: Evidence, symptom: str = "") -> Iterator[Suspicion]:
    """A loss that reads yes or no as probabilities, and labels outside 0..1."""
    t, o = evidence.targets, evidence.tensor
    assert o is not None
    signs = t.distinct == 2 and t.low == -1 and t.high == 1
    classes = t.kind == "indices" and t.classes > 2
    if not signs and not classes:
        return
    seen = "−1 and 1" if signs else f"class numbers 0 … {t.high:g}"
    yield Suspicion(
        "D6", EXACT, symptom or "the loss is negative or has no floor, and accuracy is stuck",
        f"labels are {seen}, and the loss is a binary cross-entropy, which reads them as probabilities: outside 0..1 "
        "its best answer lies at infinity",
        "give the labels as 0 and 1" if signs else f"one output a class ({t.classes}) with a softmax cross-entropy on "
        "class numbers",
        {"lowest label": t.low, "highest label": t.high, "allowed": "0 … 1", "outputs": float(o[0].numel())},
        where="labels and loss",
        code="+ y = (y + 1) / 2" if signs
        else f"- nn.Linear(n, 1), nn.BCELoss()\n+ nn.Linear(n, {t.classes}), nn.CrossEntropyLoss()",
        disproof="all labels lie in 0..1", shows=True,
        change=changes.answers(lambda y: (y.float() + 1) / 2, "labels 0 and 1") if signs else headed(evidence, t.classes),
    )  # fmt: skip


def headed(evidence: Evidence, classes: int) -> Change | None:
    """One output a class, from what the last weighted layer read, and a softmax cross-entropy; in either framework."""

    def read(model: nn.Module, forward: Callable[..., Any], x: Tensor) -> Tensor:
        with Recorder(model, (x,)) as recorder:
            forward(model, x)
        last = [c for c in recorder.calls if c.op in WEIGHTED][-1]
        value = x if last.inputs[0] < 0 else recorder.calls[last.inputs[0]].value
        return value.reshape(len(value), -1)

    if not any(c.op in WEIGHTED for c in evidence.calls):
        return None

    def apply(program: Program) -> Program:
        kind = type(program.model)
        with torch.no_grad():
            width = read(program.model, kind.forward, evidence.x[:2]).shape[1]
        noise = torch.Generator().manual_seed(0)
        head = {"class_head_weight": torch.randn(classes, width, generator=noise) / math.sqrt(width),
                "class_head_bias": torch.zeros(classes)}  # fmt: skip
        for name, value in head.items():  # parameters, not a module: a Sequential would run it after its own
            program.model.register_parameter(name, nn.Parameter(value.to(program.device)))

        def named(self: nn.Module, *given: Any, **words: Any) -> Iterator[tuple[str, nn.Parameter]]:
            own = {name: getattr(self, name) for name in head}
            yield from {**dict(kind.named_parameters(self, *given, **words)), **own}.items()

        def forward(self: nn.Module, x: Tensor) -> Tensor:
            return F.linear(read(self, kind.forward, x), *(getattr(self, name) for name in head))

        program.model.__class__ = type(kind.__name__, (kind,), {"forward": forward, "named_parameters": named})
        return replace(program, optimizer=program.optimizer.owning(list(head)), objective=False,
                       loss=lambda o, y: F.cross_entropy(o, y.long().reshape(len(o))))  # fmt: skip

    return Change(f"{classes} outputs and cross-entropy", apply)


def broadcast(evidence: Evidence) -> Iterator[Suspicion]:
    """A loss that compares K outputs with one class number each, element by element."""
    o, y, loss = evidence.tensor, evidence.y, evidence.loss
    if o is None or y is None or loss.family or loss.applies_softmax or evidence.targets.high >= o.shape[1]:
        return
    hot = F.one_hot(y.long().reshape(-1), o.shape[1]).float()
    with torch.no_grad():
        swapped = o.detach()[:, torch.arange(o.shape[1] - 1, -1, -1)]
        as_is, other = (float(quiet(evidence.twin, v, y)) for v in (o.detach(), swapped))
        if float(quiet(evidence.twin, o.detach(), (y + 1) % o.shape[1])) == as_is:  # it does not read labels at all
            return
        coded = float(quiet(evidence.twin, o.detach(), hot))
    # a loss that does not care which output is which class cannot tell the classes apart
    if math.isfinite(coded) and math.isfinite(as_is) and abs(as_is - other) <= 1e-6 * (1 + abs(as_is)):
        yield Suspicion(
            "D6", STRONG, "accuracy stays at chance", f"the loss compares all {o.shape[1]} outputs with the same "
            "class number: it does not change when the outputs trade places, so no output comes to stand for a class",
            "give the labels one-hot, or use a cross-entropy on class numbers",
            {"loss": as_is, "loss, outputs reversed": other, "loss with one-hot labels": coded},
            where="labels and loss", code=f"- loss(output, y)\n+ loss(output, F.one_hot(y, {o.shape[1]}).float())",
            disproof="the loss changes when two outputs trade places",
            change=changes.answers(lambda v: F.one_hot(v.long().reshape(-1), o.shape[1]).float(), "labels one-hot"),
        )  # fmt: skip

