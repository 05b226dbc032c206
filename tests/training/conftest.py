"""A small data set and settings that train on it in a moment."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from handgrad.training import Dataset, Part, Settings
from handgrad.training.data import Scaling
from handgrad.training.settings import Data, Model, Optimizer, Training

FEATURES, CLASSES = 6, 3
IDX_CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}

WriteIdx = Callable[[Path, np.ndarray], None]
ImagesAndLabels = tuple[np.ndarray, np.ndarray]


def blobs(samples: int, seed: int) -> Part:
    """Normal features around a centre per class; every class is there."""
    random = np.random.default_rng(seed)
    y = random.permutation(np.arange(samples) % CLASSES).astype(np.int32)
    centres = np.random.default_rng(0).normal(size=(CLASSES, FEATURES))
    noise = random.normal(scale=0.5, size=(samples, FEATURES))
    return Part((centres[y] + noise).astype(np.float32), y)


@pytest.fixture(scope="module", autouse=True)
def quickly(compiled_quickly: None) -> None:
    """All of training is tested so."""


@pytest.fixture
def data() -> Dataset:
    """50 samples to train on: with batches of 16, the last holds 2."""
    shift = np.linspace(-1, 1, FEATURES, dtype=np.float32)
    divisor = np.linspace(1, 2, FEATURES, dtype=np.float32)
    parts = blobs(50, 1), blobs(12, 2), blobs(12, 3)
    return Dataset(
        *parts,
        scaling=Scaling(shift, divisor),
        classes=("a", "b", "c"),
        features=tuple("abcdef"),
        image_shape=(2, 3),
        table=None,
        rows=(np.arange(50), np.arange(12), np.arange(12)),
        streamed=False,
    )


@pytest.fixture
def settings() -> Settings:
    """Three epochs of Adam on two hidden layers."""
    return Settings(
        name="blobs",
        data=Data(source="digits"),
        model=Model(hidden=(8, 5)),
        optimizer=Optimizer(name="adam", learning_rate=0.01),
        training=Training(epochs=3, batch_size=16),
    )


@pytest.fixture(scope="session")
def write_idx() -> WriteIdx:
    """Writes an array as IDX, from the description of the format; gzipped as .gz."""

    def write(path: Path, array: np.ndarray) -> None:
        code = IDX_CODES[array.dtype.str[1:]]
        header = struct.pack(
            f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape
        )
        content = header + array.astype(array.dtype.newbyteorder(">")).tobytes()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)

    return write


@pytest.fixture(scope="session")
def write_idx_folder(write_idx: WriteIdx) -> Callable[..., None]:
    """Writes the four files of a data set in the layout of MNIST."""

    def write(
        folder: Path, train: ImagesAndLabels, test: ImagesAndLabels, ending: str = ""
    ) -> None:
        for part, (images, labels) in (("train", train), ("t10k", test)):
            write_idx(folder / f"{part}-images-idx3-ubyte{ending}", images)
            write_idx(folder / f"{part}-labels-idx1-ubyte{ending}", labels)

    return write
