"""Tiny training loops, healthy and with one fault each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convscope as cs
from convscope.results import Run


class Net(nn.Module):
    """Functional ReLU, dropout and batch norm; `cut` is a fault between two layers."""

    def __init__(self, cut: str = "") -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.fc1, self.fc2 = nn.Linear(144, 16), nn.Linear(16, 10)
        self.drop, self.cut = nn.Dropout(0.2), cut

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv(x))).flatten(1)
        x = F.relu(self.fc1(x))
        if self.cut == "detach":
            x = x.detach()
        elif self.cut == "data":
            x = x.data
        elif self.cut == "numpy":
            x = torch.from_numpy(np.asarray(x.tolist(), np.float32))
        return self.fc2(self.drop(x))


@dataclass
class Loop:
    """One program; each field is a place where a fault can sit."""

    steps: int = 12
    per_epoch: int = 4
    model: Callable[[], nn.Module] = Net
    settings: dict[str, Any] = field(default_factory=lambda: {"full": True})
    optimizer: Callable[[nn.Module], Any] = lambda model: torch.optim.SGD(model.parameters(), lr=0.05)
    scheduler: Callable[[Any], Any] | None = None
    order: str = "zero forward backward step"
    clip: float | None = None
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
    grad: bool = True
    mode: bool = True
    validate: str = "eval no_grad"
    axis: int = 1
    dtype: torch.dtype = torch.float32
    seen: Callable[[int], None] = lambda k: None

    def begin(self) -> tuple[nn.Module, Any]:
        torch.manual_seed(1)
        self.net = self.model().to(self.dtype)
        self.opt = self.optimizer(self.net)
        return self.net, self.opt

    def watched(self) -> Run:
        with cs.watch(*self.begin(), **self.settings) as run:
            self.go()
        return run.result()

    def go(self) -> None:
        x, y = torch.randn(8, 1, 8, 8, dtype=self.dtype), torch.arange(8)
        scheduler, loss = self.scheduler(self.opt) if self.scheduler else None, torch.zeros(())
        for k in range(self.steps):
            self.net.train(self.mode)
            for act in self.order.split():
                if act == "zero":
                    self.opt.zero_grad()
                elif act == "forward":
                    with torch.set_grad_enabled(self.grad):
                        loss = self.loss(self.net(x), y)
                elif act == "backward":
                    (loss if self.grad else loss.requires_grad_(True)).backward()
                    if self.clip is not None:
                        nn.utils.clip_grad_norm_(self.net.parameters(), self.clip)
                else:
                    self.opt.step()
            if scheduler is not None:
                scheduler.step()
            if (k + 1) % self.per_epoch == 0 and k + 1 < self.steps:
                self.net.train("eval" not in self.validate and self.mode)
                with torch.set_grad_enabled("no_grad" not in self.validate):
                    for _ in range(3):
                        self.net(x).argmax(self.axis)
            self.seen(k)


def bits(loop: Loop) -> list[Tensor]:
    """Everything that training changes: weights, statistics, gradients, the optimiser's state, the random generator."""
    state = [v for s in loop.opt.state.values() for v in s.values() if isinstance(v, Tensor)]
    grads = [torch.zeros(()) if p.grad is None else p.grad for p in loop.net.parameters()]
    return [*loop.net.state_dict().values(), *grads, *state, torch.get_rng_state()]
