"""What sources give and what training gets: samples in parts, and what they mean."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from handgrad.training.data.scaling import Scaling

if TYPE_CHECKING:
    from handgrad.training.data.table import Encoder


class Words(NamedTuple):
    """Text in a column: where each row's stands among the words that there are."""

    places: np.ndarray  # (m,), int32; -1 where nothing stands
    words: tuple[str, ...]


class Samples(NamedTuple):
    """Rows of a source, not yet checked, split or scaled."""

    x: Any  # (m, n_0) array or memory map, or a `Table`
    y: "np.ndarray | Words"  # (m,), integers or text


class Source(NamedTuple):
    """All that a source says."""

    samples: Samples  # to train on, and to split where no others are brought
    test: Samples | None = None
    validation: Samples | None = None
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    image_shape: tuple[int, int] | None = None
    encoder: "Encoder | None" = None  # where x is a `Table`


class Part(NamedTuple):
    """Samples and their labels, as they are in memory or on the disk."""

    x: Any  # (m, n_0), unscaled: numpy array, memory map or `Rows`; any real dtype
    y: Any  # (m,), int32, 0 ... C-1


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
    table: "Encoder | None"  # turns rows of a CSV file into x
    rows: tuple[np.ndarray, np.ndarray, np.ndarray]
    """For each part, which row of its file or set each sample was, from 0."""
    streamed: bool
    """Whether the training part is to be read from the disk in every epoch."""
