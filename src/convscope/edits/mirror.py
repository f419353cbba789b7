"""The mirror of an encoder: a network that goes back to pixels, layer by layer in reverse (Noh, Hong, Han 2015, "Learning
Deconvolution Network for Semantic Segmentation"; Zeiler, Taylor, Fergus 2011 for the switches).

    encoder   x → conv → … → pool → z, switches
    mirror    z → unpool(z, switches) → ReLU(BN(Wᵀ ∗ ·)) → … → y        Wᵀ ∗: transposed convolution of the same kernel
"""

from __future__ import annotations

from dataclasses import dataclass

from convscope.editing import Draft, Given
from convscope.editing.backward.encoder import last_map
from convscope.edits._reversed import Reversed
from convscope.fields import param, validate


@dataclass(frozen=True)
class Mirror:
    """How does a feature detector lead back to pixels?

    By its mirror image behind it, y = M(f(x), switches), to be trained. Layer by layer in reverse: transposed convolution
    for convolution (same kernel, stride, padding, groups; back to the size that the convolution was given), unpooling at the
    switches for max pooling, nearest neighbours for average pooling, dense for dense; sums go back to both branches,
    concatenations are split; batch norm and ReLU behind each but the last. Output (B, outputs, H, W), as large as the image.
    outputs 0: the image's channels, for an autoencoder (mean squared error); else logits of classes, by a 1×1 convolution on
    as many channels as the first convolution has. Fully convolutional unless a dense layer is mirrored.

    Misleads as an autoencoder: the switches go past the code and carry places, so that a good picture says little about the
    code; `unpooling="nearest"` closes that way. Tied filters: the loss moves the encoder through both. Errors: UsageError
    (a layer that has no mirror: what, and where the encoder may end instead), UnknownName. Source: Noh et al. 2015.

    >>> import convscope as cs
    >>> cs.edit("zoo:lenet5", "mirror", outputs=3)[1].after.output
    (3, 28, 28)
    """

    outputs: int = param(0, "channels of the output, e.g. classes; 0: those of the image", unit="channels", low=0)
    filters: str = param("free", "weights of the mirror: the encoder's own, copies of them, or drawn",
                         choices=("free", "tied", "random"))
    unpooling: str = param("switches", "max pooling in reverse: at its switches, or by nearest neighbours",
                           choices=("switches", "nearest"))
    upto: str = param("", "layer where the encoder ends; empty: the last map before the head")
    seed: int = param(0, "seed of weights that are drawn", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, draft: Draft, given: Given) -> None:  # noqa: ARG002 - it needs no images
        end = last_map(draft, self.upto)
        size = "×".join(map(str, draft.shape(end)))
        draft.say(f"the encoder ends at {draft.address(end)} ({size}); what came behind is gone")
        back = Reversed(draft, self.filters, self.unpooling, self.outputs)
        answer = back.run(end)
        next(n for n in draft.root.graph.nodes if n.op == "output").args = (answer,)
        draft.classes = ()
        draft.code.append("# the order of the calls: forward() of the network's file")
        draft.note("batch norm and ReLU stand behind every layer of the mirror but the last; its biases begin at zero")
        if back.switches:
            draft.note(f"{len(back.switches)} max poolings give their switches to the mirror: places go past the code")
        if back.overlapping:
            draft.note(f"windows overlap at {', '.join(back.overlapping)}: what goes back to one place is added")
        if back.drawn:
            draft.note(f"weights drawn at random with seed {self.seed}: {', '.join(back.drawn)}; train it first")
