"""The cells of a column of text, as numbers or as words."""

from collections.abc import Sequence
from math import nan
from pathlib import Path

from handgrad.training.errors import TrainingError, shortened

MISSING = frozenset(("", "?", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"))
"""What stands for nothing."""


def places_of(cells: Sequence[str], words: dict[str, int]) -> list[int]:
    """Where each cell's word stands among the words met so far; new ones are added."""
    stripped = map(str.strip, cells)
    return [
        -1 if cell in MISSING else words.setdefault(cell, len(words))
        for cell in stripped
    ]


def numbers_of(cells: Sequence[str]) -> list[float] | None:
    """The cells as numbers, NaN where nothing stands; None where text does."""
    if "_" in "".join(cells):  # which Python reads as a digit's neighbour
        return None
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        pass
    try:
        return [nan if cell.strip() in MISSING else float(cell) for cell in cells]
    except ValueError:
        return None


def numbers_or_refuse(
    cells: Sequence[str], name: str, start: int, path: Path
) -> list[float]:
    """As `numbers_of`; ``start`` is the number of the first cell's row.

    Raises:
      TrainingError: where a cell holds text, naming column and row.
    """
    numbers = numbers_of(cells)
    if numbers is None:
        row = next(
            row
            for row, cell in enumerate(cells)
            if cell.strip() not in MISSING and not is_number(cell)
        )
        raise TrainingError(
            f"`data.categorical` must name column {shortened(name)} of {path} for it "
            f"to hold text, got {shortened(cells[row])} in row {start + row}. Or name "
            "it in data.ignored."
        )
    return numbers


def is_number(cell: str) -> bool:
    """Whether Python reads it as one, and without an underscore."""
    try:
        return "_" not in cell and float(cell) is not None
    except ValueError:
        return False
