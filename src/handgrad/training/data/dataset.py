"""What training gets: three parts, their scaling, and what their columns mean."""

from typing import Any, NamedTuple

import numpy as np

from handgrad.training.data.scaling import Scaling


class Part(NamedTuple):
    """Samples and their labels, as they are in memory or on the disk."""

    x: Any  # (m, n_0), unscaled: numpy array, memory map or `Rows`; any real dtype
    y: Any  # (m,), int32, 0 ... C-1
    weights: Any = None  # (m,), of the samples; None for all 1


class Dataset(NamedTuple):
    """Three parts, and what a prediction needs to know of them.

    A part that the settings leave out has no samples, and the same n_0.
    """

    train: Part
    validation: Part
    test: Part
    scaling: Scaling
    classes: tuple[str, ...]  # C names
    features: tuple[str, ...]  # n_0 names
    image_shape: tuple[int, int] | None  # height * width = n_0
    table: Any  # turns rows of a CSV file into x
    rows: tuple[np.ndarray, np.ndarray, np.ndarray]
    """For each part, which row of its file or set each sample was, from 0."""
    streamed: bool
    """Whether the training part is to be read from the disk in every epoch."""
