"""Programs that torch refuses, each with the fault and the words that its explanation must contain.

Every function raises for real with the torch that runs the tests; what needs a GPU or another version stands as text in
`TEXTS`. `conv1 … fc3` are the layers of `LeNet`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

Case = tuple[str, tuple[str, ...], Callable[[], Any]]


class LeNet(nn.Module):
    """For 32×32 colour images: 16 channels of 5×5 reach fc1."""

    def __init__(self, flatten: bool = True, inputs: int = 400) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(inputs, 120), nn.Linear(120, 84), nn.Linear(84, 10)
        self.flat = flatten

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        if self.flat:
            x = x.flatten(1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class View(nn.Module):
    """Flattens by a size that was written down."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(400, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.view(-1, 400))


class Shortcut(nn.Module):
    """A shortcut whose block has a stride."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Conv2d(4, 4, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


class Branches(nn.Module):
    """Two branches, one without padding, joined along the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.left(x), self.right(x)], 1)


def _loss(criterion: nn.Module, output: Tensor, target: Tensor) -> Tensor:
    return criterion(output, target)


def _twice() -> None:
    loss = (torch.randn(3, requires_grad=True) ** 2).sum()
    loss.backward()
    loss.backward()


def _leaf() -> None:
    weight = torch.randn(3, requires_grad=True)
    weight += 1


def _written_over() -> None:
    made = torch.randn(3, requires_grad=True).sigmoid()
    made += 1
    made.sum().backward()


def _used_up() -> None:
    parameters = nn.Linear(2, 2).parameters()
    list(parameters)
    torch.optim.SGD(parameters, lr=0.1)


def _inference() -> None:
    with torch.inference_mode():
        x = nn.Linear(4, 2)(torch.randn(3, 4))
    (x * nn.Parameter(torch.ones(2))).sum()


def _no_norm() -> None:
    weight: Any = nn.Linear(2, 2).weight
    weight.grad.norm()


def _load(model: nn.Module, **state: Tensor) -> None:
    model.load_state_dict(state)


def _prefixed() -> None:
    nn.Linear(4, 2).load_state_dict({f"module.{k}": v for k, v in nn.Linear(4, 2).state_dict().items()})


def _many(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.long)


