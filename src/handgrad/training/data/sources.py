"""Where samples come from: what each source holds, as it was read."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from handgrad.training.data.idx import read_idx_folder
from handgrad.training.settings.tables import Data


class Samples(NamedTuple):
    """Rows of a source, not yet checked, split or scaled."""

    x: Any  # (m, n_0): array, or memory map
    y: np.ndarray  # (m,): integers or text


class Source(NamedTuple):
    """All that a source says."""

    samples: Samples
    test: Samples | None = None  # of its own
    validation: Samples | None = None  # of its own
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    image_shape: tuple[int, int] | None = None


def read_source(settings: Data) -> Source:
    """Read what the settings name.

    Args:
      settings: the table [data], checked.

    Returns:
      Its samples.

    Raises:
      TrainingError: for files that are missing or broken.
    """
    kind = settings.source.partition(":")[0]
    return _READERS.get(kind, _bundled)(settings)


def _bundled(settings: Data) -> Source:
    """The small sets that come with scikit-learn."""
    from sklearn import datasets

    bunch: Any = getattr(datasets, f"load_{settings.source}")()
    return Source(
        Samples(bunch.data, bunch.target),
        classes=tuple(map(str, bunch.target_names)),
        features=tuple(map(str, bunch.feature_names)),
    )


def _digits(settings: Data) -> Source:
    """The scans that come with scikit-learn, without the time that its import takes."""
    del settings
    from importlib.util import find_spec

    spec = find_spec("sklearn")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    file = f"{spec.submodule_search_locations[0]}/datasets/data/digits.csv.gz"
    table = np.loadtxt(file, delimiter=",").astype(np.uint8)
    return Source(Samples(table[:, :-1], table[:, -1]), image_shape=(8, 8))


def _idx(settings: Data) -> Source:
    files = read_idx_folder(settings.path)
    shape = files.train_images.shape[1:]
    return Source(
        Samples(_flat(files.train_images), files.train_labels),
        test=Samples(_flat(files.test_images), files.test_labels),
        image_shape=(shape[0], shape[1]),
    )


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


_READERS: dict[str, Callable[[Data], Source]] = {"digits": _digits, "idx": _idx}
