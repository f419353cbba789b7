"""What the network does with the images under every candidate, and which candidate is better by more than chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope import outputs, run
from convscope.images import Pixels, Preprocess
from convscope.mismatch.candidates import Candidate
from convscope.network import Network

Progress = Callable[[int, int, str], None]
FEWEST = {"labels": 8, "batch norm": 2, "predictions": 4}  # images below which a kind of evidence says nothing
DRAWS, SEED = 400, 0  # resamples of the images
SURPRISE = 20.0  # nats: a right class can be no more unlikely than that, so that one image does not decide
SATURATED = 50.0  # nats between the two highest scores: training by cross-entropy does not go there
SURE, LIKELY = 0.01, 0.05
_NORMS = ("batch_norm", "_native_batch_norm_legit_no_training", "native_batch_norm", "cudnn_batch_norm")


@dataclass(frozen=True)
class Seen:
    """What the network made of the images under one candidate."""

    candidate: Candidate
    z: Tensor  # (N, K) scores
    shares: NDArray[np.float64]  # (N, K) probabilities
    surprise: NDArray[np.float64] | None  # (N,) −log p of the right class
    moments: tuple[NDArray[np.float64], ...] | None  # (N, U) means and mean squares; (U,) running mean and variance
    told: NDArray[np.float64]  # (1 + DRAWS,) information in the predictions: of all images, and of each resample
    apart: NDArray[np.float64]  # (1 + DRAWS,) divergence, the same; NaN without batch norm
    right: float  # share of images with the right class highest; NaN without labels


@dataclass(frozen=True)
class Verdict:
    """Is one candidate better than another? `gain` in the unit of the evidence, `p` how likely by chance."""

    kind: str
    gain: float
    p: float
    better: bool  # by more than chance, and by enough to matter

    @classmethod
    def none(cls) -> Verdict:
        return cls("", 0.0, 1.0, False)


def look(net: Network, images: Sequence[Pixels], labels: NDArray[np.int64] | None, tried: Sequence[Candidate],
         progress: Progress | None) -> list[Seen]:  # fmt: skip
    """Every candidate's outputs on the images."""
    reading = outputs.read(net, temperature=1.0)
    if reading.multi_label:
        labels = None  # one label an image does not say which others are right too
    counts = np.random.default_rng(SEED).multinomial(len(images), np.full(len(images), 1 / len(images)), DRAWS)
    counts = np.concatenate([np.ones((1, len(images))), counts]) / len(images)
    found, kept = [], dict[tuple[object, ...], Tensor]()
    for done, one in enumerate(tried, start=1):
        z, moments = _run(net, _input(one.preprocess, images, kept), reading)
        shares = reading_shares(z, reading.multi_label)
        surprise, right = None, float("nan")
        if labels is not None:
            truth = torch.from_numpy(labels)
            heat = outputs.fit_temperature(z, truth, 1 / 3, 3.0)
            surprise = outputs.nll(z, truth, heat).clamp_max(SURPRISE).numpy()
            right = float((outputs.two(z).argmax(1) == truth).double().mean())
        told = information(shares, counts, reading.multi_label) * (0 if _gap(z, reading.multi_label) > SATURATED else 1)
        apart = np.full(len(counts), np.nan) if moments is None else divergence(moments, counts)
        found.append(Seen(one, z, shares, surprise, moments, told, apart, right))
        if progress is not None:
            progress(done, len(tried), "candidates")
    return found


def reading_shares(z: Tensor, multi_label: bool) -> NDArray[np.float64]:
    """(N, K) probabilities from scores; of one score both classes."""
    return (z.sigmoid() if multi_label else outputs.two(z).softmax(1)).numpy()


def information(shares: NDArray[np.float64], counts: NDArray[np.float64], multi_label: bool = False) -> NDArray[np.float64]:
    """(R, N) weights of resamples → (R,): H(mean of p) − mean of H(p), nats; summed over labels that stand alone.

    >>> float(information(np.eye(2), np.full((1, 2), 0.5))[0].round(4))
    0.6931
    """
    if multi_label:
        return _entropy_of_each(counts @ shares).sum(1) - counts @ _entropy_of_each(shares).sum(1)
    return _entropy(counts @ shares).sum(1) - counts @ _entropy(shares).sum(1)


def _entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return -p * np.log(np.maximum(p, 1e-300))


