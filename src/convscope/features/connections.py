"""The circuit around a unit: which units feed it, and which it feeds, with the weights between (Olah et al. 2020).

    y[u, i, j] = Σ_c Σ_kl w[u, c, k, l] · x[c, i + k, j + l]          slice of input channel c: s_c · w[u, c]
    strength ‖s_c · w[u, c]‖₂        sum Σ_kl s_c · w[u, c, k, l]        contribution  Σ_kl w[u, c, k, l] · E[x_c]

x[c] is traced back to the unit that wrote it (`_wiring.py`); s_c is what the batch norms on the way, and the unit's own
one if it is asked about behind it, multiply with. E[x_c] is the channel's mean over a sweep.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.errors import UsageError
from convscope.features._edges import into, made_by, out_of
from convscope.features._given import NOTHING, Given
from convscope.features._kernels import asked
from convscope.features._wiring import Array, Wiring
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Picture


@dataclass(frozen=True)
class Connections:
    """Which units feed this unit, or are fed by it, and with which weights?

    Target: a unit of a convolution or dense layer, or of a batch norm, activation or concatenation behind it. One tile
    (h, w) a connection, signed: the `most` strongest with a positive sum of weights, strongest first, then the `most`
    strongest with a negative one. `units`: the unit at the other end (of the image 'input/red', or 'input/0' where
    channels have no colours). For a whole layer: its strongest connections, 'conv1/3 → 5', where 5 is the layer's own.
    `values`, in output per input unit: 'sum' and 'norm' of the weights, 'sign' of the sum (0 for none), 'scale' of the batch
    norms folded in, and, with a sweep, 'contribution': what comes through this channel of the unit's mean response (zeros
    around the map aside).

    Misleads: signs are those of weights: what a negative value of the input does is the opposite; ReLU, pooling and gates
    lie between and are not in the numbers. A sum near zero beside a large norm (an edge) has no sign worth the name. Where
    a residual sum is read, all its writers are listed with the same slice. Errors: UnknownName, UsageError for a unit that
    sums several, StoreError. Source: Olah, Cammarata, Schubert, Goh, Petrov, Carter 2020, "Zoom In".

    >>> import torch
    >>> net = Network.open(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 2, 3)), (3, 9, 9))
    >>> sorted(Connections()(net, "1/1").units)
    ['0/0', '0/1', '0/2', '0/3']
    """

    direction: str = param("in", "units that feed this one, or units that it feeds", choices=("in", "out"))
    order: str = param("norm", "strongest by the norm of the weights, or by the mean contribution over a sweep",
                       choices=("norm", "contribution"))
    most: int = param(12, "connections of either sign shown at most", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, target: str, given: Given = NOTHING) -> Picture:
        """The connections of the unit at this address, or the strongest of a layer."""
        unit = asked(net, target)
        wiring = Wiring(net)
        made = made_by(wiring, unit)
        found = into(wiring, made, given) if self.direction == "in" else out_of(wiring, made, given)
        contribution, norm, total = (found.numbers(what) for what in ("contribution", "norm", "sum"))
        if self.order == "contribution" and np.isnan(contribution).all():
            raise UsageError("an order by contribution needs a sweep", found.lacking,
                             "sweep the layer that is read, or use order='norm'")
        weight = np.nan_to_num(np.abs(contribution)) if self.order == "contribution" else norm
        chosen, note = self._chosen(weight, norm, total)
        values: dict[str, NDArray[Any]] = {"sum": total[chosen], "norm": norm[chosen],
                                           "sign": np.sign(total[chosen]).astype(np.int64),
                                           "scale": found.numbers("scale")[chosen]}
        if not np.isnan(contribution).all():
            values["contribution"] = contribution[chosen]
        tiles, padded = found.tiles(chosen)
        about = made.address if made.unit is None else f"{made.address}/{made.unit}"
        side = self.direction + (" layer" if made.unit is None else "")
        return Picture(tiles=tiles, units=found.names(net, chosen, side), signed=True, values=values,
                       title=f"connections {'into' if self.direction == 'in' else 'out of'} {about}",
                       notes=tuple(n for n in (note, *found.notes, padded) if n), origin=net.origin(self))

    def _chosen(self, weight: Array, norm: Array, total: Array) -> tuple[NDArray[np.int64], str]:
        """Positive ones, then negative ones, each from the strongest; and how many that is of how many."""
        order = np.argsort(-weight, kind="stable")
        order = order[norm[order] > 0]
        signs = [order[total[order] >= 0], order[total[order] < 0]]
        chosen = np.concatenate([one[: self.most] for one in signs])
        whole = (norm**2).sum()
        held = (norm[chosen] ** 2).sum() / whole if whole > 0 else 0.0
        counts = [f"{min(self.most, len(one))} of {len(one)}" for one in signs]
        return chosen, (f"{counts[0]} connections with a positive sum, then {counts[1]} with a negative one: "
                        f"{held:.0%} of the squared weights")
