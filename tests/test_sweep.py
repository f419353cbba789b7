"""A sweep counts every image once, whatever happens: killed, resumed, sharded, in any batch size.

Turns red: in `_Work._pass`, `header["next"] = -(-batch.stop // size)` -> `… + 1`; in `merge`, drop `mine.merge(other)`.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from convscope import record, sweep
from convscope.collection import Collection
from convscope.data import open_collection
from convscope.errors import DataError, ShapeError, StoreError, UsageError
from convscope.images import Preprocess
from convscope.network import Network
from convscope.sweep import Sweep

GREY = Preprocess(channels="L")
SCRIPT = """
import sys, time
import torch
torch.set_num_threads(1)
from tests.test_sweep import GREY, digits, net
from convscope import sweep
sweep.SAVE_EVERY = 0.0  # a state on disk after every batch
slow = float(sys.argv[2])
sweep.Sweep(top=3, batch=8)(net(), digits(), GREY, sys.argv[1], embed=("0",), progress=lambda *_: time.sleep(slow))
"""


def net() -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(36, 10),
            nn.LogSoftmax(1),
        )
    return Network.open(module, (1, 8, 8), classes=tuple("0123456789"))


def digits(n: int = 200) -> Collection:
    return open_collection("digits").take(np.arange(n))


def pixels(collection: Collection) -> torch.Tensor:
    return torch.stack([torch.from_numpy(GREY(collection[i])) for i in range(len(collection))])


def files(folder: Path) -> dict[str, np.ndarray]:
    """Everything a finished sweep left, as arrays."""
    _, arrays = record.read_state(folder / "state.npz")
    found = {**arrays, "predictions": np.load(folder / "predictions.npy")}
    return found | {p.name: np.load(p) for p in folder.glob("embeddings-*.npy")}


def same(a: Path, b: Path) -> bool:
    one, two = files(a), files(b)
    return one.keys() == two.keys() and all(v.tobytes() == two[k].tobytes() for k, v in one.items())


def run_script(folder: Path, pause: float = 0.0, *prefix: str) -> subprocess.Popen[bytes]:
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(map(str, (Path(__file__).parents[1], Path(__file__).parents[1] / "src"))),
    }
    script = folder.parent / "script.py"
    script.write_text(SCRIPT)
    with (folder.parent / "errors.txt").open("wb") as errors:
        return subprocess.Popen(
            [sys.executable, *prefix, str(script), str(folder), str(pause)], env=env, stdout=errors, stderr=errors
        )


def said(folder: Path) -> str:
    return (folder.parent / "errors.txt").read_text()


def test_the_record_agrees_with_a_plain_run(tmp_path: Path) -> None:
    network, images = net(), digits()
    found = Sweep(top=5, batch=32)(network, images, GREY, tmp_path, embed=("2", "5"))
    kept = network.run(pixels(images), keep=["2", "5"])
    assert found.done
    assert found.counted == 200
    assert found.facts.layers == ("0", "1", "2", "3", "5", "6")
    best = kept["2"].flatten(2).amax(2)
    table = found.table("2")
    assert np.allclose(table.columns["top_value"], best.topk(5, 0).values.T, rtol=1e-5)
    assert np.allclose(table.columns["mean"], kept["2"].double().mean((0, 2, 3)), rtol=1e-5)
    assert np.allclose(
        table.columns["deviation"], kept["2"].double().movedim(1, 0).flatten(1).std(1, unbiased=False), rtol=1e-5
    )
    assert np.allclose(found.embeddings("2"), kept["2"].mean((2, 3)), rtol=1e-4, atol=1e-6)
    assert np.allclose(found.embeddings("5"), kept["5"], rtol=1e-4, atol=1e-5)
    predictions = found.predictions()
    assert predictions["seen"].all()
    assert np.allclose(predictions["probability"], kept.output.exp().topk(5).values, atol=1e-5)
    assert np.array_equal(predictions["index"][:, 0], kept.output.argmax(1))


def test_the_strongest_do_not_depend_on_the_batch_size(tmp_path: Path) -> None:
    """Rankings, not bits: a convolution over another batch may round otherwise in the last place."""
    found = [Sweep(top=4, batch=b)(net(), digits(60), GREY, tmp_path / str(b)) for b in (1, 7, 60, 64)]
    for layer in found[0].facts.layers:
        for other in found[1:]:
            assert np.allclose(found[0].tally(layer).value, other.tally(layer).value, atol=1e-5)
            assert (found[0].tally(layer).image == other.tally(layer).image).mean() > 0.98


def test_a_finished_sweep_is_not_run_again_and_another_one_is_refused(tmp_path: Path) -> None:
    Sweep(batch=16)(net(), digits(40), GREY, tmp_path)
    before = (tmp_path / "state.npz").stat().st_mtime_ns
    Sweep(batch=16)(net(), digits(40), GREY, tmp_path)
    assert (tmp_path / "state.npz").stat().st_mtime_ns == before
    with pytest.raises(StoreError, match="holds another sweep; it differs in batch; give another folder or empty this one"):
        Sweep(batch=8)(net(), digits(40), GREY, tmp_path)
    with pytest.raises(StoreError, match="it differs in collection, images"):
        Sweep(batch=16)(net(), digits(41), GREY, tmp_path)
    with pytest.raises(StoreError, match="it differs in network"):
        Sweep(batch=16)(net().to(torch.float64), digits(40), GREY, tmp_path)


def test_stopped_again_and_again_it_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after some batches whose state is on disk, and after some whose state is not."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    Sweep(top=3, batch=8)(net(), digits(), GREY, whole, embed=("0",))
    chance = random.Random(0)
    for _ in range(8):
        monkeypatch.setattr(sweep, "SAVE_EVERY", chance.choice([0.0, 1e9]))
        left = chance.randrange(1, 9)

        def stop(*_: object) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            Sweep(top=3, batch=8)(net(), digits(), GREY, stopped, embed=("0",), progress=stop)
        if (stopped / "state.npz").exists():
            assert not record.Record(stopped).done
    assert Sweep(top=3, batch=8)(net(), digits(), GREY, stopped, embed=("0",)).counted == 200
    assert same(whole, stopped)


@pytest.mark.slow
def test_killed_at_random_moments_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = run_script(whole)
    assert process.wait() == 0, said(whole)
    chance = random.Random(0)
    kills = 0
    for _ in range(6):
        process = run_script(killed, 0.03)
        state = killed / "state.npz"
        before = state.stat().st_mtime_ns if state.exists() else 0
        while process.poll() is None and (not state.exists() or state.stat().st_mtime_ns == before):
            time.sleep(0.005)
        time.sleep(chance.random() * 0.15)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        if state.exists() and record.Record(killed).done:
            break
    assert kills >= 2
    process = run_script(killed)
    assert process.wait() == 0, said(killed)
    assert record.Record(killed).counted == 200
    assert same(whole, killed)


def test_killed_before_it_began_it_still_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(sweep.store, "atomic", stop)
        with pytest.raises(KeyboardInterrupt):
            Sweep()(net(), digits(20), GREY, tmp_path, embed=("0",))
    assert Sweep()(net(), digits(20), GREY, tmp_path, embed=("0",)).counted == 20


@pytest.mark.parametrize("world", [2, 3])
def test_shards_merge_to_the_bits_of_one_process(tmp_path: Path, world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network, images = net(), digits(90)
    Sweep(batch=8)(network, images, GREY, tmp_path / "one", embed=("2",))
    monkeypatch.setattr(sweep, "_wait_for_all", lambda: None)
    monkeypatch.setattr(sweep, "merge", lambda folder, world: None)
    monkeypatch.setenv("WORLD_SIZE", str(world))
    for rank in range(world):
        monkeypatch.setenv("RANK", str(rank))
        Sweep(batch=8)(network, images, GREY, tmp_path / "many", embed=("2",))
    monkeypatch.undo()
    found = sweep.merge(tmp_path / "many", world)
    assert found.done
    assert found.counted == 90
    assert same(tmp_path / "one", tmp_path / "many")


def test_an_unfinished_shard_is_not_merged(tmp_path: Path) -> None:
    Sweep(batch=8)(net(), digits(20), GREY, tmp_path)
    head, arrays = record.read_state(tmp_path / "state.npz")
    record.write_state(tmp_path / "shard-0-of-1.npz", {**head, "next": 1}, arrays)
    with pytest.raises(
        StoreError, match="shard 0 of 1 is not finished; it stands at batch 1 of 3; run it again: it goes on"
    ):
        sweep.merge(tmp_path, 1)


@pytest.mark.slow
def test_torchrun_gives_the_bits_of_one_process(tmp_path: Path) -> None:
    for folder, prefix in (
        (tmp_path / "one", ()),
        (tmp_path / "two", ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29533")),
    ):
        process = run_script(folder, 0.0, *prefix)
        assert process.wait(120) == 0, said(folder)
    assert same(tmp_path / "one", tmp_path / "two")


def test_images_that_cannot_be_read_are_named_and_left_out(tmp_path: Path) -> None:
    images = digits(40)
    read = images.read

    def broken(i: int) -> tuple[np.ndarray, tuple[str, ...]]:
        if i % 8 == 3 or 16 <= i < 24:  # some of each batch, and one batch altogether
            raise DataError("cannot read it", "damaged", "restore it")
        return read(i)

    images.read = broken  # type: ignore[assignment]
    found = Sweep(batch=8)(net(), images, GREY, tmp_path, embed=("0",))
    bad = sorted({i for i in range(40) if i % 8 == 3 or 16 <= i < 24})
    assert found.counted == 40 - len(bad)
    assert found.skipped == [(images.ids[i], "cannot read it; damaged; restore it") for i in bad]
    assert np.isnan(found.embeddings("0")[bad]).all()
    assert not np.isnan(np.delete(found.embeddings("0"), bad, 0)).any()
    assert np.flatnonzero(~found.predictions()["seen"]).tolist() == bad
    assert not set(bad) & set(found.tally("0").image.flatten().tolist())


def test_unknown_labels_take_no_part_in_class_means(tmp_path: Path) -> None:
    images = digits(60)
    images.labels = np.where(np.arange(60) % 2, -1, images.labels)
    found = Sweep(batch=16)(net(), images, GREY, tmp_path)
    total = found.tally("2").tree.total()
    assert total is not None
    assert total["class_count"].sum() == 30


@pytest.mark.parametrize(
    ("measure", "columns"),
    [
        ("top", {"maximum", "top_image"}),
        ("moments", {"mean", "deviation"}),
        ("all", {"quantiles", "zeros", "selectivity", "preferred"}),
    ],
)
def test_what_is_measured(tmp_path: Path, measure: str, columns: set[str]) -> None:
    table = Sweep(batch=16, measure=measure)(net(), digits(40), GREY, tmp_path).table("2")
    assert columns <= set(table.columns)
    assert all(name in table.units for name in columns)


def test_questions_that_do_not_fit(tmp_path: Path) -> None:
    small = Preprocess(size=(6, 6), resize="stretch", channels="L")
    with pytest.raises(
        ShapeError, match="Sequential takes 1×8×8; the preprocessing makes 1×6×6; give a Preprocess with that size"
    ):
        Sweep()(net(), digits(20), small, tmp_path / "a")

    class Bound(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.view(1, -1) * 2

    bound = Network.open(Bound(), (1, 8, 8))
    with pytest.raises(
        UsageError, match="Bound takes batches of 1 only; asked for 32, and the last may be smaller; sweep with batch=1"
    ):
        Sweep()(bound, digits(20), GREY, tmp_path / "b")
    assert Sweep(batch=1)(bound, digits(5), GREY, tmp_path / "c").counted == 5
    with pytest.raises(UsageError, match=r"Sweep.top must be in \[1, 1000\]; got 0"):
        Sweep(top=0)
