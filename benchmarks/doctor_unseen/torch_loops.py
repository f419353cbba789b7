"""Plain PyTorch programs with a fault in their own training loop."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from benchmarks.doctor_unseen import Setup, case
from benchmarks.doctor_unseen._torch_data import digits, sentences, shapes, sines, standardised, table, tensors
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@case("UNSEEN-torch-loop-no-zero-grad", "P4", symptom="yes")
def loop_no_zero_grad(seed: int) -> Setup:
    torch.manual_seed(seed)
    data = tensors(*sines(seed))
    rnn, head = nn.RNN(1, 20, batch_first=True), nn.Linear(20, 1)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = rnn, head

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1]).squeeze(-1)

    net, criterion = Net(), nn.MSELoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    loader = DataLoader(TensorDataset(*data), batch_size=20, shuffle=True)

    def train():
        for _ in range(10):
            for x, y in loader:
                out = net(x)
                loss = criterion(out, y)
                loss.backward()
                optimizer.step()

    return Setup(net, loader, loss=criterion, optimizer=optimizer, loop=train)


@case("UNSEEN-torch-loop-zero-grad-after-backward", "P5", symptom="yes", about="zero_grad between backward and step")
def loop_zero_grad_after_backward(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = digits(seed)
    data = tensors(x.reshape(-1, 64) / 16, y)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(*data), 32, shuffle=True)

    def fit(epochs=6):
        running = 0.0
        for _ in range(epochs):
            for xb, yb in loader:
                loss = F.cross_entropy(model(xb), yb)
                loss.backward()
                opt.zero_grad()
                opt.step()
                running += loss.item()

    return Setup(model, loader, loss=F.cross_entropy, optimizer=opt, loop=fit)


@case("UNSEEN-torch-loop-eval-mode", "E1", symptom="no", about="eval() after the first epoch, never train() again")
def loop_eval_mode(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = digits(seed)
    images, classes = tensors(x[:, None] / 16, y)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(288, 10))
    criterion, optimizer = nn.CrossEntropyLoss(), torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    loader = DataLoader(TensorDataset(images[:900], classes[:900]), 32, shuffle=True)
    held_out = images[900:], classes[900:]

    def main():
        net.train()
        for _ in range(8):
            for x, y in loader:
                optimizer.zero_grad()
                criterion(net(x), y).backward()
                optimizer.step()
            net.eval()
            with torch.no_grad():
                (net(held_out[0]).argmax(1) == held_out[1]).float().mean().item()

    return Setup(net, loader, held_out, criterion, optimizer, loop=main)


@case("UNSEEN-torch-loop-scheduler-in-batch", "P9", symptom="yes", about="StepLR(2, 0.1) stepped once a batch")
def loop_scheduler_in_batch(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = sentences(seed)
    net = nn.Sequential(nn.Embedding(60, 16), nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)
    loader = DataLoader(TensorDataset(*tensors(x, y)), 32, shuffle=True)
    criterion = nn.CrossEntropyLoss()

    def train():
        net.train()
        for _ in range(10):
            for tokens, label in loader:
                optimizer.zero_grad()
                loss = criterion(net(tokens), label)
                loss.backward()
                optimizer.step()
                scheduler.step()

    return Setup(net, loader, loss=criterion, optimizer=optimizer, loop=train)


@case("UNSEEN-torch-loop-dice-negated", "P3", symptom="yes", about="1 - dice was meant; the loss is dice itself")
def loop_dice_negated(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, masks = shapes(seed)
    data = tensors(x, (masks > 0).astype("float32")[:, None])
    net = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 1, 3, padding=1), nn.Sigmoid())

    def dice(pred, mask):
        overlap = (pred * mask).sum(dim=(1, 2, 3))
        return ((2 * overlap + 1) / (pred.sum(dim=(1, 2, 3)) + mask.sum(dim=(1, 2, 3)) + 1)).mean()

    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)

    def train():
        for _ in range(8):
            for i in range(0, len(data[0]), 32):
                x, y = data[0][i : i + 32], data[1][i : i + 32]
                optimizer.zero_grad()
                loss = dice(net(x), y)
                loss.backward()
                optimizer.step()

    return Setup(net, data, loss=dice, optimizer=optimizer, loop=train)


@case(
    "UNSEEN-torch-loop-rewrapped-loss",
    "P7",
    symptom="yes",
    about="the loss is wrapped in a new tensor that requires a gradient",
)
def loop_rewrapped_loss(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = table("diabetes", seed)
    data = tensors(standardised(x), standardised(y[:, None]))
    net = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)

    def loss_fn(pred, y):
        return torch.tensor(F.mse_loss(pred, y).item(), requires_grad=True)

    def train():
        for _ in range(20):
            for x, y in DataLoader(TensorDataset(*data), 32, shuffle=True):
                optimizer.zero_grad()
                loss = loss_fn(net(x), y)
                loss.backward()
                optimizer.step()

    return Setup(net, data, loss=loss_fn, optimizer=optimizer, loop=train)


@case("UNSEEN-torch-loop-clip-tiny", "P13", symptom="yes", about="clip_grad_norm_ at 1e-4 with plain SGD")
def loop_clip_tiny(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = digits(seed)
    data = tensors(x.reshape(-1, 8, 8) / 16, y)

    class RowLSTM(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(8, 32, batch_first=True)
            self.fc = nn.Linear(32, 10)

        def forward(self, x):
            _, (h, _) = self.lstm(x)
            return self.fc(h[0])

    net = RowLSTM()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    criterion = nn.CrossEntropyLoss()
    loader = DataLoader(TensorDataset(*data), 64, shuffle=True)

    def train():
        for _ in range(5):
            for x, y in loader:
                optimizer.zero_grad()
                criterion(net(x), y).backward()
                nn.utils.clip_grad_norm_(net.parameters(), 1e-4)
                optimizer.step()

    return Setup(net, loader, loss=criterion, optimizer=optimizer, loop=train)
