"""Rows that stay on the disk, and the memory that reading them takes."""

from pathlib import Path

import numpy as np
import pytest

from handgrad.training.data import Rows
from handgrad.training.data.on_disk import forget


def test_rows_are_those_of_the_array() -> None:
    array = np.arange(20).reshape(10, 2)
    rows = Rows(array, np.array([7, 1, 4]))
    assert (len(rows), rows.shape, rows.dtype) == (3, (3, 2), array.dtype)
    np.testing.assert_array_equal(np.asarray(rows), array[[7, 1, 4]])
    np.testing.assert_array_equal(rows[1:], array[[1, 4]])
    np.testing.assert_array_equal(rows[np.array([2, 0])], array[[4, 7]])


def test_memory_of_a_map_is_given_back(tmp_path: Path) -> None:
    def resident() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if "RssFile" in line))

    if not Path("/proc/self/status").exists():
        pytest.skip("how much memory is resident is read from /proc")
    np.save(tmp_path / "x.npy", np.ones((2**15, 2**10), np.uint8))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    before = resident()
    assert x.sum() == 2**25
    read = resident()
    forget(Rows(x, np.arange(3)))
    assert read - before > 2**14
    assert resident() - before < 2**12
