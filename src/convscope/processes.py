"""One process or many: who this is, and sums over all. Started by `torchrun --nproc-per-node N`, or by the caller."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

_groups = itertools.count()  # how many groups this process has joined


class Group(NamedTuple):
    """Which process of how many this is."""

    rank: int = 0
    world: int = 1

    def add_up(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            dist.barrier()

    def copy_from_first(self, values: Tensor) -> None:
        """What process 0 has, in place."""
        if self.world > 1:
            dist.broadcast(values, 0)


@contextlib.contextmanager
def processes(device: torch.device, patience: datetime.timedelta | None = None) -> Iterator[Group]:
    """The group that this process is in: the caller's, or the one that `torchrun` declares (gloo on CPU, NCCL on GPU).

    `patience`: how long one process waits for the others; torch's own limit (half an hour) by default.
    """
    if not dist.is_available():
        yield Group()
        return
    ours = not dist.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) > 1
    if ours:
        waiting: Any = {} if patience is None else {"timeout": patience}
        # A group leaves its addresses in the launcher's store; a second group must not read those of the first.
        store, rank, world = next(dist.rendezvous("env://", **waiting))  # pyright: ignore[reportPrivateImportUsage]
        store = dist.PrefixStore(f"convscope {next(_groups)}", store)  # pyright: ignore[reportPrivateImportUsage]
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", store=store, rank=rank, world_size=world,
                                **waiting)
    try:
        yield Group(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else Group()
    finally:
        if ours:
            dist.destroy_process_group()
