"""How secret is a key? Every attack that applies, on images that the attacker never saw plain: numbers and pictures.

    victims      images of which the attacker has the keyed ones only; everything is judged on them
    own          plain images of the same collection, the attacker's own: a generous gift, said in the notes
    pairs        1, 4, 16, 64 images known both plain and keyed; the learned inverse gets all of `own` keyed

PSNR and SSIM are medians over the victims. Two rows say what they are to be held against: 'nothing' (the keyed image looked
at as it is) and 'the mean image' (an attacker who knows only what such images look like on average).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from convscope import __version__
from convscope.collection import Collection
from convscope.errors import DataError
from convscope.images import PRESETS, Preprocess, sized
from convscope.keys import gradient_leakage, jigsaw, known_pairs, learned_inverse, statistics, unpaired
from convscope.keys.inverter import Effort
from convscope.keys.key import Key
from convscope.keys.known import EXACT, Images, Known, Progress, Rebuilt, quality
from convscope.keys.patches import patch_net
from convscope.network import Network
from convscope.results import Origin, Picture, Table

PLAIN_WORDS = ("a key hides pictures from a glance: it is obfuscation and no proof of secrecy; that an attack fails here "
               "does not mean that every attack will")
VICTIMS, OWN, PAIRS, SHOWN = 200, 800, (1, 4, 16, 64), 6
NUMBERS = 8_000_000  # of all images together at most
LEAKED = 6  # images whose gradient is attacked: all that are shown
MEANINGS = {
    "attack": "what was tried",
    "needs": "what the attacker has besides the keyed images",
    "psnr": "of the rebuilt images, dB, median; 100 and more: exact",
    "ssim": "of the rebuilt images, median",
    "exact": "share of the images rebuilt to within half a grey level (PSNR ≥ 54 dB)",
}
EXACTLY = 54.15  # dB: an error of half of 1/255 everywhere


@dataclass(frozen=True)
class Report:
    """The numbers, one row an attack, and the pictures: plain, keyed, rebuilt."""

    table: Table
    picture: Picture


@dataclass(frozen=True)
class _Tried:
    name: str
    short: str
    needs: str
    images: Images


@dataclass(frozen=True)
class _Attack:
    name: str
    short: str  # on the picture
    needs: str
    run: Callable[[Images, Known, Progress | None], Rebuilt]
    kinds: tuple[str, ...]
    pairs: int = 0


ALL = ("orthogonal", "permutation", "shuffle")


def _attacks(own: int, pairs: int, effort: Effort) -> list[_Attack]:
    """What is tried, the attacker who knows least first."""
    def alone(keyed: Images, known: Known, progress: Progress | None) -> Rebuilt:
        return statistics.from_correlations(keyed, replace(known, own=known.own[:0]), progress)

    theirs = f"{own} plain images of their own"
    found = [_Attack("jigsaw", "jigsaw", "nothing", jigsaw.reassemble, ("shuffle",)),
             _Attack("statistics, no images", "neighbours", "nothing", alone, ("permutation",)),
             _Attack("statistics", "statistics", theirs, statistics.from_correlations, ("permutation", "shuffle")),
             _Attack("moments", "moments", theirs, unpaired.from_moments, ("orthogonal",))]
    for count in dict.fromkeys(min(n, pairs) for n in PAIRS):
        for method in known_pairs.METHODS:
            def pairs_of(keyed: Images, known: Known, _: Progress | None, method: str = method) -> Rebuilt:
                return known_pairs.from_pairs(keyed, known, method)

            words, short = f"{count} pair{'s' if count > 1 else ''}", "" if method == "procrustes" else " (ls)"
            found.append(_Attack(f"known pairs, {method}", words + short, words, pairs_of, ("orthogonal",), count))
            if method == "procrustes":
                found.append(_Attack("known pairs", words, words, pairs_of, ("permutation", "shuffle"), count))
    found.append(_Attack("learned inverse", "learned", f"{own} pairs", lambda keyed, known, progress:
                         learned_inverse.by_learning(keyed, known, progress, effort), ALL, -1))
    return found


def attack_report(key: Key, images: Collection, shape: tuple[int, int, int] | None = None, seed: int = 0,
                  effort: Effort | None = None, progress: Progress | None = None) -> Report:
    """All attacks on one key. `shape` (C, H, W): what images are resized to; by default the key's own, or the first image's.

    Errors: DataError with fewer than 8 images, ShapeError where the key does not fit them.
    """
    effort = effort or Effort()
    plain, index, notes = _images(key, images, shape, seed)
    victims, own = _parts(len(plain))
    secret, gift = plain[:victims], plain[victims : victims + own]
    keyed, gift_keyed = key(secret), key(gift)
    attacks = [a for a in _attacks(own, min(own, PAIRS[-1]), effort) if key.kind in a.kinds]
    tried = [_Tried("nothing", "keyed", "the keyed image as it is", _seen(keyed)),
             _Tried("the mean image", "mean image", f"{own} plain images of their own",
                    np.broadcast_to(gift.mean(0), secret.shape))]
    for number, attack in enumerate(attacks):
        count = own if attack.pairs < 0 else attack.pairs
        known = Known(key.kind, key.block, gift, gift[:count], gift_keyed[:count], seed)
        rebuilt = attack.run(keyed, known, _report(progress, number, len(attacks) + 1, attack.name))
        tried.append(_Tried(attack.name, attack.short, attack.needs, rebuilt.images))
        notes += rebuilt.notes
    tried.append(_leaked(key, secret, seed, _report(progress, len(attacks), len(attacks) + 1, "gradients")))
    notes += [f"judged on {victims} images that the attacker never saw plain; the attacker's own are of the same "
              "collection, which is generous", PLAIN_WORDS, *key.notes,
              f"not for keys of the kind {key.kind}: "
              + ", ".join(dict.fromkeys(a.name for a in _attacks(1, 1, effort) if key.kind not in a.kinds))]
    notes = list(dict.fromkeys(notes))
    origin = Origin(f"attack report on {key!r}", "", images.fingerprint, seed, {"convscope": __version__})
    return Report(_table(key, secret, tried, notes, origin),
                  _picture(key, secret, tried, [images.ids[i] for i in index[:SHOWN]], origin))


def _parts(count: int) -> tuple[int, int]:
    """How many victims, and how many of the attacker's own."""
    victims = max(1, min(VICTIMS, count // 4))
    return victims, min(OWN, count - victims)


def _images(key: Key, images: Collection, shape: tuple[int, int, int] | None,
            seed: int) -> tuple[Images, NDArray[np.int64], list[str]]:
    """(N, C, H, W) plain images in a random order, 0 … 1, with their numbers."""
    height, width, _ = images[0].shape
    wanted = shape or (key.channels, *(key.size or (height - height % key.block, width - width % key.block)))
    preprocess: Preprocess = sized(PRESETS["unit"], wanted)
    most = min(VICTIMS + OWN, max(8, NUMBERS // int(np.prod(wanted))))
    order = np.random.default_rng(seed).permutation(len(images))[:most]
    batches = list(images.batches(preprocess, 64, order=order))
    x = torch.cat([b.x for b in batches]).double().numpy()
    if len(x) < 8:
        raise DataError("an attack report compares images", f"{len(x)} could be used", "give eight at least")
    said = [f"sampled: {len(x)} of {len(images):,} images, seed {seed}"] if len(x) < len(images) else []
    return x, np.concatenate([b.index for b in batches]), [*said, f"images: {preprocess.describe()}"]


def _leaked(key: Key, secret: Images, seed: int, progress: Progress | None) -> _Tried:
    """The keyed image from its own gradient, seen through the true key: what somebody gets who also breaks the key."""
    channels, height, width = secret.shape[1:]
    net = Network.open(patch_net(channels, (height, width), key.block, seed=seed), (channels, height, width))
    found: list[NDArray[np.float64]] = []
    for number, image in enumerate(secret[:LEAKED]):
        shared = gradient_leakage.gradient(net, torch.from_numpy(key(image[None])), number % 10)
        found.append(key.undo(gradient_leakage.leak(net, shared, seed=seed).x)[0])
        if progress is not None:
            progress(number + 1, min(LEAKED, len(secret)), "gradients")
    return _Tried("gradient leakage, then the key", "gradients", f"gradients ({len(found)} images) and the key",
                  np.stack(found))


def _table(key: Key, secret: Images, tried: list[_Tried], notes: list[str], origin: Origin) -> Table:
    scores = [quality(secret[: len(one.images)], one.images) for one in tried]
    columns = {"attack": np.array([one.name for one in tried]), "needs": np.array([one.needs for one in tried]),
               **{k: np.array([float(np.median(s[k])) for s in scores]) for k in ("psnr", "ssim")},
               "exact": np.array([float((s["psnr"] >= EXACTLY).mean()) for s in scores])}
    return Table(columns=columns, units=MEANINGS, title=f"attacks on a key: {key.kind}, block {key.block}",
                 notes=tuple(notes), origin=origin)


def _picture(key: Key, secret: Images, tried: list[_Tried], ids: list[str], origin: Origin) -> Picture:
    """Rows: plain, and what each attack makes of it, the keyed image first. No more pairs are shown once they suffice."""
    count = min(SHOWN, len(secret))
    tiles, units, enough = [_pixels(secret[:count])], [*ids[:count]], False
    for one in tried:
        psnr = quality(secret[:count], one.images[:count])["psnr"]
        pairs = one.name.startswith("known pairs")
        if not (enough and pairs):
            tiles.append(_pixels(one.images[:count]))
            units += [f"{one.short}: exact" if v >= EXACT else f"{one.short}: {v:.0f} dB" for v in psnr]
        enough = enough or (pairs and bool((psnr >= EXACTLY).all()))
    return Picture(tiles=np.concatenate(tiles), units=tuple(units), scale="rgb", columns=count, origin=origin,
                   title=f"attacks on a key: {key.kind}, block {key.block}",
                   notes=("keyed images are drawn and judged with their values stretched over black … white", PLAIN_WORDS))


def _seen(keyed: Images) -> Images:
    """Keyed images stretched over 0 … 1, which changes nothing where the key only moves pixels."""
    low, high = min(0.0, float(keyed.min())), max(1.0, float(keyed.max()))
    return (keyed - low) / (high - low)


def _pixels(images: Images) -> NDArray[np.uint8]:
    """(N, C, H, W) of 0 … 1 → uint8 (N, H, W, 3)."""
    pixels = np.rint(255 * np.clip(images, 0, 1)).astype(np.uint8)
    three = pixels[:, :3] if pixels.shape[1] >= 3 else np.repeat(pixels[:, :1], 3, axis=1)
    return np.ascontiguousarray(three.transpose(0, 2, 3, 1))


def _report(progress: Progress | None, number: int, count: int, name: str) -> Progress | None:
    if progress is None:
        return None
    return lambda done, total, _: progress(number * 1000 + 1000 * done // max(total, 1), count * 1000, f"attacks: {name}")
