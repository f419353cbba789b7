"""A bank of filters for one convolution: known beforehand, or learned without labels from what the layer reads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from convscope.editing import Draft, Given
from convscope.editing.weights import banks, starting, unlabelled
from convscope.editing.weights.freezing import sources
from convscope.errors import UsageError


def fill(draft: Draft, given: Given, wish: Any) -> None:
    """Put the bank that `wish` (a `Reinit`) asks for into the convolution that it names, by default the first one."""
    found = [n for n in (draft.under(wish.layer) if wish.layer else draft.nodes)
             if n.op == "call_module" and isinstance(draft.module(n), nn.Conv2d)]
    if not found or (wish.layer and len({n.target for n in found}) > 1):
        raise UsageError(f"a bank of filters for {wish.layer or draft.net.name}",
                         f"it has {len(found)} convolutions of images", "name one convolution")
    node, address = found[0], draft.address(found[0])
    module: Any = draft.module(node)
    weight, size = module.weight, "×".join(map(str, module.weight.shape))
    norm = float(weight.detach().double().flatten(1).square().sum(1).mean().sqrt()) or starting.gain(draft, node)[0]
    bias: Tensor | None = None
    if wish.how in ("gabor", "sobel"):
        before = sources(node) - {node}
        if any(n.op == "call_module" and isinstance(draft.module(n), starting.WEIGHTS) for n in before):
            raise UsageError(f"{wish.how} filters for {address}", "it does not read the image: its channels are no colours",
                             "choose the first convolution, or how=kmeans")
        bank, words = getattr(banks, wish.how)(len(weight), module.kernel_size)
        filters = bank[:, None].expand(weight.shape)
        words = f"{wish.how}: {words}"
    else:
        given.wanted_images(f"how={wish.how}")
        maps = starting.inputs_of(draft, node, given.batches(draft.net, wish.sample))
        filters, bias, words = _learned(draft, maps, module, given, wish)
        draft.note(f"learned without labels from {len(maps)} images, seed {wish.seed}")
    with torch.no_grad():
        scale = norm / filters.double().flatten(1).square().sum(1).mean().sqrt()
        weight.copy_((filters.reshape(weight.shape) * scale).to(weight.dtype))
        if module.bias is not None:
            module.bias.copy_(torch.zeros_like(module.bias) if bias is None else bias * scale)
    draft.say(f"{address}: {size} {words}; norm {norm:.3g} as before" + ("" if bias is not None or module.bias is None
                                                                        else ", biases 0"),
              "# edited: the network that this made, FOLDER/network.py",
              f"{draft.python(address)}.load_state_dict({draft.python(address).replace('model', 'edited', 1)}.state_dict())")


def _learned(draft: Draft, maps: Tensor, module: nn.Conv2d, given: Given, wish: Any) -> tuple[Tensor, Tensor | None, str]:
    """Filters, biases where they come with them, and how, in words."""
    def report(i: int, n: int) -> None:
        given.report(i, n, str(wish.how))

    if wish.how == "autoencoder":
        found = unlabelled.autoencoder(maps, module, wish.steps, report)
        if found.still:
            draft.note(f"{found.still} of {len(found.weight)} filters hardly moved from their random start: fewer units do")
        left = f"{found.left:.1%} of its input's variance is not given back"
        return found.weight, found.bias, f"by an autoencoder, {wish.steps} steps ({left})"
    if module.groups != 1:
        raise UsageError("k-means on patches", f"the convolution has {module.groups} groups", "use how=autoencoder")
    x = unlabelled.patches(maps, module, wish.patches)
    return unlabelled.k_means(x, len(module.weight), report), None, f"by k-means on {len(x):,} whitened patches"
