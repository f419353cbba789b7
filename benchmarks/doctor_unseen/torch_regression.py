"""Plain PyTorch programs with numbers for targets: shapes, ranges and scales that do not fit."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.doctor_unseen import Setup, case
from benchmarks.doctor_unseen._torch_data import digits, houses, made, sines, standardised, table, tensors
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@case("UNSEEN-torch-diabetes-broadcast", "O8", symptom="yes")
def diabetes_broadcast(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = table("diabetes", seed)
    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    y = (y - y.mean()) / y.std()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    return Setup(net, tensors(standardised(x), y), loss=nn.MSELoss(), optimizer=optimizer, batch=32, epochs=20)


class Forecast(nn.Module):
    """An LSTM over (B, T, 1) and a linear layer on its last state."""

    def __init__(self, hidden: int = 24, batch_first: bool = True) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=batch_first)
        self.linear = nn.Linear(hidden, 1)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.linear(out[:, -1, :])


@case("UNSEEN-torch-lstm-broadcast", "O8", symptom="yes", about="own mean squared error, no warning from torch")
def lstm_broadcast(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = sines(seed)
    net = Forecast()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    return Setup(net, tensors(x, y), loss=lambda pred, y: ((pred - y) ** 2).mean(), optimizer=optimizer, epochs=12)


@case(
    "UNSEEN-torch-lstm-batch-first",
    "A9",
    also=("O9",),
    symptom="weak",
    about="batch-first data into an LSTM that reads time first",
)
def lstm_batch_first(seed: int, mended: bool = False) -> Setup:
    torch.manual_seed(seed)
    x, y = sines(seed)
    net = Forecast(batch_first=mended)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    return Setup(net, tensors(x, y[:, None]), loss=nn.MSELoss(), optimizer=optimizer, epochs=12)


@case("UNSEEN-torch-relu-on-standardised-target", "O4", symptom="weak")
def relu_on_standardised_target(seed: int, mended: bool = False) -> Setup:
    torch.manual_seed(seed)
    x, y = houses(seed)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = nn.Linear(6, 64)
            self.predict = nn.Linear(64, 1)

        def forward(self, x):
            x = F.relu(self.hidden(x))
            x = self.predict(x)
            return x if mended else F.relu(x)

    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    return Setup(net, tensors(x, standardised(y[:, None])), loss=nn.MSELoss(), optimizer=optimizer, epochs=25)


@case("UNSEEN-torch-sigmoid-for-raw-target", "O4", also=("D4",), symptom="yes", about="a sigmoid for 25 … 346")
def sigmoid_for_raw_target(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = table("diabetes", seed)
    net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1), nn.Sigmoid())
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return Setup(net, tensors(standardised(x), y[:, None]), loss=nn.MSELoss(), optimizer=optimizer, epochs=20)


@case("UNSEEN-torch-autoencoder-raw", "O4", also=("D1",), symptom="yes", about="a sigmoid that rebuilds pixels 0 … 16")
def autoencoder_raw(seed: int, mended: bool = False) -> Setup:
    torch.manual_seed(seed)
    x, _ = digits(seed)

    class AutoEncoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU(True), nn.Linear(32, 12))
            self.decoder = nn.Sequential(nn.Linear(12, 32), nn.ReLU(True), nn.Linear(32, 64), nn.Sigmoid())

        def forward(self, x):
            return self.decoder(self.encoder(x))

    net = AutoEncoder()
    (images,) = tensors(x.reshape(-1, 64) / (16 if mended else 1))
    loader = DataLoader(TensorDataset(images, images), batch_size=32, shuffle=True)
    return Setup(net, loader, loss=nn.MSELoss(), optimizer=torch.optim.Adam(net.parameters(), lr=2e-3), epochs=15)


@case("UNSEEN-torch-autoencoder-sum", "O9", also=("P1",), symptom="yes", about="the sum of all pixels of a batch, SGD 0.1")
def autoencoder_sum(seed: int, mended: bool = False) -> Setup:
    torch.manual_seed(seed)
    x, _ = digits(seed)
    net = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 64))
    (images,) = tensors(x.reshape(-1, 64) / 16)
    loss = nn.MSELoss(reduction="mean" if mended else "sum")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return Setup(net, (images, images), loss=loss, optimizer=optimizer, batch=64, epochs=12)


@case("UNSEEN-torch-house-prices", "D4", symptom="yes", about="prices in dollars, Adam 1e-3")
def house_prices(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = houses(seed)
    net = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return Setup(net, tensors(x, y[:, None]), loss=nn.MSELoss(), optimizer=optimizer, batch=16, epochs=20)


@case("UNSEEN-torch-three-targets", "D4", symptom="yes", about="three targets, one of them a thousand times the others")
def three_targets(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = made.make_regression(600, 10, n_informative=10, n_targets=3, random_state=seed)
    y = y / y.std(0) * np.array([1.0, 2000.0, 0.5])
    net = nn.Sequential(nn.Linear(10, 50), nn.Tanh(), nn.Linear(50, 3))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    return Setup(
        net, tensors(x.astype("float32"), y.astype("float32")), loss=nn.SmoothL1Loss(), optimizer=optimizer, epochs=20
    )


@case(
    "UNSEEN-torch-poisson-of-rates", "O5", also=("O4", "O3"), symptom="yes", about="the loss takes the output for a log rate"
)
def poisson_of_rates(seed: int, mended: bool = False) -> Setup:
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(800, 5)).astype("float32")
    counts = draw.poisson(np.exp(0.8 * x[:, 0] - 0.5 * x[:, 1] - 0.7)).astype("float32")[:, None]
    net = nn.Sequential(nn.Linear(5, 24), nn.ReLU(), nn.Linear(24, 1), nn.Softplus())
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    return Setup(net, tensors(x, counts), loss=nn.PoissonNLLLoss(log_input=not mended), optimizer=optimizer, epochs=20)


@case(
    "UNSEEN-torch-distilled-kl", "O3", also=("O5",), symptom="weak", about="kl_div of probabilities, not of their logarithms"
)
def distilled_kl(seed: int, mended: bool = False) -> Setup:
    torch.manual_seed(seed)
    x, y = digits(seed)
    images, classes = tensors(x.reshape(-1, 64) / 16, y)
    teacher = F.softmax(3.0 * F.one_hot(classes, 10) + torch.randn(len(y), 10) * 0.5, dim=1)
    student = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10), nn.LogSoftmax(1) if mended else nn.Softmax(1))

    def distil(output, soft):
        return F.kl_div(output, soft, reduction="batchmean")

    return Setup(
        student, (images, teacher), loss=distil, optimizer=torch.optim.Adam(student.parameters(), lr=2e-3), epochs=15
    )


@case(
    "UNSEEN-torch-salary-raw-inputs", "D1", also=("D4",), symptom="yes", about="years, dollars and ratios side by side; SGD"
)
def salary_raw_inputs(seed: int) -> Setup:
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    age, size, rate = draw.uniform(20, 65, 500), draw.uniform(1e3, 1e5, 500), draw.random(500)
    y = (age * 0.8 + size / 2500 + 20 * rate + draw.normal(0, 2, 500)).astype("float32")[:, None]
    x = np.stack([age, size, rate], 1).astype("float32")
    net = nn.Sequential(nn.Linear(3, 20), nn.ReLU(), nn.Linear(20, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    return Setup(net, tensors(x, y), loss=F.mse_loss, optimizer=optimizer, epochs=20)


@case("UNSEEN-torch-diabetes-memorised", "E3", symptom="yes", about="60 patients, 70,000 weights, 200 epochs")
def diabetes_memorised(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = table("diabetes", seed)
    x, y = tensors(standardised(x), standardised(y[:, None]))
    net = nn.Sequential(nn.Linear(10, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return Setup(net, (x[:60], y[:60]), (x[60:], y[60:]), nn.MSELoss(), optimizer, batch=16, epochs=200)
