"""How much does a unit matter? Scores of classes of channels, from weights or from what they do on images.

    norm         Σ |W_u|, mean over the filters of the class                              (Li et al. 2017)
    activation   mean |a_u| over images and places, where it is read
    taylor       mean over images |Σ a_u · ∂L/∂a_u|: what zeroing it does, to first order   (Molchanov et al. 2017)
    effect       what zeroing it does: rise of the mean loss L, or, without labels, root mean square change of the outputs

"Zeroing" means where it is *read*: just what taking the unit away does. L is cross-entropy; for `taylor` without labels the
network's own answers stand for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import Node
from torch.fx.node import map_arg

from convscope.editing.units.channels import Channels

Batches = list[tuple[Tensor, Tensor]]  # images (B, C, H, W), labels (B,), −1 unknown
Report = Callable[[int, int, str], None]
_TURNED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def norms(plan: Channels, classes: list[int]) -> dict[int, float]:
    """Mean L1 norm of the filters that write a class."""
    found: dict[int, list[float]] = {c: [] for c in classes}
    for writer in dict.fromkeys(w for each in plan.writers().values() for w in each):
        if writer.op != "call_module":
            continue
        module = plan.draft.module(writer)
        rows = module.get_parameter("weight").detach().transpose(0, 1 if isinstance(module, _TURNED) else 0)
        for i, size in zip(plan.of(writer).tolist(), rows.abs().flatten(1).sum(1).tolist(), strict=True):
            if i in found:
                found[i].append(size)
    return {c: sum(n) / max(1, len(n)) for c, n in found.items()}


def activations(plan: Channels, classes: list[int], batches: Batches) -> dict[int, float]:
    """Mean |a| where a class is read."""
    total, count = torch.zeros(_size(plan), dtype=torch.float64), torch.zeros(_size(plan), dtype=torch.float64)
    for x, _ in batches:
        env = run(plan, x)
        for reader in _readers(plan):
            value = env[reader.all_input_nodes[0]].detach().double().abs()
            index = torch.from_numpy(plan.of(reader.all_input_nodes[0]))
            total.index_add_(0, index, value.transpose(0, 1).flatten(1).sum(1))
            count.index_add_(0, index, torch.full((len(index),), value[:, 0].numel(), dtype=torch.float64))
    return {c: float(total[c] / count[c].clamp_min(1)) for c in classes}


def first_order(plan: Channels, classes: list[int], batches: Batches) -> dict[int, float]:
    """Mean over images of |Σ a · ∂L/∂a|: the slope of the loss of an image along a mask on what reads the class."""
    total, images = torch.zeros(_size(plan), dtype=torch.float64), 0
    for x, labels in batches:
        masks = {r: torch.ones((len(x), len(plan.labels[r.all_input_nodes[0]])), dtype=x.dtype, requires_grad=True)
                 for r in _readers(plan)}
        with torch.enable_grad():
            out = answer(plan, run(plan, x, masks))
            known = labels >= 0
            aim = torch.where(known, labels, out.detach().flatten(1).argmax(1)) if not known.all() else labels
            slopes = torch.autograd.grad(losses(out, aim).sum(), list(masks.values()), allow_unused=True)
        by_image = torch.zeros((len(x), _size(plan)), dtype=torch.float64)
        for reader, slope in zip(masks, slopes, strict=True):
            if slope is not None:
                by_image.index_add_(1, torch.from_numpy(plan.of(reader.all_input_nodes[0])), slope.double())
        total += by_image.abs().sum(0)
        images += len(x)
    return {c: float(total[c]) / max(1, images) for c in classes}


def effects(plan: Channels, classes: list[int], batches: Batches, report: Report) -> dict[int, float]:
    """Each class masked in turn; only what depends on it is computed again."""
    found, images = dict.fromkeys(classes, 0.0), 0
    labelled = all(bool((labels >= 0).all()) for _, labels in batches)
    for at, (x, labels) in enumerate(batches):
        with torch.no_grad():
            env = run(plan, x)
            before = answer(plan, env)
            images += len(x)
            for i, each in enumerate(classes):
                masks = {}
                for reader in _readers(plan):
                    gone = torch.from_numpy(plan.of(reader.all_input_nodes[0]) == each)
                    if gone.any():
                        masks[reader] = (~gone).to(x.dtype)[None]
                after = answer(plan, run(plan, x, masks, env))
                change = losses(after, labels) - losses(before, labels) if labelled else (after - before).flatten(1) ** 2
                found[each] += float(change.double().flatten(1).mean(1).sum() if not labelled else change.double().sum())
                report(at * len(classes) + i + 1, len(batches) * len(classes), "units masked")
    return {c: v / images if labelled else (v / images) ** 0.5 for c, v in found.items()}


def losses(out: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each image, (B,), from logits or from probabilities (rows of numbers ≥ 0 that sum to 1)."""
    flat = out.flatten(1)
    sure = bool((flat >= 0).all()) and torch.allclose(flat.sum(1), torch.ones(()).to(flat), atol=1e-4)
    logs = flat.clamp_min(1e-12).log() if sure else F.log_softmax(flat, 1)
    return F.nll_loss(logs, labels.to(flat.device), reduction="none")


def right(plan: Channels, batches: Batches) -> tuple[int, int]:
    """How many labelled images get the right class, of how many."""
    hits = count = 0
    for x, labels in batches:
        known = labels >= 0
        hits += int((plan.draft.run(x).flatten(1).argmax(1).cpu() == labels)[known].sum())
        count += int(known.sum())
    return hits, count


# ---- running -------------------------------------------------------------------------------------------------------------


def run(plan: Channels, x: Tensor, masks: Mapping[Node, Tensor] | None = None,
        env: Mapping[Node, Any] | None = None) -> dict[Node, Any]:
    """All values for a batch. `masks` (B or 1, C): what a layer reads, times this. `env`: unmasked values to build on."""
    root, masks = plan.draft.root, masks or {}
    found: dict[Node, Any] = dict(env or {})
    new: set[Node] = set()
    for node in root.graph.nodes:
        if node in found and node not in masks and not new & set(node.all_input_nodes):
            continue
        new.add(node)
        args, kwargs = map_arg(node.args, found.__getitem__), map_arg(node.kwargs, found.__getitem__)
        if node.op == "placeholder":
            found[node] = x
        elif node.op == "get_attr":
            owner, _, name = str(node.target).rpartition(".")
            found[node] = getattr(root.get_submodule(owner), name)
        elif node.op == "call_module":
            if node in masks:
                mask = masks[node]
                args = (args[0] * mask.reshape(*mask.shape, *[1] * (args[0].ndim - 2)), *args[1:])
            found[node] = root.get_submodule(str(node.target))(*args, **kwargs)
        elif node.op == "call_function":
            found[node] = node.target(*args, **kwargs)
    return found


def answer(plan: Channels, env: Mapping[Node, Any]) -> Tensor:
    return env[plan.draft.output]


def _readers(plan: Channels) -> list[Node]:
    return list(dict.fromkeys(use.owner for use in plan.uses if use.reads))


def _size(plan: Channels) -> int:
    """One more than the largest class."""
    return 1 + max((int(labels.max()) for labels in plan.labels.values() if len(labels)), default=0)
