"""The folder of a run: never another run's, and its status tells how it ended."""

import json
import multiprocessing
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from handgrad.training import Settings, TrainingError, load_settings
from handgrad.training.errors import Diverged
from handgrad.training.records.folder import claim, read_status, reclaim, recorded


def finished(root: Path, settings: Settings, how: Any = None, data: str = "d") -> Path:
    """A run in a process that is over."""
    claimed = claim(root, settings, data)
    errors = suppress(type(how)) if isinstance(how, BaseException) else nullcontext()
    with errors, recorded(claimed, "cpu") as ends:
        if isinstance(how, BaseException):
            raise how
        if how:
            ends(how)
    return claimed.folder


def test_a_new_name_is_a_new_folder(tmp_path: Path, settings: Settings) -> None:
    claimed = claim(tmp_path / "runs", settings, "d")
    assert claimed.folder == tmp_path / "runs" / "blobs"
    assert not claimed.resumed
    assert load_settings(claimed.folder / "settings.toml") == settings


@pytest.mark.parametrize(
    "how", ["interrupted", KeyboardInterrupt(), Diverged("x", 1), OSError("full")]
)
def test_an_unfinished_run_goes_on(
    tmp_path: Path, settings: Settings, how: Any
) -> None:
    folder = finished(tmp_path, settings, how)
    again = claim(tmp_path, settings, "d")
    assert (again.folder, again.resumed) == (folder, True)


def test_a_killed_run_goes_on(tmp_path: Path, settings: Settings) -> None:
    claimed = claim(tmp_path, settings, "d")
    claimed.lock.release()  # as the end of a process does
    assert read_status(claimed.folder)["state"] == "running"
    assert claim(tmp_path, settings, "d").resumed


def test_a_finished_run_is_left_alone(tmp_path: Path, settings: Settings) -> None:
    first = finished(tmp_path, settings)
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    for number in (2, 3):
        assert finished(tmp_path, settings) == tmp_path / f"blobs-{number}"
    assert {path.name: path.read_bytes() for path in first.iterdir()} == before


def test_other_settings_or_data_are_another_run(
    tmp_path: Path, settings: Settings
) -> None:
    finished(tmp_path, settings, "interrupted")
    other = replace(settings, seed=1)
    assert claim(tmp_path, other, "d").folder.name == "blobs-2"
    assert claim(tmp_path, settings, "other data").folder.name == "blobs-3"
    assert claim(tmp_path, settings, "d").folder.name == "blobs"


def test_fresh_is_a_new_folder_whatever_there_is(
    tmp_path: Path, settings: Settings
) -> None:
    finished(tmp_path, settings, "interrupted")
    claimed = claim(tmp_path, settings, "d", fresh=True)
    assert (claimed.folder.name, claimed.resumed) == ("blobs-2", False)


def test_two_at_once_never_share_a_folder(tmp_path: Path, settings: Settings) -> None:
    first = claim(tmp_path, settings, "d")
    second = claim(tmp_path, settings, "d")
    assert (first.folder.name, second.folder.name) == ("blobs", "blobs-2")
    with pytest.raises(TrainingError, match="must not be in use"):
        reclaim(first.folder, settings, "d")


def _claimed_name(root: Path, settings: Settings, barrier: Any, names: Any) -> None:
    barrier.wait()
    claimed = claim(root, settings, "d")
    names.put(claimed.folder.name)
    barrier.wait()


def test_processes_that_race_get_folders_of_their_own(
    tmp_path: Path, settings: Settings
) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier, names = spawn.Barrier(3), spawn.Queue()
    arguments = (tmp_path, settings, barrier, names)
    racers = [spawn.Process(target=_claimed_name, args=arguments) for _ in range(3)]
    for racer in racers:
        racer.start()
    found = sorted(names.get(timeout=120) for _ in racers)
    for racer in racers:
        racer.join()
    assert found == ["blobs", "blobs-2", "blobs-3"]


def test_a_folder_that_is_no_run_is_left_alone(
    tmp_path: Path, settings: Settings
) -> None:
    """Nor is one that another process has made and not yet locked."""
    (tmp_path / "blobs").mkdir()
    assert claim(tmp_path, settings, "d").folder.name == "blobs-2"
    assert list((tmp_path / "blobs").iterdir()) == []


def longer(settings: Settings) -> Settings:
    return replace(settings, training=replace(settings.training, epochs=9))


def with_schedule(settings: Settings, **schedule: Any) -> Settings:
    made = replace(settings.optimizer.schedule, **schedule)
    return replace(settings, optimizer=replace(settings.optimizer, schedule=made))


def test_more_epochs_go_on_from_fewer(tmp_path: Path, settings: Settings) -> None:
    folder = finished(tmp_path, settings)
    claimed = claim(tmp_path, longer(settings), "d")
    assert (claimed.folder, claimed.resumed) == (folder, True)
    assert load_settings(folder / "settings.toml").training.epochs == 9
    claimed.lock.release()
    assert claim(tmp_path, settings, "d").folder.name == "blobs-2", "fewer do not"


def test_a_schedule_as_long_as_the_run_makes_it_another(
    tmp_path: Path, settings: Settings
) -> None:
    stretched = with_schedule(settings, name="cosine_decay_schedule")
    finished(tmp_path, stretched)
    assert not claim(tmp_path, longer(stretched), "d").resumed
    own = with_schedule(settings, name="cosine_decay_schedule", epochs=20)
    folder = finished(tmp_path, own)
    claimed = claim(tmp_path, longer(own), "d")
    assert (claimed.folder, claimed.resumed) == (folder, True)


def test_resume_wants_the_data_it_began_with(
    tmp_path: Path, settings: Settings
) -> None:
    folder = finished(tmp_path, settings)
    with pytest.raises(TrainingError, match="on the data it began with"):
        reclaim(folder, settings, "other")
    assert reclaim(folder, settings, "d").resumed


@pytest.mark.parametrize(
    ("how", "state", "error"),
    [
        (None, "done", None),
        ("interrupted", "interrupted", None),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt: "),
        (Diverged("too far", 7), "diverged", "Diverged: too far"),
        (OSError(28, "full"), "failed", "OSError: [Errno 28] full"),
    ],
)
def test_the_status_tells_how_it_ended(
    tmp_path: Path, settings: Settings, how: Any, state: str, error: str | None
) -> None:
    status = json.loads((finished(tmp_path, settings, how) / "status.json").read_text())
    assert (status["state"], status["error"]) == (state, error)
    assert status["began"] <= status["ended"]
    assert status["seconds"] >= 0
    assert {"process", "host", "command", "device", "versions", "revision"} <= set(
        status
    )


def test_a_status_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert read_status(tmp_path) == {}
    for content in (b"", b"{", b"[1]", b"\xff"):
        (tmp_path / "status.json").write_bytes(content)
        assert read_status(tmp_path) == {}


def test_a_file_where_a_folder_must_be(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(FileExistsError, match="runs"):
        claim(tmp_path / "runs", settings, "d")
    (tmp_path / "blobs").write_text("")
    assert claim(tmp_path, settings, "d").folder.name == "blobs-2"
