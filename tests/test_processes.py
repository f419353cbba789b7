"""Who this process is, and sums over all. (Two real processes: `test_fit.py`.)

Mutations that turn this red (each tried): destroy a group that the caller made · leave ours open · one prefix for all.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from convscope.processes import Group, processes

CPU = torch.device("cpu")


def test_alone() -> None:
    with processes(CPU) as group:
        assert group == Group(0, 1)
        assert group.add_up(torch.tensor([3.0])).item() == 3
        group.copy_from_first(torch.zeros(1))
    assert not dist.is_initialized()


def test_the_callers_group_is_used_and_kept(tmp_path: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        with processes(CPU) as group:
            assert group == Group(0, 1)
        assert dist.is_initialized()
    finally:
        dist.destroy_process_group()


def test_ours_opens_twice_under_different_names_and_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `torchrun` sets, as process 0 of 2 would see it; the meeting itself is stood in for."""
    seen = []
    store = dist.TCPStore("localhost", 0, 1, True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(dist, "rendezvous", lambda url: iter([(store, 0, 1)]))
    start, prefix, names = dist.init_process_group, dist.PrefixStore, []

    def named(name: str, store: dist.Store) -> dist.PrefixStore:
        names.append(name)
        return prefix(name, store)

    monkeypatch.setattr(dist, "PrefixStore", named)

    def watched(backend: str, store: dist.PrefixStore, **rest: int) -> None:
        seen.append((backend, names[-1]))
        start(backend, store=store, **rest)

    monkeypatch.setattr(dist, "init_process_group", watched)
    for _ in range(2):
        with processes(CPU) as group:
            assert group == Group(0, 1)
            assert dist.is_initialized()
        assert not dist.is_initialized()
    assert len({name for _, name in seen}) == 2
    assert {backend for backend, _ in seen} == {"gloo"}