CE, R = nn.CrossEntropyLoss, torch.randn
PROVOKED: dict[str, Case] = {
    # sizes between layers
    "images of another size": ("A9", ("'fc1'", "256 = 16×4×4", "400 = 16×5×5", "+self.fc1 = nn.Linear(256, 120)"),
                               lambda: LeNet()(R(2, 3, 28, 28))),
    "no flattening": ("A9", ("'fc1'", "2×16×5×5", "flatten", "+x = x.flatten(1)"),
                      lambda: LeNet(flatten=False)(R(2, 3, 32, 32))),
    "axes exchanged": ("A9", ("exchanged",), lambda: nn.Linear(10, 2)(R(10, 3))),
    "in a Sequential": ("A9", ("'2'", "+nn.Linear(8, 3),  # 2"),
                        lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(16, 3))(R(2, 4))),
    "grey for colour": ("A9", ("'conv1'", "3 channels", "grey", "expand"), lambda: LeNet()(R(2, 1, 32, 32))),
    "colour for grey": ("A9", ("colour", 'convert("L")'), lambda: nn.Conv2d(1, 4, 3)(R(2, 3, 8, 8))),
    "channels last": ("A9", ("channels last", "permute(0, 3, 1, 2)"), lambda: LeNet()(R(2, 32, 31, 3))),
    "no channel axis": ("A9", ("one axis too few", "unsqueeze(1)"), lambda: nn.Conv2d(1, 4, 3)(R(32, 28, 28))),
    "channels between layers": ("A9", ("reads 8 channels and gets 6", "'1'"),
                                lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(8, 4, 3))(R(2, 3, 9, 9))),
    "transposed": ("A9", ("reads 4 channels and gets 3", "nn.ConvTranspose2d(3, 2, 2)"),
                   lambda: nn.ConvTranspose2d(4, 2, 2)(R(2, 3, 5, 5))),
    "five axes": ("A9", ("(B, C, H, W)",), lambda: nn.Conv2d(3, 4, 3)(R(2, 3, 1, 8, 8))),
    "kernel too large": ("A10", ("'conv2'", "5×5 kernel", "3×3"), lambda: LeNet()(R(2, 3, 10, 10))),
    "pooled away": ("A10", ("'1'", "8×1×1"), lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2))(R(1, 3, 3, 3))),
    "padding of pooling": ("A9", ("half",), lambda: nn.MaxPool2d(2, padding=2)(R(1, 3, 4, 4))),
    "written-down view": ("A9", ("[-1, 400]", "256 for each of 3", "reads 400", "x.flatten(1)"), lambda: View()(R(3, 256))),
    "view of a transpose": ("", ("reshape", "permute"), lambda: R(3, 4, 5).transpose(1, 2).view(3, 20)),
    "join": ("A9", ("axis 1", "sizes 8 and 6", "padding"), lambda: Branches()(R(2, 3, 8, 8))),
    "shortcut": ("A9", ("sizes 8 and 4", "shortcut"), lambda: Shortcut()(R(2, 4, 8, 8))),
    "maps and features": ("A9", ("4 and 2 axes",), lambda: torch.cat([R(1, 8, 5, 5), R(1, 8)], 1)),
    "norm of other width": ("A11", ("'1'", "gets 4 channels", "+nn.BatchNorm2d(4)"),
                            lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(8))(R(2, 3, 8, 8))),
    "norm of maps": ("A11", ("BatchNorm2d for maps",), lambda: nn.BatchNorm1d(8)(R(2, 8, 5, 5))),
    "layer norm": ("A9", ("fixed",), lambda: nn.LayerNorm(8)(R(2, 7))),
    "group norm": ("A9", ("other channels",), lambda: nn.GroupNorm(2, 8)(R(2, 6, 4, 4))),
    "groups": ("A9", ("divisor",), lambda: nn.GroupNorm(3, 8)),
    "embedding": ("D6", ("10 rows", "0 … 9"), lambda: nn.Embedding(10, 4)(torch.tensor([10]))),
    "embedding of floats": ("D6", ("FloatTensor",), lambda: nn.Embedding(10, 4)(torch.tensor([1.0]))),
    "LSTM's width": ("A9", ("reads 10", "gets 8", "+input_size=8"), lambda: nn.LSTM(10, 4)(R(5, 3, 8))),
    "LSTM's axes": ("A9", ("4 axes",), lambda: nn.LSTM(10, 4)(R(5, 3, 8, 10))),
    "LSTM's state": ("A9", ("last batch",), lambda: nn.LSTM(10, 4)(R(5, 3, 10), (R(1, 2, 4), R(1, 2, 4)))),
    "LSTM in a Sequential": ("A9", ("tuple", "x, _ ="), lambda: nn.Sequential(nn.LSTM(10, 4), nn.Linear(4, 2))(R(5, 3, 10))),
    "bmm": ("A9", ("transpose",), lambda: torch.bmm(R(2, 3, 4), R(2, 5, 6))),
    "missing axis": ("A9", ("squeeze",), lambda: R(5).argmax(1)),
    "attention": ("A9", ("8 features gets 6",), lambda: nn.MultiheadAttention(8, 2)(R(4, 2, 6), R(4, 2, 6), R(4, 2, 6))),
    # labels and losses
    "labels of 32 bits": ("D6", ("Int", "y.long()"), lambda: _loss(CE(), R(4, 3), torch.zeros(4, dtype=torch.int32))),
    "labels as floats": ("D6", ("Float", "regression"), lambda: _loss(nn.NLLLoss(), R(4, 3), torch.zeros(4))),
    "label too large": ("D6", ("label 10", "K − 1"), lambda: _loss(CE(), R(4, 3), torch.tensor([0, 1, 2, 10]))),
    "label of the unlabelled": ("D6", ("ignore_index=-1",), lambda: _loss(CE(), R(4, 3), torch.tensor([0, 1, 2, -1]))),
    "labels with an axis": ("D6", ("squeeze(1)", "argmax(1)"), lambda: _loss(CE(), R(4, 3), _many(4, 1))),
    "one-hot of integers": ("D6", ("one-hot", ".float()"),
                            lambda: _loss(CE(), R(4, 3), F.one_hot(torch.tensor([0, 1, 2, 1])))),
    "fewer rows": ("O7", ("64 = 2 × 32",), lambda: _loss(CE(), R(32, 3), _many(64))),
    "rows cut by a view": ("A9", ("96 = 3 × 32", "flatten(1)"), lambda: _loss(CE(), R(96, 3), _many(32))),
    "batch squeezed away": ("O7", ("squeeze()",), lambda: _loss(CE(), R(3), _many(4))),
    "mask with a channel": ("D6", ("mask.squeeze(1)",), lambda: _loss(CE(), R(2, 3, 8, 8), _many(2, 1, 8, 8))),
    "smaller maps": ("O7", ("interpolate",), lambda: _loss(CE(), R(2, 3, 8, 8), _many(2, 4, 4))),
    "classes at the end": ("O9", ("2×7", "transpose(1, 2)"), lambda: _loss(CE(), R(2, 7, 3), _many(2, 7))),
    "class weights": ("O7", ("2 class weights",), lambda: _loss(CE(weight=torch.ones(2)), R(4, 3), _many(4))),
    "logits in BCELoss": ("O3", ("BCEWithLogitsLoss",), lambda: _loss(nn.BCELoss(), torch.full((4,), 3.0), torch.ones(4))),
    "targets of 255": ("D6", ("0 and 255",), lambda: _loss(nn.BCELoss(), torch.full((4,), 0.5), torch.full((4,), 255.0))),
    "(N, 1) in BCELoss": ("O8", ("4×1", "4×4", "squeeze(1)"),
                          lambda: _loss(nn.BCELoss(), torch.full((4, 1), 0.5), torch.ones(4))),
    "(N, 1) in BCEWithLogits": ("O8", ("4×1",), lambda: _loss(nn.BCEWithLogitsLoss(), R(4, 1), torch.ones(4))),
    "three outputs, one target": ("O7", ("4×3",), lambda: _loss(nn.BCEWithLogitsLoss(), R(4, 3), torch.ones(4))),
    "Long targets in BCE": ("D6", ("Long", "y.float()"), lambda: _loss(nn.BCEWithLogitsLoss(), R(4), _many(4))),
    "Long targets in BCELoss": ("D6", ("Long",), lambda: _loss(nn.BCELoss(), torch.full((4,), 0.5), _many(4))),
    "true and false": ("D6", ("true or false",),
                       lambda: F.binary_cross_entropy_with_logits(R(4), torch.ones(4) > 0)),
    "MSE of integers": ("D6", ("Long",), lambda: _loss(nn.MSELoss(), _many(4), _many(4))),
    "softmax of integers": ("D6", ("Long",), lambda: F.softmax(_many(3), 0)),
    # gradients and optimisers
    "no graph": ("P7", ("detach()", "frozen"), lambda: R(3).sum().backward()),
    "two backwards": ("P5", ("loss.item()",), _twice),
    "leaf in place": ("P5", ("no_grad",), _leaf),
    "written over": ("P5", ("output of Sigmoid", "inplace"), _written_over),
    "many losses": ("O9", ("mean",), lambda: (R(3, requires_grad=True) * 2).backward()),
    "NumPy in the graph": ("P7", ("detach()",), lambda: R(3, requires_grad=True).numpy()),
    "computed weights": ("P6", ("no parameter",), lambda: torch.optim.SGD([R(3, requires_grad=True) * 2], lr=0.1)),
    "nothing to train": ("P6", ("ModuleList",), _used_up),
    "None has no norm": ("P7", ("no gradient",), _no_norm),
    "inference tensors": ("P7", ("inference_mode",), _inference),
    "batch of one": ("A11", ("drop_last", "eval()"), lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))(R(1, 4))),
    "one position": ("A10", ("pooling",), lambda: nn.InstanceNorm2d(8)(R(2, 8, 1, 1))),
    "negative rate": ("P10", ("-1",), lambda: torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=-1)),
    "no forward": ("", ("forward",), lambda: nn.Module()(R(3))),
    # types
    "doubles": ("", ("'fc'", "NumPy", "float32"), lambda: View()(R(3, 400).double())),
    "bytes": ("D1", ("'conv1'", "/ 255"), lambda: LeNet()(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))),
    "half": ("P12", ("autocast",), lambda: nn.Linear(4, 2)(torch.ones(3, 4).half())),
    "mean of integers": ("", ("float().mean()",), lambda: _many(3).mean().item()),
    "an array": ("", ("as_tensor",), lambda: nn.Linear(4, 2)(np.ones((2, 4), "float32"))),
    "objects": ("D10", ("object array",), lambda: torch.tensor(np.array([1, None], dtype=object))),
    "truth of many": ("", ("nn.MSELoss()(output, y)",), lambda: bool(R(3) > 0)),
    "item of many": ("", ("mean",), lambda: R(3).item()),
    "two devices": ("", ("device",), lambda: R(3, 4) + R(3, 4, device="meta")),
    # weights on disk, data
    "missing names": ("", ("bias", "strict=False"), lambda: _load(nn.Linear(4, 2), weight=R(2, 4))),
    "unexpected names": ("", ("(x)", "not the model's"), lambda: _load(nn.Linear(4, 2), weight=R(2, 4), bias=R(2), x=R(2))),
    "other classes": ("", ("3×4", "2×4", "num_classes"), lambda: _load(nn.Linear(4, 2), weight=R(3, 4), bias=R(3))),
    "saved in parallel": ("", ("module.", "DataParallel", "removeprefix"), _prefixed),
    "images of two sizes": ("D11", ("3×4", "3×5", "Resize"),
                            lambda: next(iter(DataLoader([R(3, 4), R(3, 5)], batch_size=2)))),
    "None in the batch": ("", ("NoneType",), lambda: next(iter(DataLoader([(None, 1)], batch_size=1)))),
    "empty data": ("", ("len(dataset)",), lambda: DataLoader([], batch_size=2, shuffle=True)),
    "ragged rows": ("D10", ("pad",), lambda: torch.tensor([[1, 2], [3]])),
    "memory": ("", ("batch", "loss.item()"), lambda: torch.empty(2**50)),
}  # fmt: skip

