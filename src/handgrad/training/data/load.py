"""From settings to a data set: read, split, check, measure."""

from typing import Any, NamedTuple

import numpy as np

from handgrad.training.data.dataset import Dataset, Part
from handgrad.training.data.labels import class_names, label_numbers
from handgrad.training.data.scaling import fit_scaling, measure
from handgrad.training.data.sources import Samples, Source, read_source
from handgrad.training.data.splits import Rows, split_rows
from handgrad.training.errors import TrainingError
from handgrad.training.settings.check import memory_bytes
from handgrad.training.settings.tables import Data

_SHARES = {"test": 0.2, "validation": 0.1}
_KEPT = {np.dtype(name) for name in ("u1", "i1", "u2", "i2", "f2", "f4")}
"""What goes to the device as it is; all else as float32."""


class _Chosen(NamedTuple):
    x: Any
    y: np.ndarray  # (m,), int32
    rows: np.ndarray  # (m,), of the source


def load_data(settings: Data) -> Dataset:
    """Read, split, check and measure what the settings name; nothing is compiled.

    Splits are stratified and depend on `split_seed` alone; scaling is that of the
    training part alone.

    Args:
      settings: the table [data], checked by `check_settings`.

    Returns:
      The data set, unscaled, and its scaling.

    Raises:
      TrainingError: for files that are missing or broken, samples that nothing can be
        learned from, and splits that cannot be made.
    """
    return make_dataset(read_source(settings), settings)


def make_dataset(source: Source, settings: Data) -> Dataset:
    """A data set from samples that are at hand.

    Args:
      source: samples as they are; with `Samples` of its own for test and validation, or
        without.
      settings: the table [data]; its `source` and paths are not looked at.

    Returns:
      The data set.

    Raises:
      TrainingError: as `load_data`.
    """
    _check_lengths(source.samples, "training")
    names = settings.classes or source.classes
    classes = class_names(source.samples.y, names, "training")
    y = label_numbers(source.samples.y, classes, "training")
    chosen, streamed = _choose(source, y, classes, settings)
    moments = {name: measure(part.x, name) for name, part in chosen.items()}
    _check_varies(moments["training"].low, moments["training"].high)
    parts = {
        name: Part(_prepared(part.x, streamed), part.y) for name, part in chosen.items()
    }
    train = parts["training"]
    return Dataset(
        train,
        parts["validation"],
        parts["test"],
        fit_scaling(settings.scaling, settings.divisor, train.x, moments["training"]),
        classes,
        source.features or tuple(map(str, range(train.x.shape[1]))),
        source.image_shape,
        None,
        (chosen["training"].rows, chosen["validation"].rows, chosen["test"].rows),
        streamed,
    )


def _choose(
    source: Source, y: np.ndarray, classes: tuple[str, ...], settings: Data
) -> tuple[dict[str, _Chosen], bool]:
    """The three parts, and whether the first is to be streamed."""
    x = source.samples.x
    own = {"test": source.test, "validation": source.validation}
    rows, held = np.arange(len(y)), {}
    for number, (name, share) in enumerate(_SHARES.items()):
        given = getattr(settings, name)
        share = 0.0 if own[name] else share if given is None else given
        seed = (settings.split_seed, number)
        kept, out = split_rows(y[rows], share, seed, f"data.{name}")
        held[name], rows = rows[out], rows[kept]
    streamed = _streams(settings, x, len(rows))
    places = {"training": rows, **held}
    chosen = {
        name: _Chosen(_take(x, its, streamed), y[its], its)
        for name, its in places.items()
    }
    for name, samples in own.items():
        if samples:
            chosen[name] = _own(samples, x.shape[1], classes, name)
    return chosen, streamed


def _own(
    samples: Samples, features: int, classes: tuple[str, ...], name: str
) -> _Chosen:
    _check_lengths(samples, name)
    if samples.x.shape[1] != features:
        raise TrainingError(
            f"`x` of the {name} samples must have {features} features, as those to "
            f"train on have, got {samples.x.shape[1]}."
        )
    y = label_numbers(samples.y, classes, name)
    return _Chosen(samples.x, y, np.arange(len(y)))


def _check_lengths(samples: Samples, name: str) -> None:
    x, y = samples
    if x.ndim != 2 or 0 in x.shape or y.shape != (len(x),):
        raise TrainingError(
            f"`x` and `y` of the {name} samples must be (m, n) and (m,), with a sample "
            f"and a feature at least, got {x.shape} and {y.shape}."
        )


def _check_varies(low: np.ndarray, high: np.ndarray) -> None:
    if (low == high).all():
        raise TrainingError(
            "`x` of the training samples must differ between samples, but every "
            "feature is constant. Nothing can be learned from it."
        )


def _streams(settings: Data, x: Any, samples: int) -> bool:
    if settings.stream != "auto":
        return settings.stream == "on"
    size = samples * x.shape[1] * (x.dtype.itemsize if x.dtype in _KEPT else 4)
    return isinstance(x, np.memmap) and size > memory_bytes() / 4


def _take(x: Any, rows: np.ndarray, streamed: bool) -> Any:
    if len(rows) == len(x):
        return x
    return Rows(x, rows) if streamed else np.asarray(x[rows])


def _prepared(x: Any, streamed: bool) -> Any:
    """In a dtype that goes to the device; what is streamed stays where it is."""
    if streamed or (x.dtype in _KEPT and x.dtype.isnative):
        return x
    kept = x.dtype.newbyteorder("=") if x.dtype.newbyteorder("=") in _KEPT else "f4"
    return np.asarray(x).astype(kept)
