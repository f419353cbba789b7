"""How many gradients do integrated gradients take? `benchmarks/integrated_gradients.py resnet18 mobilenet_v2 …`

Torchvision's architecture with seeded random weights and batch norm statistics of one batch, a 64×64 image, zeros as the
baseline, the best class. All rules are given the same number of gradients; for each

    completeness    |ΣA − (S(x) − S(x'))| / max(|S(x) − S(x')|, 1 % of the mean |slope|)
    map             ‖A − A*‖/‖A*‖, with A* of the trapezoid rule with `--parts` parts of the way

    gauss–legendre  as `IntegratedGradients(steps=N)` does
    trapezoid       equal parts of the way, both ends included
    fitted          the same, its weights fitted to the difference in score: what `IntegratedGradients()` does
    bisected        parts are halved where the trapezoid rule is most wrong about the difference in score over the part
    bends           as bisected, with the weights of both ends of a part such that its difference in score comes out, where
                    weights of 0 … 1 allow it (right where the score bends once within the part)
"""

from __future__ import annotations

import argparse
import copy
import heapq
import itertools
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.attributions.swapped import architecture

from convscope.attributions import _map
from convscope.attributions.integrated_gradients import gauss_legendre
from convscope.network import Network
from convscope.run import target

Floats = NDArray[np.float64]


class Way:
    """Contributions G·(x − x') and scores at places of the way; at all k/parts they are kept."""

    def __init__(self, name: str, parts: int) -> None:
        model, x, _ = architecture(name)
        self.x = x.float()
        self.net = Network.open(copy.deepcopy(model).float(), self.x, name)
        self.target = target(self.net, None, self.x)
        self.parts = parts
        self.at, self.scores = self.asked(np.linspace(0, 1, parts + 1))
        self.slopes = self.at.astype(np.float64).sum(1)
        self.difference = float(self.scores[-1] - self.scores[0])
        self.scale = max(abs(self.difference), 0.01 * float(np.abs(self.slopes).mean()))
        self.best = self.sum(np.arange(parts + 1), np.full(parts, 0.5))

    def asked(self, places: Floats) -> tuple[NDArray[np.float32], Floats]:
        found: list[NDArray[np.float32]] = []
        scores: list[NDArray[np.float64]] = []
        for part in np.array_split(places, -(-len(places) // 16)):
            slope, score = _map.gradient(self.net, torch.from_numpy(part).float()[:, None, None, None] * self.x, self.target)
            found.append((slope * self.x).flatten(1).numpy())
            scores.append(score.double().numpy())
        return np.concatenate(found), np.concatenate(scores)

    def sum(self, places: NDArray[np.int64], left: Floats) -> Floats:
        """Σ w G·(x − x'): each part weighs its left end with the share `left` of its length, its right end with the rest."""
        length = np.diff(places) / self.parts
        weights = np.zeros(len(places))
        weights[:-1] += length * left
        weights[1:] += length * (1 - left)
        return weights @ self.at[places]

    def bisected(self, count: int) -> NDArray[np.int64]:
        places = list(range(0, self.parts + 1, self.parts // 16))
        queue = [(-self.wrong(a, b), a, b) for a, b in itertools.pairwise(places)]
        heapq.heapify(queue)
        while len(places) < count and queue:
            _, a, b = heapq.heappop(queue)
            if b - a > 1:
                middle = (a + b) // 2
                places.append(middle)
                for part in ((a, middle), (middle, b)):
                    heapq.heappush(queue, (-self.wrong(*part), *part))
        return np.array(sorted(places))

    def wrong(self, a: int, b: int) -> float:
        mean = (self.slopes[a] + self.slopes[b]) / 2
        return float(abs(mean * (b - a) / self.parts - (self.scores[b] - self.scores[a])))

    def bends(self, places: NDArray[np.int64]) -> Floats:
        wanted = np.diff(self.scores[places]) / (np.diff(places) / self.parts)
        before, after = self.slopes[places[:-1]], self.slopes[places[1:]]
        same = before == after
        share = (wanted - after) / np.where(same, 1, before - after)
        return np.where(same, 0.5, share.clip(0, 1))

    def fitted(self, count: int) -> Floats:
        every = np.arange(0, self.parts + 1, self.parts // count)
        weights = np.full(count + 1, 1 / count)
        weights[[0, -1]] /= 2
        slopes = self.slopes[every] - weights @ self.slopes[every]
        strength = (self.difference - weights @ self.slopes[every]) / (weights @ slopes**2)
        strength *= min(1.0, -1 / min(-1e-300, float((strength * slopes).min())))
        return (weights * (1 + strength * slopes)) @ self.at[every]

    def off(self, values: Floats) -> str:
        far = np.linalg.norm(values - self.best) / np.linalg.norm(self.best)
        return f"{abs(values.sum() - self.difference) / self.scale:.1%} / {far:.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=["vgg11_bn", "resnet18", "resnet50", "mobilenet_v2"])
    parser.add_argument("--parts", type=int, default=2048)
    parser.add_argument("--counts", type=int, nargs="*", default=[16, 64, 128, 256, 512])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print("| network | Σ\\|A\\| over difference | gradients | Gauss–Legendre | trapezoid | fitted | bisected | bends |")
    print("|---|---|---|---|---|---|---|---|")
    for name in asked.networks:
        way = Way(name, asked.parts)
        for count in asked.counts:
            places, weights = gauss_legendre(count)
            every, some = np.arange(0, asked.parts + 1, asked.parts // count), way.bisected(count + 1)
            answers = [weights @ way.asked(places)[0], way.sum(every, np.full(count, 0.5)), way.fitted(count),
                       way.sum(some, np.full(len(some) - 1, 0.5)), way.sum(some, way.bends(some))]
            told = " | ".join(way.off(np.asarray(v, np.float64)) for v in answers)
            print(f"| {name} | {np.abs(way.best).sum() / way.scale:.0f} | {count} | {told} |", flush=True)


if __name__ == "__main__":
    main()
