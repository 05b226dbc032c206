"""Streaming: every sample once, in an order that seed and epoch alone decide."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handgrad.training.data import Part, Rows, streaming
from handgrad.training.data.streaming import stream


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of 5 rows of 8 bytes, 4 runs a window."""
    monkeypatch.setattr(streaming, "RUN", 40)
    monkeypatch.setattr(streaming, "WINDOW", 160)


def numbered(samples: int) -> Part:
    """Row i is i and its label 2 i."""
    x = np.repeat(np.arange(samples, dtype=np.float32)[:, None], 2, axis=1)
    return Part(x, 2 * np.arange(samples, dtype=np.int32))


def rows_of(part: Part, seed: int, epoch: int, first: int, batch: int, k: int) -> list:
    """The rows in their order; checks the shapes, the padding and the labels."""
    steps = -(-len(part.y) // batch)
    came = []
    for x, y, present in stream(part, seed, epoch, first, batch, k):
        count = min(k, steps - first)
        assert (x.shape, y.shape, present.shape) == (
            (count, batch, 2),
            (count, batch),
            (count, batch),
        )
        there = present > 0
        assert not x[~there].any()
        np.testing.assert_array_equal(2 * x[there][:, 0], y[there])
        came += x[there][:, 0].astype(int).tolist()
        first += count
    assert first == max(first, steps)
    return came


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    samples=st.integers(1, 90),
    batch=st.integers(1, 30),
    k=st.integers(1, 7),
    seed=st.integers(0, 3),
)
def test_every_sample_is_once_and_any_step_can_be_first(
    samples: int, batch: int, k: int, seed: int
) -> None:
    part = numbered(samples)
    whole = rows_of(part, seed, 1, 0, batch, k)
    assert sorted(whole) == list(range(samples))
    for first in {0, 1, -(-samples // batch) - 1, -(-samples // batch)}:
        assert rows_of(part, seed, 1, first, batch, 3) == whole[first * batch :]


def test_seed_and_epoch_decide_the_order() -> None:
    part = numbered(90)
    orders = [
        tuple(rows_of(part, seed, epoch, 0, 7, 3))
        for seed, epoch in ((0, 1), (0, 1), (0, 2), (1, 1))
    ]
    assert orders[0] == orders[1]
    assert len(set(orders)) == 3


def test_the_order_is_well_mixed() -> None:
    """Neighbours in the file are rarely neighbours in the epoch."""
    order = np.array(rows_of(numbered(400), 0, 1, 0, 16, 5))
    assert np.mean(np.abs(np.diff(order)) == 1) < 0.1
    assert abs(np.corrcoef(order, np.arange(400))[0, 1]) < 0.3


def test_a_part_without_samples_has_no_blocks() -> None:
    assert list(stream(numbered(0), 0, 1, 0, 8, 2)) == []


@pytest.mark.parametrize(
    ("stored", "native"), [("u1", "u1"), (">f4", "f4"), ("f8", "f4"), ("<i8", "f4")]
)
def test_a_memory_map_gives_what_a_device_takes(
    tmp_path: Path, stored: str, native: str
) -> None:
    values = np.arange(60).reshape(30, 2)
    np.save(tmp_path / "x.npy", values.astype(stored))
    x = Rows(np.load(tmp_path / "x.npy", mmap_mode="r"), np.arange(0, 30, 2))
    part = Part(x, np.arange(15, dtype=np.int32))
    (block,) = stream(part, 0, 1, 0, 15, 1)
    assert block.x.dtype == np.dtype(native)
    np.testing.assert_array_equal(block.x[0], values[2 * block.y[0]])


class Watched:
    """An array that remembers which of its rows were read."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.read = array, list[int]()
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        self.read += rows.tolist()
        return self.array[rows]


@pytest.mark.parametrize("first", [0, 3])
def test_of_a_share_the_features_alone_are_read_that_it_needs(
    monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    """By three processes in turn; labels and presence are those of all. Windows of 16
    rows, whose ends are none of a minibatch of 6."""
    monkeypatch.setattr(streaming, "RUN", 32)
    monkeypatch.setattr(streaming, "WINDOW", 128)
    part = numbered(50)
    (whole,) = stream(part, 1, 2, first, 6, 9)
    read = []
    for own in np.array([[0, 1], [2, 3], [4, 5]]):
        x = Watched(part.x)
        (share,) = stream(part._replace(x=x), 1, 2, first, 6, 9, own)
        np.testing.assert_array_equal(share.x, whole.x[:, own])
        np.testing.assert_array_equal(share.y, whole.y)
        np.testing.assert_array_equal(share.present, whole.present)
        there = share.x[share.present[:, own] > 0][:, 0]
        assert set(there.astype(int)) <= set(x.read)
        read += x.read
    assert len(read) == len(set(read)) <= 50
