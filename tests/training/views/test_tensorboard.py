"""What TensorBoard reads: the files' own framing, and the scalars in them."""

import math
import struct
from pathlib import Path
from typing import Any

import pytest
from run_folders import records
from tensorboardX.proto import event_pb2

from handgrad.training.views.tensorboard import tensorboard_writer


def events(folder: Path) -> list[Any]:
    """Of all files in the order of their names: length, its check, event, its check."""
    event: Any = vars(event_pb2)["Event"]  # which protobuf makes at run time
    found = []
    for path in sorted((folder / "tensorboard").iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            found.append(event.FromString(content[12 : 12 + length]))
            content = content[16 + length :]
    return found


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for event in events(folder):
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_every_figure_of_every_epoch_is_there(tmp_path: Path) -> None:
    with tensorboard_writer(tmp_path) as write:
        for record in records([0.5, math.nan]):
            write(record)
    found = scalars(tmp_path)
    assert sorted(found) == [
        *("accuracy/train", "accuracy/validation", "learning_rate"),
        *("loss/objective", "loss/train", "loss/validation"),
    ]
    (first, second) = found["loss/validation"]
    assert first == (1, 0.5)
    assert second[0] == 2
    assert math.isnan(second[1])
    assert found["learning_rate"][0][1] == pytest.approx(1e-3)


def test_a_resumed_run_hides_what_came_after_its_epoch(tmp_path: Path) -> None:
    with tensorboard_writer(tmp_path) as write:
        for record in records([0.5, 0.4, 0.3]):
            write(record)
    (first,) = (tmp_path / "tensorboard").iterdir()
    with tensorboard_writer(tmp_path, after=2) as write:
        write(records([0.5, 0.4, 0.25])[2])
    files = set((tmp_path / "tensorboard").iterdir())
    assert len(files) == 2
    assert first in files
    starts = [e.step for e in events(tmp_path) if e.HasField("session_log")]
    assert starts == [3]