# Messages that a CPU cannot be made to give, and wordings of other versions.
TEXTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB": ("", ("batch",)),
    "CUDA error: device-side assert triggered": ("D6", ("CUDA_LAUNCH_BLOCKING", "label")),
    "Loss.cu:245: nll_loss_forward: Assertion `t >= 0 && t < n_classes` failed.": ("D6", ("label",)),
    "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!": ("", ("to(device)",)),
    "Input type (torch.cuda.FloatTensor) and weight type (torch.FloatTensor) should be the same": ("", ("to(device)",)),
    "Input type (torch.FloatTensor) and weight type (torch.cuda.FloatTensor) should be the same or input should be a MKLDNN "
    "tensor and weight is a dense tensor": ("", ("to(device)",)),
    "Input type (torch.ByteTensor) and weight type (torch.FloatTensor) should be the same": ("D1", ("255",)),
    "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory "
    "first.": ("", ("cpu()",)),
    "Torch not compiled with CUDA enabled": ("", ("is_available",)),
    "expected scalar type Long but found Float": ("D6", ("y.long()",)),
    "expected scalar type Float but found Double": ("", ("float32",)),
    "1D target tensor expected, multi-target not supported": ("D6", ("argmax(1)",)),
    "Found dtype Double but expected Float": ("D6", ("float()",)),
    "Using a target size (torch.Size([4])) that is different to the input size (torch.Size([4, 1])). This will "
    "likely lead to "
    "incorrect results due to broadcasting.": ("O8", ("4×4", "mean of the targets")),
    "Arguments `target` and `output` must have the same rank (ndim). Received: target.ndim=1, "
    "output.ndim=2": ("D6", ("one-hot",)),
    "Input 0 of layer \"conv2d\" is incompatible with the layer: expected min_ndim=4, found ndim=3. Full shape "
    "received: (None, 28, 28)":
        ("A9", ("'conv2d'", "channel")),
    "a and b must have same reduction dim, but got [2, 5] X [3, 4].": ("A9", ("nn.Linear(5, 4)",)),
    "You must call `compile()` before using the model.": ("", ("compile",)),
}  # fmt: skip
