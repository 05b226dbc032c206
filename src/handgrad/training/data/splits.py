"""Stratified splits: which rows are held out of which."""

import numpy as np

from handgrad.training.errors import TrainingError


def split_rows(
    y: np.ndarray, share: float, seed: tuple[int, int], key: str
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out a share of the samples, of every class in proportion.

    Args:
      y: (m,), the labels, 0 ... C-1.
      share: in [0, 1); 0 holds out none.
      seed: what alone the split depends on, beside y.
      key: the setting that a message names.

    Returns:
      The rows that stay and the rows held out, each in ascending order; of the latter
      there are share times m, rounded up.

    Raises:
      TrainingError: if a class would have no sample on one side.
    """
    if share == 0:
        return np.arange(len(y)), np.arange(0)
    counts = np.bincount(y)
    held = _in_proportion(counts, share)
    poor = np.flatnonzero((held == 0) | (held == counts))
    if poor.size:
        label = poor[0]
        raise TrainingError(
            f"`{key}` must leave samples of every class on both sides, got {share}, "
            f"which holds out {held[label]} of the {counts[label]} samples of label "
            f"{label}. Choose another share, or join classes."
        )
    shuffled = np.random.default_rng(seed).permutation(len(y))
    by_class = shuffled[np.argsort(y[shuffled], kind="stable")]
    ends = np.cumsum(counts)
    rank = np.arange(len(y)) - np.repeat(ends - counts, counts)  # within the class
    out = rank < np.repeat(held, counts)
    return np.sort(by_class[~out]), np.sort(by_class[out])


def _in_proportion(counts: np.ndarray, share: float) -> np.ndarray:
    """Of each class its share, rounded so that all together are the share of all."""
    exact = counts * share
    held = np.floor(exact).astype(np.int64)
    more = int(np.ceil(counts.sum() * share)) - held.sum()
    largest = np.argsort(-(exact - held), kind="stable")[:more]
    held[largest] += 1
    return held
