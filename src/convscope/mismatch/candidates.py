"""Other preprocessings that a network may have been trained with, and in what they differ from the given one.

What a preprocessing does to a pixel p is x = (p − offset)/scale, channel by channel: two are compared by `offset` and
`scale` in steps of a pixel's 256, whatever range, mean and std say them with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from convscope.images import Pixels, Preprocess

ASPECTS = ("range", "channel order", "mean", "std", "size")
FACTOR = 8.0  # between two scales: beyond, it is another range
SHIFT, STRETCH = 6.0, 1.15  # steps of an offset, ratio of scales: less is the same
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, red, green, blue


@dataclass(frozen=True)
class Candidate:
    """One preprocessing that is tried."""

    name: str
    preprocess: Preprocess
    differs: tuple[str, ...] = ()  # in which of ASPECTS from the given one
    own: bool = False  # its mean and std are those of the very images
    common: bool = False  # worth trying in a short look
    single: bool = False  # the given one with one mistake put right


def of(given: Preprocess, images: Sequence[Pixels], written: Preprocess | None = None) -> list[Candidate]:
    """All that are tried: the given one first; those that come to the same numbers are left out.

    `written`: what the network carries, where its size was overruled when it was opened.
    """
    found = [Candidate("as given", given, common=True)]
    changed = list(_changed(given))
    for at, (name, other, common) in enumerate((*changed, *_standard(given), *_sized(given, written))):
        if not any(not differs(other, one.preprocess) for one in found):
            found.append(Candidate(name, other, differs(given, other), common=common, single=at < len(changed)))
    own = _own(given, images)
    if own is not None and not any(not differs(own, one.preprocess) for one in found):
        found.append(Candidate("mean and std of these images", own, differs(given, own), own=True))
    return found


def _numbers(p: Preprocess) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(C,) offset and scale; red first where the channels are colours."""
    unit = 255 / p.range
    offset, scale = (np.broadcast_to(np.asarray(v, float) * unit, p.depth) for v in (p.mean, p.std))
    return (offset[::-1], scale[::-1]) if p.channels == "BGR" else (offset, scale)


def differs(one: Preprocess, other: Preprocess) -> tuple[str, ...]:
    """In which of ASPECTS the numbers that come out differ."""
    (a, s), (b, t) = _numbers(one), _numbers(other)
    ratio = float(np.exp(np.log(s / t).mean()))
    far = not 1 / FACTOR < ratio < FACTOR
    stretch = np.abs(np.log(s / t) - (np.log(255) * np.sign(np.log(ratio)) if far else 0.0))
    facts = {"range": far, "channel order": one.channels != other.channels, "mean": bool((np.abs(a - b) > SHIFT).any()),
             "std": bool((stretch > np.log(STRETCH)).any()), "size": _resizing(one) != _resizing(other)}  # fmt: skip
    return tuple(aspect for aspect in ASPECTS if facts[aspect])


def _resizing(p: Preprocess) -> tuple[object, ...]:
    return p.size, p.resize, p.resize_to


def words(given: Preprocess, wanted: Preprocess) -> list[str]:
    """Every difference in words: 'the range is 0 … 1 and should be 0 … 255'."""
    (a, s), (b, t) = _numbers(given), _numbers(wanted)
    said = {
        "range": f"range: white is {_list((255 - a) / s)} and should be about {_list((255 - b) / t)}",
        "channel order": f"channel order: {given.channels}, should be {wanted.channels}",
        "mean": f"mean: {'none' if not a.any() else _list(a)}, should be {'none' if not b.any() else _list(b)} "
                "(red, green, blue of 0 … 255)" if len(a) == 3 else f"mean: {_list(a)}, should be {_list(b)} (of 0 … 255)",
        "std": f"std: {_list(s)}, should be {_list(t)} (of 0 … 255)",
        "size": f"size: {_size(given)}, should be {_size(wanted)}",
    }  # fmt: skip
    return [said[aspect] for aspect in differs(given, wanted)]


def _list(values: NDArray[np.float64]) -> str:
    near = [f"{v:.4g}" for v in values]
    return near[0] if len(set(near)) == 1 else "(" + ", ".join(near) + ")"


def _size(p: Preprocess) -> str:
    size = "as it is" if p.size is None else f"{p.size[0]}×{p.size[1]}"
    return f"{size}, {p.resize}" + (f" after the shorter side became {p.resize_to}" if p.resize_to else "")


def options(p: Preprocess) -> str:
    """The same on the command line."""
    mean, std = (",".join(f"{v:.5g}" for v in vs) for vs in (p.mean, p.std))
    size = f" --resize {p.resize}" + (f" --resize-to {p.resize_to}" if p.resize_to else "") if p.resize != "none" else ""
    return f"--range {p.range:g} --channels {p.channels} --mean {mean} --std {std}{size}"


def is_twice(given: Preprocess, wanted: Preprocess) -> bool:
    """Is the given one the wanted one, applied to its own result?"""
    return not is_plain(wanted) and not differs(given, twice(wanted))


