"""The few modules that torch does not have and that edits put in. Their source is copied into the edited network's file, so
each needs torch alone and keeps what it was made with under the same names."""

from __future__ import annotations

import torch
from torch import nn


class Add(nn.Module):
    """Two values, added."""

    def forward(self, x, y):
        return x + y


class Concat(nn.Module):
    """Several values, one behind the other along an axis."""

    def __init__(self, dim=0):
        super().__init__()
        self.dim = dim

    def forward(self, *values):
        return torch.cat(values, self.dim)


class Reorder(nn.Module):
    """Channels in another order: y[:, i] = x[:, order[i]]."""

    def __init__(self, order):
        super().__init__()
        self.order = order

    def forward(self, x):
        return x[:, list(self.order)]


class Unpool(nn.Module):
    """Each value put back where its maximum stood, zeros elsewhere. Where several meet: 'add', or the last: 'overwrite'."""

    def __init__(self, overlap="add"):
        super().__init__()
        self.overlap = overlap

    def forward(self, values, switches, like):
        values, at, empty = values.flatten(2), switches.flatten(2), torch.zeros_like(like).flatten(2)
        if self.overlap == "overwrite":
            order = torch.ones_like(at).cumsum(2) - 1
            last = torch.zeros_like(empty, dtype=at.dtype).scatter_reduce(2, at, order, "amax")
            values = torch.where(last.gather(2, at) == order, values, 0.0)
        return empty.scatter_add(2, at, values).reshape(like.shape)


class ConvTransposeLike(nn.ConvTranspose2d):
    """A transposed convolution whose result has the height and width of `like`, whichever sizes its convolution rounds."""

    def forward(self, x, like):  # type: ignore[override]
        w, b, pad = self.weight, self.bias, tuple(int(n) for n in self.padding)
        least = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, d, k in
                 zip(x.shape[2:], self.stride, pad, self.dilation, self.kernel_size, strict=True)]
        more = [max(0, n - m) for n, m in zip(like.shape[2:], least, strict=True)]
        y = torch.nn.functional.conv_transpose2d(x, w, b, self.stride, pad, more, self.groups, self.dilation)
        return y[..., : like.shape[2], : like.shape[3]]


class LinearBack(nn.Module):
    """A dense layer with the weight of another one, transposed: y = x W + b, W (in_features, out_features)."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(torch.empty(in_features, out_features).normal_(0, in_features**-0.5))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x):
        return torch.nn.functional.linear(x, self.weight.t(), self.bias)


class ResizeLike(nn.Module):
    """A map enlarged to the height and width of `like`."""

    def __init__(self, mode="nearest"):
        super().__init__()
        self.mode = mode

    def forward(self, x, like):
        return torch.nn.functional.interpolate(x, size=like.shape[2:], mode=self.mode)


class Enlarge(nn.Module):
    """Every channel enlarged `factor` times by a transposed convolution, bilinear to begin with, to the size of `like`.

    Beyond the map's border its last values go on. `shift`: pixels of `like` before those that the first value stands for.
    """

    def __init__(self, channels, factor, shift=0):
        super().__init__()
        self.channels, self.factor, self.shift = channels, factor, shift
        rows, columns = (self.tent(f) for f in self.pair(factor))
        self.weight = nn.Parameter((rows[:, None] * columns).repeat(channels, 1, 1, 1))

    @staticmethod
    def pair(n):
        return n if isinstance(n, tuple) else (n, n)

    @staticmethod
    def tent(f):
        n = 2 * f - f % 2
        return 1 - ((torch.arange(n) - (n - 1) / 2) / f).abs()

    def forward(self, x, like):
        pads, starts = [], []
        both = self.pair(self.factor), self.pair(self.shift)
        for n, size, f, s in zip(x.shape[2:], like.shape[2:], *both, strict=True):
            before = max(1, 1 - -s // f)
            start = before * f + f // 2 - s  # where `like` begins in what is computed
            after = max(1, -((1 - start - size) // f) + 1 - before - n)
            pads += [before, after]
            starts.append(start)
        x = torch.nn.functional.pad(x, (pads[2], pads[3], pads[0], pads[1]), mode="replicate")
        y = torch.nn.functional.conv_transpose2d(x, self.weight, stride=self.pair(self.factor), groups=self.channels)
        (top, left), (height, width) = starts, like.shape[2:]
        return y[..., top : top + height, left : left + width]


class FixedBatchNorm1d(nn.BatchNorm1d):
    """Batch norm of a part that is frozen: it keeps to the statistics that it has, in train() too."""

    def train(self, mode=True):  # noqa: ARG002
        return super().train(False)


class FixedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm of a part that is frozen: it keeps to the statistics that it has, in train() too."""

    def train(self, mode=True):  # noqa: ARG002
        return super().train(False)


class DilatedAverage(nn.Module):
    """y[p, q] = Σ_ij x[p + a·i, q + b·j] / divisor, (a, b) = holes: average pooling with holes, one pixel apart."""

    def __init__(self, window, holes, divisor):
        super().__init__()
        self.window = window
        self.holes = holes
        self.divisor = divisor

    def forward(self, x):
        (h, w), (a, b), c = self.window, self.holes, x.shape[1]
        rows = torch.nn.functional.conv2d(x, x.new_ones(c, 1, h, 1), dilation=(a, 1), groups=c)
        return torch.nn.functional.conv2d(rows, x.new_full((c, 1, 1, w), 1 / self.divisor), dilation=(1, b), groups=c)
