"""Samples are read from files, or refused with the file and the place."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_folders import classifier

from handgrad.training import TrainingError
from handgrad.training.commands.inputs import Inputs, read_inputs
from handgrad.training.data.table import Encoder, Words, encoder_to_json
from handgrad.training.records.model import load_model, save_model

MODEL = classifier((2, 2), classes=["no", "yes"], features=["a", "b"], image_shape=None)


def texts(y: Any) -> Any:
    """Labels as they were written."""
    return [y.words[k] for k in y.places] if isinstance(y, Words) else y


def read(path: Path, content: bytes | str, label: str | None = None) -> Inputs:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_inputs(path, MODEL, label)


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        ("a,b\n1,2\n3,4\n", None),
        ("b,a\n2,1\n4,3\n", None),
        ("\ufeffa,b\r\n1,2\r\n3,4", None),
        (' a ,"b"\n"1", 2\n3,4e0\n\n', None),
        ("1,2\n3,4\n", None),
        ("a,b,kind\n1,2,yes\n3,4,no\n", ["yes", "no"]),
        ("kind,b,a\nyes,2,1\nno,4,3\n", ["yes", "no"]),
        ("1,2,7\n3,4,8\n", ["7", "8"]),
    ],
)
def test_tables(tmp_path: Path, content: str, labels: list[str] | None) -> None:
    for stored in (content.encode(), gzip.compress(content.encode())):
        x, y = read(tmp_path / "t.csv", stored)
        np.testing.assert_array_equal(x, [[1, 2], [3, 4]])
        assert texts(y) == labels


@pytest.mark.parametrize("label", ["0", "-3"])
def test_a_label_by_position(tmp_path: Path, label: str) -> None:
    x, y = read(tmp_path / "t.csv", "yes,1,2\nno,3,4\n", label)
    assert (x.tolist(), texts(y)) == ([[1, 2], [3, 4]], ["yes", "no"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "with rows, got none"),
        ("a,b\n", "got a header alone"),
        ("a,c\n1,2\n", "a column 'b'"),
        ("a,b\n1,x\n", "'x' in row 0"),
        ("a,b\n1,2\n3\n", "got 1 in row 1"),
        ("1,2,3,4\n", "of rows of 3 columns"),
        ("a,b\n1,2\n1,nan\n", "in column 'b', the first in row 1"),
        ("a,b\n1e999,2\n", "finite numbers, got others in row 0"),
        (b"a,b\n\xff,2\n", "cannot be read"),
        (b"\x1f\x8b\x08", "cannot be read"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-6], "cannot be read"),
        ("1,2,7\n3,4\n", "got 2 in row 1"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-8] + bytes(8), "CRC check failed"),
    ],
)
def test_broken_tables(tmp_path: Path, content: bytes | str, message: str) -> None:
    with pytest.raises(TrainingError, match=message) as raised:
        read(tmp_path / "t.csv", content)
    assert str(raised.value).startswith("`file` ")


def test_arrays(tmp_path: Path) -> None:
    x = np.arange(8, dtype=np.uint8).reshape(4, 1, 2)
    np.savez(tmp_path / "a.npz", x=x, y=[0, 1, 1, 0])
    found = read_inputs(tmp_path / "a.npz", MODEL)
    np.testing.assert_array_equal(found.x, x)
    np.testing.assert_array_equal(np.asarray(found.y), [0, 1, 1, 0])
    np.save(tmp_path / "a.npy", x)
    found = read_inputs(tmp_path / "a.npy", MODEL)
    assert (found.x.dtype, found.y) == (np.uint8, None)


def test_broken_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    one = np.zeros((1, 2))
    broken: list[tuple[dict[str, Any], str]] = [
        ({"z": one}, "no array x, only z"),
        ({"x": np.zeros((1, 3))}, "samples of 2 numbers"),
        ({"x": np.array([["a", "b"]])}, "samples of 2 numbers"),
        ({"x": np.array([[{}, {}]])}, "cannot be read"),
        ({"x": one, "y": [1, 2]}, "a label per sample"),
        ({"x": one + np.inf}, "finite"),
    ]
    for arrays, message in broken:
        np.savez(path, **arrays)
        with pytest.raises(TrainingError, match=message):
            read_inputs(path, MODEL)
    content = path.read_bytes()
    for end in range(0, len(content), 11):
        path.write_bytes(content[:end])
        with pytest.raises(TrainingError, match="^`file` "):
            read_inputs(path, MODEL)


@pytest.mark.parametrize("ending", ["csv", "npz", "npy"])
@given(content=st.binary(max_size=200), good=st.booleans(), at=st.integers(0, 400))
@settings(max_examples=100)
def test_whatever_a_file_holds_the_error_is_ours(
    tmp_path_factory: pytest.TempPathFactory,
    ending: str,
    content: bytes,
    good: bool,
    at: int,
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / f"f.{ending}"
    if good:  # and changed in one place
        x = np.ones((2, 2), np.float32)
        if ending == "csv":
            path.write_bytes(b"a,b\n1,2\n3,4\n")
        else:
            (np.save if ending == "npy" else np.savez)(path, x)
        whole = bytearray(path.read_bytes())
        at %= len(whole)
        whole[at : at + 2] = content[:2]
        content = bytes(whole)
    path.write_bytes(content)
    try:
        found = read_inputs(path, MODEL)
    except TrainingError:
        return
    assert np.isfinite(found.x).all()


def test_a_table_is_encoded_as_in_training(tmp_path: Path) -> None:
    """Words become features, what is missing is filled, unknown words are none."""
    words = Encoder(
        columns=("a", "kind", "b", "size"),
        header=True,
        label="kind",
        names=("a", "b"),
        fills=(10.0, 20.0),
        word_names=("size",),
        words=(("L", "S"),),
    )
    model = classifier(
        (4, 2), classes=["no", "yes"], image_shape=None, encoder=encoder_to_json(words)
    )
    save_model(tmp_path / "m", model)
    path = tmp_path / "t.csv"
    path.write_text("size,b,a,kind\nS,1,2,yes\nM,,3,no\nL,5,,no\n")
    x, y = read_inputs(path, load_model(tmp_path / "m"))
    assert x.tolist() == [[2, 1, 0, 1], [3, 20, 0, 0], [10, 5, 1, 0]]
    assert texts(y) == ["yes", "no", "no"]
