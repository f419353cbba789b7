"""The Python file of a network: it says what the network is, and no name in a network can make it say anything else.

Mutations that turn it red: in `writing.py`, `json.dumps(part)` -> `'"' + part + '"'`; `_plain_name(name)` -> `name`.
"""

from __future__ import annotations

import ast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.editing import Draft, writing
from convscope.editing.lifting import place
from convscope.editing.modules import constructor, same_settings
from convscope.errors import ExportError
from convscope.network import Network

HOSTILE = 'a"]; raise SystemExit("ran") #'
STRANGE = "a]; raise SystemExit(1) #"


class Odd(nn.Module):
    """Parts and tensors under names that are no names in Python."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({name: nn.Conv2d(3, 4, 3), "class of 1": nn.ReLU(), "ü-2": nn.Conv2d(4, 4, 1)})
        self.register_buffer("x y", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts.values():
            x = part(x)
        return x * self._buffers["x y"]


def test_names_are_words_and_never_code() -> None:
    model, x = Odd(STRANGE).eval(), torch.randn(2, 3, 6, 6)
    net = Network.open(model, x, '"""\nraise SystemExit("ran")\n"""')
    edited, source = Draft.of(net).finish()
    assert torch.equal(edited.run(x).output, model(x))
    tree = ast.parse(source)
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.Raise)]
    assert "SystemExit" in source  # as text within names
    assert edited.module is not None
    assert set(edited.module.state_dict()) == set(model.state_dict())


@pytest.mark.parametrize("name", [HOSTILE, "a'b", "a\nb", "a\\b", "a.class"])
def test_names_that_torch_would_run_as_code_are_refused(name: str) -> None:
    root = nn.Module()
    with pytest.raises(ExportError, match=r"a part named .* cannot be written out; its name is a word of Python, or holds"):
        place(root, name, nn.ReLU())
    assert not list(root.children())


def test_the_file_reads_like_pytorch() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.pool = nn.Conv2d(3, 4, (3, 5), padding=(1, 2), groups=1), nn.MaxPool2d(3, 2, ceil_mode=True)
            self.gain = nn.Parameter(torch.ones(4, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            x = self.pool(F.relu(self.conv(x)))
            y = x * self.gain + x
            return torch.cat([x, y], 1).flatten(1)

    source = Draft.of(Network.open(Net().eval(), torch.randn(2, 3, 9, 9))).finish()[1]
    forward = [line.strip() for line in source.split("def forward")[1].splitlines()]
    assert "self.conv = nn.Conv2d(3, 4, (3, 5), padding=(1, 2))" in source
    assert "self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)" in source
    assert "self.gain = nn.Parameter(torch.empty(4, 1, 1))" in source
    assert forward[1:8] == ["x = self.conv(x)", "x = F.relu(x)", "x = self.pool(x)", "y = x * self.gain", "y = y + x",
                            "x = torch.cat([x, y], 1)", "x = x.flatten(1)"]


@pytest.mark.parametrize("module", [
    nn.Conv2d(4, 8, 3, 2, 1, 2, 2, bias=False), nn.ConvTranspose2d(4, 8, 3, 2, 1, 1), nn.Linear(3, 4, bias=False),
    nn.BatchNorm2d(4, 1e-3, None), nn.BatchNorm1d(4, affine=False), nn.MaxPool2d((3, 2), (2, 2), (1, 0)),
    nn.AvgPool2d(3, 2, 1, True, False), nn.AdaptiveAvgPool2d((None, 3)), nn.Dropout2d(0.3), nn.LeakyReLU(0.2), nn.PReLU(4),
    nn.ELU(0.5), nn.Hardtanh(-2, 2), nn.Softmax(1), nn.Upsample(scale_factor=2.0, mode="nearest"), nn.LayerNorm([4, 3]),
    nn.GroupNorm(2, 4), nn.LocalResponseNorm(5, 1e-4), nn.Flatten(2), nn.ZeroPad2d((1, 2, 3, 4)), nn.PixelShuffle(2),
    nn.GELU("tanh"), nn.Threshold(0.1, 20.0), nn.Tanh(), nn.InstanceNorm2d(4, affine=True), nn.Conv1d(2, 3, 5),
], ids=lambda m: type(m).__name__)  # fmt: skip
def test_a_constructor_makes_the_same_module(module: nn.Module) -> None:
    text = constructor(module)
    if text is None or not same_settings(module):
        assert isinstance(module, (nn.Upsample, nn.AdaptiveAvgPool2d, nn.Hardtanh))  # such stay calls
        return
    again = eval(text, {"nn": nn})  # noqa: S307 - what the file would run
    assert type(again) is type(module)
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in module.state_dict().items()}


def test_a_module_of_the_users_own_is_not_written_as_torchs() -> None:
    class Conv2d(nn.Conv2d):
        pass

    assert constructor(Conv2d(3, 4, 3)) is None
    assert writing.place("a.0.if") == 'self.a["0"]["if"]'
