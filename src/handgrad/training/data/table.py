"""Tables with names, numbers and words: how they become features, and how new rows do.

Missing numbers are filled and words one-hot encoded by scikit-learn's transformers, as
the training part has it. What they learned is kept as plain values, so that a saved
model needs no pickle.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import msgspec
import numpy as np

from handgrad.training.data.dataset import Words
from handgrad.training.errors import TrainingError, shortened
from handgrad.training.settings.check import memory_bytes


class Table(NamedTuple):
    """Columns of numbers and columns of words."""

    names: tuple[str, ...]  # p, of the numbers
    numbers: np.ndarray  # (m, p), float64; NaN where nothing stands
    word_names: tuple[str, ...]  # t
    words: tuple[Words, ...]  # t

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.numbers), len(self.names) + len(self.words)


@dataclass(frozen=True)
class Encoder:
    """What turns a table into x: the numbers first, then a feature for each word."""

    columns: tuple[str, ...]  # all those of the file, in order
    header: bool  # whether the file begins with them
    label: str  # which of them is y
    names: tuple[str, ...]  # p, of the numbers
    fills: tuple[float, ...] | None  # p, in place of missing numbers; None: refused
    word_names: tuple[str, ...]  # t
    words: tuple[tuple[str, ...], ...]  # t: those of the training part, "" for missing


def take(table: Table, rows: np.ndarray) -> Table:
    """Some rows of a table."""
    words = tuple(Words(places[rows], words) for places, words in table.words)
    return table._replace(numbers=table.numbers[rows], words=words)


def fit_encoder(
    table: Table, rows: np.ndarray, missing: str, encoder: Encoder
) -> Encoder:
    """What the training part says about missing numbers and words.

    Args:
      table: the training part.
      rows: (m,), which row of its file each is, for messages.
      missing: `data.missing`.
      encoder: the columns of the file, as its reader gave them.

    Returns:
      The encoder with its fills and words.

    Raises:
      TrainingError: where something is missing that may not be, by column and row; for
        a column without anything.
    """
    fills = None
    if missing == "refuse":
        _refuse_missing(table, rows)
    else:
        fills = _fills(table, missing)
    words = tuple(
        tuple(sorted({"" if k < 0 else words[k] for k in np.unique(places)}))
        for places, words in table.words
    )
    return replace(encoder, fills=fills, words=words)


def encode(encoder: Encoder, table: Table, rows: np.ndarray) -> np.ndarray:
    """The features of a table; a word that training did not meet is none of its words.

    Args:
      encoder: of `fit_encoder`.
      table: with the encoder's columns.
      rows: (m,), which row of its file each is, for messages.

    Returns:
      (m, n_0), float32.

    Raises:
      TrainingError: where something is missing that may not be; for features that
        memory does not hold.
    """
    width = len(encoder.names) + sum(map(len, encoder.words))
    if 4 * width * len(table.numbers) > memory_bytes() / 2:
        raise TrainingError(
            "`data.categorical` must name columns whose words memory holds, got "
            f"{width} features of {len(table.numbers)} samples. Name some in "
            "data.ignored."
        )
    numbers = table.numbers
    if encoder.fills is None:
        _refuse_missing(table, rows)
    elif encoder.fills:
        from sklearn.impute import SimpleImputer

        imputer = SimpleImputer().fit(np.array([encoder.fills]))
        numbers = np.asarray(imputer.transform(numbers))
    if len(numbers) and encoder.words:
        numbers = np.concatenate([numbers, _one_hot(encoder, table)], axis=1)
    return numbers.astype(np.float32)


def feature_names(encoder: Encoder) -> tuple[str, ...]:
    """The n_0 names: a column of numbers by its own, a word as COLUMN=WORD."""
    words = zip(encoder.word_names, encoder.words, strict=True)
    return encoder.names + tuple(f"{name}={word}" for name, of in words for word in of)


def encoder_to_json(encoder: Encoder) -> dict[str, Any]:
    """The encoder as values that JSON writes exactly."""
    return asdict(encoder)


def encoder_from_json(values: dict[str, Any]) -> Encoder:
    """The encoder that `encoder_to_json` was given."""
    return msgspec.convert(values, Encoder)


def _fills(table: Table, missing: str) -> tuple[float, ...]:
    if not table.names:
        return ()
    from sklearn.impute import SimpleImputer

    for name, column in zip(table.names, table.numbers.T, strict=True):
        if np.isnan(column).all():
            raise TrainingError(
                f"`data.ignored` must name column {name!r}, which holds nothing in the "
                "training samples."
            )
    imputer: Any = SimpleImputer(strategy=missing).fit(table.numbers)
    return tuple(map(float, imputer.statistics_))


def _one_hot(encoder: Encoder, table: Table) -> np.ndarray:
    from sklearn.preprocessing import OneHotEncoder

    columns = zip(table.words, encoder.words, strict=True)
    places = np.stack([_places(column, words) for column, words in columns], axis=1)
    as_wanted: dict[str, Any] = {
        "categories": [np.arange(len(words)) for words in encoder.words],
        "handle_unknown": "ignore",
        "sparse_output": False,
        "dtype": np.float32,
    }
    one_hot = OneHotEncoder(**as_wanted)
    return np.asarray(one_hot.fit(np.zeros_like(places[:1])).transform(places))


def _places(column: Words, words: tuple[str, ...]) -> np.ndarray:
    """Where each row's word stands among those of the training part, or -1."""
    known = {word: place for place, word in enumerate(words)}
    places = [known.get(word, -1) for word in (*column.words, "")]
    return np.array(places)[column.places]  # the last one is that of a missing word


def _refuse_missing(table: Table, rows: np.ndarray) -> None:
    gone = *np.isnan(table.numbers.T), *(words.places < 0 for words in table.words)
    for name, missing in zip(table.names + table.word_names, gone, strict=True):
        if missing.any():
            raise TrainingError(
                "`data.missing` must say what takes the place of missing values, got "
                f"'refuse' for the {missing.sum()} in column {shortened(name)}, the "
                f"first in row {rows[np.argmax(missing)]}. Or name it in data.ignored."
            )
