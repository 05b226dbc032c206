"""Arrays that numpy saved: .npz files, and folders of .npy files mapped into memory.

Headers are read by numpy, sizes are compared with the file before anything of that size
is made, and nothing is unpickled.
"""

import math
import warnings
import zipfile
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from handgrad.training.data.dataset import Samples, Source
from handgrad.training.data.files import bounded, broken, everything, reading
from handgrad.training.errors import TrainingError, shortened

_PARTS = {
    "training": "* *_train train_*",
    "validation": "*_validation *_val validation_* val_*",
    "test": "*_test test_*",
}
_PAIRS = ("x y", "X y", "images labels", "data target")
"""What the features and the labels of a part may be called: x_train and y_train."""


class _Header(NamedTuple):
    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype


def read_npz(path: str | Path) -> Source:
    """Read x and y, and x_test, y_test, x_validation and y_validation where they are.

    Args:
      path: the file, made by `numpy.savez` or `numpy.savez_compressed`.

    Returns:
      The samples; every axis but the first is a feature's.

    Raises:
      TrainingError: for a file that is broken, or holds no arrays of those names.
    """
    path = Path(path).expanduser()
    with reading(path), zipfile.ZipFile(path) as archive:
        names = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]

        def read(name: str) -> np.ndarray:
            with bounded(archive.open(f"{name}.npy"), path) as file:
                return _read(file, path, name)

        return _source({name: lambda name=name: read(name) for name in names}, path)


def read_npy_folder(path: str | Path) -> Source:
    """Map x.npy into memory and read y.npy, and those of other parts that are there.

    Args:
      path: the folder.

    Returns:
      The samples, as `read_npz`; in column-major order x is read instead.

    Raises:
      TrainingError: for a file that is broken, or a folder without such files.
    """
    folder = Path(path).expanduser()
    with reading(folder):
        names = [
            file.stem for file in sorted(folder.iterdir()) if file.suffix == ".npy"
        ]
    return _source(
        {name: lambda name=name: _mapped(folder / f"{name}.npy") for name in names},
        folder,
    )


def _source(arrays: Mapping[str, Callable[[], np.ndarray]], path: Path) -> Source:
    parts: dict[str, Samples] = {}
    image_shape = None
    for part, patterns in _PARTS.items():
        for pattern, pair in product(patterns.split(), _PAIRS):
            x_name, y_name = (pattern.replace("*", word) for word in pair.split())
            if part not in parts and {x_name, y_name} <= arrays.keys():
                x, y = _features(arrays[x_name](), x_name, path), arrays[y_name]()
                shape = (x.shape[1], x.shape[2]) if x.ndim == 3 else None
                image_shape = shape if part == "training" else image_shape
                y = _labels(y, y_name, path)
                parts[part] = Samples(x.reshape(len(x), -1), y)
    if "training" not in parts:
        raise TrainingError(
            f"`data.path` {path} must hold arrays called x and y, or x_train and "
            f"y_train, got {shortened(sorted(arrays))}."
        )
    return Source(
        parts["training"],
        validation=parts.get("validation"),
        test=parts.get("test"),
        image_shape=image_shape,
    )


def _features(x: np.ndarray, name: str, path: Path) -> np.ndarray:
    if x.ndim < 2 or x.dtype.kind not in "biuf":
        raise TrainingError(
            f"`data.path` {path} must hold numbers in {name}, in 2 dimensions or more, "
            f"got {x.dtype} of shape {x.shape}."
        )
    return x


def _labels(y: np.ndarray, name: str, path: Path) -> np.ndarray:
    """One number or word per sample."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise TrainingError(
            f"`data.path` {path} must hold one label per sample in {name}, got shape "
            f"{y.shape}."
        )
    with reading(path):
        y = np.char.decode(y, "utf-8") if y.dtype.kind == "S" else y
        if y.dtype.kind == "U":
            codes = np.array(y, y.dtype.newbyteorder("="), ndmin=1).view(np.uint32)
            codes.tobytes().decode("utf-32")  # refuses what is no text
    return y


def _mapped(path: Path) -> np.ndarray:
    with reading(path):
        with path.open("rb") as file:
            header = _header(file, path, path.stem)
            start = file.tell()
        _check_size(header, path.stat().st_size - start, path, path.stem)
        order = "F" if header.fortran_order else "C"
        array = np.memmap(path, header.dtype, "r", start, header.shape, order)
    return np.ascontiguousarray(array) if header.fortran_order else array


def _read(file: IO[bytes], path: Path, name: str) -> np.ndarray:
    header = _header(file, path, name)
    content = everything(file)
    _check_size(header, len(content), path, name)
    flat = np.frombuffer(content, header.dtype)
    if header.fortran_order:
        return np.ascontiguousarray(flat.reshape(header.shape[::-1]).T)
    return flat.reshape(header.shape)


def _header(file: IO[bytes], path: Path, name: str) -> _Header:
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers that Python 2 wrote
        version = np.lib.format.read_magic(file)
        if version not in readers:
            raise ValueError(f"format {version} of {name}")
        shape, fortran_order, dtype = readers[version](file)
    if dtype.hasobject:
        raise broken(
            path,
            f"without pickled objects, which are never loaded, but {name} is one. Save "
            "it as numbers, or labels as text of a fixed width.",
        )
    if dtype.kind not in "biufUS" or dtype.itemsize == 0:
        raise broken(path, f"of numbers, or text as labels, got {dtype} in {name}.")
    return _Header(shape, fortran_order, dtype)


def _check_size(header: _Header, size: int, path: Path, name: str) -> None:
    expected = math.prod(header.shape) * header.dtype.itemsize
    if size != expected or min(header.shape, default=1) < 1:
        raise broken(
            path,
            f"that holds {expected} bytes (1 or more) in {name}, for shape "
            f"{header.shape} of {header.dtype}, got {size}. Is the file whole?",
        )
