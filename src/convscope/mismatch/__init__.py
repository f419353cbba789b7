"""Was the preprocessing right? The given one against others, on the user's images; what the network does with them decides.

Three kinds of evidence, the strongest that is there first:

    labels         −log p of the right class, the best T in [1/3, 3] for each candidate; paired over images, Wilcoxon's test
    batch norm     at the first one, ½·mean_c[ln(v_r/v) + (v + (m − m_r)²)/v_r − 1]: Kullback and Leibler's divergence of
                   what is measured (m, v) from what training kept (m_r, v_r); nats a channel
    predictions    H(mean of p) − mean of H(p), nats: how much the answer tells about the image; 0 where saturated

Sources: Ioffe and Szegedy 2015 (running statistics), Kullback and Leibler 1951, Wilcoxon 1945; H(mean p) − mean H(p) is the
mutual information that Bridle, Heading and MacKay 1991 use as an objective.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from convscope import inputs
from convscope.errors import DataError
from convscope.images import Pixels
from convscope.mismatch import candidates, evidence, telling
from convscope.network import Network
from convscope.results import Findings

Progress = Callable[[int, int, str], None]
MOST = 64  # images that are looked at


def check(net: Network, images: Sequence[Pixels], labels: NDArray[np.int64] | None = None, notes: tuple[str, ...] = (),
          progress: Progress | None = None) -> Findings:  # fmt: skip
    """Does the preprocessing of `net` fit? `images`: uint8 (H, W, C); `labels` (N,): numbers of outputs.

    First what does not fit, else that it fits or cannot be told; then what is known of range, channel order, mean and
    std, and size. Misleads where the images are of another kind than those of the training. Errors: DataError, UsageError.
    """
    if not images:
        raise DataError("no image to check the preprocessing on", "none could be used", "give a folder of typical images")
    given, assumed = inputs.preprocess_of(net)
    seen = evidence.look(net, images, labels, candidates.of(given, images, net.preprocess), progress)
    base, best, verdict = evidence.judge(seen)
    left = [aspect for aspect in candidates.ASPECTS if aspect not in best.candidate.differs]
    rest = [found for aspect in left if (found := telling.aspect_of(seen, best, aspect)) is not None]
    first = telling.first(net, base, best, verdict, rest)
    rest.sort(key=lambda f: f.severity != "unknown")
    said = (*notes, *((assumed,) if assumed else ()), *telling.kinds(seen),
            f"p by {evidence.DRAWS} resamples of the images (seed {evidence.SEED}) or Wilcoxon's signed ranks")  # fmt: skip
    return Findings(title=f"preprocessing of {net.name} on {len(images)} images", findings=(first, *rest),
                    checked=telling.checked(seen, base), units=telling.UNITS, notes=said,
                    origin=net.origin("check_preprocess", seed=evidence.SEED))  # fmt: skip


def glance(net: Network, images: Sequence[Pixels]) -> str | None:
    """One sentence if a short look (few candidates, no labels) finds another preprocessing much better; else None."""
    if len(images) < 2 or len(net.input_shape) != 4:
        return None
    given, _ = inputs.preprocess_of(net)
    few = [c for c in candidates.of(given, images, net.preprocess) if c.common]
    base, best, verdict = evidence.judge(evidence.look(net, images, None, few, None))
    if not verdict.better or verdict.p > evidence.SURE:
        return None
    return (f"the preprocessing looks wrong ({' and '.join(best.candidate.differs)}): on {len(images)} images "
            f"{best.candidate.preprocess.describe()} fits better than {base.candidate.preprocess.describe()}")  # fmt: skip
