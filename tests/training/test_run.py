"""The main job as a user starts it, stops it, and starts it again."""

import io
import json
import os
import signal
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
from run_folders import with_closed_output

from handgrad.training import load_settings
from handgrad.training.commands.train import main, resume
from handgrad.training.records.metrics import read_records
from handgrad.training.records.model import load_model

ROOT = Path(__file__).parents[2]
DIGITS = str(ROOT / "configs" / "digits.toml")
FILES = {
    *("check.txt", "settings.toml", "status.json", "metrics.jsonl", "result.json"),
    *("model.safetensors", "predictions.npz", "learning_curves.png", "mistakes.png"),
    *("confusion_matrix.png", "calibration.png", "first_layer.png"),
}
SAME = FILES - {"status.json"}


def files(folder: Path) -> set[str]:
    """What a run left, but for its checkpoints and its lock."""
    return {path.name for path in folder.iterdir()} - {"checkpoints", ".lock"}


def status(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "status.json").read_text())


def few(tmp_path: Path, *more: str) -> list[str]:
    """Four epochs of digits, whose gradient is not checked again."""
    return [*checked(tmp_path), "--training.check", "off", *more]


def checked(tmp_path: Path) -> list[str]:
    return [DIGITS, "--runs", str(tmp_path), "--training.epochs", "4"]


@pytest.fixture(scope="module")
def printed_and_whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What a run that nothing disturbed prints, and its folder."""
    root = tmp_path_factory.mktemp("whole")
    with redirect_stdout(io.StringIO()) as printed:
        assert main(checked(root)) == 0
    return printed.getvalue(), root / "digits"


@pytest.fixture
def whole(printed_and_whole: tuple[str, Path]) -> Path:
    return printed_and_whole[1]


def test_a_run_leaves_everything_worth_keeping(
    printed_and_whole: tuple[str, Path],
) -> None:
    printed, folder = printed_and_whole
    for part in ("gradient ok", "[2].bias", "epoch 4/4", "precision", "test accuracy"):
        assert part in printed
    assert files(folder) == FILES
    assert status(folder)["state"] == "done"
    result = json.loads((folder / "result.json").read_text())
    assert result["test_samples"] == 360
    assert result["test_accuracy"] > 0.8
    assert result["best_epoch"] == 4
    assert load_settings(folder / "settings.toml").training.epochs == 4


def test_the_best_parameters_are_tested_and_saved(whole: Path) -> None:
    records = read_records(whole)
    best = min(records, key=lambda record: record.validation_loss)
    result = json.loads((whole / "result.json").read_text())
    assert result["best_epoch"] == best.epoch
    assert result["validation_accuracy"] == pytest.approx(best.validation_accuracy)
    assert result["validation_loss"] == pytest.approx(best.validation_loss, rel=1e-6)
    predictions = np.load(whole / "predictions.npz")
    assert set(predictions["part"]) == {"validation", "test"}
    assert load_model(whole / "model.safetensors").classes == tuple("0123456789")


def test_the_same_command_again_is_a_run_of_its_own(
    whole: Path, tmp_path: Path
) -> None:
    """A finished run is never written again; and the same bits come."""
    copytree(whole, tmp_path / "digits")
    first = {path.name: path.stat() for path in (tmp_path / "digits").iterdir()}
    assert main(few(tmp_path, "--fresh")) == 0
    again = tmp_path / "digits-2"
    assert {path.name: path.stat() for path in (tmp_path / "digits").iterdir()} == first
    for name in SAME - {"check.txt", "settings.toml"}:
        assert (again / name).read_bytes() == (whole / name).read_bytes(), name


def stopped_after(
    monkeypatch: pytest.MonkeyPatch, records: int, act: Callable[[], None]
) -> None:
    """Act when so many epochs are recorded."""
    from handgrad.training import run

    real, seen = run.append_record, []

    def append(folder: Path, record: Any) -> None:
        real(folder, record)
        seen.append(record)
        if len(seen) == records:
            act()

    monkeypatch.setattr(run, "append_record", append)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    stopped_after(monkeypatch, 2, lambda: os.kill(os.getpid(), number))
    assert main(few(tmp_path)) == 128 + number
    folder = tmp_path / "digits"
    assert status(folder)["state"] == "interrupted"
    assert len(read_records(folder)) == 2
    assert (folder / "model.safetensors").exists()
    assert not (folder / "result.json").exists()


@pytest.fixture(scope="module")
def ended_early(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that a signal ended after two epochs."""
    root = tmp_path_factory.mktemp("ended")
    with pytest.MonkeyPatch.context() as patch:
        stopped_after(patch, 2, lambda: os.kill(os.getpid(), signal.SIGINT))
        main(few(root))
    return root / "digits"


