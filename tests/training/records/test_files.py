"""A file is replaced whole or not at all."""

from pathlib import Path

import pytest

from handgrad.training.records.files import replace_file


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
