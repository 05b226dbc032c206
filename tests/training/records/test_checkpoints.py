"""Checkpoints: whole or not there, the newest that can be read, as many as wanted."""

from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from handgrad.training.records.checkpoints import Checkpointer
from handgrad.training.settings import Records


def tree_of(steps: int) -> Any:
    return {
        "state": (jnp.full((2, 3), steps, jnp.bfloat16), {"count": jnp.int32(steps)}),
        "key": jax.random.key(steps),
        "nothing": None,
        "empty": jnp.zeros((0, 2)),
        "best": np.float32(steps),
    }


def names(folder: Path) -> list[int]:
    return sorted(int(path.stem[5:]) for path in folder.rglob("step-*.ckpt"))


def kept(tmp_path: Path, count: int, best: int = 0, **settings: Any) -> Checkpointer:
    """After ``count`` epochs of 10 steps each."""
    write = Checkpointer(tmp_path, Records(**settings), per_epoch=10)
    for steps in range(10, 10 * count + 1, 10):
        write(steps, tree_of(steps), ended=True, best=best, now=False)
    return write


def fail(text: str) -> None:
    raise AssertionError(text)


def test_what_is_written_is_read_to_the_last_bit(tmp_path: Path) -> None:
    write = kept(tmp_path, 1)
    found = write.newest(tree_of(0), fail)
    expected = tree_of(10)
    data = jax.random.key_data
    chex.assert_trees_all_equal(
        data(found.pop("key")), data(expected.pop("key")), strict=True
    )
    chex.assert_trees_all_equal(found, expected)
    chex.assert_trees_all_equal_dtypes(found, expected)


def test_the_last_and_the_best_are_kept(tmp_path: Path) -> None:
    kept(tmp_path, 6, best=2, keep=2)
    assert names(tmp_path) == [20, 50, 60]


def test_only_every_so_many_epochs(tmp_path: Path) -> None:
    kept(tmp_path, 7, checkpoint_epochs=3, keep=9)
    assert names(tmp_path) == [30, 60]


def test_within_an_epoch_by_the_clock_and_when_it_is_due_anyway(tmp_path: Path) -> None:
    slow = Checkpointer(tmp_path / "slow", Records(), per_epoch=10)
    slow(3, tree_of(3), ended=False, best=0, now=False)
    assert names(tmp_path) == []
    slow(4, tree_of(4), ended=False, best=0, now=True)
    assert names(tmp_path) == [4]
    fast = Records(checkpoint_seconds=1e-9)
    Checkpointer(tmp_path / "fast", fast, per_epoch=10)(
        3, tree_of(3), ended=False, best=0, now=False
    )
    assert names(tmp_path / "fast") == [3]


def damage(content: bytes, how: str) -> bytes:
    middle = len(content) // 2
    return {
        "empty": b"",
        "truncated": content[:-1],
        "a byte changed": content[:middle]
        + bytes([content[middle] ^ 1])
        + content[middle + 1 :],
        "foreign": b"PK\x03\x04 something else",
        "longer": content + b"\0",
    }[how]


@pytest.mark.parametrize(
    "how", ["empty", "truncated", "a byte changed", "foreign", "longer"]
)
def test_a_damaged_one_falls_back_to_the_one_before(tmp_path: Path, how: str) -> None:
    write = kept(tmp_path, 3, keep=3)
    newest = write.folder / "step-000000000030.ckpt"
    newest.write_bytes(damage(newest.read_bytes(), how))
    told: list[str] = []
    found = write.newest(tree_of(0), told.append)
    assert int(found["state"][1]["count"]) == 20
    assert len(told) == 1
    assert str(newest) in told[0]
    assert names(tmp_path) == [10, 20]
    assert newest.with_suffix(".unreadable").exists(), "nothing is lost"


def other_shape(tree: Any) -> Any:
    return tree | {"empty": jnp.zeros((0, 3))}


def other_dtype(tree: Any) -> Any:
    return tree | {"best": np.int32(1)}


def other_leaf(tree: Any) -> Any:
    return tree | {"more": jnp.zeros(1)}


@pytest.mark.parametrize("other", [other_shape, other_dtype, other_leaf])
def test_one_of_another_state_does_not_fit(tmp_path: Path, other: Any) -> None:
    write = kept(tmp_path, 2)
    told: list[str] = []
    assert write.newest(other(tree_of(0)), told.append) is None
    assert len(told) == 2


def test_without_one_there_is_none(tmp_path: Path) -> None:
    assert kept(tmp_path, 0).newest(tree_of(0), fail) is None


def test_a_vanished_folder_says_where(tmp_path: Path) -> None:
    write = kept(tmp_path, 1)
    (write.folder / "step-000000000010.ckpt").unlink()
    write.folder.rmdir()
    with pytest.raises(OSError, match="checkpoints"):
        write(20, tree_of(20), ended=True, best=0, now=True)


def test_a_full_disk_leaves_the_older_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = kept(tmp_path, 1)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "partial")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(20, tree_of(20), ended=True, best=0, now=True)
    assert [path.name for path in write.folder.iterdir()] == ["step-000000000010.ckpt"]
    assert int(write.newest(tree_of(0), fail)["state"][1]["count"]) == 10
