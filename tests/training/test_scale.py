"""A run on many devices, stopped, and gone on with on others."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from meshes import with_cpus

from handgrad.training import load_settings
from handgrad.training.commands.train import main, sweep
from handgrad.training.records.folder import continues
from handgrad.training.records.metrics import read_records
from handgrad.training.settings import Scale

ROOT = Path(__file__).parents[2]
DIGITS = str(ROOT / "configs" / "digits.toml")


def few(runs: Path, *more: str) -> list[str]:
    """Two epochs of digits, whose schedule has a length of its own."""
    arguments = [DIGITS, "--runs", str(runs), "--training.epochs", "2"]
    return [*arguments, "--training.check", "off", *more]


def status(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "status.json").read_text())


def stop_after_an_epoch(patch: pytest.MonkeyPatch) -> None:
    """As if Ctrl-C came then."""
    from handgrad.training import run

    real = run.append_record

    def append(folder: Path, record: Any) -> None:
        real(folder, record)
        os.kill(os.getpid(), signal.SIGINT)

    patch.setattr(run, "append_record", append)


def test_it_goes_on_on_other_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four, then eight in another process; with the curve of one."""
    assert main(few(tmp_path / "one")) == 0
    four = ["--scale.data", "2", "--scale.model", "2", "--scale.zero"]
    with monkeypatch.context() as patch:
        stop_after_an_epoch(patch)
        assert main(few(tmp_path, *four)) == 128 + signal.SIGINT
    folder, one = tmp_path / "digits", tmp_path / "one" / "digits"
    mesh = {"data": 2, "model": 2, "zero": True, "processes": 1}
    assert status(folder)["mesh"] == mesh
    eight = few(tmp_path, "--scale.data", "4", "--scale.model", "2")
    command = [sys.executable, "-m", "handgrad", "train", *eight]
    ended = subprocess.run(
        command, env=with_cpus(8), text=True, capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert f"Going on in {folder} after 21 steps." in ended.stdout
    assert "8 of them: 4 along data, 2 along model" in ended.stdout
    assert status(folder)["mesh"] == mesh | {"data": 4, "zero": False}
    assert status(one)["mesh"] is None
    assert load_settings(folder / "settings.toml").scale == Scale(4, 2)
    ours, theirs = (
        np.array([list(vars(record).values()) for record in read_records(each)])
        for each in (folder, one)
    )
    np.testing.assert_allclose(ours, theirs, rtol=2e-5)
    ours, theirs = (np.load(each / "predictions.npz") for each in (folder, one))
    np.testing.assert_array_equal(ours["predicted"], theirs["predicted"])
    np.testing.assert_allclose(
        ours["probabilities"], theirs["probabilities"], atol=2e-6
    )


def test_where_it_runs_is_no_part_of_what_it_is(tmp_path: Path) -> None:
    before = load_settings(DIGITS)
    other = tmp_path / "other.toml"
    other.write_text(Path(DIGITS).read_text() + "\n[scale]\ndata = 4\n")
    assert continues(before, load_settings(other), done=False)
    assert not continues(before, load_settings(other), done=True)


@pytest.mark.parametrize(
    ("command", "scale", "words"),
    [
        (main, ["--scale.data", "3"], "`scale.data` must divide the 64 samples"),
        (main, ["--scale.zero"], "`scale.zero` must be false where scale.data is 1"),
        (main, ["--scale.data", "0"], "`scale.data` must be an integer >= 1"),
        (main, ["--scale.data", "64"], "`scale` must take no more devices than"),
        (sweep, ["--scale.data", "3"], "`scale.data` must divide the 64 samples"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: Any,
    scale: list[str],
    words: str,
) -> None:
    assert command(few(tmp_path / "runs", *scale)) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {words}")
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()
