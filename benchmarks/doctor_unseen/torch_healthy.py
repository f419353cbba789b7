"""Plain PyTorch programs that are sound, some of which look like a fault: no alarm is due."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.doctor_unseen import Setup, case
from benchmarks.doctor_unseen._torch_data import digits, houses, made, sentences, shapes, sines, standardised, table, tensors
from benchmarks.doctor_unseen.torch_labels import Siamese, contrastive, digit_pairs
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@case("UNSEEN-torch-healthy-hinge", "", symptom="no", about="labels -1 and 1, a linear machine with hinge loss")
def hinge(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = table("breast_cancer", seed)
    net = nn.Linear(30, 1)
    labels = (2 * y - 1).astype("float32")[:, None]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, weight_decay=1e-3)
    return Setup(net, tensors(standardised(x), labels), loss=lambda out, y: F.relu(1 - out * y).mean(), optimizer=optimizer)


@case("UNSEEN-torch-healthy-quantiles", "", symptom="no", about="three quantiles of one target: broadcasting on purpose")
def quantiles(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = made.make_friedman1(700, 6, noise=0.5, random_state=seed)
    levels = torch.tensor([0.1, 0.5, 0.9])

    def pinball(pred, target):
        error = target - pred
        return torch.maximum(levels * error, (levels - 1) * error).mean()

    net = nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 3))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    return Setup(net, tensors(x.astype("float32"), standardised(y[:, None])), loss=pinball, optimizer=optimizer, epochs=30)


@case("UNSEEN-torch-healthy-frozen-backbone", "", symptom="no", about="features frozen on purpose, the head learns")
def frozen_backbone(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = digits(seed)

    class Transfer(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 24, 3), nn.ReLU(), nn.MaxPool2d(2))
            self.head = nn.Sequential(nn.Flatten(), nn.Linear(96, 10))

        def forward(self, x):
            with torch.no_grad():
                f = self.backbone(x)
            return self.head(f)

    net = Transfer()
    for p in net.backbone.parameters():
        p.requires_grad_(False)
    optimizer = torch.optim.Adam(net.head.parameters(), lr=5e-3)
    loader = DataLoader(TensorDataset(*tensors(x[:, None] / 4, y)), 32, shuffle=True)
    return Setup(net, loader, loss=nn.CrossEntropyLoss(), optimizer=optimizer, epochs=12)


@case("UNSEEN-torch-healthy-spare-unit", "", symptom="no", about="classes 1, 2, 3 and four units: one is never used")
def spare_unit(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = table("wine", seed)
    net = nn.Sequential(nn.BatchNorm1d(13), nn.Linear(13, 20), nn.ELU(), nn.Linear(20, 4))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    return Setup(net, tensors(x, y + 1), loss=nn.CrossEntropyLoss(), optimizer=optimizer, batch=16, epochs=30)


@case("UNSEEN-torch-healthy-siamese", "", symptom="no", about="contrastive loss with its labels the right way round")
def siamese(seed: int) -> Setup:
    torch.manual_seed(seed)
    pairs, same = digit_pairs(seed)

    def verification(distance, label):
        apart = torch.as_tensor(distance) > 0.5
        return float((apart == torch.as_tensor(label).bool()).float().mean())

    net = Siamese()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return Setup(net, tensors(pairs, 1 - same), loss=contrastive, optimizer=optimizer, epochs=20, metric=verification)


@case("UNSEEN-torch-healthy-segmentation", "", symptom="no", about="Dice and cross-entropy added, a small U")
def segmentation(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, masks = shapes(seed)

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Conv2d(1, 12, 3, padding=1)
            self.b = nn.Conv2d(12, 24, 3, padding=1)
            self.c = nn.Conv2d(36, 12, 3, padding=1)
            self.out = nn.Conv2d(12, 3, 1)

        def forward(self, x):
            a = F.relu(self.a(x))
            b = F.relu(self.b(F.max_pool2d(a, 2)))
            up = F.interpolate(b, scale_factor=2, mode="nearest")
            return self.out(F.relu(self.c(torch.cat([a, up], dim=1))))

    def both(logits, mask):
        p = logits.softmax(1)
        target = F.one_hot(mask, 3).permute(0, 3, 1, 2)
        overlap = 2 * (p * target).sum((2, 3)) / (p.sum((2, 3)) + target.sum((2, 3)) + 1)
        return F.cross_entropy(logits, mask) + 1 - overlap.mean()

    net = UNet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3)
    return Setup(net, tensors(x, masks), loss=both, optimizer=optimizer, batch=16, epochs=8)


@case("UNSEEN-torch-healthy-tags", "", symptom="no", about="multi-label, sigmoid in the loss")
def tags(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = made.make_multilabel_classification(600, 20, n_classes=6, n_labels=2, random_state=seed)
    net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 6))
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.full((6,), 1.5))
    return Setup(net, tensors(standardised(x), y.astype("float32")), loss=loss, optimizer=optimizer, epochs=25)


@case("UNSEEN-torch-healthy-counts", "", symptom="no", about="a softplus output for counts, Poisson loss that knows it")
def counts(seed: int) -> Setup:
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(800, 5)).astype("float32")
    y = draw.poisson(np.exp(1.2 + 0.7 * x[:, 0] - 0.5 * x[:, 1])).astype("float32")[:, None]
    net = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 1), nn.Softplus())
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    return Setup(net, tensors(x, y), loss=nn.PoissonNLLLoss(log_input=False), optimizer=optimizer, epochs=20)


@case("UNSEEN-torch-healthy-dollars", "", symptom="no", about="prices in dollars, rescaled inside the network")
def dollars(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = houses(seed)

    class Price(nn.Module):
        def __init__(self, mean, deviation):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(6, 32), nn.GELU(), nn.Linear(32, 1))
            self.register_buffer("mean", torch.tensor(mean))
            self.register_buffer("deviation", torch.tensor(deviation))

        def forward(self, x):
            return self.net(x) * self.deviation + self.mean

    net = Price(float(y.mean()), float(y.std()))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    return Setup(net, tensors(x, y[:, None]), loss=nn.L1Loss(), optimizer=optimizer, epochs=20)


@case("UNSEEN-torch-healthy-gru-steps", "", symptom="no", about="a value for every step of a sequence")
def gru_steps(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, _ = sines(seed)
    (x,) = tensors(x)

    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(1, 24, batch_first=True)
            self.out = nn.Linear(24, 1)

        def forward(self, x):
            return self.out(self.gru(x)[0])

    net = Tagger()
    optimizer = torch.optim.RMSprop(net.parameters(), lr=5e-3)
    return Setup(net, (x[:, :-1].clone(), x[:, 1:].clone()), loss=nn.HuberLoss(), optimizer=optimizer, epochs=12)


@case("UNSEEN-torch-healthy-denoiser", "", symptom="no", about="a residual denoiser, input and target alike in scale")
def denoiser(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, _ = digits(seed, 600)
    clean = torch.from_numpy(x[:, None] / 16)
    noisy = clean + 0.3 * torch.randn(clean.shape)

    class Denoise(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1))

        def forward(self, x):
            return x - self.body(x)

    net = Denoise()
    return Setup(net, (noisy, clean), loss=nn.MSELoss(), optimizer=torch.optim.Adam(net.parameters(), lr=3e-3), epochs=12)


@case("UNSEEN-torch-healthy-rare-class", "", symptom="no", about="8 % positive, weighted, separable")
def rare_class(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = made.make_classification(1200, 15, n_informative=8, weights=[0.92], class_sep=2.0, flip_y=0.0, random_state=seed)
    net = nn.Sequential(nn.Linear(15, 32), nn.BatchNorm1d(32), nn.LeakyReLU(), nn.Linear(32, 2))
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 8.0]))
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    x, y = tensors(standardised(x), y.astype("int64"))
    return Setup(net, (x[:900], y[:900]), (x[900:], y[900:]), loss, optimizer, batch=64, epochs=20)


@case("UNSEEN-torch-healthy-metric-head", "", symptom="no", about="cosine similarities to class vectors, scaled by 16")
def cosine_head(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = sentences(seed)

    class Cosine(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.EmbeddingBag(60, 20, mode="mean")
            self.centres = nn.Parameter(torch.randn(4, 20))

        def forward(self, tokens):
            z = F.normalize(self.embedding(tokens), dim=-1)
            return 16 * z @ F.normalize(self.centres, dim=-1).T

    net = Cosine()
    groups = [{"params": net.embedding.parameters(), "lr": 0.02}, {"params": [net.centres], "lr": 0.005}]
    optimizer = torch.optim.Adam(groups)
    return Setup(net, tensors(x, y), loss=nn.CrossEntropyLoss(label_smoothing=0.1), optimizer=optimizer, epochs=15)


@case("UNSEEN-torch-healthy-one-cycle-loop", "", symptom="no", about="a schedule per batch, gradients clipped at 1")
def one_cycle_loop(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = digits(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(432, 10)
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    loader = DataLoader(TensorDataset(*tensors(x[:, None] / 16, y)), 40, shuffle=True)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=8 * len(loader))
    criterion = nn.CrossEntropyLoss()

    def train():
        for _ in range(8):
            net.train()
            for images, labels in loader:
                optimizer.zero_grad()
                criterion(net(images), labels).backward()
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                scheduler.step()
            net.eval()

    return Setup(net, loader, loss=criterion, optimizer=optimizer, loop=train)


@case("UNSEEN-torch-healthy-accumulating-loop", "", symptom="no", about="gradients of four batches added on purpose")
def accumulating_loop(seed: int) -> Setup:
    torch.manual_seed(seed)
    x, y = houses(seed)
    net = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    loader = DataLoader(TensorDataset(*tensors(x, standardised(y[:, None]))), 8, shuffle=True)

    def train():
        for _ in range(20):
            for i, (features, price) in enumerate(loader, 1):
                loss = F.mse_loss(net(features), price) / 4
                loss.backward()
                if i % 4 == 0 or i == len(loader):
                    optimizer.step()
                    optimizer.zero_grad()

    return Setup(net, loader, loss=F.mse_loss, optimizer=optimizer, loop=train)
