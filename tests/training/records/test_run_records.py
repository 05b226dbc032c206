"""A run's folder is read back, whatever it came to write."""

from pathlib import Path

import pytest
from run_folders import classifier, right_predictions, write_run

from handgrad.training import TrainingError
from handgrad.training.records.run_records import read_run


def test_a_finished_run(tmp_path: Path) -> None:
    tested = right_predictions("abcd", 6, wrong=2)
    run = read_run(write_run(tmp_path / "a b", saved=classifier(), tested=tested))
    assert run.name == "a b"
    assert run.settings["optimizer"]["name"] == "adamw"
    assert run.status["state"] == "done"
    assert run.check.startswith("gradient ok")
    assert len(run.epochs) == 3
    assert run.result["test_accuracy"] == 0.75
    assert run.predictions is not None
    assert len(run.predictions.mistakes) == 2
    assert run.model is not None


def test_a_run_that_began(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").touch()
    run = read_run(tmp_path)
    empty = ({}, {}, "", (), {}, None, None)
    assert (
        *(run.settings, run.status, run.check, run.epochs, run.result),
        *(run.predictions, run.model),
    ) == empty


@pytest.mark.parametrize("name", ["", "missing"])
def test_what_is_no_run(tmp_path: Path, name: str) -> None:
    with pytest.raises(TrainingError, match="`run` must be the folder of a run"):
        read_run(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("settings.toml", b"a ="),
        ("status.json", b"{"),
        ("status.json", b"[]"),
        ("result.json", b"[" * 100_000),
        ("check.txt", b"\xff"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (write_run(tmp_path / "run") / name).write_bytes(content)
    with pytest.raises(TrainingError, match=f"{name}` must"):
        read_run(tmp_path / "run")
