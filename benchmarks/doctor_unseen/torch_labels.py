"""Plain PyTorch programs with labels, pairs or splits that are wrong."""

from __future__ import annotations

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.doctor_unseen import Setup, case
from benchmarks.doctor_unseen._torch_data import digits, made, standardised, table, tensors
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


@case("UNSEEN-torch-wine-one-based", "D6", also=("O7",), symptom="raised", about="classes 1, 2, 3 and three units")
def wine_one_based(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = table("wine", seed)
    net = MLP(13, 24, 3)
    return Setup(
        net, tensors(standardised(x), y + 1), loss=nn.CrossEntropyLoss(), optimizer=torch.optim.Adam(net.parameters())
    )


@case("UNSEEN-torch-integer-one-hot", "D6", symptom="raised", about="one-hot classes as integers into cross-entropy")
def integer_one_hot(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = digits(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    images, classes = tensors(x / 16, y)
    data = TensorDataset(images, F.one_hot(classes, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    return Setup(net, DataLoader(data, 64, shuffle=True), loss=nn.CrossEntropyLoss(), optimizer=optimizer)


@case("UNSEEN-torch-too-few-units", "O7", symptom="raised", about="range(9) is ten classes")
def too_few_units(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = digits(seed)
    net = nn.Sequential(nn.Conv1d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 9))
    optimizer = torch.optim.Adam(net.parameters())
    return Setup(net, tensors(x / 16, y), loss=nn.CrossEntropyLoss(), optimizer=optimizer)


@case("UNSEEN-torch-moons-minus-one", "D6", symptom="yes", about="labels -1 and 1 into binary cross-entropy")
def moons_minus_one(seed: int, mended: bool = False) -> Setup:
    torch.manual_seed(seed)
    x, y = made.make_moons(500, noise=0.15, random_state=seed)
    net = MLP(2, 32, 32, 1)
    labels = (y if mended else y * 2 - 1).astype("float32")[:, None]
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    return Setup(net, tensors(x.astype("float32"), labels), loss=nn.BCEWithLogitsLoss(), optimizer=optimizer, epochs=20)


@case("UNSEEN-torch-csv-all-divided", "D5", symptom="yes", about="the whole table, labels included, divided by 16")
def csv_all_divided(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = digits(seed)
    frame = np.concatenate([x.reshape(len(x), 64), y[:, None]], 1).astype("float32")
    frame[:900] /= 16.0

    class Rows(Dataset):
        def __init__(self, rows):
            self.rows = torch.from_numpy(rows)

        def __len__(self):
            return len(self.rows)

        def __getitem__(self, i):
            return self.rows[i, :-1], self.rows[i, -1].long()

    frame[900:, :-1] /= 16.0
    net = MLP(64, 40, 10)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return Setup(net, DataLoader(Rows(frame[:900]), 32, shuffle=True), DataLoader(Rows(frame[900:]), 100),
                 nn.CrossEntropyLoss(), optimizer, epochs=10)  # fmt: skip


@case("UNSEEN-torch-shuffled-apart", "D7", symptom="yes", about="images and labels permuted each on its own")
def shuffled_apart(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = digits(seed, 900)
    x = x[np.random.default_rng(seed + 1).permutation(len(x))]
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(72, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return Setup(net, tensors(x[:, None] / 16, y), loss=nn.CrossEntropyLoss(), optimizer=optimizer, epochs=12)


@case("UNSEEN-torch-windows-off-by-many", "D7", symptom="yes", about="targets rolled along the examples")
def targets_rolled(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = table("diabetes", seed)
    y = np.roll(standardised(y[:, None]), 7, axis=0)
    net = MLP(10, 32, 16, 1)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-4)
    return Setup(net, tensors(standardised(x), y), loss=nn.MSELoss(), optimizer=optimizer, epochs=20)


@case("UNSEEN-torch-fraud", "D8", symptom="yes", about="3 % positive, plain loss")
def fraud(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = made.make_classification(1500, 20, n_informative=4, weights=[0.97], class_sep=0.7, flip_y=0.0, random_state=seed)
    net = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    data = tensors(standardised(x), y.astype("int64"))
    return Setup(net, data, loss=nn.CrossEntropyLoss(), optimizer=optimizer, batch=128, epochs=10)


@case("UNSEEN-torch-sorted-classes", "D9", symptom="yes", about="a folder per class, loader without shuffle, tail held out")
def sorted_classes(seed: int, mended: bool = False) -> Setup:
    torch.manual_seed(seed)
    x, y = digits(seed)
    if not mended:
        order = np.argsort(y, kind="stable")
        x, y = x[order], y[order]
    images, classes = tensors(x.reshape(-1, 64) / 16, y)
    net = MLP(64, 32, 10)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    return Setup(net, DataLoader(TensorDataset(images[:960], classes[:960]), 32), (images[960:], classes[960:]),
                 nn.CrossEntropyLoss(), optimizer, epochs=10, shuffle=False)  # fmt: skip


@case("UNSEEN-torch-oversampled-then-split", "D13", symptom="no", about="copies of the rare class on both sides")
def oversampled_then_split(seed: int) -> Setup:
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    x, y = made.make_classification(600, 12, n_informative=6, weights=[0.85], random_state=seed)
    rare = np.flatnonzero(y == 1)
    rows = draw.permutation(np.concatenate([np.arange(len(y)), draw.choice(rare, 400)]))
    x, labels = tensors(standardised(x)[rows], y[rows].astype("float32")[:, None])
    net = MLP(12, 64, 1)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    return Setup(net, (x[:700], labels[:700]), (x[700:], labels[700:]), nn.BCEWithLogitsLoss(), optimizer, epochs=20)


@case("UNSEEN-torch-tags-cross-entropy", "O5", symptom="weak", about="several tags at once into cross-entropy")
def tags_cross_entropy(seed: int, mended: bool = False) -> Setup:
    torch.manual_seed(seed)
    x, y = made.make_multilabel_classification(600, 20, n_classes=6, n_labels=2, random_state=seed)
    net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 6))

    def exact(outputs, targets):
        return float((torch.as_tensor(outputs).gt(0) == torch.as_tensor(targets).bool()).float().mean())

    loss = nn.BCEWithLogitsLoss() if mended else nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    data = tensors(standardised(x), y.astype("float32"))
    return Setup(net, data, loss=loss, optimizer=optimizer, epochs=25, metric=exact)


@case("UNSEEN-torch-digit-as-number", "O5", also=("O7",), symptom="yes", about="the class as a number, squared error")
def digit_as_number(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = digits(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    def accuracy(outputs, targets):
        return float((torch.as_tensor(outputs).round() == torch.as_tensor(targets)).float().mean())

    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    data = tensors(x / 16, y.astype("float32")[:, None])
    return Setup(net, data, loss=nn.MSELoss(), optimizer=optimizer, epochs=15, metric=accuracy)


@case("UNSEEN-torch-softmax-mse", "O5", symptom="no", about="one-hot classes and squared error behind a softmax")
def softmax_mse(seed: int, mended: bool = False) -> Setup:
    torch.manual_seed(seed)
    x, y = table("iris", seed)
    body = [nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 3)]
    net = nn.Sequential(*body) if mended else nn.Sequential(*body, nn.Softmax(dim=-1))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    data = tensors(standardised(x), np.eye(3, dtype="float32")[y])
    return Setup(net, data, loss=nn.CrossEntropyLoss() if mended else nn.MSELoss(), optimizer=optimizer, batch=10, epochs=25)


class Siamese(nn.Module):
    """The distance of the two halves of (N, 2, 64) in an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 8))

    def forward(self, pairs):
        one, two = self.encoder(pairs[:, 0]), self.encoder(pairs[:, 1])
        return F.pairwise_distance(one, two)


def contrastive(distance, apart):
    """Hadsell 2006: `apart` is 1 for a pair of different classes."""
    near = (1 - apart) * distance.pow(2)
    far = apart * torch.clamp(1.0 - distance, min=0).pow(2)
    return (near + far).mean()


def digit_pairs(seed):
    x, y = digits(seed)
    draw = np.random.default_rng(seed)
    one, two = draw.integers(0, len(x), (2, 4000))
    one, two = one[(keep := (y[one] == y[two]) | (draw.random(4000) < 0.12))], two[keep]
    return np.stack([x[one], x[two]], 1).reshape(-1, 2, 64) / 16, (y[one] == y[two]).astype("float32")


@case("UNSEEN-torch-contrastive-inverted", "D6", symptom="yes", about="1 is same for the data, different for the loss")
def contrastive_inverted(seed: int, mended: bool = False) -> Setup:
    torch.manual_seed(seed)
    pairs, same = digit_pairs(seed)
    net = Siamese()

    def verification(distance, label):
        near = torch.as_tensor(distance) < 0.5
        return float((near == torch.as_tensor(label).bool()).float().mean())

    labels = 1 - same if mended else same
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return Setup(net, tensors(pairs, labels), loss=contrastive, optimizer=optimizer, epochs=20, metric=verification)
