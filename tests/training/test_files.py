"""A file is replaced whole or not at all."""

import json
import math
import os
from pathlib import Path

import pytest

from handgrad.training import Settings, load_settings, save_settings
from handgrad.training.files import replace_file, replace_json


def test_the_new_content_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"old", b"", b"new"):
        replace_file(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_the_old_and_nothing_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "kept").touch()
    with pytest.raises(OSError, match=r"directory: '.*/folder'"):
        replace_file(folder, b"content")
    assert list(tmp_path.iterdir()) == [folder]


def test_a_full_disk_is_said_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "file"
    with pytest.raises(FileNotFoundError) as raised:
        replace_file(path, b"content")
    assert raised.value.filename == str(path)


def test_json_is_what_anyone_reads(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    replace_json(path, {"a": [1, None]})
    assert json.loads(path.read_bytes()) == {"a": [1, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        replace_json(path, math.nan)
    assert json.loads(path.read_bytes()) == {"a": [1, None]}


def test_settings_are_replaced_whole_or_not_at_all(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed while it writes them could not go on."""
    path = tmp_path / "settings.toml"
    save_settings(settings, path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_settings(settings, path)
    assert load_settings(path) == settings
