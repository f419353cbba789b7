"""How an image becomes a network's input: read it, prepare it as the network was told, and say what had to be assumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convscope import data, images
from convscope.errors import DataError, UsageError
from convscope.images import PRESETS, Pixels, Preprocess, sized
from convscope.network import Network


def preprocess_of(net: Network) -> tuple[Preprocess, str]:
    """How images become this network's input, and a sentence if that had to be assumed."""
    if len(net.input_shape) != 4:
        raise UsageError(f"{net.name} does not read images", f"its input is {net.input_shape}", "give tensors to net.run")
    if net.preprocess is not None:
        return sized(net.preprocess, net.input_shape[1:]), ""
    assumed = sized(PRESETS["unit"], net.input_shape[1:])
    return assumed, f"preprocessing not given; assumed: {assumed.describe()}"


def prepare(net: Network, image: Any) -> tuple[Tensor, tuple[str, ...]]:
    """An image as this network's input (1, C, H, W), and what had to be assumed.

    `image`: a file, the id of a built-in image ('digits/0042'), uint8 pixels (H, W[, C]), or a float tensor taken as it is.
    """
    if isinstance(image, Tensor) and image.is_floating_point():
        return net.check_input(image), ()
    pixels = read_pixels(image)
    preprocess, note = preprocess_of(net)
    x = torch.from_numpy(np.ascontiguousarray(preprocess(pixels)))[None]
    return net.check_input(x), (note,) if note else ()


def read_pixels(image: Any) -> Pixels:
    """uint8 (H, W, C) of a file, a built-in id or an array."""
    if isinstance(image, (str, Path)):
        path, text = Path(image), str(image)
        builtin = text.split("/")[0]
        if not path.exists() and builtin in data.BUILT_IN:
            collection = data.open_collection(builtin)
            return collection[collection.find(text)]
        return images.load_image(path)
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise DataError(
            f"cannot use an array of {pixels.dtype} {pixels.shape} as an image",
            "pixels are uint8 (H, W) or (H, W, C)",
            "a float *tensor* (C, H, W) is taken as the network's input as it is",
        )
    return pixels[..., None] if pixels.ndim == 2 else pixels


def batch(net: Network, images: Any) -> tuple[Tensor, list[Pixels], tuple[str, ...]]:
    """One image or several as a batch (B, C, H, W), what the network saw of each as pixels, and what had to be assumed.

    None stands for reproducible random numbers, so that an example is never needed; there are no pixels then.
    """
    if images is None:
        from convscope.export import random_input

        like = net.module if net.module is not None else torch.nn.Identity()
        x = random_input((net.batch or 1, *net.input_shape[1:]), like)
        return net.check_input(x), [], ("no image given: the input is random numbers, always the same ones",)
    several = list(images) if isinstance(images, (list, tuple)) else [images]
    if not several:
        raise DataError("no image was given", "the list is empty", "give at least one")
    found = [prepare(net, image) for image in several]
    x = torch.cat([part for part, _ in found])
    notes = tuple(dict.fromkeys(note for _, some in found for note in some))
    if len(net.input_shape) != 4 or preprocess_of(net)[0].depth != x.shape[1]:
        return x, [], notes
    return x, list(preprocess_of(net)[0].inverse(x.double().cpu().numpy())), notes
