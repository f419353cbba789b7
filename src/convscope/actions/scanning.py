"""Where in a larger picture does the network see a class? The scores of all windows, and the best of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.actions.networks import Progress, open

if TYPE_CHECKING:
    from convscope.dense.scan import Scan


def scan(
    network: Any, image: Any, target: str | int | None = None, *, progress: Progress | None = None, **parameters: Any
) -> Scan:
    """Where in a picture larger than its input does a network see a class? Every window scored, exactly, without a loop.

    `image`: a file, a built-in id ('photos/astronaut.png'), uint8 pixels (H, W[, C]), or a float tensor (C, H, W) taken as
    it is. `target`: a class by name or index; none: the best class of each window. `parameters`: stride, scales='1,0.7,0.5',
    way, score, top, overlap, threshold, memory, samples, seed (`convscope.dense.scan.DenseScan`). `progress(done, total,
    text)` may raise to stop. Gives `.heatmap` (one map a scale), `.peaks` (a table of boxes), `.picture` (boxes on the
    picture) and `.scores`.

    >>> import torch
    >>> found = scan("zoo:lenet5", torch.zeros(1, 40, 44), 3, stride=2)
    >>> found.scores[0].shape
    (7, 9)
    """
    from convscope import inputs
    from convscope.dense.scan import DenseScan
    from convscope.errors import UsageError

    known = DenseScan.__dataclass_fields__
    strange = [name for name in parameters if name not in known]
    if strange:
        raise UsageError(f"a scan has no parameter {', '.join(map(repr, strange))}", f"it has {', '.join(known)}",
                         "`convscope scan --help` explains them")
    method = DenseScan(**parameters)
    given = image if _is_tensor(image) else inputs.read_pixels(image)
    return method(open(network), given, target, progress)


def keep_scan(found: Scan, path: str | Path) -> Path:
    """Keep a scan: the boxes as .csv or .json, else the picture with its boxes (.png, .svg, .html, .npz)."""
    wanted = found.peaks if Path(path).suffix.lower() in (".csv", ".json") else found.picture
    return wanted.save(path)


def _is_tensor(image: Any) -> bool:
    import torch

    return isinstance(image, torch.Tensor)
