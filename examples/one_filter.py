"""Two convolutional and two dense layers, one filter each: small enough to follow every size, forward and backward.

    convscope trace examples/one_filter.py:one_filter --input 1x28x28 --backward
"""

from collections import OrderedDict

from torch import nn

import convscope as cs


def one_filter(hidden: int = 120, classes: int = 10) -> nn.Module:
    """28×28 -> 24×24 -> 20×20 -> 400 -> hidden -> classes; 5×5 kernels, no pooling."""
    return nn.Sequential(OrderedDict([
        ("conv1", nn.Conv2d(1, 1, 5)), ("relu1", nn.ReLU()),
        ("conv2", nn.Conv2d(1, 1, 5)), ("relu2", nn.ReLU()),
        ("flatten", nn.Flatten()),
        ("dense1", nn.Linear(20 * 20, hidden)), ("relu3", nn.ReLU()),
        ("dense2", nn.Linear(hidden, classes)),
    ]))


if __name__ == "__main__":
    print(cs.open(one_filter(), example=(1, 28, 28)).trace(backward=True))