def test_the_same_command_goes_on(
    whole: Path, ended_early: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copytree(ended_early, tmp_path / "digits")
    assert main(few(tmp_path)) == 0
    assert f"Going on in {folder} after 42 steps." in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]
    for name in SAME - {"check.txt", "settings.toml"}:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name


def test_resume_names_the_folder(
    whole: Path, ended_early: Path, tmp_path: Path
) -> None:
    folder = copytree(ended_early, tmp_path / "digits")
    assert resume([str(folder)]) == 0
    assert (folder / "metrics.jsonl").read_bytes() == (
        whole / "metrics.jsonl"
    ).read_bytes()


def test_more_epochs_go_on_with_a_finished_run(whole: Path, tmp_path: Path) -> None:
    """Where the schedule has a length of its own: as if all had been wanted."""
    own = ["--optimizer.schedule.epochs", "4"]
    assert main(few(tmp_path, *own, "--training.epochs", "3")) == 0
    assert main(few(tmp_path, *own)) == 0
    folder = tmp_path / "digits"
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]
    for name in ("metrics.jsonl", "model.safetensors", "result.json"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name


def test_patience_ends_it(tmp_path: Path) -> None:
    arguments = few(tmp_path, "--training.patience", "1", "--training.min-change", "9")
    assert main(arguments) == 0
    assert len(read_records(tmp_path / "digits")) == 2


def test_several_seeds_are_summed_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(few(tmp_path, "--seeds", "2", "--training.epochs", "1")) == 0
    assert "mean" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {
        "digits-seed0",
        "digits-seed1",
    }


BAD = {
    "optimizer argument": ["--optimizer.arguments.beta1", "0.9"],
    "optimizer step": ["--optimizer.arguments.b1", "high"],
    "unknown optimizer": ["--optimizer.name", "adm"],
    "a share of nothing": ["--data.test", "0.0001"],
    "width": ["--model.hidden", "0"],
    "a sweep": ["--sweep.seeds", "2"],
}


@pytest.mark.parametrize("arguments", BAD.values(), ids=BAD)
def test_a_mistake_is_one_line_and_leaves_nothing(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(few(tmp_path / "runs", *arguments)) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: `")
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("how", "advice"),
    [
        (["--optimizer.arguments.b1", "nan"], "`optimizer.arguments`"),
        (
            ["--optimizer.name", "sgd", "--optimizer.learning-rate", "1e25"],
            "lower `optimizer.learning_rate`",
        ),
    ],
)
def test_what_diverges_says_why_and_keeps_what_was_good(
    tmp_path: Path,
    how: list[str],
    advice: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    impatient = ["--training.patience", "1"]  # which is no way out
    assert main(few(tmp_path, *how, *impatient)) == 1
    error = capsys.readouterr().err
    assert "must stay finite" in error
    assert advice in error
    folder = tmp_path / "digits"
    assert status(folder)["state"] == "diverged"
    assert len(read_records(folder)) == 1
    assert not (folder / "model.safetensors").exists()


def test_a_vanished_folder_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "digits"
    stopped_after(monkeypatch, 1, lambda: folder.rename(tmp_path / "gone") and None)
    assert main(few(tmp_path)) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: No such file or directory: ")
    assert str(folder) in error
    assert error.count("\n") == 1


def test_a_full_disk_is_one_line_and_the_last_checkpoint_is_whole(
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fill() -> None:
        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(os, "fsync", full)

    with monkeypatch.context() as patch:
        stopped_after(patch, 3, fill)
        assert main(few(tmp_path)) == 1
    assert capsys.readouterr().err.startswith("error: No space left on device")
    assert main(few(tmp_path)) == 0
    for name in ("metrics.jsonl", "model.safetensors", "result.json"):
        found = (tmp_path / "digits" / name).read_bytes()
        assert found == (whole / name).read_bytes(), name


def test_a_closed_pipe_is_one_line() -> None:
    """`handgrad train ... | head -1`."""
    script = (
        "import sys, tempfile\n"
        "from handgrad.training.commands.train import main\n"
        "with tempfile.TemporaryDirectory() as runs:\n"
        f"    sys.exit(main([{DIGITS!r}, '--runs', runs, '--training.check', 'off',\n"
        "                   '--training.epochs', '1']))"
    )
    code, error = with_closed_output(["-c", script], lines=1)
    assert code == 1
    assert error == "error: standard output was closed before all was written.\n"
