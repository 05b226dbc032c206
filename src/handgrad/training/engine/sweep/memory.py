"""How many members are trained together: as many as fit."""

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import jax

from handgrad.network.types import layers_in
from handgrad.training.engine.evaluate import ROWS
from handgrad.training.engine.sweep.member import Member, Parts, Point, Task, begin
from handgrad.training.settings.check import memory_bytes

CACHE = 2**18
"""Bytes of members that a core of a CPU works on together. Stacking helps networks so
small that calling an operation costs more than what it computes, and no others."""

SHARE = 0.5
"""Of the free memory that members may take by the estimate."""


def chunk_size(
    task: Task, parts: Parts, point: Point, members: int, wanted: int = 0
) -> tuple[int, int]:
    """Members of a chunk, and chunks that are at work at the same time.

    Args:
      task, parts, point: of a member, for its size.
      members: how many there are.
      wanted: how many the settings want in a chunk; 0: as many as fit in memory, and
        on a CPU in the cache of a core.

    Returns:
      Both at least 1. A CPU has a chunk at work on every core; a mesh has one, for
      programs that meet on many devices must reach all of them in the same order.
    """
    device = jax.devices()[0]
    on_cpu = device.platform == "cpu"
    alone = task.layout is not None or not on_cpu
    workers = 1 if alone else min(_cores(), members)
    each = member_bytes(task, parts, point)
    most = int(SHARE * free_bytes(device) / workers / each)
    if on_cpu:
        most = min(most, CACHE // each, -(-members // workers))
    size = min(wanted or max(1, most), members)
    chunks = -(-members // size)
    return -(-members // chunks), min(workers, chunks)


def member_bytes(task: Task, parts: Parts, point: Point) -> int:
    """An estimate of the memory that a member takes at work on a device: its state and
    the next, a gradient and an update, and what a minibatch, or a block of samples that
    are scored, leaves in every layer on its way forward and back."""
    started = _own_shapes(task, jax.eval_shape(partial(begin, task), point))
    params = started.state.params
    shares = task.layout.shares if task.layout else 1
    scored = -(-max(len(part.y) for part in parts[1:] if part is not None) // shares)
    rows = max(task.batch_size // shares, min(ROWS, scored))
    width = sum(layers_in(each) * sum(each.weight.shape[-2:]) for each in params)
    return 2 * _bytes(started) + 3 * _bytes(params) + 4 * rows * width * 4


def _own_shapes(task: Task, started: Member) -> Member:
    """Of a device's share, on a mesh."""
    if task.layout is None:
        return started

    def own(leaf: Any, lies: Any) -> Any:
        return jax.ShapeDtypeStruct(lies.shard_shape(leaf.shape), leaf.dtype)

    state = jax.tree.map(own, started.state, task.layout.state)
    return started._replace(
        state=state, best=started.best._replace(params=state.params)
    )


def free_bytes(device: Any) -> int:
    """The memory of an accelerator, or of this machine, that nothing uses."""
    found = device.memory_stats() or {}
    if "bytes_limit" in found:
        return found["bytes_limit"] - found.get("bytes_in_use", 0)
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        free = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(free.split()[1]) * 1024
    return memory_bytes()


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
