"""IDX files: what is written reads back, and broken files are told apart."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from handgrad.training import TrainingError
from handgrad.training.data.idx import read_idx, read_idx_folder

IMAGES = np.arange(2 * 3 * 4, dtype="u1").reshape(2, 3, 4)
LABELS = np.array([1, 0], dtype="u1")
VECTOR = b"\0\0\x08\1\0\0\0\3abc"  # uint8, 1 dimension, of length 3


def test_a_vector_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(VECTOR)
    assert read_idx(path).tolist() == [ord("a"), ord("b"), ord("c")]


@given(
    array=arrays.arrays(
        st.sampled_from(["u1", "i1", ">i2", ">i4", ">f4", ">f8"]),
        arrays.array_shapes(max_dims=4, max_side=4),
    )
)
def test_every_dtype_and_shape_reads_back(
    tmp_path_factory: pytest.TempPathFactory,
    write_idx: Callable[[Path, np.ndarray], None],
    array: np.ndarray,
) -> None:
    path = tmp_path_factory.mktemp("idx") / "file"
    write_idx(path, array)
    came = read_idx(path)
    assert came.dtype == array.dtype
    np.testing.assert_array_equal(came, array)


@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_folder_is_read_under_every_spelling(
    tmp_path: Path, write_idx_folder: Callable[..., None], dot: str, ending: str
) -> None:
    write_idx_folder(tmp_path, (IMAGES, LABELS), (IMAGES + 1, 1 - LABELS), ending)
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", f"{dot}idx")))
    files = read_idx_folder(tmp_path)
    np.testing.assert_array_equal(files.train_images, IMAGES)
    np.testing.assert_array_equal(files.train_labels, LABELS)
    np.testing.assert_array_equal(files.test_images, IMAGES + 1)
    np.testing.assert_array_equal(files.test_labels, 1 - LABELS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "that begins with an IDX header"),
        (b"\0\0\x08", "got the bytes 00 00 08."),
        (b"\0\1\x08\1" + bytes(4), "got the bytes 00 01 08 01."),
        (b"\0\0\x0a\1" + bytes(4), "a dtype of 0x08, 0x09, 0x0b, 0x0c, 0x0d, 0x0e)"),
        (b"\0\0\x08\0", "that states 1 to 4 dimensions"),
        (b"\0\0\x08\2" + bytes(7), "got a header of 11 bytes for 2. Is the file"),
        (
            VECTOR[:-1],
            "holds 3 bytes (1 or more) after its header, for shape (3,), got 2.",
        ),
        (VECTOR + b"d", "got 4. Is the file whole?"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(TrainingError) as refused:
        read_idx(path)
    assert f"`data.path` {path} must be a file that " in str(refused.value)
    assert message in str(refused.value)


def test_a_broken_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(VECTOR, mtime=0)[:-9])
    with pytest.raises(TrainingError, match=r"file.gz .* can be read: .*whole\?"):
        read_idx(path)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", ["file", "file.gz"])
def test_gzip_is_told_by_content(tmp_path: Path, zipped: bool, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(VECTOR) if zipped else VECTOR)
    assert read_idx(path).tolist() == [ord("a"), ord("b"), ord("c")]
    assert isinstance(read_idx(path), np.memmap) != zipped


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=rf"`data.path` {tmp_path}/none must"):
        read_idx_folder(tmp_path / "none" / "deeper")


def test_a_missing_file_is_named_with_what_was_looked_for(
    tmp_path: Path, write_idx_folder: Callable[..., None]
) -> None:
    write_idx_folder(tmp_path, (IMAGES, LABELS), (IMAGES, LABELS))
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(TrainingError) as refused:
        read_idx_folder(tmp_path)
    assert str(refused.value) == (
        f"`data.path` {tmp_path} must hold test-labels, found "
        "t10k-images-idx3-ubyte, train-images-idx3-ubyte, train-labels-idx1-ubyte. "
        "Its name must be like train-images-idx3-ubyte, with .gz or without."
    )


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-images-idx3", IMAGES[:, :0], "holds 0 bytes (1 or more) after its"),
        ("train-images-idx3", LABELS, "of 3 dimensions (images, height, width), got"),
        (
            "train-labels-idx1",
            IMAGES,
            "of integers in 1 dimension, got uint8 of",
        ),
        (
            "train-labels-idx1",
            LABELS.astype(">f4"),
            "of integers in 1 dimension",
        ),
        (
            "train-labels-idx1",
            LABELS[:1],
            "one label per image, got 1 for the 2 images",
        ),
        ("t10k-images-idx3", IMAGES[:, :2], "got (3, 4) for training and (2, 4) for"),
    ],
)
def test_files_that_do_not_fit_each_other_are_refused(
    tmp_path: Path,
    write_idx: Callable[[Path, np.ndarray], None],
    write_idx_folder: Callable[..., None],
    name: str,
    array: np.ndarray,
    message: str,
) -> None:
    write_idx_folder(tmp_path, (IMAGES, LABELS), (IMAGES, LABELS))
    write_idx(tmp_path / f"{name}-ubyte", array)
    with pytest.raises(TrainingError) as refused:
        read_idx_folder(tmp_path)
    assert message in str(refused.value)


def test_the_files_of_mnist() -> None:
    folder = Path(__file__).parents[4] / "shared" / "data" / "mnist"
    if not folder.is_dir():
        pytest.skip("the four files of MNIST are not beside the checkout")
    files = read_idx_folder(folder)
    assert files.train_images.shape == (60_000, 28, 28)
    assert files.test_images.shape == (10_000, 28, 28)
    # The first labels and the classes' sizes, as published.
    assert files.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(files.test_labels).tolist() == [
        *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    ]
