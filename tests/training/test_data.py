"""Splits, scaling, and what is refused before anything is compiled."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from handgrad.training import Dataset, Part, TrainingError, load_data
from handgrad.training.data import check_part, scaling
from handgrad.training.settings import Data

DIGITS = Data("digits", test=0.2, validation=0.1)


def pixels(data: Dataset) -> np.ndarray:
    """All samples of all parts, scaled back."""
    x = np.concatenate([data.train.x, data.validation.x, data.test.x])
    return x * data.scale + data.mean


def test_the_digits_are_split_once_each() -> None:
    data = load_data(DIGITS, seed=0)
    assert [len(part.y) for part in data[:3]] == [1293, 144, 360]
    original = load_digits(return_X_y=True)[0]
    came = np.rint(pixels(data))
    np.testing.assert_array_equal(
        came[np.lexsort(came.T)], original[np.lexsort(original.T)]
    )
    assert data.classes == tuple("0123456789")
    assert data.image_shape == (8, 8)


def test_every_part_has_the_classes_in_proportion() -> None:
    data = load_data(DIGITS, seed=0)
    shares = np.bincount(load_digits(return_X_y=True)[1]) / 1797
    for part in data[:3]:
        expected = shares * len(part.y)
        assert np.abs(np.bincount(part.y) - expected).max() <= 1


def test_the_split_depends_on_the_seed_alone() -> None:
    first, again, other = (load_data(DIGITS, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.test.x, again.test.x)
    assert first.test.y.tolist() != other.test.y.tolist()


def test_parts_are_float32_and_int32() -> None:
    for part in load_data(DIGITS, seed=0)[:3]:
        assert (part.x.dtype, part.y.dtype) == (np.float32, np.int32)


def test_scaling_uses_the_training_part_alone() -> None:
    data = load_data(DIGITS, seed=0)
    x = data.train.x.astype(float)
    varied = x.std(axis=0) > 0
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(axis=0)[varied], 1, rtol=1e-5)
    assert np.abs(data.test.x.mean(axis=0)[varied]).max() > 0.01
    assert not varied.all()  # the digits have pixels that are always 0
    assert (x[:, ~varied] == 0).all()


@pytest.mark.parametrize(
    ("how", "mean", "scale"),
    [
        ("feature", [2.0, 5.0], [1.0, 1.0]),  # the constant column is divided by 1
        ("global", [3.5, 3.5], [2.75**0.5, 2.75**0.5]),
        ("none", [0.0, 0.0], [1.0, 1.0]),
    ],
)
def test_scaling_by_hand(how: str, mean: list[float], scale: list[float]) -> None:
    # Columns 1, 3 and 5, 5: mean 2 and deviation 1; all four have mean 3.5 and
    # variance (2.5^2 + 0.5^2 + 1.5^2 + 1.5^2) / 4 = 2.75.
    came = scaling(np.array([[1.0, 5.0], [3.0, 5.0]]), how)
    for values, expected in zip(came, (mean, scale), strict=True):
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_constant_images_stay_finite_under_global_scaling() -> None:
    mean, scale = scaling(np.full((3, 2), 7.0), "global")
    np.testing.assert_array_equal(((7.0 - mean) / scale), [0, 0])


X, Y = np.zeros((3, 2)), np.array([0, 1, 2])
BROKEN = X.copy()
BROKEN[1, 0], BROKEN[2, 1] = np.inf, np.nan


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X, Y[:2], "one label per sample and at least one sample, got 3 samples and 2"),
        (X[:0], Y[:0], "at least one sample, got 0 samples and 0 labels."),
        (X, Y.astype(float), "`y` of the case data must be integers, got float64."),
        (X, Y + 1, "must be labels in 0 ... 2, got 3 in row 2 (1 such labels)."),
        (X, Y - 2, "must be labels in 0 ... 2, got -2 in row 0 (2 such labels)."),
        (BROKEN, Y, "must be finite, got inf in row 1, column 0 (2 such values)."),
    ],
)
def test_what_cannot_be_trained_on_is_refused(
    x: np.ndarray, y: np.ndarray, message: str
) -> None:
    with pytest.raises(TrainingError) as refused:
        check_part(Part(x, y), 3, "case")
    assert message in str(refused.value)


def test_a_folder_brings_its_own_test_set(
    tmp_path: Path, write_idx_folder: Callable[..., None]
) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 3, 4)).astype("u1")
    labels = (np.arange(40) % 2).astype("u1")
    write_idx_folder(tmp_path, (images[:30], labels[:30]), (images[30:], labels[30:]))
    data = load_data(Data("idx", str(tmp_path), validation=0.2), seed=0)
    assert [len(part.y) for part in data[:3]] == [24, 6, 10]
    assert data.image_shape == (3, 4)
    np.testing.assert_array_equal(data.test.y, labels[30:])
    np.testing.assert_array_equal(
        np.rint(data.test.x * data.scale + data.mean), images[30:].reshape(10, 12)
    )


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (
            "x",
            np.nan,
            "`x` of the training data must be finite, got nan in row 3, colu",
        ),
        ("y", 7, "`y` of the test data must be labels in 0 ... 1, got 7 in row 4"),
        ("y", -1, "`y` of the test data must be labels in 0 ... 1, got -1 in row 4"),
    ],
)
def test_a_folder_with_broken_values_is_refused(
    tmp_path: Path,
    write_idx_folder: Callable[..., None],
    column: str,
    value: float,
    message: str,
) -> None:
    images = np.zeros((20, 2, 2), ">f4")
    labels, test_labels = (np.arange(20) % 2).astype("i1"), np.zeros(20, "i1")
    if column == "x":
        images[3, 1, 0] = value
    else:
        test_labels[4] = value
    write_idx_folder(tmp_path, (images, labels), (np.zeros_like(images), test_labels))
    with pytest.raises(TrainingError) as refused:
        load_data(Data("idx", str(tmp_path)), seed=0)
    assert message in str(refused.value)


def test_a_label_that_skips_others_is_refused(
    tmp_path: Path, write_idx_folder: Callable[..., None]
) -> None:
    images, labels = np.zeros((20, 2, 2), "u1"), (np.arange(20) % 3).astype("u1")
    labels[[6, 9]] = 255
    write_idx_folder(tmp_path, (images, labels), (images, labels))
    with pytest.raises(TrainingError) as refused:
        load_data(Data("idx", str(tmp_path)), seed=0)
    assert (
        "must hold every label in 0 ... 255, but label 3 has no sample; the largest "
        "label 255 is in row 6 (2 such labels)."
    ) in str(refused.value)


def test_a_split_without_room_for_every_class_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"`data.test` must leave samples of every"):
        load_data(Data("digits", test=0.001), seed=0)
