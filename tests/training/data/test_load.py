"""What the settings name becomes three parts: split, checked, measured, unscaled."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from handgrad.training import Part, TrainingError, load_data
from handgrad.training.data import Samples, Source, make_dataset, scale
from handgrad.training.settings import Data

DIGITS = Data("digits")


def test_the_digits_are_split_once_each() -> None:
    data = load_data(DIGITS)
    assert [len(part.y) for part in data[:3]] == [1293, 144, 360]
    rows = np.concatenate(data.rows)
    assert sorted(rows) == list(range(1797))
    x, y = load_digits(return_X_y=True)
    np.testing.assert_array_equal(np.concatenate([p.x for p in data[:3]]), x[rows])
    np.testing.assert_array_equal(np.concatenate([p.y for p in data[:3]]), y[rows])
    assert data.classes == tuple("0123456789")
    assert data.image_shape == (8, 8)
    assert not data.streamed


def test_parts_stay_in_the_dtype_of_their_file() -> None:
    for part in load_data(DIGITS)[:3]:
        assert isinstance(part, Part)
        assert (part.x.dtype, part.y.dtype) == (np.uint8, np.int32)


def test_a_bundled_set_brings_its_names() -> None:
    data = load_data(Data("wine"))
    assert data.classes == ("class_0", "class_1", "class_2")
    assert data.features[:2] == ("alcohol", "malic_acid")
    assert data.image_shape is None
    assert data.train.x.dtype == np.float32


def test_the_split_depends_on_its_seed_alone() -> None:
    first, again, other = (load_data(Data("digits", split_seed=s)) for s in (0, 0, 1))
    for a, b in zip(first.rows, again.rows, strict=True):
        np.testing.assert_array_equal(a, b)
    assert first.rows[2].tolist() != other.rows[2].tolist()


@pytest.mark.parametrize(
    ("shares", "sizes"),
    [((0.0, 0.0), [1797, 0, 0]), ((0.5, 0.0), [898, 0, 899])],
)
def test_a_part_that_is_not_asked_for_is_empty(
    shares: tuple[float, float], sizes: list[int]
) -> None:
    data = load_data(Data("digits", test=shares[0], validation=shares[1]))
    assert [len(part.y) for part in data[:3]] == sizes
    assert all(part.x.shape[1:] == (64,) for part in data[:3])


def test_scaling_is_that_of_the_training_part() -> None:
    data = load_data(DIGITS)
    x, x_test = (
        scale(data.scaling, part.x).astype(float) for part in (data.train, data.test)
    )
    varied = x.std(axis=0) > 0
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(axis=0)[varied], 1, rtol=1e-5)
    assert np.abs(x_test.mean(axis=0)[varied]).max() > 0.01
    assert (x[:, ~varied] == 0).all()


def test_a_folder_brings_its_own_test_samples(
    tmp_path: Path, write_idx_folder: Callable[..., None]
) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 3, 4)).astype("u1")
    labels = (np.arange(40) % 2).astype("u1")
    write_idx_folder(tmp_path, (images[:30], labels[:30]), (images[30:], labels[30:]))
    data = load_data(Data("idx", str(tmp_path), validation=0.2))
    assert [len(part.y) for part in data[:3]] == [24, 6, 10]
    assert data.image_shape == (3, 4)
    np.testing.assert_array_equal(data.test.y, labels[30:])
    np.testing.assert_array_equal(data.test.x, images[30:].reshape(10, 12))
    np.testing.assert_array_equal(data.rows[2], np.arange(10))


X = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]])
Y = np.array([0, 1, 0, 1])
NO_SPLIT = Data("npz", test=0.0, validation=0.0)


def changed(array: np.ndarray, place: Any, value: object) -> np.ndarray:
    array = array.copy()
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (
            X,
            Y[:2],
            "must be (m, n) and (m,), with a sample and a feature at least",
        ),
        (X[:0], Y[:0], "a sample and a feature at least, got (0, 2) and (0,)."),
        (X[:, :0], Y, "a feature at least, got (4, 0) and (4,)."),
        (X[:, 0], Y, "a feature at least, got (4,) and (4,)."),
        (X, Y + 0.5, "must be whole numbers, got 0.5 in row 0 (4 such labels)."),
        (X, changed(Y + 0.0, 2, np.nan), "whole numbers, got nan in row 2"),
        (X, Y + 1, "in 0 ... C-1, but label 0 has no sample, and label 1 is in row 0."),
        (X, Y - 1, "but label 0 has no sample, and label -1 is in row 0."),
        (X, changed(Y, 3, 2**31 - 1), "label 2 has no sample, and label 2147483647 is"),
        (X, Y * 0, "must hold two classes or more, got ('0',)."),
        (X, Y > 0, "must be integers or text, got bool."),
        (changed(X, (2, 1), np.inf), Y, "in float32, got inf in row 2, column 1."),
        (changed(X, (1, 0), np.nan), Y, "in float32, got nan in row 1, column 0."),
        (changed(X, (1, 0), 1e39), Y, "in float32, got 1e+39 in row 1, column 0."),
        (np.ones_like(X), Y, "every feature is constant."),
    ],
)
def test_what_cannot_be_trained_on_is_refused(
    x: np.ndarray, y: np.ndarray, message: str
) -> None:
    with pytest.raises(TrainingError) as refused:
        make_dataset(Source(Samples(x, y)), NO_SPLIT)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (Samples(X, Y + 1), "`y` of the test samples must be labels in 0 ... 1, got 2"),
        (Samples(X, Y - 1), "in 0 ... 1, got -1 in row 0 (2 such labels)."),
        (
            Samples(X[:, :1], Y),
            "must have 2 features, as those to train on have",
        ),
        (Samples(X * np.nan, Y), "`x` of the test samples must be finite in float32"),
    ],
)
def test_own_test_samples_must_fit(own: Samples, message: str) -> None:
    with pytest.raises(TrainingError) as refused:
        make_dataset(Source(Samples(X, Y), test=own), Data("npz", validation=0.0))
    assert message in str(refused.value)


def test_a_class_that_a_share_leaves_out_is_named() -> None:
    with pytest.raises(TrainingError) as refused:
        load_data(Data("digits", test=0.001))
    assert "`data.test` must leave samples of every class on both" in str(refused.value)
