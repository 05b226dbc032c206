"""CSV files: columns by name or position, text, categories, and what is missing."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handgrad.training import Dataset, TrainingError, load_data
from handgrad.training.data import csv_file, files, scale
from handgrad.training.data.csv_file import read_rows
from handgrad.training.data.table import encode, encoder_from_json, encoder_to_json
from handgrad.training.settings import Data

HEADER = "size,colour,kind\n"
ROWS = "1.5,red,cat\n2,blue,dog\n, red ,cat\n-1e1,green,dog\n"
ALL: dict[str, Any] = {"test": 0.0, "validation": 0.0}


def write(folder: Path, text: str, name: str = "a.csv") -> str:
    path = folder / name
    content = text.encode("utf-8")
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return str(path)


def loaded(folder: Path, text: str, **settings: Any) -> Dataset:
    return load_data(Data("csv", write(folder, text), **(ALL | settings)))


def test_numbers_words_and_missing_values_by_hand(tmp_path: Path) -> None:
    data = loaded(tmp_path, HEADER + ROWS, categorical=("colour",), missing="mean")
    assert data.classes == ("cat", "dog")
    assert data.features == ("size", "colour=blue", "colour=green", "colour=red")
    mean = (1.5 + 2 - 10) / 3
    expected = [[1.5, 0, 0, 1], [2, 1, 0, 0], [mean, 0, 0, 1], [-10, 0, 1, 0]]
    np.testing.assert_allclose(data.train.x, expected, rtol=1e-6)
    assert data.train.x.dtype == np.float32
    assert data.train.y.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("missing", "filled"), [("median", 2.0), ("most_frequent", 2.0), ("mean", 3.0)]
)
def test_what_is_missing_is_filled(tmp_path: Path, missing: str, filled: float) -> None:
    text = "2,a\n2,b\n5,a\nNA,b\n?,a\n"
    x = loaded(tmp_path, text, missing=missing).train.x
    assert x[:, 0].tolist() == [2, 2, 5, filled, filled]


def test_a_missing_word_is_a_category_and_an_unknown_one_is_none(
    tmp_path: Path,
) -> None:
    text = "c,y\nu,0\n,1\nv,0\nu,1\n"
    data = loaded(tmp_path, text, categorical=("*",), missing="mean")
    assert data.features == ("c=", "c=u", "c=v")
    assert data.table is not None
    path = write(tmp_path, 'c\nw\n""\nv\n', "new.csv")
    table, labels = read_rows(data.table, path)
    assert labels is None
    x = encode(data.table, table, np.arange(3))
    assert x.tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.txt"])
@pytest.mark.parametrize("label", ["size", 0, -3])
def test_the_label_is_a_name_or_a_position(
    tmp_path: Path, name: str, label: int | str
) -> None:
    text = "size,a,b\n3,1,2\n10,3,4\n3,5,6\n"
    data = load_data(Data("csv", write(tmp_path, text, name), label=label, **ALL))
    assert data.classes == ("3", "10")  # by value
    assert data.features == ("a", "b")
    assert data.train.y.tolist() == [0, 1, 0]


def test_a_file_without_header_has_columns_by_position(tmp_path: Path) -> None:
    data = loaded(tmp_path, "1,x,0\n2,y,1\n", ignored=("1",))
    assert data.features == ("0",)
    assert data.train.x.tolist() == [[1], [2]]
    text = "a,0\nb,1\nc,1\n"
    assert loaded(tmp_path, text, categorical=("0",), header="no").classes == ("0", "1")
    path = write(tmp_path, "7\n8\n", "new.csv")
    assert data.table is not None
    data = loaded(tmp_path, "1,0\n2,1\n")
    assert data.table is not None
    assert encode(data.table, read_rows(data.table, path)[0], np.arange(2)).sum() == 15


def test_classes_may_be_put_in_order(tmp_path: Path) -> None:
    data = loaded(tmp_path, "1,no\n2,yes\n3,no\n", classes=("yes", "no"))
    assert data.classes == ("yes", "no")
    assert data.train.y.tolist() == [1, 0, 1]
    with pytest.raises(TrainingError, match=r"`data.classes` must name the 2 classes"):
        loaded(tmp_path, "1,no\n2,yes\n3,no\n", classes=("yes", "maybe"))


def test_blocks_of_rows_make_one_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = HEADER + ROWS.replace(",red", ",red") * 3
    settings = {"categorical": ("*",), "missing": "mean"}
    whole = loaded(tmp_path, text, **settings)
    monkeypatch.setattr(csv_file, "_CELLS", 6)  # two rows
    parts = loaded(tmp_path, text, **settings)
    np.testing.assert_array_equal(whole.train.x, parts.train.x)
    assert (whole.features, whole.classes) == (parts.features, parts.classes)


def test_what_is_learned_is_from_the_training_part(tmp_path: Path) -> None:
    rows = [f"{i},{'ab'[i % 2]},{'uvw'[i % 3]}" for i in range(60)]
    text = "n,c,y\n" + "\n".join(rows)
    path, own = write(tmp_path, text), write(tmp_path, "y,n,c\nu,,z\n", "own.csv")
    settings = Data("csv", path, test_path=own, categorical=("c",), missing="mean")
    data = load_data(settings)
    mean = np.float32(data.rows[0].mean())
    assert data.test.x.tolist() == [[mean, 0, 0]]
    assert data.test.y.tolist() == [0]


def test_an_encoder_comes_back_from_json(tmp_path: Path) -> None:
    data = loaded(tmp_path, HEADER + ROWS, categorical=("*",), missing="mean")
    assert data.table is not None
    text = json.dumps(encoder_to_json(data.table))
    back = encoder_from_json(json.loads(text))
    assert back == data.table
    table, labels = read_rows(back, write(tmp_path, HEADER + ROWS))
    assert labels is not None
    x = scale(data.scaling, encode(back, table, np.arange(4)))
    np.testing.assert_array_equal(x, scale(data.scaling, data.train.x))


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("", {}, "with rows, got none."),
        ("a,b\n", {}, "with rows, got a header alone."),
        ("a,b,a\n1,2,3\n", {}, "whose columns have different names, got 'a' twice."),
        ("1,2\n3\n", {}, "of rows of 2 columns, as the first row has, got 1 in row 1."),
        ("a,b\n1,2\n3,4,5\n", {}, "of rows of 2 columns, as the first row has, got 3"),
        ('1,2\n3,"4\n', {}, "can be read: unexpected end of data."),
        ("1,2\n3,\ud800\n", {}, "surrogates"),
        ("1,2\nx,4\n", {}, "must name column '0' of "),
        ("1,2\nx,4\n", {}, "for it to hold text, got 'x' in row 1."),
        ("1,2\n1_0,4\n", {}, "for it to hold text, got '1_0' in row 1."),
        ("1,2\n,4\n", {}, "got 'refuse' for the 1 in column '0', the first in row 1."),
        ("c,y\nu,1\n,2\n", {"categorical": ("c",)}, "'refuse' for the 1 in column 'c'"),
        (
            "1,0\n,1\n",
            {"missing": "mean", "label": 0},
            "a label in every row, got none",
        ),
        ("n,c,y\n,1,0\n,2,1\n", {"missing": "mean"}, "column 'n', which holds nothing"),
        ("1,0.5\n2,1.5\n", {}, "must be classes, got numbers such as '0.5'."),
        ("1,0\n2,0\n", {}, "must hold two classes or more, got ('0',)."),
        ("1,0\ninf,1\n", {}, "in float32, got inf in row 1, column 0."),
        ("1,0\n1e39,1\n", {}, "in float32, got 1e+39 in row 1, column 0."),
        ("1,0\n1,1\n", {}, "every feature is constant."),
        (
            "a,b\n1,2\n",
            {"label": "c"},
            "`data.label` must be of a table with a column 'c'",
        ),
        (
            "a,b\n1,2\n",
            {"label": 2},
            "a column's name or a position in -2 ... 1, got 2.",
        ),
        ("a,b\n1,2\n", {"ignored": ("c",)}, "`data.ignored` must be of a table with"),
        (
            "a,b\n1,2\n",
            {"categorical": ("c",)},
            "`data.categorical` must be of a table",
        ),
        ("5\n6\n", {}, "a feature at least, got (2, 0)"),
    ],
)
def test_what_cannot_be_read_is_refused(
    tmp_path: Path, text: str, settings: dict[str, Any], message: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(TrainingError) as refused:
        load_data(Data("csv", str(path), **(ALL | settings)))
    if message == "surrogates":
        message = "can be read: 'utf-8' codec can't decode"
    assert message in str(refused.value)


def test_too_many_words_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_file, "MOST_WORDS", 2)
    with pytest.raises(TrainingError, match=r"columns of at most 2 words, got more in"):
        loaded(tmp_path, HEADER + ROWS, categorical=("colour",))


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ALLOWANCE", 2**10)
    path = write(tmp_path, "1,0\n" * 2**16, "a.csv.gz")
    with pytest.raises(TrainingError, match=r"unpacks to at most 100 times its size"):
        load_data(Data("csv", path))
