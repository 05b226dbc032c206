"""Blocks of minibatches from the host: of a part that is streamed, or, where there are
many processes, of any part, of which each process reads its own rows.

The order is that of a run in one process, so the minibatches are the same; a process
gathers from memory, or from the disk, the features that its devices need of each. The
labels are small, and known to all.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np

from handgrad.training.data import Part, stream
from handgrad.training.engine.layout import Layout, from_own, own_rows
from handgrad.training.engine.order import shuffled, steps_of

BLOCK = 2**25
"""Bytes of the features that a stream hands over at once, and that are scored at once
where a part stays on the disk."""

Stream = Callable[[int, int], Iterator[tuple[Any, np.ndarray, np.ndarray]]]
"""(epoch, first step of the epoch) -> blocks of x, y and presence."""


def streamed(part: Part, seed: int, batch_size: int) -> Stream:
    """Blocks of a part that stays on the disk, for one process."""
    steps = _steps(part, batch_size)

    def blocks(epoch: int, first: int) -> Iterator[tuple[np.ndarray, ...]]:
        for block in stream(part, seed, epoch, first, batch_size, steps):
            yield tuple(_filled(array, steps) for array in block)

    return blocks  # pyright: ignore[reportReturnType]


def streamed_share(part: Part, seed: int, batch_size: int, layout: Layout) -> Stream:
    """Blocks of a part that stays on the disk, for one process of many."""
    steps, own = _steps(part, batch_size), own_rows(layout, batch_size)

    def blocks(epoch: int, first: int) -> Iterator[tuple[Any, ...]]:
        for block in stream(part, seed, epoch, first, batch_size, steps, own):
            x, *rest = (_filled(array, steps) for array in block)
            yield from_own(x, own, layout.blocks, batch_size, axis=1), *rest

    return blocks  # pyright: ignore[reportReturnType]


def gathered_share(
    part: Part, key: jax.Array, batch_size: int, layout: Layout
) -> Stream:
    """Blocks of a part in memory, in the order of `shuffled`, for one process of many.

    Weights of the samples are multiplied to their presence.
    """
    samples, steps = len(part.y), _steps(part, batch_size)
    order = jax.jit(partial(shuffled, samples=samples, batch_size=batch_size))
    own = own_rows(layout, batch_size)

    def blocks(epoch: int, first: int) -> Iterator[tuple[Any, ...]]:
        rows, present = map(np.asarray, order(key, epoch))
        if part.weights is not None:
            present = present * part.weights[rows]
        for start in range(first, steps_of(samples, batch_size), steps):
            taken = slice(start, start + steps)
            x, *rest = (
                _filled(array, steps)
                for array in (
                    part.x[rows[taken][:, own]],
                    part.y[rows[taken]],
                    present[taken],
                )
            )
            yield from_own(x, own, layout.blocks, batch_size, axis=1), *rest

    return blocks  # pyright: ignore[reportReturnType]


def _steps(part: Part, batch_size: int) -> int:
    """Minibatches of a block."""
    row = part.x.dtype.itemsize * part.x.shape[1]
    return max(1, BLOCK // (row * batch_size))


def _filled(array: np.ndarray, steps: int) -> np.ndarray:
    """Blocks are of one size, so that one program takes them all: the last of an epoch
    ends in minibatches of nothing, which are not stepped through."""
    missing = (0, steps - len(array))
    return np.pad(array, (missing, *((0, 0),) * (array.ndim - 1)))
