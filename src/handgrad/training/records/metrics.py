"""metrics.jsonl: a line of JSON per epoch, appended as training goes."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from handgrad.training.errors import TrainingError
from handgrad.training.files import replace_file

METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class EpochRecord:
    """A line of metrics.jsonl: losses in nats, accuracies in [0, 1].

    The losses are the plain negative log-likelihood (L2), so those of any two runs
    compare. All but the counts may be NaN or infinite: so ends a run that diverged.
    """

    epoch: int  # from 1
    steps: int  # since the run began
    objective: float  # what the steps minimised: smoothing, weights, dropout and all
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float  # of the epoch's last step


_COUNTS = ("epoch", "steps")


def append_record(folder: Path, record: EpochRecord) -> None:
    """Add a line to metrics.jsonl and hand it to the operating system.

    Args:
      folder: of the run.
      record: of the epoch that ended.
    """
    with (folder / METRICS).open("ab") as file:
        file.write(_line(record))


def read_records(folder: Path) -> tuple[EpochRecord, ...]:
    """The records of a run, also of one that is still writing them.

    Args:
      folder: of the run.

    Returns:
      One per epoch; none without the file. A last line that was not written to its end
      is left out. Keys that this version does not know are passed over.

    Raises:
      TrainingError: for any other line that is not a record; naming file and line.
    """
    path = folder / METRICS
    if not path.is_file():
        return ()
    *lines, _unfinished = path.read_bytes().split(b"\n")
    return tuple(_record(line, path, number) for number, line in enumerate(lines, 1))


def truncate_records(folder: Path, epoch: int) -> tuple[EpochRecord, ...]:
    """Forget what came after an epoch, so that a resumed run goes on from there.

    Args:
      folder: of the run.
      epoch: the last one to keep.

    Returns:
      The records kept, which are then all that the file holds.

    Raises:
      TrainingError: as `read_records`.
    """
    kept = tuple(record for record in read_records(folder) if record.epoch <= epoch)
    replace_file(folder / METRICS, b"".join(map(_line, kept)))
    return kept


def best_record(records: Sequence[EpochRecord]) -> EpochRecord | None:
    """The record of the lowest validation loss; None where no loss is finite."""
    finite = [record for record in records if math.isfinite(record.validation_loss)]
    return min(finite, key=lambda record: record.validation_loss, default=None)


def _line(record: EpochRecord) -> bytes:
    values = {name: _to_json(value) for name, value in asdict(record).items()}
    return json.dumps(values, allow_nan=False).encode() + b"\n"


def _to_json(value: float) -> float | str:
    """JSON has no NaN and no infinity; their names as strings stand for them."""
    return value if math.isfinite(value) else str(value)


def _record(line: bytes, path: Path, number: int) -> EpochRecord:
    try:
        values: dict[str, Any] = json.loads(line)
        read: dict[str, Any] = {
            field.name: (int if field.name in _COUNTS else float)(values[field.name])
            for field in fields(EpochRecord)
        }
        return EpochRecord(**read)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise TrainingError(
            f"`{path}` must hold a record of an epoch in line {number}, got "
            f"{line[:80]!r} ({type(error).__name__}: {error}). Remove the line."
        ) from error
