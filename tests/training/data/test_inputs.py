"""What a trained model reads to predict: the same columns, by name or by number."""

from pathlib import Path

import numpy as np
import pytest

from handgrad.training import TrainingError, load_data
from handgrad.training.data import read_inputs
from handgrad.training.settings import Data


def test_columns_are_found_by_name_and_the_label_is_given_if_there(
    tmp_path: Path,
) -> None:
    train, new = tmp_path / "a.csv", tmp_path / "new.csv"
    train.write_text("a,b,kind\n1,2,u\n3,4,v\n")
    data = load_data(Data("csv", str(train), test=0.0, validation=0.0))
    for text, labels in (("b,more,a\n7,x,8\n", None), ("kind,b,a\nv,7,8\n", ("v",))):
        new.write_text(text)
        x, y = read_inputs(new, data.features, data.table)
        assert x.tolist() == [[8, 7]]
        assert (y and y.words) == labels  # pyright: ignore[reportAttributeAccessIssue]
    new.write_text("a,c\n1,2\n")
    with pytest.raises(TrainingError, match=r"with a column 'b', which is not there"):
        read_inputs(new, data.features, data.table)


def test_a_model_of_arrays_reads_rows_of_numbers_and_npz(tmp_path: Path) -> None:
    features = ("0", "1")
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")
    x, y = read_inputs(tmp_path / "a.csv", features, None)
    assert (x.tolist(), y) == ([[1, 2], [3, 4]], None)
    np.savez(tmp_path / "a.npz", x=np.ones((3, 2, 1)))
    x, y = read_inputs(tmp_path / "a.npz", features, None)
    assert (x.shape, y) == ((3, 2), None)
    np.savez(tmp_path / "a.npz", X=np.ones((3, 2)), y=np.arange(3))
    _, y = read_inputs(tmp_path / "a.npz", features, None)
    assert isinstance(y, np.ndarray)
    assert y.tolist() == [0, 1, 2]


def test_other_features_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((3, 4)))
    with pytest.raises(TrainingError, match=r"must have 2 features, as the model has"):
        read_inputs(tmp_path / "a.npz", ("0", "1"), None)
    (tmp_path / "a.csv").write_text("1,2,3\n")
    with pytest.raises(TrainingError, match=r"must be a file of rows of 2 columns"):
        read_inputs(tmp_path / "a.csv", ("0", "1"), None)
    np.savez(tmp_path / "a.npz", z=np.ones((3, 4)))
    with pytest.raises(TrainingError, match=r"`x` must be an array of .*, got \['z'\]"):
        read_inputs(tmp_path / "a.npz", ("0", "1"), None)