def _entropy_of_each(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return _entropy(p) + _entropy(1 - p)


def divergence(moments: tuple[NDArray[np.float64], ...], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R,) nats a channel: how far the measured mean and variance are from the running ones.

    >>> unit = (np.zeros((1, 1)), np.ones((1, 1)), np.zeros(1), np.ones(1))
    >>> divergence(unit, np.ones((1, 1))).tolist()
    [0.0]
    """
    means, squares, running, spread = moments
    mean = counts @ means
    variance = np.maximum(counts @ squares - mean**2, 1e-12)
    return 0.5 * (np.log(spread / variance) + (variance + (mean - running) ** 2) / spread - 1).mean(1)


def _gap(z: Tensor, multi_label: bool) -> float:
    """The median distance between the two highest scores."""
    z = z.nan_to_num(posinf=1e6, neginf=-1e6)
    top = outputs.two(z).topk(2).values if not multi_label else torch.stack([z.abs().max(1).values, z.new_zeros(len(z))], 1)
    return float((top[:, 0] - top[:, 1]).median())


def _input(p: Preprocess, images: Sequence[Pixels], kept: dict[tuple[object, ...], Tensor]) -> Tensor:
    """The images as the network would read them; pixels are resized once for all candidates that share that."""
    key = (p.size, p.resize, p.resize_to, p.interpolation, p.channels, p.mean if p.resize == "pad" else None)
    if key not in kept:
        fill = tuple(m * 255 / p.range for m in p.mean)  # `pad` fills with the mean
        plain = replace(p, mean=fill, std=(1.0,), range=255.0)
        kept[key] = torch.from_numpy(np.stack([plain(image) for image in images])) + torch.tensor(fill)[:, None, None]
    mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (p.mean, p.std))
    return ((kept[key].double() * (p.range / 255) - mean) / std).float()


def _run(net: Network, x: Tensor, reading: outputs.Reading) -> tuple[Tensor, tuple[NDArray[np.float64], ...] | None]:
    """(N, K) scores, and the moments at the first batch norm."""
    first: list[tuple[Tensor, Tensor]] = []
    spread: list[tuple[Tensor, Tensor]] = []

    def watch(call: Callable[..., object], *args: object, **kwargs: object) -> object:
        value, running, variance = args[0], args[3], args[4]
        if isinstance(value, Tensor) and isinstance(running, Tensor) and isinstance(variance, Tensor) and not here:
            here.append(True)
            rows = value.double().flatten(2) if value.ndim > 2 else value.double()[..., None]
            first.append((rows.mean(2), (rows**2).mean(2)))
            spread.append((running.double(), variance.double()))
        return call(*args, **kwargs)

    scores = []
    for part in x.split(net.batch or 32):
        here: list[bool] = []
        part = net.check_input(part)
        at = net if tuple(part.shape[1:]) == net.input_shape[1:] else net.at(part.shape[1:])
        output = run.run(at, part, rules=dict.fromkeys(_NORMS, watch)).output.float()
        output = output.flatten(2).mean(2) if output.ndim > 3 else output.reshape(len(output), -1)
        scores.append(reading.scores(output))
    z = torch.cat(scores).cpu()
    if not first:
        return z, None
    moments = (*(torch.cat(parts).cpu().numpy() for parts in zip(*first, strict=True)),
               *(part.cpu().numpy() for part in spread[0]))  # fmt: skip
    return z, moments


# ---- which one is better -------------------------------------------------------------------------------------------------


def judge(seen: list[Seen]) -> tuple[Seen, Seen, Verdict]:
    """The given one, the best one (itself, where none is better), and how that is known."""
    base = seen[0]
    for kind in kinds_there(base):
        named = [(one, v) for one in seen[1:] if (v := compare(base, one, kind)).better and not _refuted(base, one, kind)]
        if named:
            best = min(named, key=lambda pair: score(pair[0], kind))[0]
            close = [pair for pair in named if not compare(pair[0], best, kind).better]
            # Of those that are as good, the one that changes least: a change that does nothing is not named.
            return base, *min(close, key=lambda pair: (len(pair[0].candidate.differs), score(pair[0], kind)))
    return base, base, Verdict.none()


def kinds_there(one: Seen) -> list[str]:
    there = {"labels": one.surprise is not None, "batch norm": one.moments is not None,
             "predictions": one.moments is None}  # a batch norm hides the scale, and knows it better  # fmt: skip
    return [kind for kind, has in there.items() if has and len(one.shares) >= FEWEST[kind]]


def score(one: Seen, kind: str) -> float:
    """Lower is better."""
    if kind == "labels":
        assert one.surprise is not None
        return float(one.surprise.mean())
    return float(one.apart[0]) if kind == "batch norm" else -float(one.told[0])


def _refuted(base: Seen, other: Seen, kind: str) -> bool:
    """Do the labels say the contrary of what the batch norm says?"""
    return kind != "labels" and base.surprise is not None and compare(other, base, "labels").better


def compare(base: Seen, other: Seen, kind: str) -> Verdict:
    """Is `other` better than `base`?"""
    gain = score(base, kind) - score(other, kind)
    if kind == "labels":
        p = _signed_ranks(base.surprise, other.surprise)
        simple = any(one.candidate.single or len(one.candidate.differs) == 1 for one in (base, other))
        sound = other.told[0] > 0  # saturated outputs can be right by chance of the arg max, and are never what was trained
        return Verdict(kind, gain, p, sound and gain > 0.1 and p < (LIKELY if simple else SURE))
    if other.candidate.own:  # the statistics of any images bring those images near to what training kept
        return Verdict(kind, gain, 1.0, False)
    if kind == "batch norm":
        p = float((base.apart[1:] <= other.apart[1:]).mean())
        return Verdict(kind, gain, max(p, 1 / DRAWS), base.apart[0] > 3 * other.apart[0] + 0.1 and p < SURE)
    p = float((base.told[1:] >= other.told[1:]).mean())
    return Verdict(kind, gain, max(p, 1 / DRAWS), other.told[0] > 1.5 * base.told[0] + 0.3 and p < SURE)


def _signed_ranks(before: NDArray[np.float64] | None, after: NDArray[np.float64] | None) -> float:
    """How likely by chance `after` is that much below `before`, paired (one-sided)."""
    from scipy.stats import wilcoxon

    assert before is not None
    assert after is not None
    gains = before - after
    if not gains.any():
        return 1.0
    found: Any = wilcoxon(gains, alternative="greater", method="approx")
    return float(found.pvalue)
