"""Labels as numbers 0 ... C-1, and the names of the classes."""

import numpy as np

from handgrad.training.data.dataset import Words
from handgrad.training.errors import TrainingError, shortened


def class_names(
    y: np.ndarray | Words, names: tuple[str, ...], where: str
) -> tuple[str, ...]:
    """The classes, from the labels to train on.

    Args:
      y: (m,), labels as they were read: integers 0 ... C-1, or text.
      names: of the classes in order, from the settings or the source; () if not known.
      where: what a message calls the samples.

    Returns:
      C names: those given; otherwise the numbers, or the text in alphabetical order (by
      value if all of it is whole numbers).

    Raises:
      TrainingError: for labels that are no labels, a label without a sample, fewer than
        two classes, or names that do not fit.
    """
    text = isinstance(y, Words)
    found = _names_in_text(y, where) if isinstance(y, Words) else _numbers(y, where)
    if len(found) < 2:
        raise TrainingError(
            f"`y` of the {where} samples must hold two classes or more, got "
            f"{shortened(found)}."
        )
    fits = set(names) == set(found) if text else len(names) == len(found)
    if names and not fits:
        raise TrainingError(
            f"`data.classes` must name the {len(found)} classes of the {where} "
            f"samples, {shortened(found)}, got {shortened(names)}."
        )
    return names or found


def label_numbers(
    y: np.ndarray | Words, classes: tuple[str, ...], where: str
) -> np.ndarray:
    """The labels as places among the classes.

    Args:
      y: (m,), labels as they were read: integers 0 ... C-1, or names of classes.
      classes: C names, of `class_names`.
      where: what a message calls the samples.

    Returns:
      (m,), int32, 0 ... C-1.

    Raises:
      TrainingError: for a label that is none of them, by its row.
    """
    if isinstance(y, Words):
        numbers, given = _places(y, classes), (*y.words, "")
        outside = np.flatnonzero(numbers < 0)
        came = given[y.places[outside[0]]] if outside.size else ""
        valid = f"of {shortened(classes)}"
    else:
        _check_whole(y, where)
        numbers, outside = y, np.flatnonzero((y < 0) | (y >= len(classes)))
        came = y[outside[0]].item() if outside.size else 0
        valid = f"in 0 ... {len(classes) - 1}"
    if outside.size:
        raise TrainingError(
            f"`y` of the {where} samples must be labels {valid}, got {shortened(came)} "
            f"in row {outside[0]} ({outside.size} such labels). Correct or remove them."
        )
    return numbers.astype(np.int32)


def as_words(y: np.ndarray | Words) -> np.ndarray | Words:
    """Text as words; numbers as they are."""
    if isinstance(y, Words) or y.dtype.kind != "U":
        return y
    words, places = np.unique(y, return_inverse=True)
    return Words(places.reshape(y.shape).astype(np.int32), tuple(words.tolist()))


def _places(y: Words, classes: tuple[str, ...]) -> np.ndarray:
    known = {name: place for place, name in enumerate(classes)}
    return np.array([known.get(word, -1) for word in (*y.words, "")])[y.places]


def _names_in_text(y: Words, where: str) -> tuple[str, ...]:
    missing = np.flatnonzero(y.places < 0)
    if missing.size:
        raise TrainingError(
            f"`y` of the {where} samples must be a label in every row, got none in row "
            f"{missing[0]} ({missing.size} such rows). Fill or remove them."
        )
    names = sorted(y.words)
    try:
        values = dict(zip(names, map(float, names), strict=True))
    except ValueError:
        return tuple(names)
    broken = [name for name, value in values.items() if not value.is_integer()]
    if broken:
        raise TrainingError(
            f"`y` of the {where} samples must be classes, got numbers such as "
            f"{shortened(broken[0])}. Is it the right column (data.label)?"
        )
    return tuple(sorted(names, key=lambda name: values[name]))


def _numbers(y: np.ndarray, where: str) -> tuple[str, ...]:
    """0 ... C-1 as text, if every one of them is there; nothing of that size is made
    before it is known."""
    _check_whole(y, where)
    found, rows = np.unique(y, return_index=True)
    expected = np.arange(len(found))
    wrong = np.flatnonzero(found != expected)
    if wrong.size:
        label, row = found[wrong[0]], rows[wrong[0]]
        raise TrainingError(
            f"`y` of the {where} samples must hold every label in 0 ... C-1, but label "
            f"{expected[wrong[0]]} has no sample, and label {label} is in row {row}. "
            "Correct or remove such labels, or number the classes from 0."
        )
    return tuple(map(str, expected))


def _check_whole(y: np.ndarray, where: str) -> None:
    """Integers, or floats that are whole."""
    if y.dtype.kind in "iu":
        return
    if y.dtype.kind != "f":
        raise TrainingError(
            f"`y` of the {where} samples must be integers or text, got {y.dtype}."
        )
    broken = np.flatnonzero(y != np.floor(y))  # NaN is not equal to itself
    if broken.size:
        raise TrainingError(
            f"`y` of the {where} samples must be whole numbers, got {y[broken[0]]} in "
            f"row {broken[0]} ({broken.size} such labels). Correct or remove them."
        )
