"""CSV files, gzipped or not, read in blocks of rows into columns."""

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from handgrad.training.data.cells import (
    is_number,
    numbers_of,
    numbers_or_refuse,
    places_of,
)
from handgrad.training.data.dataset import Samples
from handgrad.training.data.files import broken, opened, reading
from handgrad.training.data.table import Encoder, Table, Words
from handgrad.training.errors import TrainingError, nearest, shortened
from handgrad.training.settings.tables import Data

MOST_WORDS = 1000  # of a column of categories
MOST_LABELS = 2**16
_CELLS = 2**18  # of a block of rows


class _Kinds(NamedTuple):
    """Which columns are read, by their positions, and how."""

    numbers: list[int]
    words: list[int]
    label: int | None


def read_csv(settings: Data, path: str | Path) -> tuple[Samples, Encoder]:
    """Read the samples of a CSV file in UTF-8.

    Args:
      settings: the table [data]: which column is the label, which are ignored and which
        hold categories, and whether there is a header.
      path: the file.

    Returns:
      The samples, their x a `Table` and their y `Words`; and an encoder that knows the
      columns alone.

    Raises:
      TrainingError: for a file that is broken, rows of different lengths, columns that
        are not there, and text in a column that is neither label nor category.
    """
    path = Path(path).expanduser()
    header, names = _columns(path, settings.header)
    label = _label_position(settings.label, names)
    for key in ("ignored", "categorical"):
        for name in getattr(settings, key):
            if name != "*" or key == "ignored":
                _position(name, names, key)
    read = [
        place
        for place, name in enumerate(names)
        if place != label and name not in settings.ignored
    ]
    words = [place for place in read if names[place] in settings.categorical]
    if "*" in settings.categorical:
        words = sorted({*words, *_text_columns(path, header, names, read)})
    numbers = [place for place in read if place not in words]
    table, y = _read(path, header, names, _Kinds(numbers, words, label))
    assert y is not None
    encoder = Encoder(
        names, header, names[label], table.names, None, table.word_names, ()
    )
    return Samples(table, y), encoder


def read_rows(encoder: Encoder, path: str | Path) -> tuple[Table, Words | None]:
    """Read new rows for a model that is trained.

    Args:
      encoder: of the model.
      path: a CSV file with the columns of the model, in any order where they have
        names; the label may be among them, and so may others.

    Returns:
      The table to `encode`, and the labels if they are there.

    Raises:
      TrainingError: as `read_csv`.
    """
    path = Path(path).expanduser()
    header, names = _columns(path, "yes" if encoder.header else "no")
    if not encoder.header:
        names = encoder.columns
        without = tuple(name for name in names if name != encoder.label)
        first = _columns(path, "no")[1]
        names = without if len(first) == len(without) else names
    numbers, words = (
        [_position(name, names, "path") for name in of]
        for of in (encoder.names, encoder.word_names)
    )
    label = names.index(encoder.label) if encoder.label in names else None
    return _read(path, header, names, _Kinds(numbers, words, label))


def _columns(path: Path, header: str) -> tuple[bool, tuple[str, ...]]:
    """Whether the first row is a header, and the names of the columns."""
    with reading(path):
        first = next(_rows(path), None)
    if first is None:
        raise broken(path, "with rows, got none.")
    cells = tuple(cell.strip() for cell in first)
    named = header == "yes" or (
        header == "auto" and not any(map(is_number, cells)) and "" not in cells
    )
    if not named:
        return False, tuple(map(str, range(len(cells))))
    if len(set(cells)) < len(cells):
        twice = next(name for name in cells if cells.count(name) > 1)
        raise broken(
            path,
            f"whose columns have different names, got {shortened(twice)} twice. Rename "
            "one; if the first row is no header, set data.header to 'no'.",
        )
    return True, cells


def _label_position(label: int | str | None, names: tuple[str, ...]) -> int:
    if isinstance(label, str):
        return _position(label, names, "label")
    place = -1 if label is None else label
    if not -len(names) <= place < len(names):
        raise TrainingError(
            f"`data.label` must be a column's name or a position in "
            f"-{len(names)} ... {len(names) - 1}, got {place}."
        )
    return place % len(names)


def _position(name: str, names: tuple[str, ...], key: str) -> int:
    if name not in names:
        raise TrainingError(
            f"`data.{key}` must be of a table with a column {shortened(name)}, which "
            f"is not there. {nearest(name, names[:100])}"
        )
    return names.index(name)


def _rows(path: Path) -> Iterator[list[str]]:
    """The rows that are not empty."""
    with opened(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        yield from filter(None, csv.reader(text, strict=True, skipinitialspace=True))


def _blocks(
    path: Path, header: bool, names: tuple[str, ...]
) -> Iterator[tuple[int, list[tuple[str, ...]]]]:
    """The number of the first row, and the columns, of a block of rows each."""
    with reading(path):
        rows = islice(_rows(path), int(header), None)
        start, length = 0, max(1, _CELLS // len(names))
        while block := list(islice(rows, length)):
            for number, row in enumerate(block, start):
                if len(row) != len(names):
                    raise broken(
                        path,
                        f"of rows of {len(names)} columns, as the first row has, got "
                        f"{len(row)} in row {number}.",
                    )
            yield start, list(zip(*block, strict=True))
            start += len(block)


def _text_columns(
    path: Path, header: bool, names: tuple[str, ...], read: Sequence[int]
) -> set[int]:
    found: set[int] = set()
    for _, columns in _blocks(path, header, names):
        found |= {p for p in read if p not in found and numbers_of(columns[p]) is None}
    return found


def _read(
    path: Path, header: bool, names: tuple[str, ...], kinds: _Kinds
) -> tuple[Table, Words | None]:
    label = [] if kinds.label is None else [kinds.label]
    texts = [*kinds.words, *label]
    known: list[dict[str, int]] = [{} for _ in texts]
    numbers: list[np.ndarray] = []
    places: list[np.ndarray] = []
    for start, columns in _blocks(path, header, names):
        block = [
            numbers_or_refuse(columns[place], names[place], start, path)
            for place in kinds.numbers
        ]
        numbers.append(np.array(block).reshape(len(block), len(columns[0])))
        codes = [
            places_of(columns[place], words)
            for place, words in zip(texts, known, strict=True)
        ]
        places.append(np.array(codes, np.int32).reshape(len(codes), len(columns[0])))
        _check_words(known[: len(kinds.words)], kinds.words, names, path)
        if label and len(known[-1]) > MOST_LABELS:
            raise TrainingError(
                f"`data.label` must be a column of at most {MOST_LABELS} classes, got "
                f"more in {names[label[0]]!r} of {path}."
            )
    if not numbers:
        raise broken(path, "with rows, got a header alone.")
    all_places = np.concatenate(places, axis=1)
    words = [Words(row, tuple(of)) for row, of in zip(all_places, known, strict=True)]
    table = Table(
        tuple(names[place] for place in kinds.numbers),
        np.concatenate(numbers, axis=1).T,
        tuple(names[place] for place in kinds.words),
        tuple(words[: len(kinds.words)]),
    )
    return table, words[-1] if label else None


def _check_words(
    known: list[dict[str, int]], places: list[int], names: tuple[str, ...], path: Path
) -> None:
    for words, place in zip(known, places, strict=True):
        if len(words) > MOST_WORDS:
            raise TrainingError(
                f"`data.categorical` must name columns of at most {MOST_WORDS} words, "
                f"got more in {names[place]!r} of {path}. Name it in data.ignored."
            )
