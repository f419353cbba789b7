"""Plain PyTorch programs whose network, start or hyper-parameters are wrong."""

from __future__ import annotations

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.doctor_unseen import Setup, case
from benchmarks.doctor_unseen._torch_data import digits, houses, made, sentences, standardised, table, tensors
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@case("UNSEEN-torch-wine-raw-sgd", "D1", symptom="yes", about="proline near 1000 beside hue near 1")
def wine_raw_sgd(seed: int) -> Setup:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(13, 32), nn.Sigmoid(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    return Setup(net, tensors(*table("wine", seed)), loss=nn.CrossEntropyLoss(), optimizer=optimizer, batch=16, epochs=40)


@case("UNSEEN-torch-divided-twice", "D3", symptom="yes", about="ToTensor has divided already")
def divided_twice(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = digits(seed)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    return Setup(net, tensors(x[:, None] / 16 / 255, y), loss=nn.CrossEntropyLoss(), optimizer=optimizer, epochs=15)


@case("UNSEEN-torch-missing-lab-values", "D10", symptom="yes", about="a few patients with NaN")
def missing_lab_values(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = table("breast_cancer", seed)
    x = standardised(x)
    x[np.random.default_rng(seed).integers(0, len(x), 6), 7] = np.nan
    net = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    data = tensors(x, y.astype("float32")[:, None])
    return Setup(net, data, loss=nn.BCEWithLogitsLoss(), optimizer=optimizer, epochs=15)


@case("UNSEEN-torch-scaler-on-train-only", "D11", symptom="yes", about="the test set was never scaled")
def scaler_on_train_only(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = table("breast_cancer", seed)
    mean, deviation = x[:400].mean(0), x[:400].std(0)
    train = tensors((x[:400] - mean) / deviation, y[:400])
    net = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(*train), batch_size=20, shuffle=True)
    return Setup(net, loader, tensors(x[400:], y[400:]), nn.CrossEntropyLoss(), optimizer, epochs=15)


@case("UNSEEN-torch-circles-linear", "A1", symptom="yes", about="three linear layers, nothing between")
def circles_linear(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = made.make_circles(400, noise=0.05, factor=0.5, random_state=seed)

    class Circles(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer_1 = nn.Linear(2, 10)
            self.layer_2 = nn.Linear(10, 10)
            self.layer_3 = nn.Linear(10, 1)

        def forward(self, x):
            return self.layer_3(self.layer_2(self.layer_1(x))).squeeze()

    net = Circles()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    data = tensors(x.astype("float32"), y.astype("float32"))
    return Setup(net, data, loss=nn.BCEWithLogitsLoss(), optimizer=optimizer, epochs=30)


@case("UNSEEN-torch-deep-sigmoid", "A4", also=("A3",), symptom="yes", about="nine hidden sigmoid layers")
def deep_sigmoid(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = digits(seed)
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(64, 32)]
    for _ in range(8):
        layers += [nn.Sigmoid(), nn.Linear(32, 32)]
    net = nn.Sequential(*layers, nn.Sigmoid(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    return Setup(net, tensors(x / 16, y), loss=nn.CrossEntropyLoss(), optimizer=optimizer, epochs=15)


@case("UNSEEN-torch-all-weights-alike", "A7", symptom="yes", about="every weight set to the same constant by apply")
def all_weights_alike(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = digits(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 10))

    def init_weights(m):
        if isinstance(m, nn.Linear):
            nn.init.constant_(m.weight, 0.05)
            m.bias.data.fill_(0.01)

    net.apply(init_weights)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return Setup(net, tensors(x / 16, y), loss=nn.CrossEntropyLoss(), optimizer=optimizer, epochs=15)


@case("UNSEEN-torch-normal-init", "A8", symptom="yes", about="torch.randn weights, four layers")
def normal_init(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = houses(seed)

    class Raw(nn.Module):
        def __init__(self):
            super().__init__()
            sizes = [6, 64, 64, 64, 1]
            self.w = nn.ParameterList([nn.Parameter(torch.randn(a, b)) for a, b in itertools.pairwise(sizes)])
            self.b = nn.ParameterList([nn.Parameter(torch.zeros(b)) for b in sizes[1:]])

        def forward(self, x):
            for i, (w, b) in enumerate(zip(self.w, self.b, strict=True)):
                x = x @ w + b
                if i < 3:
                    x = x.clamp(min=0)
            return x

    net = Raw()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return Setup(net, tensors(x, standardised(y[:, None])), loss=nn.MSELoss(), optimizer=optimizer, epochs=15)


@case("UNSEEN-torch-dropout-ninety", "A12", symptom="yes", about="keep probability taken for drop probability")
def dropout_ninety(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = sentences(seed)

    class TextCNN(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(60, 24)
            self.conv = nn.Conv1d(24, 32, 3, padding=1)
            self.drop = nn.Dropout(0.95)
            self.fc = nn.Linear(32, 4)

        def forward(self, tokens):
            e = self.drop(self.embed(tokens)).permute(0, 2, 1)
            z = self.drop(F.relu(self.conv(e)).max(dim=2)[0])
            return self.fc(z)

    net = TextCNN()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return Setup(net, tensors(x, y), loss=nn.CrossEntropyLoss(), optimizer=optimizer, epochs=12)


@case("UNSEEN-torch-frozen-head", "P6", symptom="yes", about="the optimiser was made before the new head")
def frozen_head(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = digits(seed)
    net = nn.Sequential()
    net.add_module("features", nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()))
    net.add_module("fc", nn.Linear(72, 100))
    for parameter in net[0].parameters():
        parameter.requires_grad = False
    optimizer = torch.optim.Adam(filter(lambda p: p.requires_grad, net.parameters()), lr=1e-3)
    net.fc = nn.Linear(72, 10)
    return Setup(net, tensors(x[:, None] / 16, y), loss=nn.CrossEntropyLoss(), optimizer=optimizer, epochs=8)


@case("UNSEEN-torch-detached-encoder", "P7", symptom="weak", about="the code goes through detach and torch.tensor")
def detached_encoder(seed: int, mended: bool = False) -> Setup:
    torch.manual_seed(seed)
    x, y = table("wine", seed)

    class TwoStage(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 2), nn.Tanh())
            self.classifier = nn.Linear(2, 3)

        def forward(self, x):
            code = self.encoder(x)
            return self.classifier(code if mended else code.detach())

    net = TwoStage()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    return Setup(net, tensors(standardised(x), y), loss=nn.CrossEntropyLoss(), optimizer=optimizer, batch=16, epochs=30)


@case("UNSEEN-torch-adam-rate-one", "P1", symptom="yes")
def adam_rate_one(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = digits(seed)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=1.0)
    return Setup(net, tensors(x[:, None] / 16, y), loss=nn.CrossEntropyLoss(), optimizer=optimizer, batch=64, epochs=10)


@case("UNSEEN-torch-rate-millionth", "P2", symptom="yes")
def rate_millionth(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = sentences(seed)

    class GRUNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(60, 16)
            self.gru = nn.GRU(16, 24, batch_first=True)
            self.fc = nn.Linear(24, 4)

        def forward(self, tokens):
            _, h = self.gru(self.emb(tokens))
            return self.fc(h[-1])

    net = GRUNet()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-6)
    return Setup(net, tensors(x, y), loss=nn.CrossEntropyLoss(), optimizer=optimizer, epochs=10)


@case("UNSEEN-torch-decay-one", "P8", symptom="yes", about="weight decay 1 where 1e-4 was meant")
def decay_one(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = houses(seed)
    net = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1.0)
    return Setup(net, tensors(x, standardised(y[:, None])), loss=nn.MSELoss(), optimizer=optimizer, epochs=20)


@case(
    "UNSEEN-torch-two-faults-softmax-raw", "O2", also=("D1", "P1"), symptom="yes", about="raw wine, softmax twice, rate 0.5"
)
def softmax_raw_and_rate(seed: int) -> Setup:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3), nn.Softmax(dim=1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    return Setup(net, tensors(*table("wine", seed)), loss=nn.CrossEntropyLoss(), optimizer=optimizer, batch=16, epochs=30)
