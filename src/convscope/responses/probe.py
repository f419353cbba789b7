"""A linear classifier on the responses of one layer (Alain and Bengio 2016), judged on images it was not fitted to.

    p(k | x) ∝ exp(w_k · z + b_k)     z = (x − mean) / σ, both of the images fitted to
    min over w, b:   C Σ_n −log p(y_n | x_n) + ½ Σ_k ‖w_k‖²

x (U,): the mean of each unit's map over an image. scikit-learn minimises; C is chosen inside the fitted part.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope import chance
from convscope.errors import DataError
from convscope.fields import param, validate
from convscope.responses._folds import Array, Indices, dealt, twins, wilson
from convscope.responses._redundancy import STILL
from convscope.responses._study import Study
from convscope.results import Table

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)  # C: the smaller, the stronger the regularisation
INNER = 3  # folds inside the fitted part, to choose C
FEWEST = 3  # different images a class: one held out, one to choose C by, one to fit to
STEPS = 500  # of L-BFGS


@dataclass(frozen=True)
class Probe:
    """How well does a layer already separate the classes?

    First row all classes, then one row a class: 'images', 'right', 'accuracy' with 'low' and 'high' (95 %, Wilson), 'chance'
    (1/K), 'majority' (always answering the largest class), 'mistaken_for'; shares 0 … 1. Every image is judged once, by a
    classifier fitted to the other folds (stratified, by `seed`); C is chosen there, by accuracy over three inner folds, of
    equals the smallest. Images with equal responses share a fold.

    Misleads: responses are means over the image, so that what only the places tell is lost; the network may have been
    trained on these very images; that a layer separates classes does not say that the network uses it. The folds share
    images, so that the interval is a little too narrow. Errors: UnknownName for a layer without embeddings, DataError (no
    labels, one class, fewer than 3 different images of a class). Source: Alain, Bengio 2016; Wilson 1927.

    >>> Probe(folds=10).most
    5000
    """

    folds: int = param(5, "parts, each held out once; fewer where a class has fewer images", low=2)
    most: int = param(5000, "images at most; of more, a random sample is taken", low=2)
    seed: int = param(0, "seed of the sample and of the folds", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, study: Study, layer: str) -> Table:
        """The probe of the layer at this address."""
        vectors, index, notes = study.vectors(layer, self.most, self.seed)
        labels = study.record.labels[index]
        if (labels < 0).any():
            notes = (*notes, f"left out: {int((labels < 0).sum()):,} images without a label")
            vectors, labels = vectors[labels >= 0], labels[labels >= 0]
        first = twins(vectors)
        kinds = self._check(study, labels, first)
        folds = min(self.folds, int(_counts(labels, first).min()))
        if folds < self.folds:
            notes = (*notes, f"folds lowered from {self.folds}: the smallest class has {folds} different images")
        again = int((first != np.arange(len(first))).sum())
        if again:
            notes = (*notes, f"{again:,} images have the same responses as an earlier one, and were kept in its fold")
        y = np.searchsorted(kinds, labels)
        said, chosen, fitted, late = self._held_out(vectors, y, first, folds)
        notes = (*notes, f"{folds} folds, seed {self.seed}; C chosen inside them: {', '.join(f'{c:g}' for c in chosen)}",
                 f"accuracy on the images fitted to: {fitted:.3f}",
                 f"mean of the classes' accuracies: {np.mean([(said[y == k] == k).mean() for k in range(len(kinds))]):.3f}")
        if late:
            notes = (*notes, f"{late} fits stopped after {STEPS} steps, before they had settled")
        names = [study.record.classes[k] for k in kinds]
        return Table(columns=_rows(y, said, names), units=_UNITS, title=f"linear probe of {layer}", notes=notes,
                     origin=study.origin(self, self.seed))

    def _check(self, study: Study, labels: Indices, first: Indices) -> Indices:
        """The classes there are; an error where a probe would say nothing."""
        name = study.collection.name
        if not len(labels):
            raise DataError(f"a probe needs labels, and {name} has none", "nobody says what is on the images",
                            "give a folder with one folder a class")
        kinds = np.unique(labels)
        if len(kinds) < 2:
            raise DataError("a probe tells classes apart", f"all {len(labels):,} images are of "
                            f"{study.record.classes[kinds[0]]!r}", "sweep images of two classes at least")
        counts = _counts(labels, first)
        if counts.min() < FEWEST:
            rare = study.record.classes[kinds[counts.argmin()]]
            raise DataError(f"too few images of {rare!r} for a probe", f"{counts.min()} different, and it needs {FEWEST}",
                            "raise most, sweep more images, or take this class out")
        return kinds

    def _held_out(self, x: Array, y: Indices, first: Indices, folds: int) -> tuple[Indices, list[float], float, int]:
        """(N,) the class answered for each image while held out; C of each fold; accuracy on what was fitted; late fits."""
        fold = dealt(y, first, folds, self.seed)
        said, chosen, fitted, late = np.zeros(len(y), np.int64), list[float](), list[float](), 0
        for held in range(folds):
            own, out = np.flatnonzero(fold != held), fold == held
            own_first = np.searchsorted(own, first[own])  # a row and its first twin are in one fold
            inner = dealt(y[own], own_first, min(INNER, int(_counts(y[own], own_first).min())), self.seed)
            right = [0] * len(STRENGTHS)
            for part in np.unique(inner):
                kept, left = own[inner != part], own[inner == part]
                for i, c in enumerate(STRENGTHS):
                    answer, unsettled = answers(x[kept], y[kept], x[left], c)
                    right[i] += int((answer == y[left]).sum())
                    late += unsettled
            best = STRENGTHS[int(np.argmax(right))]
            both, unsettled = answers(x[own], y[own], np.concatenate([x[out], x[own]]), best)
            said[out] = both[: int(out.sum())]
            chosen.append(best)
            fitted.append(float((both[int(out.sum()):] == y[own]).mean()))
            late += unsettled
        return said, chosen, float(np.mean(fitted)), late


def answers(x: Array, y: Indices, asked: Array, strength: float) -> tuple[Indices, int]:
    """The classes answered for `asked` by a classifier fitted to x, y; and 1 if the fit had not settled."""
    with chance.kept():
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    mean, deviation = x.mean(0), x.std(0)
    scale = np.where(deviation > STILL * np.abs(x).max(0), deviation, np.inf)  # a unit that does not vary says nothing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # counted instead
        fit: Any = LogisticRegression(C=strength, max_iter=STEPS).fit((x - mean) / scale, y)
    return fit.predict((asked - mean) / scale), int(fit.n_iter_.max() >= STEPS)


def _counts(labels: Indices, first: Indices) -> Indices:
    """How many different images each class has; those that two classes share count for the first one's."""
    kinds = np.unique(labels)
    return np.bincount(np.searchsorted(kinds, labels[np.unique(first)]), minlength=len(kinds))


def _rows(y: Indices, said: Indices, names: list[str]) -> dict[str, NDArray[Any]]:
    """One row for all and one a class."""
    k = len(names)
    table = np.zeros((k, k), np.int64)
    np.add.at(table, (y, said), 1)
    n, right = np.r_[len(y), table.sum(1)], np.r_[np.trace(table), np.diag(table)]
    low, high = wilson(right, n)
    largest = int(n[1:].argmax())
    wrong = table - np.diag(np.diag(table))
    mistaken = [names[row.argmax()] if row.any() else "" for row in wrong]
    return {"class": np.array(["all", *names], np.str_), "images": n, "right": right, "accuracy": right / n, "low": low,
            "high": high, "chance": np.full(k + 1, 1 / k),
            "majority": np.r_[n[1 + largest] / n[0], (np.arange(k) == largest).astype(float)],
            "mistaken_for": np.array(["", *mistaken], np.str_)}


_UNITS = {"images": "how many were judged, each once while held out", "accuracy": "share of them answered rightly, 0 … 1",
          "low": "lower end of its 95 % interval (Wilson)", "high": "upper end", "chance": "1 / number of classes",
          "majority": "the accuracy of always answering the largest class",
          "mistaken_for": "the wrong answer given most often"}
