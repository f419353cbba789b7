"""Receptive fields, parameters and MACs of whole networks, as `trace` says them, against the published tables.

Sources: Araujo, Norris, Sim 2019, "Computing Receptive Fields of Convolutional Neural Networks" (AlexNet v2, VGG, ResNet v1,
Inception v3; stride and size everywhere, start where the padding is the same on both sides); Krizhevsky et al. 2012.
GoogLeNet is not in their table; its field is added up by hand.

Turns red: in `Field.through`, `window.kernel - 1` -> `window.kernel`; in `Conv.parameters_without_sharing`, drop the bias.
"""

from __future__ import annotations

import pytest

import convscope as cs
from convscope.results import Layer

# reference, layer, size, stride, start (None: TensorFlow pads otherwise than PyTorch)
PUBLISHED = [
    ("zoo:alexnet_2012", "conv1", 11, 4, 0),
    ("zoo:alexnet_2012", "pool1", 19, 8, 0),
    ("zoo:alexnet_2012", "conv2", 51, 8, -16),
    ("zoo:alexnet_2012", "conv3", 99, 16, -32),
    ("zoo:alexnet_2012", "conv4", 131, 16, -48),
    ("zoo:alexnet_2012", "conv5", 163, 16, -64),
    ("zoo:alexnet_2012", "pool5", 195, 32, -64),
    ("zoo:vgg16", "features.30", 212, 32, -90),
    ("zoo:resnet50(stride_in_1x1=True)", "layer4.2.relu:2", 483, 32, None),
    ("zoo:inception_v3", "Mixed_7c.concat", 1311, 32, -618),
    # torchvision's layout, 3×3 where the paper has 5×5: 7 s2, pool s2, 3, pool s2, twice, pool, five times, pool s2, twice
    ("zoo:googlenet", "inception5b.concat", 379, 32, None),
]


@pytest.fixture(scope="module")
def traced() -> dict[str, dict[str, Layer]]:
    return {ref: {k.address: k for k in cs.open(ref).layers} for ref in {row[0] for row in PUBLISHED}}


@pytest.mark.parametrize(("reference", "address", "size", "stride", "start"), PUBLISHED)
def test_published_field(
    traced: dict[str, dict[str, Layer]], reference: str, address: str, size: int, stride: int, start: int | None
) -> None:
    fields = traced[reference][address].fields
    assert fields is not None
    for field in fields:
        assert (field.size, field.stride, field.aligned) == (size, stride, True)
        assert start is None or field.start == start


@pytest.mark.parametrize(
    ("reference", "parameters", "giga"),
    [
        ("zoo:vgg16", 138_357_544, "15.470"),
        ("zoo:googlenet", 6_624_904, "1.498"),
        ("zoo:inception_v3", 23_834_568, "5.713"),  # without the heads for training
        ("zoo:resnet50(stride_in_1x1=True)", 25_557_032, "3.858"),
    ],
)
def test_published_counts(traced: dict[str, dict[str, Layer]], reference: str, parameters: int, giga: str) -> None:
    layers = traced[reference].values()
    assert sum(k.parameters for k in layers) == parameters
    assert f"{sum(k.macs for k in layers) / 1e9:.3f}" == giga


def test_first_layer_of_alexnet(traced: dict[str, dict[str, Layer]]) -> None:
    first = traced["zoo:alexnet_2012"]["conv1"]
    assert (first.output_shape, first.parameters, first.unshared) == ((1, 96, 55, 55), 34_944, 105_705_600)
