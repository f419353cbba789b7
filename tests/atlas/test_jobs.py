"""Jobs are kept one by one, done once, shared among processes, and stopped between two of them.

Turns red: in `jobs.stamp`, leave out the settings (test_what_a_job_depends_on); in `jobs.do`, do all jobs in every process
(test_processes_share); in `jobs._do`, write the answer before `make` (test_killed); take the deadline away (test_a_budget).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from convscope.atlas import jobs
from convscope.atlas.jobs import Job
from convscope.errors import UsageError

ROOT = Path(__file__).parents[2]


def work(out: Path, network: str = "n1", collection: str = "c1") -> Any:
    return SimpleNamespace(
        out=out, net=SimpleNamespace(print=network), record=SimpleNamespace(facts=SimpleNamespace(collection=collection)),
        report=lambda *_: None,
    )  # fmt: skip


def counted(count: int, settings: str = "s1") -> tuple[list[Job], list[int]]:
    """Jobs that note when they are done."""
    done: list[int] = []

    def make(at: int) -> jobs.Made:
        done.append(at)
        return {"at": at, "half": at / 2}, {f"pictures/{at}.png": bytes([at])}

    return [Job("tried", f"layer:{at}", 0, settings, lambda at=at: make(at)) for at in range(count)], done


def test_a_job_is_done_once_and_kept_with_its_pictures(tmp_path: Path) -> None:
    asked, done = counted(3)
    assert jobs.do(work(tmp_path), asked, None) == 0
    assert jobs.do(work(tmp_path), asked, None) == 0
    assert done == [0, 1, 2]
    assert (tmp_path / "pictures/2.png").read_bytes() == b"\2"
    answer = jobs.found(work(tmp_path), asked[1])
    assert answer is not None
    assert answer["content"] == {"at": 1, "half": 0.5}
    assert jobs.path_of(tmp_path, asked[1]).name == "layer~1.0.json"


@pytest.mark.parametrize(("change", "settings"), [({}, "s2"), ({"network": "n2"}, "s1"), ({"collection": "c2"}, "s1")])
def test_what_a_job_depends_on(tmp_path: Path, change: dict[str, str], settings: str) -> None:
    asked, _ = counted(2)
    jobs.do(work(tmp_path), asked, None)
    again, done = counted(2, settings)
    assert jobs.found(work(tmp_path, **change), again[0]) is None
    jobs.do(work(tmp_path, **change), again, None)
    assert done == [0, 1]


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"stamp": "other"}'])
def test_a_file_of_something_else_is_made_anew(tmp_path: Path, text: str) -> None:
    asked, done = counted(1)
    path = jobs.path_of(tmp_path, asked[0])
    path.parent.mkdir(parents=True)
    path.write_text(text)
    jobs.do(work(tmp_path), asked, None)
    assert done == [0]
    assert jobs.found(work(tmp_path), asked[0]) is not None


def test_a_refusal_is_kept_in_its_own_words(tmp_path: Path) -> None:
    tries: list[int] = []

    def refuse() -> jobs.Made:
        tries.append(0)
        raise UsageError("pool has no filters", "it is a pooling", "choose a convolution")

    job = Job("filters", "pool", 0, "", refuse)
    for _ in range(2):
        jobs.do(work(tmp_path), [job], None)
    assert len(tries) == 1
    assert (jobs.found(work(tmp_path), job) or {})["refused"] == "pool has no filters; it is a pooling; choose a convolution"


def test_a_mistake_is_no_refusal(tmp_path: Path) -> None:
    job = Job("tried", "x", 0, "", lambda: ({}[1], {}))  # type: ignore[index]
    with pytest.raises(KeyError):
        jobs.do(work(tmp_path), [job], None)
    assert jobs.found(work(tmp_path), job) is None


def test_a_budget_stops_between_two_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    asked, done = counted(5)

    def slowly(job: Job) -> jobs.Made:
        clock[0] += 10
        return job.make()

    slow = [Job(job.kind, job.layer, 0, job.settings, lambda job=job: slowly(job)) for job in asked]
    monkeypatch.setattr(jobs.time, "monotonic", lambda: clock[0])
    assert jobs.do(work(tmp_path), slow, 115.0) == 3  # at 100 and 110 there is time, at 120 there is none
    assert done == [0, 1]
    assert jobs.do(work(tmp_path), slow, clock[0] + 15) == 1
    assert jobs.do(work(tmp_path), slow, None) == 0
    assert done == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_jobs(tmp_path: Path, world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, done = counted(7)
    monkeypatch.setenv("WORLD_SIZE", str(world))
    shares = []
    for rank in reversed(range(world)):
        monkeypatch.setenv("RANK", str(rank))
        before = len(done)
        jobs.do(work(tmp_path), asked, None)
        shares.append(len(done) - before)
    assert sorted(done) == list(range(7))
    assert max(shares) - min(shares) <= 1


KILLED = """
import sys, time
from pathlib import Path
from tests.atlas.test_jobs import Job, jobs, work

out = Path(sys.argv[1])
def make(at):
    (out / f"begun-{at}").touch()
    time.sleep(0.05 if at < 3 else 60)
    return {"at": at}, {}
jobs.do(work(out), [Job("tried", str(at), 0, "s1", lambda at=at: make(at)) for at in range(6)], None)
"""


def test_killed_it_loses_the_job_that_was_running(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "src")))}
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], env=environment)
    limit = time.monotonic() + 120
    while not (tmp_path / "begun-3").exists() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    asked, done = counted(6)
    tried = [Job("tried", str(at), 0, "s1", job.make) for at, job in enumerate(asked)]
    assert [jobs.found(work(tmp_path), job) is not None for job in tried] == [True] * 3 + [False] * 3
    jobs.do(work(tmp_path), tried, None)
    assert done == [3, 4, 5]
    assert all(json.loads(jobs.path_of(tmp_path, job).read_text())["content"]["at"] == at for at, job in enumerate(tried))
