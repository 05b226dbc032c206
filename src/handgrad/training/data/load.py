"""From settings to a data set: read, split, check, measure."""

from typing import Any, NamedTuple

import numpy as np

from handgrad.training.data.dataset import Dataset, Part, Samples, Source, Words
from handgrad.training.data.labels import as_words, class_names, label_numbers
from handgrad.training.data.on_disk import Rows, kept_dtype
from handgrad.training.data.scaling import Moments, fit_scaling, measure
from handgrad.training.data.sources import read_source
from handgrad.training.data.splits import split_rows
from handgrad.training.data.table import (
    Encoder,
    Table,
    encode,
    feature_names,
    fit_encoder,
    take,
)
from handgrad.training.errors import TrainingError
from handgrad.training.settings.check import memory_bytes
from handgrad.training.settings.tables import Data

PARTS = ("training", "validation", "test")
_SHARES = {"test": 0.2, "validation": 0.1}


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
    source = _labelled(source)
    y = source.samples.y
    classes = class_names(y, settings.classes or source.classes, "training")
    chosen, streamed = _choose(source, classes, settings)
    encoder = None
    if source.encoder:
        encoder, chosen = _encoded(source.encoder, chosen, settings.missing)
    _check_widths(chosen)
    moments = {name: measure(part.x, part.rows, name) for name, part in chosen.items()}
    _check_varies(moments["training"])
    train, validation, test = (
        Part(_prepared(chosen[name].x, streamed), chosen[name].y) for name in PARTS
    )
    how, divisor = settings.scaling, settings.divisor
    return Dataset(
        train,
        validation,
        test,
        fit_scaling(how, divisor, train.x, moments["training"]),
        classes,
        _feature_names(source, encoder, train.x.shape[1]),
        source.image_shape,
        encoder,
        (chosen["training"].rows, chosen["validation"].rows, chosen["test"].rows),
        streamed,
    )


def _labelled(source: Source) -> Source:
    """Labels of one kind, and as many as samples."""
    parts = {}
    for name in ("samples", "validation", "test"):
        samples = getattr(source, name)
        if samples:
            x, y = samples.x, as_words(samples.y)
            count = len(y.places) if isinstance(y, Words) else y.shape
            if (
                len(x.shape) != 2
                or 0 in x.shape
                or count not in (x.shape[0], x.shape[:1])
            ):
                raise TrainingError(
                    f"`x` and `y` of the {name} must be (m, n) and (m,), with a sample "
                    f"and a feature at least, got {x.shape} and {np.shape(samples.y)}."
                )
            parts[name] = Samples(x, y)
    return source._replace(**parts)


def _choose(
    source: Source, classes: tuple[str, ...], settings: Data
) -> tuple[dict[str, _Chosen], bool]:
    """The three parts, and whether the first is to be streamed."""
    x, y = source.samples.x, label_numbers(source.samples.y, classes, "training")
    own = {"test": source.test, "validation": source.validation}
    rows, held = np.arange(len(y)), {}
    for number, (name, samples) in enumerate(own.items()):
        share = _share(name, samples, settings)
        seed = (settings.split_seed, number)
        kept, out = split_rows(y[rows], share, seed, f"data.{name}")
        held[name], rows = rows[out], rows[kept]
    streamed = _streams(settings, x, len(rows))
    places = {"training": rows, **held}
    chosen = {
        n: _Chosen(_take(x, its, streamed), y[its], its) for n, its in places.items()
    }
    for name, samples in own.items():
        if samples:
            y = label_numbers(samples.y, classes, name)
            chosen[name] = _Chosen(samples.x, y, np.arange(len(y)))
    return chosen, streamed


def _share(name: str, own: Samples | None, settings: Data) -> float:
    share = getattr(settings, name)
    if own is None:
        return _SHARES[name] if share is None else share
    if share is not None:
        raise TrainingError(
            f"`data.{name}` must be left out: {settings.source} brings {name} samples "
            f"of its own, got {share}."
        )
    return 0.0


def _encoded(
    encoder: Encoder, chosen: dict[str, _Chosen], missing: str
) -> tuple[Encoder, dict[str, _Chosen]]:
    x, _, rows = chosen["training"]
    encoder = fit_encoder(x, rows, missing, encoder)
    return encoder, {
        name: part._replace(x=encode(encoder, part.x, part.rows))
        for name, part in chosen.items()
    }


def _feature_names(
    source: Source, encoder: Encoder | None, count: int
) -> tuple[str, ...]:
    if encoder:
        return feature_names(encoder)
    return source.features or tuple(map(str, range(count)))


def _check_widths(chosen: dict[str, _Chosen]) -> None:
    features = chosen["training"].x.shape[1]
    for name, part in chosen.items():
        if part.x.shape[1] != features:
            raise TrainingError(
                f"`x` of the {name} samples must have {features} features, as those to "
                f"train on have, got {part.x.shape[1]}."
            )


def _check_varies(moments: Moments) -> None:
    if (moments.low == moments.high).all():
        raise TrainingError(
            "`x` of the training samples must differ between samples, but every "
            "feature is constant. Nothing can be learned from it."
        )


def _streams(settings: Data, x: Any, samples: int) -> bool:
    if settings.stream != "auto":
        return settings.stream == "on"
    if not isinstance(x, np.memmap):
        return False
    size = samples * x.shape[1] * kept_dtype(x.dtype).itemsize
    return size > memory_bytes() / 4


def _take(x: Any, rows: np.ndarray, streamed: bool) -> Any:
    if isinstance(x, Table):
        return take(x, rows)
    if len(rows) == len(x):
        return x
    return Rows(x, rows) if streamed else np.asarray(x[rows])


def _prepared(x: Any, streamed: bool) -> Any:
    """In a dtype that goes to the device; what is streamed stays where it is."""
    return x if streamed else np.asanyarray(x).astype(kept_dtype(x.dtype), copy=False)
