"""A part that stays on the disk, read ahead in a shuffled order.

Rows are read in runs of neighbours, `RUN` bytes each: where the runs begin and their
order are drawn anew in every epoch. Some runs that follow each other make a window of
`WINDOW` bytes, in which the rows are shuffled. Grain reads windows ahead, in threads.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from handgrad.training.data.dataset import Part
from handgrad.training.data.on_disk import forget, kept_dtype

RUN, WINDOW = 2**18, 2**25  # bytes
THREADS, AHEAD = 2, 2  # windows being read, windows waiting


class Block(NamedTuple):
    """K minibatches of B samples; what is not present is zero."""

    x: np.ndarray  # (K, B, n_0), in the dtype of the part, native
    y: np.ndarray  # (K, B), int32
    present: np.ndarray  # (K, B), float32: 1 for a sample, 0 for padding


def stream(
    part: Part,
    key_seed: int,
    epoch: int,
    first_step: int,
    batch_size: int,
    steps: int,
    own: np.ndarray | None = None,
) -> Iterator[Block]:
    """An epoch's minibatches, from any step on.

    Args:
      part: usually one whose x is a memory map or `Rows`.
      key_seed: of the run; the order is a function of it and the epoch alone.
      epoch: its number.
      first_step: where to begin, from 0; what is before it is not read.
      batch_size: B.
      steps: K, the minibatches of a block; the last block of an epoch holds the rest.
      own: which of the B places of a minibatch have their features read, ascending;
        None for all.

    Yields:
      Blocks, whose x has the places of ``own`` alone. In those of an epoch from step 0
      on, every sample is once.
    """
    samples = len(part.y)
    if samples == 0:
        return
    chosen = np.ones(batch_size, bool) if own is None else _among(own, batch_size)
    windows = _Windows(part, key_seed, epoch, chosen)
    rows, places = _Reader(windows, first_step * batch_size), int(chosen.sum())
    last = -(-samples // batch_size)
    for step in range(first_step, last, steps):
        count = min(steps, last - step)
        filled = min(count * batch_size, samples - step * batch_size)
        x = np.zeros((count * places, part.x.shape[1]), windows.dtype)
        y = np.zeros(count * batch_size, np.int32)
        rows.fill(x, y[:filled])
        present = (np.arange(count * batch_size) < filled).astype(np.float32)
        shape = (count, batch_size)
        x = x.reshape(count, places, -1)
        yield Block(x, y.reshape(shape), present.reshape(shape))


def _among(own: np.ndarray, batch_size: int) -> np.ndarray:
    """True for each of the places."""
    return np.isin(np.arange(batch_size), own)


class _Windows:
    """What Grain reads by number: windows, each in a random order of its own. Of the
    places of a minibatch that are not chosen the features are not read."""

    def __init__(self, part: Part, seed: int, epoch: int, chosen: np.ndarray) -> None:
        samples, row = len(part.y), part.x.dtype.itemsize * part.x.shape[1]
        self.part, self.seed, self.chosen = part, (seed, epoch), chosen
        self.dtype = kept_dtype(part.x.dtype)
        self.run = max(1, RUN // row)  # rows
        self.together = max(1, WINDOW // (self.run * row))  # runs
        random = np.random.default_rng(self.seed)
        self.offset = int(random.integers(samples))
        self.runs = random.permutation(-(-samples // self.run))

    def __len__(self) -> int:
        return -(-len(self.runs) // self.together)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features of what is chosen, labels of all, and which are chosen."""
        rows = self.rows(index)
        order = np.random.default_rng((*self.seed, index)).permutation(len(rows))
        first = int(self.ends()[index - 1]) if index else 0
        chosen = self.chosen[(first + np.arange(len(rows))) % len(self.chosen)]
        wanted = np.zeros(len(rows), bool)
        wanted[order[chosen]] = True
        x = np.asarray(self.part.x[rows[wanted]])  # read as it lies on the disk
        x = x[(np.cumsum(wanted) - 1)[order[chosen]]]
        forget(self.part.x)
        return x.astype(self.dtype, copy=False), self.part.y[rows[order]], chosen

    def rows(self, window: int) -> np.ndarray:
        """The rows of a window, run by run."""
        runs = self.runs[window * self.together :][: self.together]
        rows = (runs[:, None] * self.run + np.arange(self.run)).ravel()
        samples = len(self.part.y)
        return (rows[rows < samples] + self.offset) % samples

    def ends(self) -> np.ndarray:
        """How many rows there are up to the end of each window."""
        lengths = np.full(len(self.runs), self.run)
        short = len(self.runs) * self.run - len(self.part.y)
        lengths[np.argmax(self.runs)] -= short
        return np.cumsum(lengths)[self.together - 1 :: self.together]


class _Reader:
    """Rows one after the other, from windows that Grain reads ahead."""

    def __init__(self, windows: _Windows, first: int) -> None:
        import grain

        ends = windows.ends()
        window = int(np.searchsorted(ends, first, side="right"))
        source = grain.MapDataset.source(windows)[window:]
        options = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=AHEAD)
        self._windows = iter(source.to_iter_dataset(options))
        self._skip = first - (int(ends[window - 1]) if window else 0)
        self._x = self._y = self._chosen = np.zeros(0)

    def fill(self, x: np.ndarray, y: np.ndarray) -> None:
        """Writes the next len(y) labels into y, and the features of those that are
        chosen into x."""
        written = done = 0
        while done < len(y):
            if not len(self._y):
                self._x, self._y, self._chosen = next(self._windows)
                self._take(self._skip)
                self._skip = 0
            count = min(len(self._y), len(y) - done)
            features, labels = self._take(count)
            x[written : written + len(features)] = features
            y[done : done + count] = labels
            written, done = written + len(features), done + count

    def _take(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        own = int(self._chosen[:count].sum())
        taken = self._x[:own], self._y[:count]
        self._x, self._y = self._x[own:], self._y[count:]
        self._chosen = self._chosen[count:]
        return taken
