"""What others printed about the architectures of the zoo, as literals: (parameters, multiply-adds in 10⁹ as printed).

Source where no other stands beside it: metadata of torchvision 0.28's published weights ("num_params", "_ops"; BSD-3).
Multiply-adds are those of convolutions and linear layers, for one image of the size in the zoo's INPUTS.
"""

from __future__ import annotations

from typing import Any

TORCHVISION: dict[str, tuple[int, str]] = {
    "alexnet": (61_100_840, "0.714"),
    "vgg11": (132_863_336, "7.609"),
    "vgg11_bn": (132_868_840, "7.609"),
    "vgg13": (133_047_848, "11.308"),
    "vgg13_bn": (133_053_736, "11.308"),
    "vgg16": (138_357_544, "15.470"),
    "vgg16_bn": (138_365_992, "15.470"),
    "vgg19": (143_667_240, "19.632"),
    "vgg19_bn": (143_678_248, "19.632"),
    "resnet18": (11_689_512, "1.814"),
    "resnet34": (21_797_672, "3.664"),
    "resnet50": (25_557_032, "4.089"),
    "resnet101": (44_549_160, "7.801"),
    "resnet152": (60_192_808, "11.514"),
    "googlenet": (6_624_904, "1.498"),  # printed without the two heads for training
    "squeezenet1_0": (1_248_424, "0.819"),
    "squeezenet1_1": (1_235_496, "0.349"),
    "densenet121": (7_978_856, "2.834"),
    "mobilenet_v2": (3_504_872, "0.301"),
}

# The same with arguments, and where else it is printed. Parameters as printed: "267K" is 266,500 to 267,499.
WITH_ARGUMENTS: list[tuple[str, dict[str, Any], str, str]] = [
    ("inception_v3", {"aux_logits": True}, "27161264", "5.713"),  # torchvision counts the head's parameters, not its work
    ("alexnet_2012", {}, "61M", "0.724"),  # Sze et al. 2017, "Efficient processing of deep neural networks", table II
    ("mlp", {}, "267K", ""),  # Han et al. 2015, "Learning both weights and connections", table 1, LeNet-300-100
    ("resnet101", {"stride_in_1x1": True}, "", "7.6"),  # He et al. 2016, "Deep residual learning", table 1
    ("resnet152", {"stride_in_1x1": True}, "", "11.3"),
    ("plain34", {}, "", "3.6"),  # He et al. 2016, section 3.3
    ("mobilenet_v2", {"width_mult": 1.4}, "6.1M", "0.582"),  # TensorFlow models, table of MobileNet v2: 6.06 M, 582 M
]

# He et al. 2016 print 3.8 for 50 layers where the sum is 3.858: cut, not rounded. Kept as a number of its own.
RESNET50_2015 = 3_857_973_248

# Araujo, Norris and Sim 2019, "Computing receptive fields of convolutional neural networks": ResNet v1, in pixels.
RECEPTIVE_FIELDS = {"resnet50": 483, "resnet101": 1027, "resnet152": 1507}
