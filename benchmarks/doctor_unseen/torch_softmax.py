"""Plain PyTorch programs whose last activation and loss do not fit together."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from benchmarks.doctor_unseen import Setup, case
from benchmarks.doctor_unseen._torch_data import digits, sentences, shapes, standardised, table, tensors
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class LeNetish(nn.Module):
    """Two convolutions and two linear layers, as in the tutorial; `last` is applied to what it answers."""

    def __init__(self, last) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.pool = nn.MaxPool2d(2, 2)
        self.fc1 = nn.Linear(16 * 2 * 2, 32)
        self.fc2 = nn.Linear(32, 10)
        self.last = last

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.view(x.size(0), -1)
        x = F.relu(self.fc1(x))
        return self.last(self.fc2(x))


def digit_images(seed):
    x, y = digits(seed)
    return tensors(x[:, None] / 16, y)


@case("UNSEEN-torch-cnn-functional-softmax", "O2", symptom="weak")
def cnn_functional_softmax(seed: int, mended: bool = False) -> Setup:
    torch.manual_seed(seed)
    net = LeNetish((lambda z: z) if mended else (lambda z: F.softmax(z, dim=1)))
    x, y = digit_images(seed)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    return Setup(net, loader, loss=nn.CrossEntropyLoss(), optimizer=torch.optim.Adam(net.parameters(), lr=1e-3), epochs=12)


@case("UNSEEN-torch-cnn-softmax-sgd", "O2", also=("P2",), symptom="yes", about="the tutorial's optimiser on top")
def cnn_softmax_sgd(seed: int, mended: bool = False) -> Setup:
    torch.manual_seed(seed)
    net = LeNetish((lambda z: z) if mended else nn.Softmax(dim=1))
    x, y = digit_images(seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-2 if mended else 1e-3, momentum=0.9)
    return Setup(net, (x, y), loss=F.cross_entropy, optimizer=optimizer, epochs=12)


@case("UNSEEN-torch-log-softmax-over-batch", "O9", symptom="no")
def log_softmax_over_batch(seed: int, mended: bool = False) -> Setup:
    torch.manual_seed(seed)
    x, y = table("iris", seed)
    net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3), nn.LogSoftmax(dim=1 if mended else 0))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    return Setup(net, tensors(standardised(x), y), loss=nn.NLLLoss(), optimizer=optimizer, batch=16, epochs=30)


@case("UNSEEN-torch-nll-on-logits", "O3", symptom="yes", about="the loss goes to minus infinity")
def nll_on_logits(seed: int, mended: bool = False) -> Setup:
    torch.manual_seed(seed)
    net = LeNetish((lambda z: F.log_softmax(z, 1)) if mended else (lambda z: z))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return Setup(net, digit_images(seed), loss=lambda out, y: F.nll_loss(out, y), optimizer=optimizer, batch=64, epochs=10)


@case("UNSEEN-torch-nll-on-softmax", "O3", also=("O5",), symptom="no", about="probabilities where their logarithms are due")
def nll_on_softmax(seed: int, mended: bool = False) -> Setup:
    torch.manual_seed(seed)
    x, y = sentences(seed)

    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(60, 16)
            self.out = nn.Linear(16, 4)

        def forward(self, tokens):
            scores = self.out(self.emb(tokens).mean(dim=1))
            return torch.log_softmax(scores, -1) if mended else torch.softmax(scores, -1)

    net = Bag()
    return Setup(net, tensors(x, y), loss=nn.NLLLoss(), optimizer=torch.optim.Adam(net.parameters(), lr=0.005), epochs=20)


@case("UNSEEN-torch-bce-without-sigmoid", "O3", symptom="raised")
def bce_without_sigmoid(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = table("breast_cancer", seed)
    net = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))
    data = tensors(standardised(x), y.astype("float32")[:, None])
    return Setup(net, data, loss=nn.BCELoss(), optimizer=torch.optim.Adam(net.parameters()), epochs=15)


@case("UNSEEN-torch-sigmoid-twice", "O2", also=("O10",), symptom="no")
def sigmoid_twice(seed: int, mended: bool = False) -> Setup:
    torch.manual_seed(seed)
    x, y = table("breast_cancer", seed)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer_1 = nn.Linear(30, 64)
            self.layer_2 = nn.Linear(64, 64)
            self.layer_out = nn.Linear(64, 1)
            self.batchnorm1 = nn.BatchNorm1d(64)

        def forward(self, inputs):
            x = self.batchnorm1(torch.relu(self.layer_1(inputs)))
            x = self.layer_out(torch.relu(self.layer_2(x)))
            return (x if mended else torch.sigmoid(x)).squeeze(1)

    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.001)
    data = tensors(standardised(x), y.astype("float32"))
    return Setup(net, data, loss=nn.BCEWithLogitsLoss(), optimizer=optimizer, batch=64, epochs=20)


@case("UNSEEN-torch-single-unit-softmax", "O1", symptom="yes")
def single_unit_softmax(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = table("breast_cancer", seed)
    net = nn.Sequential(nn.Linear(30, 20), nn.Tanh(), nn.Linear(20, 1), nn.Softmax(dim=1))
    data = tensors(standardised(x), y.astype("float32").reshape(-1, 1))
    return Setup(net, data, loss=nn.BCELoss(), optimizer=torch.optim.SGD(net.parameters(), lr=0.1), epochs=30)


@case("UNSEEN-torch-cross-entropy-one-unit", "O7", also=("O1", "O5"), symptom="yes", about="the loss is 0 from the start")
def cross_entropy_one_unit(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = table("breast_cancer", seed)
    net = nn.Sequential(nn.Linear(30, 50), nn.ReLU(), nn.Linear(50, 1))
    data = tensors(standardised(x), y.astype("float32").reshape(-1, 1))
    return Setup(net, data, loss=nn.CrossEntropyLoss(), optimizer=torch.optim.Adam(net.parameters(), lr=1e-3), epochs=10)


@case("UNSEEN-torch-sigmoids-for-digits", "O6", symptom="no", about="one-hot digits, one sigmoid each")
def sigmoids_for_digits(seed: int, mended: bool = False) -> Setup:
    torch.manual_seed(seed)
    x, y = digits(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    images, classes = tensors(x / 16, y)
    onehot = F.one_hot(classes, 10).float()
    loss = nn.CrossEntropyLoss() if mended else nn.BCEWithLogitsLoss()
    return Setup(net, (images, onehot), loss=loss, optimizer=torch.optim.Adam(net.parameters(), lr=2e-3), epochs=15)


@case("UNSEEN-torch-relu-logits", "O10", also=("O4",), symptom="weak", about="ReLU on the logits")
def relu_logits(seed: int, mended: bool = False) -> Setup:
    torch.manual_seed(seed)
    x, y = table("wine", seed)

    class Wine(nn.Module):
        def __init__(self):
            super().__init__()
            self.fcs = nn.ModuleList([nn.Linear(13, 16), nn.Linear(16, 16), nn.Linear(16, 3)])

        def forward(self, x):
            for fc in self.fcs[:-1]:
                x = F.relu(fc(x))
            x = self.fcs[-1](x)
            return x if mended else F.relu(x)

    net = Wine()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    return Setup(net, tensors(standardised(x), y), loss=nn.CrossEntropyLoss(), optimizer=optimizer, batch=16, epochs=40)


@case("UNSEEN-torch-segmentation-softmax-width", "O9", symptom="yes", about="softmax over the columns of the map")
def segmentation_softmax_width(seed: int, mended: bool = False) -> Setup:
    torch.manual_seed(seed)
    x, masks = shapes(seed)

    class Seg(nn.Module):
        def __init__(self):
            super().__init__()
            self.down = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
            self.mid = nn.Sequential(nn.Conv2d(12, 24, 3, padding=1), nn.ReLU())
            self.up = nn.ConvTranspose2d(24, 12, 2, stride=2)
            self.head = nn.Conv2d(12, 3, 1)

        def forward(self, x):
            z = self.head(F.relu(self.up(self.mid(self.down(x)))))
            return torch.log(F.softmax(z, dim=1 if mended else -1) + 1e-8)

    net = Seg()
    return Setup(net, tensors(x, masks), loss=nn.NLLLoss(), optimizer=torch.optim.Adam(net.parameters(), lr=3e-3), epochs=10)
