"""Your own module, whatever it does inside: functional ReLU, a reused layer, a skip connection."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convscope as cs


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.again = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        x = x + F.relu(self.again(x))
        x = x + F.relu(self.again(x))  # the same weights a second time: a layer of its own, 'again:1'
        return self.last(x.mean((2, 3)))


net = cs.open(Net(), example=(3, 32, 32))
print(net.trace())
values = net.run(torch.rand(4, 3, 32, 32), keep=["again", "again:1", "add:1"])
print({address: tuple(value.shape) for address, value in values.kept.items()})
