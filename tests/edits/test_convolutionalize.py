"""Fully convolutional copies against the networks that they come from, and against a loop over windows.

Turns red: in `editing/any_size/heads.py`, drop `.permute(0, …)` of `placed`: the weights of a flattened channels-last
map then meet
other places; or in `_pooled`, `stride = 1` → `stride = kernel`.
"""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import convscope as cs
from convscope.editing import NOTHING, Draft
from convscope.edits.convolutionalize import Convolutionalize
from convscope.errors import UsageError
from convscope.network import Network
from tests.nets import NETS
from tests.traces import unchanged


def loop(net: Network, image: Tensor, stride: tuple[int, int]) -> Tensor:
    """(K, h', w'): the scores of all windows, cut out one by one. The slow twin."""
    _, n, m = net.input_shape[1:]
    _, height, width = image.shape[1:]
    places = [(y, x) for y in range(0, height - n + 1, stride[0]) for x in range(0, width - m + 1, stride[1])]
    found = net.run(torch.cat([image[:, :, y : y + n, x : x + m] for y, x in places])).output
    return found.T.reshape(found.shape[1], -1, (width - m) // stride[1] + 1)


class Permuted(nn.Module):
    """As ONNX and Keras write it: channels last before the flatten, sizes as constants."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4 * 5 * 6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.conv(x), 2).permute(0, 2, 3, 1)
        return torch.softmax(self.fc(x.reshape(-1, 120)), -1)


class Shuffled(nn.Module):
    """Two and three groups of channels in another order, by views with constant sizes; then a mean, written in two ways."""

    def __init__(self, groups: tuple[int, ...] = (2, 3)) -> None:
        super().__init__()
        self.conv, self.last, self.fc = nn.Conv2d(3, 12, 3), nn.Conv2d(12, 6, 3, groups=2), nn.Linear(6, 3)
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if len(self.groups) == 1:
            x = x.view(-1, self.groups[0], 12 // self.groups[0], 10, 12).transpose(1, 2).reshape(-1, 12, 10, 12)
        else:
            x = x.view(-1, 2, 3, 2, 10, 12).permute(0, 3, 2, 1, 4, 5).reshape(-1, 12, 10, 12)
        return self.fc(self.last(x).flatten(2).mean(-1))


class Parts(nn.Module):
    """Average and maximum over the map, side by side; a bias of its own; a matrix product in place of a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm1d(7)
        self.weight, self.bias, self.fc = nn.Parameter(torch.randn(8, 7)), nn.Parameter(torch.randn(7)), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu()
        x = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        return torch.log_softmax(self.fc(self.norm((x @ self.weight) * 2 + self.bias)), 1)


class Joined(nn.Module):
    """Two maps of one size, flattened and then joined; one of the dense layers is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 2, 5, 2), nn.Conv2d(3, 4, 5, 2)
        self.fc, self.mid, self.last = nn.Linear(120, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc(torch.cat([self.a(x).flatten(1), self.b(x).flatten(1)], 1)).tanh()
        return self.last(self.mid(self.mid(x).tanh()))


class Excited(nn.Module):
    """Squeeze and excitation: pooled inside, multiplied back."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = x * self.gate(F.adaptive_avg_pool2d(x, 1)).sigmoid()
        return self.fc(x.mean([-1, -2]))


class Gentle(nn.Module):
    """Layer norm and dense layers over the channels of a channels-last map, as in ConvNeXt; layer norm in the head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3), nn.LayerNorm(4), nn.Linear(4, 4)
        self.end, self.last = nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = x + self.fc(self.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return self.last(self.end(x.mean((2, 3))))


CASES = {"permuted": (Permuted, (3, 12, 14), 2), "shuffled": (lambda: Shuffled((3,)), (3, 12, 14), 1),
         "shuffled_thrice": (Shuffled, (3, 12, 14), 1), "parts": (Parts, (3, 13, 11), 2), "joined": (Joined, (3, 13, 11), 2),
         "gentle": (Gentle, (3, 9, 8), 1)}  # fmt: skip


def made(make: type[nn.Module], shape: tuple[int, ...]) -> Network:
    torch.manual_seed(0)
    return cs.open(make().eval(), example=shape)


@pytest.mark.parametrize("name", CASES)
def test_heads_of_all_kinds_equal_the_loop_over_windows(name: str) -> None:
    make, shape, stride = CASES[name]
    net = made(make, shape)
    edited, receipt = cs.edit(net, "convolutionalize")
    assert receipt.before.parameters == receipt.after.parameters
    x, big = torch.randn(2, *shape), torch.randn(1, shape[0], shape[1] + 5, shape[2] + 8)
    torch.testing.assert_close(edited.run(x).output.flatten(1), net.run(x).output, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(edited.run(big).output[0], loop(net, big, (stride, stride)), atol=1e-5, rtol=1e-5)


@settings(max_examples=12, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.data())
def test_random_networks_and_sizes_equal_the_loop(data: st.DataObject) -> None:
    """Chains without padding: equal at the training size and on every window of a larger, non-square image."""
    draw, number = data.draw, st.integers
    torch.manual_seed(draw(number(0, 99)))
    layers, channels, stride, size = [], draw(number(1, 3)), 1, (draw(number(12, 18)), draw(number(12, 18)))
    shape = (channels, *size)
    for _ in range(draw(number(1, 3))):
        kind, k, s = draw(st.sampled_from(["conv", "max", "average"])), draw(number(1, 3)), draw(number(1, 2))
        wide = draw(number(1, 5)) if kind == "conv" else channels
        layers += [nn.Conv2d(channels, wide, k, s), nn.ReLU()] if kind == "conv" else (
            [nn.MaxPool2d(k, s)] if kind == "max" else [nn.AvgPool2d(k, s)])
        channels, stride = wide, stride * s
        size = tuple((n - k) // s + 1 for n in size)
    head = draw(st.sampled_from(["flatten", "pool", "pool2"]))
    if head == "pool2" and all(n % 2 == 0 for n in size):
        layers, size = [*layers, nn.AdaptiveAvgPool2d(2)], tuple(n // 2 for n in size)
        stride = stride * size[0] if size[0] == size[1] else 0
        numbers = 4 * channels
    elif head == "pool":
        layers, numbers = [*layers, nn.AdaptiveMaxPool2d(1) if draw(st.booleans()) else nn.AdaptiveAvgPool2d(1)], channels
    else:
        numbers = channels * math.prod(size)
    net = cs.open(nn.Sequential(*layers, nn.Flatten(), nn.Linear(numbers, 6), nn.BatchNorm1d(6), nn.Dropout(), nn.Tanh(),
                                nn.Linear(6, 4), nn.Softmax(1)).eval(), example=shape)  # fmt: skip
    draft = Draft.of(net)
    Convolutionalize()(draft, NOTHING)
    x = torch.randn(2, *shape)
    torch.testing.assert_close(draft.run(x).flatten(1), net.run(x).output, atol=1e-5, rtol=1e-5)
    if stride:
        big = torch.randn(1, shape[0], shape[1] + draw(number(0, 6)), shape[2] + draw(number(0, 6)))
        wanted = loop(net, big, (stride, stride))
        found = draft.run(big)[0, :, : wanted.shape[1], : wanted.shape[2]]  # more where a window does not read its last rows
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


HEADS = {"squeezenet1_1": ((3, 47, 63), "classifier.2"), "googlenet": ((3, 64, 96), "inception5b.concat"),
         "resnet18": ((3, 64, 96), "layer4.1.relu:1"), "alexnet": ((3, 224, 224), "features.12"),
         "vgg11": ((3, 224, 224), "features.20")}  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in ("squeezenet1_1", "resnet18") else pytest.mark.slow)
                                  for n in HEADS])
def test_of_the_zoo_equal_the_head_on_every_window_of_the_map(name: str) -> None:
    """At the training size: the old answers. On a larger image: the old head, looped over windows of the old last map."""
    shape, last = HEADS[name]
    net = cs.open(f"zoo:{name}", example=shape)
    edited, receipt = cs.edit(net, "convolutionalize")
    x = torch.randn(1, *shape)
    old = net.run(x, keep=[last])
    scale = float(old.output.std())
    torch.testing.assert_close(edited.run(x).output.flatten(1) / scale, old.output / scale, atol=1e-5, rtol=1e-5)
    assert receipt.before.parameters == receipt.after.parameters
    big = torch.randn(1, 3, shape[1] + 64, shape[2] + 32)
    maps, (h, w) = net.run(big, keep=[last])[last], old[last].shape[2:]
    module = net.module
    assert module is not None

    def head(crop: Tensor) -> Tensor:
        if name in ("alexnet", "vgg11"):
            return module.classifier(crop.flatten(1))  # type: ignore[operator]
        mean = crop.mean((2, 3))
        return mean if name == "squeezenet1_1" else module.fc(mean)  # type: ignore[operator]

    with torch.no_grad():
        found = torch.stack([torch.stack([head(maps[:, :, y : y + h,
                                                    x : x + w])[0] for x in range(maps.shape[3] - w + 1)], -1)
                             for y in range(maps.shape[2] - h + 1)], -2)
    assert found.shape[1] > 1
    torch.testing.assert_close(edited.run(big).output[0] / scale, found / scale, atol=1e-5, rtol=1e-5)


def test_a_keras_network_with_its_own_order_of_axes() -> None:
    """Keras 3 on the torch backend: rows, columns, channels; weights are found and stay trainable."""
    if os.environ.setdefault("KERAS_BACKEND", "torch") != "torch":
        pytest.skip("Keras is set to another backend")
    keras = pytest.importorskip("keras")
    torch.manual_seed(0)

    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = keras.layers
            self.net = keras.Sequential([
                keras.Input((12, 10, 3)), layer.Conv2D(4, 3, activation="relu"), layer.MaxPooling2D(2),
                layer.BatchNormalization(), layer.Flatten(), layer.Dense(6, activation="relu"), layer.Dropout(0.3),
                layer.Dense(5, activation="softmax")])

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x.permute(0, 2, 3, 1))

    model = Turned().eval()
    net = cs.open(model, example=(3, 12, 10))
    edited, receipt = cs.edit(net, "convolutionalize")
    big = torch.randn(1, 3, 19, 16)
    torch.testing.assert_close(edited.run(big).output[0], loop(net, big, (2, 2)), atol=1e-5, rtol=1e-5)
    assert edited.module is not None
    assert sum(p.numel() for p in edited.module.parameters() if p.requires_grad) == sum(
        p.numel() for p in model.parameters() if p.requires_grad)
    assert any("Keras" in note for note in receipt.notes)


def test_train_mode_drops_and_normalises_as_before() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 3), flatten=nn.Flatten(), drop=nn.Dropout(0.4),
                                      fc=nn.Linear(64, 6),
                                      norm=nn.BatchNorm1d(6, momentum=0.3), last=nn.Linear(6, 3)))
    x = torch.randn(8, 3, 6, 6)
    with unchanged(model, x):
        edited, _ = cs.edit(cs.open(model, example=x), "convolutionalize")
    trained = edited.module
    assert trained is not None
    model.train()
    trained.train()
    answers = []
    for each in (model, trained):
        torch.manual_seed(1)
        answers.append(each(x).flatten(1))
        answers[-1].square().sum().backward()
    torch.testing.assert_close(answers[0], answers[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.fc.weight.grad, trained.fc.weight.grad.flatten(1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model.norm.running_mean, trained.norm.running_mean)
    assert trained.norm.momentum == 0.3


def test_it_is_kept_and_opened_again_at_another_size(tmp_path: Path) -> None:
    model, x = NETS["plain"]()
    edited, receipt = cs.edit(cs.open(model, example=x), "convolutionalize", out=tmp_path / "fcn")
    again = cs.open(f"{tmp_path / 'fcn' / 'network.py'}:network", example=(3, 32, 24))
    assert again.trace().layers[-1].output_shape[1:] == (5, 5, 3)
    assert torch.equal(again.run(x).output, edited.run(x).output)
    assert receipt.drift["same highest class"] == 1
    assert receipt.drift["largest difference"] < 1e-5
    names = {"torch": torch, "nn": nn, "model": model}
    exec(receipt.code, names)  # the receipt's own lines, on the user's model
    assert torch.equal(model(x), edited.run(x).output)
    assert any(note.startswith("2 layers pad (conv1, conv2)") for note in receipt.notes)


def test_pooling_may_stay() -> None:
    model, x = NETS["residual"]()
    net = cs.open(model, example=x)
    kept, receipt = cs.edit(net, "convolutionalize", pooling="keep")
    assert "head.0: stays the mean over the whole map, whatever its size" in receipt.changes
    big = torch.randn(2, 3, 24, 40)
    torch.testing.assert_close(kept.run(big).output.flatten(1), net.run(big).output, atol=1e-5, rtol=1e-5)


def test_what_reads_the_whole_map_inside_is_said() -> None:
    net = made(Excited, (3, 10, 9))
    edited, receipt = cs.edit(net, "convolutionalize")
    x = torch.randn(2, 3, 10, 9)
    torch.testing.assert_close(edited.run(x).output.flatten(1), net.run(x).output, atol=1e-5, rtol=1e-5)
    assert any(note.startswith("adaptive_avg_pool2d pools the whole map for the layers after it") for note in receipt.notes)
    assert edited.run(torch.randn(1, 3, 20, 12)).output.shape == (1, 3, 11, 4)


class Rest(nn.Module):
    """What no larger map can go through, by name."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv, self.other, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 5), nn.Linear(4 * 36, 3)
        self.norm, self.place, self.mix = nn.LayerNorm((4, 6, 6)), nn.Parameter(torch.randn(1, 4, 6, 6)), nn.Linear(36, 36)
        self.norm1, self.wide = nn.BatchNorm1d(144), nn.Linear(4 * 36 + 4 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        if self.kind == "layer norm":
            y = self.norm(y)
        elif self.kind == "positions":
            y = y + self.place
        elif self.kind == "mixer":
            y = self.mix(y.flatten(2))
        elif self.kind == "attention":
            z = y.flatten(2)
            y = z @ z.transpose(1, 2)
            return y.flatten(1)
        elif self.kind == "two maps":
            return self.wide(torch.cat([y.flatten(1), self.other(x).flatten(1)], 1))
        elif self.kind == "uneven":
            y = F.adaptive_avg_pool2d(y, 4)
            return y.flatten(1)
        elif self.kind == "corner":
            return y[:, :, 0, 0]
        elif self.kind == "batch norm":
            return self.fc(self.norm1(y.flatten(1)))
        elif self.kind == "windows":
            return y.view(-1, 4, 2, 3, 6).sum((2, 3, 4))
        return self.fc(y.flatten(1))


@pytest.mark.parametrize(("kind", "words"), [
    ("layer norm", "norm ties Rest to its image size; it normalises over 4×6×6"),
    ("positions", "it has 1×4×6×6 weights, one for each place of the map 4×6×6"),
    ("mixer", "it weighs the places of 4×6·6 and leaves the channels alone"),
    ("attention", "it weighs 4×6·6 by numbers that come from the image too, as attention does"),
    ("two maps", "it joins flattened maps of 4 channels of 6×6 and 4 channels of 4×4"),
    ("uneven", "it pools 6×6 places to 4×4: the windows are not of one size; pool a map of 8×8"),
    ("corner", "it reads row 0 of 6"),
    ("batch norm", "norm1 ties Rest to its image size; it has 144 weights, one for each place of the map 4·6·6"),
    ("windows", "it cuts the rows of 6 into pieces of 2"),
])
def test_refusals_say_where_and_why(kind: str, words: str) -> None:
    model = Rest(kind).eval()
    net = cs.open(model, example=(3, 8, 8))
    with unchanged(model), pytest.raises(UsageError) as refused:
        cs.edit(net, "convolutionalize")
    assert words in str(refused.value)
    assert refused.value.remedy


def test_nothing_to_do_and_no_image_are_said() -> None:
    with pytest.raises(UsageError, match="nothing that ties it to an image size; no dense layer, no global pooling"):
        cs.edit(cs.open(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), example=(3, 8, 8)), "convolutionalize")
    with pytest.raises(UsageError, match="it reads inputs of 1 axes"):
        cs.edit(cs.open(nn.Sequential(nn.Linear(4, 2), nn.ReLU()), example=(4,)), "convolutionalize")
    with pytest.raises(UsageError, match=r"lstm reads 12×10 as a whole"):
        cs.edit(cs.open(NETS["rows_lstm"]()[0], example=(1, 12, 10)), "convolutionalize")
