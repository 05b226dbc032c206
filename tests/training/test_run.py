"""The main job as a user starts it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from handgrad.training import load_classifier, main
from handgrad.training.interrupt import stop_requested
from handgrad.training.settings import load_settings

ROOT = Path(__file__).parents[2]
DIGITS = str(ROOT / "configs" / "digits.toml")
FILES = {
    *("metrics.jsonl", "settings.toml", "result.json", "params.npz"),
    *("learning_curves.png", "confusion_matrix.png", "mistakes.png"),
}


def test_the_main_job_writes_its_files_and_the_same_bits_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [DIGITS, "--training.epochs", "2", "--runs", str(tmp_path)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    for part in ("gradient ok", "[2].bias", "epoch 2/2", "precision", "Test accuracy"):
        assert part in printed
    again = [str(tmp_path / "digits" / "settings.toml"), "--runs", str(tmp_path)]
    assert main(again) == 0
    assert "digits.1" in capsys.readouterr().out
    first, second = tmp_path / "digits.1", tmp_path / "digits"
    assert {path.name for path in second.iterdir()} == FILES
    with np.load(first / "params.npz") as a, np.load(second / "params.npz") as b:
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name])
    result = json.loads((second / "result.json").read_text())
    assert result["test_samples"] == 360
    assert result["test_accuracy"] > 0.8
    assert load_settings(second / "settings.toml").training.epochs == 2


def test_several_seeds_are_summed_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [DIGITS, "--training.epochs", "1", "--seeds", "2"]
    assert main([*arguments, "--runs", str(tmp_path)]) == 0
    assert "mean" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {
        "digits-seed0",
        "digits-seed1",
    }


def test_a_mistake_is_one_line_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "bad.toml"
    text = Path(DIGITS).read_text("utf-8")
    config.write_text(text.replace("batch_size", "batch_siz"), "utf-8")
    assert main([str(config)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: `training.batch_siz` in ")
    assert "`training.batch_size`" in error


@pytest.fixture
def usual_ctrl_c() -> Iterator[None]:
    """A shell starts background jobs, and tests in them, with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("usual_ctrl_c")
def test_ctrl_c_asks_to_stop_and_a_second_one_stops(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with stop_requested("Stopping.") as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        assert capfd.readouterr().err == "Stopping.\n"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_what_diverges_leaves_the_last_good_parameters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Epoch 1 is fine; from epoch 2 on the learning rate is a million.
    arguments = [DIGITS, "--optimizer.name", "sgd", "--optimizer.learning-rate", "0.1"]
    schedule = "--optimizer.schedule"
    arguments += [f"{schedule}.name", "piecewise_constant_schedule"]
    scales = "{ 21 = 1e30 }"
    arguments += [f"{schedule}.arguments.boundaries_and_scales", scales]
    assert main([*arguments, "--runs", str(tmp_path)]) == 1
    assert "must stay finite" in capsys.readouterr().err
    folder = tmp_path / "digits"
    epochs = (folder / "metrics.jsonl").read_text().count("\n")
    assert epochs >= 1
    model = load_classifier(folder / "params.npz")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(model.params))
    assert {path.name for path in folder.iterdir()} < FILES


def test_an_interrupted_script_keeps_what_there_is(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), DIGITS]
    command += ["--training.epochs", "100000", "--runs", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch 1/"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
    assert process.returncode == 130
    assert "what there is was kept" in rest
    folder = tmp_path / "digits"
    assert {path.name for path in folder.iterdir()} == FILES
    assert json.loads((folder / "result.json").read_text())["interrupted"]
