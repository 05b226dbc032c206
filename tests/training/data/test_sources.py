"""Sources of other places: openml.org from a cache, EMNIST's letters, QMNIST."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from handgrad.training import TrainingError, load_data
from handgrad.training.settings import Data

ARFF = """@RELATION tiny
@ATTRIBUTE size REAL
@ATTRIBUTE colour {red, blue}
@ATTRIBUTE kind {cat, dog}
@DATA
1.0,red,cat
2.0,blue,dog
?,?,cat
4.0,red,dog
"""
API = "https://api.openml.org/"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """scikit-learn's cache, with a data set of four rows."""
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    columns = [("size", "numeric"), ("colour", "nominal"), ("kind", "nominal")]
    features = [
        {
            "index": str(index),
            "name": name,
            "data_type": kind,
            "is_target": str(name == "kind").lower(),
            "is_ignore": "false",
            "is_row_identifier": "false",
            "number_of_missing_values": "0",
        }
        for index, (name, kind) in enumerate(columns)
    ]
    about = {"id": "7", "name": "tiny", "version": "1", "status": "active"}
    about |= {"format": "ARFF", "description": "", "md5_checksum": None}
    about |= {"url": f"{API}data/v1/download/7", "file_id": "7"}
    found = {"data": {"dataset": [{"did": 7, "name": "tiny", "version": 1}]}}
    qualities = [{"name": "NumberOfInstances", "value": "4.0"}]
    api = "api/v1/json/data"
    list_of = f"{api}/list/data_name/tiny/limit/2"
    for path, value in {
        f"{list_of}/status/active/": found,
        f"{list_of}/data_version/1": found,
        f"{api}/7": {"data_set_description": about},
        f"{api}/features/7": {"data_features": {"feature": features}},
        f"{api}/qualities/7": {"data_qualities": {"quality": qualities}},
        "data/v1/download/7": ARFF,
    }.items():
        file = tmp_path / "openml" / "openml.org" / f"{path}.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        text = value if isinstance(value, str) else json.dumps(value)
        file.write_bytes(gzip.compress(text.encode()))


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", ["openml:tiny", "openml:tiny:1"])
def test_a_set_of_openml_comes_from_the_cache(name: str) -> None:
    settings = Data(
        name, categorical=("*",), missing="median", test=0.0, validation=0.0
    )
    data = load_data(settings)
    assert data.classes == ("cat", "dog")
    assert data.features == ("size", "colour=", "colour=blue", "colour=red")
    expected = [[1, 0, 0, 1], [2, 0, 1, 0], [2, 1, 0, 0], [4, 0, 0, 1]]
    assert data.train.x.tolist() == expected
    assert data.train.y.tolist() == [0, 1, 0, 1]


@pytest.mark.usefixtures("tiny")
def test_text_of_openml_must_be_asked_for() -> None:
    with pytest.raises(
        TrainingError, match=r"must name column 'colour' of openml:tiny"
    ):
        load_data(Data("openml:tiny"))
    data = load_data(
        Data("openml:tiny", ignored=("colour",), missing="mean", test=0, validation=0)
    )
    assert data.features == ("size",)


def test_what_openml_cannot_give_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    monkeypatch.setattr("sklearn.datasets._openml.urlopen", _no_network)
    with pytest.raises(
        TrainingError, match=r"`data.source` openml:none must be a data"
    ):
        load_data(Data("openml:none"))


def _no_network(*_: object, **__: object) -> None:
    raise OSError("no network in a test")


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 2, 2)).astype("u1")


def test_letters_are_numbered_from_one(
    tmp_path: Path, images: np.ndarray, write_idx_folder: Callable[..., None]
) -> None:
    labels = (1 + np.arange(60) % 3).astype("u1")
    write_idx_folder(tmp_path, (images, labels), (images, labels))
    for path in list(tmp_path.iterdir()):
        name = "emnist-letters-" + path.name.replace("t10k", "test")
        path.rename(path.with_name(name))
    data = load_data(Data("idx", str(tmp_path)))
    assert data.classes == ("1", "2", "3")
    assert data.test.y.tolist() == (labels - 1).tolist()
    write_idx_folder(tmp_path, (images, labels), (images, labels))
    with pytest.raises(TrainingError, match=r"must hold one data set, found , emnist-"):
        load_data(Data("idx", str(tmp_path)))
    data = load_data(Data("idx", str(tmp_path / "emnist-letters")))
    assert data.classes == ("1", "2", "3")


def test_the_class_of_qmnist_is_the_first_of_its_columns(
    tmp_path: Path, images: np.ndarray, write_idx: Callable[[Path, np.ndarray], None]
) -> None:
    labels = np.stack([np.arange(60) % 3, np.full(60, 9)], axis=1).astype(">i4")
    for part in ("train", "test"):
        write_idx(tmp_path / f"qmnist-{part}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"qmnist-{part}-labels-idx2-int.gz", labels)
    data = load_data(Data("idx", str(tmp_path)))
    assert data.test.y.tolist() == labels[:, 0].tolist()
