"""Where samples come from: a reader for each source that the settings may name."""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from handgrad.training.data.arrays import read_npy_folder, read_npz
from handgrad.training.data.csv_file import read_csv, read_rows
from handgrad.training.data.dataset import Samples, Source, Words
from handgrad.training.data.idx import read_idx_folder
from handgrad.training.data.table import Encoder, Table
from handgrad.training.errors import TrainingError
from handgrad.training.settings.tables import Data


def read_source(settings: Data) -> Source:
    """Read what the settings name.

    Args:
      settings: the table [data], checked.

    Returns:
      Its samples, and those of the test's and the validation's own files.

    Raises:
      TrainingError: for files that are missing or broken.
    """
    kind = settings.source.partition(":")[0]
    source = _READERS.get(kind, _bundled)(settings)
    for part in ("test", "validation"):
        if path := getattr(settings, f"{part}_path"):
            if getattr(source, part):
                raise TrainingError(
                    f"`data.{part}_path` must be left out, got {path}: data.path "
                    f"brings {part} samples of its own."
                )
            own = _own(source, replace(settings, path=path))
            source = source._replace(**{part: own})
    return source


def _own(source: Source, settings: Data) -> Samples:
    if source.encoder is None:
        return _READERS[settings.source](settings).samples
    table, y = read_rows(source.encoder, settings.path)
    if y is None:
        raise TrainingError(
            f"`data.label` must be a column of {settings.path} too, found none of the "
            f"name {source.encoder.label!r}."
        )
    return Samples(table, y)


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
    spec = find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")
    folder = Path(spec.submodule_search_locations[0], "datasets", "data")
    table = np.loadtxt(folder / "digits.csv.gz", delimiter=",").astype(np.uint8)
    return Source(Samples(table[:, :-1], table[:, -1]), image_shape=(8, 8))


def _idx(settings: Data) -> Source:
    x, y, x_test, y_test = read_idx_folder(settings.path)
    height, width = x.shape[1:]
    names: tuple[str, ...] = ()
    if y.min() == 1 == y_test.min():  # as the letters of EMNIST
        names = tuple(map(str, np.unique(y).tolist()))
        y, y_test = y - 1, y_test - 1
    return Source(
        Samples(x.reshape(len(x), -1), y),
        test=Samples(x_test.reshape(len(x_test), -1), y_test),
        classes=names,
        image_shape=(height, width),
    )


def _csv(settings: Data) -> Source:
    samples, encoder = read_csv(settings, settings.path)
    return Source(samples, encoder=encoder)


def _openml(settings: Data) -> Source:
    """A data set of openml.org, of its newest active version or openml:NAME:VERSION."""
    from sklearn.datasets import fetch_openml

    _, name, *version = settings.source.split(":")
    versions: dict[str, Any] = {"version": int(version[0])} if version else {}
    try:
        bunch: Any = fetch_openml(name, as_frame=False, parser="liac-arff", **versions)
    except Exception as error:  # of the network, of openml.org, of the set's format
        raise TrainingError(
            f"`data.source` {settings.source} must be a data set of openml.org that "
            f"scikit-learn can fetch: {error}"
        ) from error
    return _from_openml(bunch, settings)


def _from_openml(bunch: Any, settings: Data) -> Source:
    if not isinstance(bunch.data, np.ndarray) or np.ndim(bunch.target) != 1:
        raise TrainingError(
            f"`data.source` {settings.source} must be a dense table with one label per "
            "row, got a sparse one, no label or several."
        )
    label = bunch.target_names[0]
    columns = [n for n in bunch.feature_names if n not in settings.ignored]
    words = tuple(n for n in columns if n in bunch.categories)
    numbers = tuple(n for n in columns if n not in bunch.categories)
    for name in words:
        if not {name, "*"} & set(settings.categorical):
            raise TrainingError(
                f"`data.categorical` must name column {name!r} of {settings.source}, "
                "which holds text. Or name it in data.ignored."
            )
    place = {name: index for index, name in enumerate(bunch.feature_names)}
    table = Table(
        numbers,
        bunch.data[:, [place[name] for name in numbers]],
        words,
        tuple(
            _words(bunch.data[:, place[name]], bunch.categories[name]) for name in words
        ),
    )
    y = bunch.target
    y = np.array(y, np.str_) if y.dtype == object else y
    encoder = Encoder((*columns, label), True, label, numbers, None, words, ())
    return Source(Samples(table, y), encoder=encoder)


def _words(places: np.ndarray, words: list[str]) -> Words:
    """A column that scikit-learn gives as places among its words, NaN for missing."""
    return Words(np.nan_to_num(places, nan=-1).astype(np.int32), tuple(words))


_READERS: dict[str, Callable[[Data], Source]] = {
    "digits": _digits,
    "idx": _idx,
    "npz": lambda settings: read_npz(settings.path),
    "npy": lambda settings: read_npy_folder(settings.path),
    "csv": _csv,
    "openml": _openml,
}
