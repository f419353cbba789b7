"""A network that reads keyed images: the key goes on the filters of its first layer.

    y = K·x,  W' = K·W  ⟹  ⟨W'_u, y⟩ = ⟨W_u, x⟩          K orthogonal, block by block; for one block W' = W·Qᵀ
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from convscope import export
from convscope.editing import Draft, Given
from convscope.errors import UsageError
from convscope.fields import param, validate
from convscope.images import Preprocess
from convscope.keys import filters
from convscope.keys.key import Key


@dataclass(frozen=True)
class Keyed:
    """How does a trained network read images that are stored unreadable?

    W'_u = K·W_u, the filters seen as small images and keyed like them; all else stays. Exact (to rounding) where no window
    cuts a block: kernel = stride, a multiple of the block, no padding, one group; or a dense layer on the whole image. The
    key is applied to what the network reads, after its preprocessing. Sizes, parameters and MACs stay.
    Misleads if taken for secrecy: whoever has the plain filters too has pairs (W, W'), and U ≥ n of them give the key; see
    `convscope key attack`. Errors: UsageError (no exact way, and why), StoreError (the key file). Source: Tanaka 2018.

    >>> import convscope as cs, tempfile, pathlib
    >>> path = Key.new("orthogonal", 4, (1, 8, 8)).save(pathlib.Path(tempfile.mkdtemp()) / "secret.key")
    >>> cs.edit(cs.open("convscope.keys.patches:patch_net()", (1, 8, 8)), "keyed", key=str(path))[1].changes
    ('0: 32 filters keyed (orthogonal, block 4)',)
    """

    key: str = param("", "file of the key; `convscope key new FILE` makes one")

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, draft: Draft, given: Given) -> None:
        if not self.key:
            raise UsageError("keyed needs a key", "no file was named", "`convscope key new FILE` makes one: key=FILE")
        key, net = Key.load(self.key), draft.net
        first = filters.first_layer(net, key)
        node = draft[first.layer.address]
        module = draft.module(node)
        old = module.get_parameter("weight")
        weight = torch.from_numpy(filters.keyed_weight(first, key)).reshape(old.shape)
        with torch.no_grad():
            old.copy_(weight.to(old.device, old.dtype))
        draft.reads = key  # the drift is measured on the same images, keyed
        count, size = old.shape[0], key.channels * key.block**2
        place = draft.python(first.layer.address)
        draft.say(f"{first.layer.address}: {count} filters keyed ({key.kind}, block {key.block})",
                  "from convscope.keys import Key",
                  f"key = Key.load({self.key!r})",
                  f"filters = {place}.weight.detach().reshape(-1, {', '.join(map(str, first.weight.shape[1:]))})",
                  f"{place}.weight.data.copy_(key(filters).reshape({place}.weight.shape))")
        for batch in given.batches(net, 64) if given.images is not None else [self._example(net)]:
            error = float((draft.run(key(batch)) - net.run(batch).output).abs().max())
            draft.note(f"on {len(batch)} {'images' if given.images is not None else 'random inputs'}: keyed images through "
                       f"the new network give the old answers within {error:.1e}")
            break
        if not _moves(key, draft.preprocess):
            draft.preprocess = None
            draft.note("reads what `convscope key apply … --like NETWORK` writes, numbers and not pixels: no preprocessing")
        draft.note(f"{count} filters are known pairs for whoever has the plain weights, of {size} numbers in a block: keep "
                   "those secret too; this is obfuscation and no proof of secrecy")

    @staticmethod
    def _example(net: object) -> torch.Tensor:
        from convscope.network import Network

        assert isinstance(net, Network)
        return export.random_input((8, *net.input_shape[1:]), net.module or torch.nn.Identity()).to(net.dtype)


def _moves(key: Key, preprocess: Preprocess | None) -> bool:
    """Does the key only move pixels, and the preprocessing treat all alike? Then keyed pixels may be preprocessed."""
    return key.kind != "orthogonal" and (preprocess is None or len(set(preprocess.mean)) == len(set(preprocess.std)) == 1)
