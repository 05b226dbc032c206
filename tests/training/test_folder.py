"""What a run leaves behind, and that nothing is overwritten."""

import json
from pathlib import Path

import numpy as np

import handgrad
from handgrad.training import Dataset, Settings
from handgrad.training.fit import prepare
from handgrad.training.folder import (
    EpochRecord,
    append_record,
    load_classifier,
    make_folder,
    save_classifier,
)


def test_an_earlier_run_is_moved_aside(tmp_path: Path) -> None:
    for number in range(3):
        folder, moved = make_folder(tmp_path, "run")
        assert folder == tmp_path / "run"
        assert moved == (tmp_path / f"run.{number}" if number else None)
        (folder / "mark").write_text(str(number))
    assert (tmp_path / "run" / "mark").read_text() == "2"
    assert (tmp_path / "run.1" / "mark").read_text() == "0"
    assert (tmp_path / "run.2" / "mark").read_text() == "1"


def test_metrics_are_a_line_an_epoch(tmp_path: Path) -> None:
    for epoch in (1, 2):
        append_record(tmp_path, EpochRecord(epoch, 0.5, 0.75, 0.25, 1.0, 0.1))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    assert json.loads(lines[0]) == {
        "epoch": 1,
        "train_loss": 0.5,
        "train_accuracy": 0.75,
        "validation_loss": 0.25,
        "validation_accuracy": 1.0,
        "seconds": 0.1,
    }


def test_a_classifier_reads_back_to_the_last_bit(
    tmp_path: Path, settings: Settings, data: Dataset
) -> None:
    params = prepare(settings, data).params
    save_classifier(tmp_path, params, "tanh", data)
    with np.load(tmp_path / "params.npz") as arrays:  # numpy alone
        np.testing.assert_array_equal(arrays["weight_1"], params[0].weight)
        np.testing.assert_array_equal(arrays["bias_3"], params[2].bias)
    back = load_classifier(tmp_path / "params.npz")
    assert back.activation == ("tanh", "tanh")
    assert back.classes == data.classes
    np.testing.assert_array_equal(back.mean, data.scaling.shift)
    np.testing.assert_array_equal(
        handgrad.predict_proba(back.params, data.test.x, activation=back.activation),
        handgrad.predict_proba(params, data.test.x, activation="tanh"),
    )
