"""What does a score for every window cost? Window loop, convolutional pass, dense scan, in one run: `benchmarks/dense.py`

    loop       the module as it is, eager, on batches of 256 windows (copied out of the image)
    coarse     the same weights run once over the image at the network's own stride: a coarse map, not the same answer
    scan       convscope, every window, exactly; reading the network included, self-timing of the ways left out
    plain      the scan's own multiply-accumulates as plain convolutions (no dilation, no pooling, no ReLU): its lower bound

Nets: A conv5×20–pool–conv5×50–pool–fc500 on 28 px grey; B conv5×32–pool–conv5×64–pool–fc100 on 32 px colour;
C 3×(conv48–pool)–fc200 on 65 px (kernels 4, 5, 4, as in Cireşan et al. 2012); P3, P4: three and four padded 3×3
convolutions on 32 and 64 px, pooled after the first two. Times are CPU seconds of this process at `--threads`, medians of
`--repeats`. The loop is timed on `--rows` rows of windows, spread over the image, and scaled to all of them (`--whole` runs
it all): it costs the same for every row.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.dense import choose, reading, tiles, window
from convscope.dense.axes import Grid, windows
from convscope.dense.primitives import Conv
from convscope.network import Network

BATCH = 256


def stack(depths: list[int], kernels: list[int], side: int, hidden: int, pad: int = 0, pools: int = 9) -> nn.Sequential:
    """conv–ReLU(–pool) …, a dense layer, ten classes."""
    parts: list[nn.Module] = []
    for k, (before, after, kernel) in enumerate(zip(depths[:-1], depths[1:], kernels, strict=True)):
        parts += [nn.Conv2d(before, after, kernel, padding=pad), nn.ReLU()]
        side += 2 * pad - kernel + 1
        if k < pools:
            parts.append(nn.MaxPool2d(2))
            side //= 2
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(depths[-1] * side * side, hidden), nn.ReLU(), nn.Linear(hidden, 10))


NETS: dict[str, tuple[Callable[[], nn.Sequential], tuple[int, int, int]]] = {
    "A": (lambda: stack([1, 20, 50], [5, 5], 28, 500), (1, 28, 28)),
    "B": (lambda: stack([3, 32, 64], [5, 5], 32, 100), (3, 32, 32)),
    "C": (lambda: stack([1, 48, 48, 48], [4, 5, 4], 65, 200), (1, 65, 65)),
    "P3": (lambda: stack([3, 16, 32, 32], [3, 3, 3], 32, 64, 1, 2), (3, 32, 32)),
    "P4": (lambda: stack([3, 16, 32, 32, 32], [3] * 4, 64, 64, 1, 2), (3, 64, 64)),
}


def timed(work: Callable[[], Any], repeats: int) -> float:
    took: list[float] = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return statistics.median(took)


def loop(module: nn.Module, x: Tensor, rows: list[int], size: int) -> Tensor:
    found: list[Tensor] = []
    count = x.shape[2] - size + 1
    with torch.inference_mode():
        for row in rows:
            strip = x[:, row : row + size].unfold(2, size, 1).permute(2, 0, 1, 3)
            found += [module(strip[a : a + BATCH].contiguous()) for a in range(0, count, BATCH)]
    return torch.cat(found)


def plain(read: reading.Reading, grids: tuple[Grid, Grid], memory: int) -> Callable[[], None]:
    """Convolutions of the same numbers of multiply-accumulates, of the scan's own tile sizes, without dilation."""
    jobs: list[tuple[Tensor, Tensor]] = []
    for rows, columns in tiles.tiles(read, grids, memory):
        part = (Grid(rows[1] - rows[0]), Grid(columns[1] - columns[0]))
        for step in read.steps:
            if step.kind == "window" and isinstance(step.operation, Conv):
                for r in step.facts["out"].axes[0].parts:
                    for c in step.facts["out"].axes[1].parts:
                        high, wide = (g.size(a, p) for g, a, p in zip(part, step.facts["out"].axes, (r, c), strict=True))
                        jobs.append(_job(step.operation.weight, high, wide))
            elif step.kind == "head":
                before = read.states[step.node.all_input_nodes[0]]
                weight = step.facts["weight"].reshape(-1, before.lead[0], before.axes[0].n, before.axes[1].n)
                jobs.append(_job(weight, part[0].count, part[1].count))
            elif step.kind == "row" and step.node.target is torch.ops.aten.linear.default:
                weight = read.constants[step.node.args[1]]
                jobs.append(_job(weight[:, :, None, None], part[0].count, part[1].count))

    def work() -> None:
        with torch.inference_mode():
            for x, weight in jobs:
                F.conv2d(x, weight)

    return work


_MADE: dict[tuple[int, ...], Tensor] = {}


def _job(weight: Tensor, high: int, wide: int) -> tuple[Tensor, Tensor]:
    shape = (1, weight.shape[1], high + weight.shape[2] - 1, wide + weight.shape[3] - 1)
    if shape not in _MADE:
        _MADE[shape] = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    return _MADE[shape], weight.contiguous(memory_format=torch.channels_last)


def measure(name: str, side: int, asked: argparse.Namespace) -> dict[str, Any]:
    make, shape = NETS[name]
    torch.manual_seed(0)
    module = make().eval()
    net = Network.open(module, shape)
    x = torch.randn(shape[0], side, side)
    size = shape[1]
    count = windows(side, size, 1)
    grids = (Grid(count), Grid(count))
    rows = list(range(count)) if asked.whole else [k * (count - 1) // (asked.rows - 1) for k in range(asked.rows)]
    way = choose.choose(net, "auto", grids)
    memory = asked.memory * 10**6

    def scan() -> Tensor:
        found = choose.choose(net, "auto", grids)
        return tiles.run(tiles.Job(found.work), found.reading, x, grids, memory)

    def coarse() -> Tensor:
        own = max(way.reading.strides)
        some = (Grid(windows(side, size, own), own),) * 2
        return tiles.run(tiles.Job(way.work if way.name != "fragments" else choose.choose(net, "dilated", some).work),
                         way.reading, x, some, memory)

    scores = scan()
    naive = timed(lambda: loop(module, x, rows, size), asked.repeats) * count / len(rows)
    ours = timed(scan, asked.repeats)
    bound = timed(plain(way.reading, grids, memory), asked.repeats)
    fully = timed(coarse, asked.repeats)
    picked = [(k * 37 % count, k * 101 % count) for k in range(64)]
    alone = window.at(net, x, picked, grids)
    off = max(float((scores[y, q] - one).abs().max()) for (y, q), one in zip(picked, alone, strict=True))
    macs, loops = tiles.cost(way.reading, grids).macs, tiles.cost_of_loop(way.reading, grids).macs
    return {"net": name, "side": side, "windows": count * count, "way": way.name,
            "tiles": len(tiles.tiles(way.reading, grids, memory)), "loop, s": naive, "scan, s": ours,
            "loop/scan": naive / ours, "MACs ratio": loops / macs, "loop/coarse": naive / fully,
            "scan/plain": ours / bound, "difference": off}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", default=list(NETS))
    parser.add_argument("--sides", type=int, nargs="*", default=[256, 512])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--memory", type=int, default=128)
    parser.add_argument("--whole", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    head: list[str] = []
    for name in asked.nets:
        for side in asked.sides:
            row = measure(name, side, asked)
            if not head:
                head = list(row)
                print("| " + " | ".join(head) + " |\n|" + "---|" * len(head), flush=True)
            cells = [f"{row[k]:.3g}" if isinstance(row[k], float) else str(row[k]) for k in head]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
