"""Arrays that numpy saved: every naming is found, and nothing broken or forged is."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handgrad.training import TrainingError, load_data
from handgrad.training.data.arrays import read_npy_folder, read_npz
from handgrad.training.settings import Data

X = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
Y = np.array([0, 1, 0, 1])


def saved(array: np.ndarray, **changes: Any) -> bytes:
    """The bytes of an .npy file; with changes to its header."""
    file = io.BytesIO()
    header = np.lib.format.header_data_from_array_1_0(array) | changes
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + array.tobytes()


def write_npz(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        ("x y", "samples"),
        ("X y x_test y_test", "samples test"),
        ("x_train y_train x_val y_val x_test y_test", "samples validation test"),
        ("train_images train_labels test_images test_labels", "samples test"),
        ("data target", "samples"),
    ],
)
def test_arrays_are_found_under_their_usual_names(
    tmp_path: Path, names: str, parts: str
) -> None:
    pairs = dict(zip(names.split(), (X, Y) * 3, strict=False))
    np.savez_compressed(tmp_path / "a.npz", **pairs)  # pyright: ignore[reportArgumentType]
    (tmp_path / "folder").mkdir()
    for name, array in pairs.items():
        np.save(tmp_path / "folder" / f"{name}.npy", array)
    for source in (read_npz(tmp_path / "a.npz"), read_npy_folder(tmp_path / "folder")):
        for part in ("samples", "test", "validation"):
            samples = getattr(source, part)
            assert (samples is not None) == (part in parts.split())
            if samples:
                np.testing.assert_array_equal(samples.x, X.reshape(4, 6))
                np.testing.assert_array_equal(samples.y, Y)
        assert source.image_shape == (2, 3)


def test_a_folder_is_mapped_into_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y[:, None])
    source = read_npy_folder(tmp_path)
    assert isinstance(source.samples.x, np.memmap)
    assert source.samples.y.shape == (4,)  # pyright: ignore[reportAttributeAccessIssue]
    np.save(tmp_path / "x.npy", np.asfortranarray(X.reshape(4, 6)))
    x = read_npy_folder(tmp_path).samples.x
    np.testing.assert_array_equal(x, X.reshape(4, 6))
    assert x.flags.c_contiguous


def test_a_memory_map_stays_one_and_streams_where_asked(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", random.integers(0, 9, (40, 3)).astype("u1"))
    np.save(tmp_path / "y.npy", np.arange(40) % 2)
    whole = Data("npy", str(tmp_path), test=0.0, validation=0.0)
    data = load_data(whole)
    assert isinstance(data.train.x, np.memmap)
    assert not data.streamed
    split = load_data(Data("npy", str(tmp_path), stream="on"))
    assert split.streamed
    for part, rows in zip(split[:3], split.rows, strict=True):
        assert not isinstance(part.x, np.ndarray)
        np.testing.assert_array_equal(np.asarray(part.x), data.train.x[rows])


def test_labels_may_be_text(tmp_path: Path) -> None:
    for y in (np.array(["b", "a", "b", "a"]), np.array([b"b", b"a", b"b", b"a"])):
        np.savez(tmp_path / "a.npz", x=X, y=y)
        settings = Data("npz", str(tmp_path / "a.npz"), test=0.0, validation=0.0)
        data = load_data(settings)
        assert data.classes == ("a", "b")
        assert data.train.y.tolist() == [1, 0, 1, 0]


GOOD = {"x": saved(X), "y": saved(Y)}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"x": saved(X)},
            "must hold arrays called x and y, or x_train and y_train, got",
        ),
        (
            GOOD | {"x": saved(X)[:-1]},
            "holds 24 bytes (1 or more) in x, for shape (4, 2",
        ),
        (
            GOOD | {"x": saved(X, shape=(2**40, 2**40))},
            "(1099511627776, 1099511627776)",
        ),
        (
            GOOD | {"x": saved(X, shape=(0, 2**62, 2**62))},
            "holds 0 bytes (1 or more) in",
        ),
        (
            GOOD | {"x": saved(X, shape=(-4, -6))},
            "for shape (-4, -6) of uint8, got 24.",
        ),
        (GOOD | {"x": saved(X, shape=(4, 6) + (1,) * 70)}, "dimension"),
        (
            GOOD | {"x": saved(X, descr="|O")},
            "without pickled objects, which are never",
        ),
        (GOOD | {"x": saved(X, descr="<U0")}, "of numbers, or text as labels, got <U0"),
        (
            GOOD | {"x": saved(X, descr="<c8", shape=(3,))},
            "of numbers, or text as labels",
        ),
        (
            GOOD | {"x": saved(X, descr="|S1")},
            "must hold numbers in x, in 2 dimensions",
        ),
        (GOOD | {"x": b"\x93NUMPY\x09\x00"}, "can be read: format (9, 0) of x."),
        (GOOD | {"x": b"abc"}, "can be read: "),
        (
            GOOD | {"y": saved(X)},
            "must hold one label per sample in y, got shape (4, 2",
        ),
        (
            GOOD | {"y": saved(np.full(4, 2**31 - 16, "<u4"), descr="<U1")},
            "that can be read: ",
        ),
        (
            GOOD | {"x": saved(np.zeros((2**25, 1), "u1"))},
            "unpacks to at most 100 times",
        ),
    ],
)
def test_what_is_broken_or_forged_is_refused(
    tmp_path: Path, members: dict[str, bytes], message: str
) -> None:
    path = tmp_path / "a.npz"
    write_npz(path, members)
    with pytest.raises(TrainingError) as refused:
        read_npz(path)
    assert message in str(refused.value)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\3\4" + bytes(40)])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(TrainingError, match=r"a.npz must be a file that can be read"):
        read_npz(tmp_path / "a.npz")


def test_a_mapped_file_is_compared_with_its_header(tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", Y)
    for content, message in (
        (saved(X)[:-1], "holds 24 bytes (1 or more) in x"),
        (saved(X, shape=(2**40, 2**40)), "holds 1208925819614629174706176 bytes"),
    ):
        (tmp_path / "x.npy").write_bytes(content)
        with pytest.raises(TrainingError) as refused:
            read_npy_folder(tmp_path)
        assert message in str(refused.value)
    with pytest.raises(
        TrainingError, match=r"none must be a file that can be read: No"
    ):
        read_npy_folder(tmp_path / "none")