def is_plain(p: Preprocess) -> bool:
    """No mean and no std."""
    return not any(p.mean) and set(p.std) == {1.0}


def twice(p: Preprocess) -> Preprocess:
    """(x − m)/s of x = (p − m)/s: mean m + s·m, std s²."""
    wide = [np.broadcast_to(v, p.depth) for v in (p.mean, p.std)]
    mean, std = (np.asarray(v, float) for v in wide)
    return replace(p, mean=tuple((mean + std * mean).tolist()), std=tuple((std**2).tolist()))


def once(p: Preprocess) -> Preprocess:
    """The one of which `p` is `twice`: std √s, mean m/(1 + √s)."""
    wide = [np.broadcast_to(v, p.depth) for v in (p.mean, p.std)]
    mean, std = np.asarray(wide[0], float), np.sqrt(np.asarray(wide[1], float))
    return replace(p, mean=tuple((mean / (1 + std)).tolist()), std=tuple(std.tolist()))


def _changed(p: Preprocess) -> Iterator[tuple[str, Preprocess, bool]]:
    """The given one with one mistake put right."""
    other = 255.0 if p.range == 1 else 1.0
    yield f"the same, from 0 … {other:g}", replace(p, range=other, mean=tuple(m * other / p.range for m in p.mean)), True
    yield f"from 0 … {other:g}, mean and std as numbers kept", replace(p, range=other), True
    if p.channels in ("RGB", "BGR"):
        order = "BGR" if p.channels == "RGB" else "RGB"
        turned = replace(p, channels=order, mean=p.mean[::-1], std=p.std[::-1])
        yield f"{order}, mean and std with their channels", turned, True
        yield order, replace(p, channels=order), False
    yield "without mean", replace(p, mean=(0.0,)), True
    yield "without std", replace(p, std=(1.0,)), False
    yield "without mean and std", replace(p, mean=(0.0,), std=(1.0,)), True
    if not is_plain(p):
        yield "normalised once, if the given one is twice", once(p), False
        yield "normalised twice", twice(p), False


def _standard(p: Preprocess) -> Iterator[tuple[str, Preprocess, bool]]:
    """What networks are usually trained with, in both orders of the channels."""
    usual: list[tuple[str, float, tuple[float, ...], tuple[float, ...], bool]] = [
        ("0 … 1", 1.0, (0.0,), (1.0,), True), ("0 … 255", 255.0, (0.0,), (1.0,), True),
        ("−1 … 1", 1.0, (0.5,), (0.5,), True), ("−128 … 128", 255.0, (127.5,), (1.0,), False),
    ]  # fmt: skip
    if p.depth == 3:
        usual += [("ImageNet's mean and std", 1.0, MEAN, STD, True),
                  ("0 … 1 minus ImageNet's mean", 1.0, MEAN, (1.0,), False),
                  ("0 … 255 minus ImageNet's mean", 255.0, tuple(255 * m for m in MEAN), (1.0,), True)]  # fmt: skip
    if p.depth == 1:
        usual.append(("MNIST's mean and std", 1.0, (0.1307,), (0.3081,), False))
    orders = (p.channels, {"RGB": "BGR", "BGR": "RGB"}.get(str(p.channels), p.channels))
    for order in dict.fromkeys(orders):
        for name, white, mean, std, common in usual:
            turned = (mean[::-1], std[::-1]) if order == "BGR" else (mean, std)
            one = replace(p, channels=order, range=white, mean=turned[0], std=turned[1])
            yield f"{name}, {order}" if p.depth == 3 else name, one, common and order == p.channels


def _sized(p: Preprocess, written: Preprocess | None) -> Iterator[tuple[str, Preprocess, bool]]:
    """Other ways to the network's size; the size that the network carries, where it was opened at another."""
    if p.size is None:
        return
    side = max(p.size)
    ways = {"stretched": ("stretch", None), "cropped": ("crop", None), "padded": ("pad", None),
            "cropped after resizing to 8/7": ("crop", round(side * 8 / 7))}  # fmt: skip
    for name, (resize, before) in ways.items():
        yield name, replace(p, resize=resize, resize_to=before), False
    if written is not None and written.size not in (None, p.size):
        size = f"{written.size[0]}×{written.size[1]}" if written.size else ""
        yield f"{size}, as its preprocessing says", replace(p, size=written.size, resize=written.resize,
                                                           resize_to=written.resize_to), False  # fmt: skip


def _own(p: Preprocess, images: Sequence[Pixels]) -> Preprocess | None:
    """The mean and std of the images themselves."""
    plain = replace(p, mean=(0.0,), std=(1.0,))
    x = np.stack([plain(image) for image in images]).astype(np.float64)
    mean, std = x.mean((0, 2, 3)), x.std((0, 2, 3))
    return replace(p, mean=tuple(mean.tolist()), std=tuple(std.tolist())) if (std > 0).all() else None
