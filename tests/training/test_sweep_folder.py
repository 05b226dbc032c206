"""A sweep and its folder: what is written, what a stopped one keeps, what goes on."""

import io
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from handgrad.training import Settings, TrainingError, load_settings
from handgrad.training import sweep as room
from handgrad.training.records.folder import read_status
from handgrad.training.records.members import MEMBERS, append_members, read_members
from handgrad.training.settings import Data, Model, Optimizer, Scale, Sweep, Training

SETTINGS = Settings(
    name="iris",
    data=Data("iris"),
    model=Model((4,)),
    optimizer=Optimizer("adam", 0.01),
    training=Training(epochs=3000, batch_size=64, check="off"),
    sweep=Sweep(seeds=2, values={"optimizer.learning_rate": [0.01, 0.1]}, members=1),
)


def test_a_sweep_leaves_its_records_and_goes_on_after_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped by Ctrl-C as the first network is written."""

    calls: list[object] = []

    def append_and_interrupt(*arguments: object) -> None:
        append_members(*arguments)  # pyright: ignore[reportArgumentType]
        calls.append(arguments)
        if len(calls) == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(room, "append_members", append_and_interrupt)
        stopped = room.sweep(SETTINGS, tmp_path, Console(file=io.StringIO()))
    folder = tmp_path / "iris-sweep"
    assert (stopped.folder, stopped.signal) == (folder, signal.SIGINT)
    assert read_status(folder)["state"] == "interrupted"
    kept = (folder / MEMBERS).read_bytes()
    assert 1 <= len(read_members(folder)) < 4

    text = io.StringIO()  # the rest on a mesh, which is no part of what a sweep is
    on_mesh = replace(SETTINGS, scale=Scale(2, 2))
    ended = room.sweep(on_mesh, tmp_path, Console(file=text, width=100))
    assert (ended.folder, ended.signal) == (folder, None)
    assert read_status(folder)["state"] == "done"
    assert (folder / MEMBERS).read_bytes().startswith(kept)
    members = read_members(folder)
    assert len({(*member.values.items(), member.seed) for member in members}) == 4
    assert [each.seeds for each in ended.combinations] == [2, 2]
    assert "4 networks, 2 combinations with 2 seeds each" in text.getvalue()
    assert "2 along data, 2 along model" in text.getvalue()
    mesh = {"data": 2, "model": 2, "zero": False, "processes": 1}
    assert read_status(folder)["mesh"] == mesh

    summary = json.loads((folder / "sweep.json").read_text("utf-8"))
    assert summary["best"] == {"optimizer.learning_rate": 0.1}
    best = load_settings(folder / "best.toml")
    learns = replace(SETTINGS.optimizer, learning_rate=0.1)
    assert best == replace(on_mesh, optimizer=learns, sweep=Sweep())
    assert (folder / "sweep.png").stat().st_size > 1000


def test_what_cannot_be_swept_leaves_nothing_behind(tmp_path: Path) -> None:
    settings = replace(SETTINGS, sweep=Sweep(values={"training.batch_size": [8, 16]}))
    with pytest.raises(
        TrainingError, match=r"^`sweep.values.training.batch_size` must"
    ):
        room.sweep(settings, tmp_path, Console(file=io.StringIO()))
    assert list(tmp_path.iterdir()) == []
