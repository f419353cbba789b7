"""Images from what a layer holds of them, by a network trained for it (Dosovitskiy and Brox 2016, "Inverting Visual
Representations with Convolutional Networks").

    W* = argmin_W mean ‖x − decode_W(Φ(x))‖²        over training images; judged on held-out ones

decode_W(Φ) estimates the mean of all images with this Φ: what the layer does not hold comes out blurred, not invented.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from convscope import inputs, likeness
from convscope.errors import DataError, UsageError
from convscope.features._given import NOTHING, Given
from convscope.features._natural import within
from convscope.features._representation import Numbers, Representation, levels, likenesses
from convscope.features._upconv import Training, UpConv
from convscope.fields import param, validate
from convscope.images import Preprocess
from convscope.network import Network
from convscope.results import Picture
from convscope.synthesis.image import Reading
from convscope.synthesis.loop import generator
from convscope.synthesis.response import quantised, tiles

TOGETHER = 32  # images whose Φ is computed in one batch


@dataclass(frozen=True)
class Decoder:
    """What can a trained decoder rebuild of new pictures from this layer?

    An up-convolutional network is trained on the collection, a share of it held out. Tiles (H, W, 3) uint8: held-out images
    (first the given one, if there is one), below each what is decoded. `values`, one a tile: 'psnr' dB, 'ssim' (channel
    mean), 'explained' share of the image's variance, 'error' ‖Φ(x) − Φ₀‖²/‖Φ₀‖² of the decoded picture, 'floor' PSNR of the
    training images' mean. The notes give means over all held-out images. Same seed, same bits,
    unless `minutes` ends the training.

    Misleads: how much comes back depends on how many images and steps the decoder had: a lower bound of what the layer
    holds. It also adds what is usual in the collection. Errors: UsageError without two images at least, DataError where they
    cannot be read, UnknownName. Source: Dosovitskiy and Brox 2016 (arXiv:1506.02753).

    >>> net = Network.open(torch.nn.Conv2d(1, 4, 3), (1, 8, 8))
    >>> images = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 1), np.uint8)
    >>> Decoder(steps=5)(net, "conv2d", Given(images=lambda i: images[i], count=12)).units
    ('original 8', 'original 1', 'decoded 8', 'decoded 1')
    """

    steps: int = param(600, "training steps", low=1)
    minutes: float = param(3.0, "stop training after so long, the result then depends on the machine; 0: never", unit="min",
                           low=0)
    width: int = param(64, "channels of the first up-convolution; halved at each, 16 at least", low=1)
    rate: float = param(0.005, "learning rate of Adam", low=1e-6)
    batch: int = param(16, "images a step", low=1)
    held_out: float = param(0.2, "share of the images that is kept from training", low=0.01, high=0.9)
    most: int = param(1000, "images used at most, drawn at random", low=2)
    shown: int = param(8, "held-out images shown", low=1)
    seed: int = param(0, "seed of draws and weights", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, target: str, given: Given = NOTHING) -> Picture:
        """Held-out images and what is decoded from the layer, channel or position at this address."""
        preprocess, assumed = inputs.preprocess_of(net)
        rebuilt = Representation(net, target, Reading(preprocess, net.input_shape[1]))
        numbers, images = self._read(given, preprocess)
        phi = self._represent(rebuilt, images)
        kept = max(1, min(len(images) - 1, round(self.held_out * len(images))))
        train = len(images) - kept
        decoder = UpConv(phi.shape[1:], images.shape[1:], self.width, generator(self.seed, f"{rebuilt.unit} decoder"))
        how = Training(self.steps, self.batch, self.rate, self.minutes)
        losses = decoder.fit(phi[:train], images[:train], how,
                             lambda step, loss: given.report(step, self.steps, f"steps, loss {loss:.4f}"))
        names = [str(n) for n in numbers[train:]]
        originals, held = images[train:], phi[train:]
        if given.image is not None:
            own = within(preprocess, torch.from_numpy(np.ascontiguousarray(preprocess(given.image)))[None])
            names, originals = ["given", *names], torch.cat([own, originals])
            held = torch.cat([self._flat(rebuilt, own), held])
        with torch.no_grad():
            decoded = torch.cat([quantised(decoder(one).clamp(0, 1)) for one in held.split(1)])
        values = self._judged(rebuilt, originals, decoded, held, images[:train].mean(0, keepdim=True))
        count = min(self.shown, len(names))
        tile = torch.cat([originals[:count], decoded[:count]])
        mean = {k: float(np.mean(v[len(names) - kept :])) for k, v in values.items()}
        itself = {"psnr": np.inf, "ssim": 1.0, "explained": 1.0, "error": 0.0}  # what the originals are to themselves
        notes = (
            f"held out: {kept} images, PSNR {mean['psnr']:.1f} dB (the mean image {mean['floor']:.1f} dB), SSIM "
            f"{mean['ssim']:.2f}, {100 * mean['explained']:.0f} % of the variance explained, E = {mean['error']:.2g}; means",
            f"trained on {train} images, {len(losses)} steps of {min(self.batch, train)}, seed {self.seed}; squared error "
            f"{losses[0]:.4f} → {np.mean(losses[-10:]):.4f}",
            f"stopped after {self.minutes:g} minutes, at step {len(losses)} of {self.steps}: another run may stop elsewhere"
            if len(losses) < self.steps else "",
            f"sampled: {len(numbers)} of {given.count:,} images, seed {self.seed}" if len(numbers) < given.count else "",
            f"shown: {count} of {len(names)} images" if count < len(names) else "",
            assumed,
        )  # fmt: skip
        return Picture(
            tiles=tiles(tile), units=tuple(f"{row} {n}" for row in ("original", "decoded") for n in names[:count]),
            title=f"decoded from {target}", scale="rgb", columns=count,
            values={k: np.concatenate([np.full(count, itself[k]) if k in itself else v[:count], v[:count]])
                    for k, v in values.items()},
            notes=tuple(n for n in notes if n), origin=net.origin(self, seed=self.seed))

    def _read(self, given: Given, preprocess: Preprocess) -> tuple[list[int], Tensor]:
        """Numbers and images (N, C, H, W) within 0 … 1 in a random order; those that cannot be read are left out."""
        if given.images is None or given.count < 2:
            raise UsageError("a decoder is trained on images", f"{given.count} were given",
                             "give a collection of at least two: --images FOLDER")
        numbers, found = list[int](), list[Tensor]()
        for number in np.random.default_rng(self.seed).permutation(given.count)[: self.most].tolist():
            try:
                x = preprocess(given.images(number))
            except DataError:
                continue  # the collection lists what it skipped
            numbers.append(number)
            found.append(within(preprocess, torch.from_numpy(np.ascontiguousarray(x))[None]))
        if len(found) < 2:
            raise DataError("a decoder is trained on images", f"{len(found)} of {given.count} can be read",
                            "look at the skipped images")
        return numbers, torch.cat(found)

    def _represent(self, rebuilt: Representation, images: Tensor) -> Tensor:
        """(N, C, h, w) or (N, U) what the layer holds, in batches."""
        return torch.cat([self._flat(rebuilt, part) for part in images.split(TOGETHER)])

    @staticmethod
    def _flat(rebuilt: Representation, images: Tensor) -> Tensor:
        """Maps as they are; a channel's map as one of one channel; anything else as a vector."""
        with torch.no_grad():
            phi = rebuilt(images).float().cpu()
        if phi.ndim == 3 and rebuilt.unit.channel is not None:
            return phi[:, None]
        return phi.contiguous() if phi.ndim == 4 else phi.reshape(len(phi), -1)

    def _judged(self, rebuilt: Representation, originals: Tensor, decoded: Tensor, held: Tensor, mean: Tensor) -> Numbers:
        """Every number of every decoded picture."""
        a, b = levels(originals), levels(decoded)
        each = [likenesses(x, y[None]) for x, y in zip(a, b, strict=True)]
        again = torch.cat([self._flat(rebuilt, one[None]) for one in decoded])
        size = held.flatten(1).square().sum(1)
        error = ((again - held).flatten(1).square().sum(1) / size).double().numpy()
        flat = levels(quantised(mean))[0]
        return {**{k: np.concatenate([one[k] for one in each]) for k in each[0]}, "error": np.where(size > 0, error, np.nan),
                "floor": np.array([likeness.psnr(x, flat) for x in a])}
