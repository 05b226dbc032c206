"""IDX files, the format of MNIST and its successors, gzipped or not.

A file is two zero bytes, a byte for the dtype, a byte for the number of dimensions,
each dimension as a big-endian uint32, then the entries in row-major order, big-endian.
Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits".
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from handgrad.training.errors import TrainingError

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


class IdxFolder(NamedTuple):
    """The four arrays of a data set in the layout of MNIST."""

    train_images: np.ndarray  # (m, height, width)
    train_labels: np.ndarray  # (m,), integer
    test_images: np.ndarray  # (n, height, width)
    test_labels: np.ndarray  # (n,), integer


def read_idx(path: str | Path) -> np.ndarray:
    """Read one IDX file, gzipped if its name ends in .gz.

    Args:
      path: the file.

    Returns:
      The array, in the dtype and the dimensions that the header states.

    Raises:
      TrainingError: if it cannot be read or unpacked, does not begin with an IDX
        header, or holds more or fewer entries than the header states.
    """
    path = Path(path)
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _DTYPES:
        raise TrainingError(
            f"`data.path` file {path} must begin with an IDX header (two zero bytes, "
            f"then a dtype of {', '.join(f'{code:#04x}' for code in _DTYPES)}), "
            f"got the bytes {content[:4].hex(' ') or '(none)'}."
        )
    dtype, dimensions = np.dtype(_DTYPES[content[2]]), content[3]
    start = 4 + 4 * dimensions
    if dimensions == 0 or len(content) < start:
        raise TrainingError(
            f"`data.path` file {path} must state 1 or more dimensions, got a header "
            f"of {len(content)} bytes for {dimensions}. Is the file whole?"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    expected = math.prod(shape) * dtype.itemsize
    if len(content) - start != expected:
        raise TrainingError(
            f"`data.path` file {path} must hold {expected} bytes after its header, for "
            f"shape {shape}, got {len(content) - start}. Is the file whole?"
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape)


def read_idx_folder(folder: str | Path) -> IdxFolder:
    """Read train-images, train-labels, t10k-images and t10k-labels.

    Args:
      folder: holds the four files, each as NAME-idx3-ubyte or NAME.idx3-ubyte (labels:
        idx1), with or without .gz.

    Returns:
      Images (m, height, width) and integer labels (m,), for training and for the test.

    Raises:
      TrainingError: if the folder or a file is missing or broken, if images are not
        three-dimensional, labels not integers in one dimension, or their counts or
        image sizes differ.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise TrainingError(
            "`data.path` must be a folder of IDX files, found no folder at "
            f"{folder.absolute()}."
        )
    train_images, train_labels = _read_part(folder, "train")
    test_images, test_labels = _read_part(folder, "t10k")
    if train_images.shape[1:] != test_images.shape[1:]:
        raise TrainingError(
            f"`data.path` {folder} must hold images of one size, got "
            f"{train_images.shape[1:]} for training and {test_images.shape[1:]} for "
            "the test."
        )
    return IdxFolder(train_images, train_labels, test_images, test_labels)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise TrainingError(
            f"`data.path` file {path} cannot be read: {error}. Is the file whole?"
        ) from error


def _read_part(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    images_path = _find(folder, f"{part}-images", "idx3-ubyte")
    labels_path = _find(folder, f"{part}-labels", "idx1-ubyte")
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim != 3 or 0 in images.shape:
        raise TrainingError(
            f"`data.path` file {images_path} must have 3 dimensions "
            f"(images, height, width), all positive, got shape {images.shape}."
        )
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise TrainingError(
            f"`data.path` file {labels_path} must hold integers in 1 dimension, "
            f"got {labels.dtype} of shape {labels.shape}."
        )
    if len(images) != len(labels):
        raise TrainingError(
            f"`data.path` {folder} must hold one label per image, got {len(images)} "
            f"in {images_path.name} and {len(labels)} in {labels_path.name}."
        )
    return images, labels


def _find(folder: Path, stem: str, kind: str) -> Path:
    names = [f"{stem}{dot}{kind}{gz}" for dot in "-." for gz in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise TrainingError(
        f"`data.path` {folder.absolute()} must hold {stem}, found none of "
        f"{', '.join(names)}."
    )
