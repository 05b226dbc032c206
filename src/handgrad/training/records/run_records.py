"""All that a run left in its folder, read back in one piece."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handgrad.training.errors import TrainingError
from handgrad.training.records.classifier import Classifier
from handgrad.training.records.metrics import EpochRecord, read_records
from handgrad.training.records.model import MODEL, load_model
from handgrad.training.records.predictions import (
    PREDICTIONS,
    Predictions,
    load_predictions,
)


@dataclass(frozen=True)
class RunRecords:
    """The records of a run. What it did not come to write is empty or None."""

    folder: Path
    settings: dict[str, Any]  # settings.toml
    status: dict[str, Any]  # status.json
    check: str  # check.txt, the gradient check
    epochs: tuple[EpochRecord, ...]  # metrics.jsonl
    result: dict[str, Any]  # result.json
    predictions: Predictions | None  # predictions.npz
    model: Classifier | None  # model.safetensors

    @property
    def name(self) -> str:
        """The folder's, which no other run beside it has."""
        return self.folder.resolve().name


def read_run(folder: str | Path) -> RunRecords:
    """Read the records of a run, finished or not.

    Args:
      folder: runs/NAME.

    Returns:
      The records.

    Raises:
      TrainingError: for what is no folder of a run, or a file in it that is broken.
    """
    folder = Path(folder)
    if not (folder / "settings.toml").is_file():
        raise TrainingError(
            f"`run` must be the folder of a run, got {folder}: it has no settings.toml."
        )
    predictions, model = folder / PREDICTIONS, folder / MODEL
    return RunRecords(
        folder,
        _read(folder / "settings.toml", tomllib.loads, {}),
        _read(folder / "status.json", json.loads, {}),
        _read(folder / "check.txt", str, ""),
        read_records(folder),
        _read(folder / "result.json", json.loads, {}),
        load_predictions(predictions) if predictions.is_file() else None,
        load_model(model) if model.is_file() else None,
    )


def _read(path: Path, parse: Any, default: Any) -> Any:
    """The parsed text of a file of the default's type; the default without the file."""
    if not path.is_file():
        return default
    try:
        value = parse(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise TrainingError(f"`{path}` must be readable, got: {error}.") from error
    if not isinstance(value, type(default)):
        raise TrainingError(f"`{path}` must hold a table, got {value!r:.80}.")
    return value
