"""The folder of a run: what is written where, and how to read it back."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from handgrad.network import Layer, Params
from handgrad.training.data import Dataset


class EpochRecord(NamedTuple):
    """A line of metrics.jsonl. Losses in nats, accuracies in [0, 1]."""

    epoch: int  # from 1
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float  # of this epoch, compilation excluded


class Classifier(NamedTuple):
    """What params.npz holds: everything that a prediction needs.

    With pixels (m, n_0), the inputs are (pixels - mean) / scale.
    """

    params: Params
    activation: tuple[str, ...]  # one name per hidden layer
    mean: np.ndarray  # (n_0,)
    scale: np.ndarray  # (n_0,)
    classes: tuple[str, ...]  # C names


def make_folder(root: Path, name: str) -> tuple[Path, Path | None]:
    """An empty folder for a run; an earlier run of the name is moved aside.

    Args:
      root: the folder of runs, made if it is not there.
      name: the run's.

    Returns:
      root/name, and where the earlier run went (root/name.1, or the first free number)
      or None.
    """
    folder = root / name
    moved = None
    if folder.exists():
        taken = (root / f"{name}.{number}" for number in range(1, 1_000_000))
        moved = next(path for path in taken if not path.exists())
        folder.rename(moved)
    folder.mkdir(parents=True)
    return folder, moved


def append_record(folder: Path, record: EpochRecord) -> None:
    """Add a line to metrics.jsonl."""
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(record._asdict()) + "\n")


def save_result(folder: Path, result: dict[str, Any]) -> None:
    """Write result.json."""
    text = json.dumps(result, indent=2)
    (folder / "result.json").write_text(text + "\n", encoding="utf-8")


def save_classifier(
    folder: Path, params: Params, activation: str | Sequence[str], data: Dataset
) -> None:
    """Write params.npz, which numpy alone can read. What stood there before is replaced
    at once, never half.

    It holds weight_k (n_{k-1}, n_k) and bias_k (n_k,) for k = 1 ... L, activation
    (L-1 names), mean and scale (n_0,), and classes (C names).
    """
    arrays = {}
    for k, layer in enumerate(params, start=1):
        arrays[f"weight_{k}"] = np.asarray(layer.weight)
        arrays[f"bias_{k}"] = np.asarray(layer.bias)
    if isinstance(activation, str):
        activation = [activation] * (len(params) - 1)
    partial = folder / "params.partial.npz"
    np.savez(
        partial,
        **arrays,
        activation=np.array(activation, dtype=np.str_),
        mean=data.scaling.shift,
        scale=data.scaling.divisor,
        classes=np.array(data.classes, dtype=np.str_),
    )
    partial.replace(folder / "params.npz")


def load_classifier(path: str | Path) -> Classifier:
    """Read params.npz back.

    Args:
      path: the file.

    Returns:
      The parameters, bit for bit, and what a prediction needs besides.

    Example (x: pixels (m, n_0))::

        model = load_classifier("runs/digits/params.npz")
        inputs = (x - model.mean) / model.scale
        handgrad.predict_proba(model.params, inputs, activation=model.activation)
    """
    with np.load(path) as arrays:
        count = sum(name.startswith("weight_") for name in arrays)
        return Classifier(
            tuple(
                Layer(arrays[f"weight_{k}"], arrays[f"bias_{k}"])
                for k in range(1, count + 1)
            ),
            tuple(map(str, arrays["activation"])),
            arrays["mean"],
            arrays["scale"],
            tuple(map(str, arrays["classes"])),
        )
