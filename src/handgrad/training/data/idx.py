"""IDX files, the format of MNIST and its successors, gzipped or not.

A file is two zero bytes, a byte for the dtype, a byte for the number of dimensions,
each dimension as a big-endian uint32, then the entries in row-major order, big-endian.
Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits".
"""

import math
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from handgrad.training.data.files import broken, contents, reading
from handgrad.training.errors import TrainingError

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_NAME = re.compile(
    r"(?P<set>.*?)(?P<part>train|t10k|test)-(?P<kind>images|labels)[-.]"
    r"idx\d-(ubyte|byte|int)(\.gz)?"
)


class IdxFolder(NamedTuple):
    """The four arrays of a data set in the layout of MNIST."""

    train_images: np.ndarray  # (m, height, width)
    train_labels: np.ndarray  # (m,), integer
    test_images: np.ndarray  # (n, height, width)
    test_labels: np.ndarray  # (n,), integer


def read_idx(path: str | Path) -> np.ndarray:
    """Read one IDX file, gzipped or not, whatever its name.

    Args:
      path: the file.

    Returns:
      The array, in the dtype and the dimensions that the header states; a file that is
      not gzipped is mapped into memory.

    Raises:
      TrainingError: if it cannot be read or unpacked, does not begin with an IDX
        header, or holds more or fewer entries than the header states.
    """
    path = Path(path)
    with reading(path):
        content = contents(path)
    head = content[:4].tobytes()
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _DTYPES:
        raise broken(
            path,
            "that begins with an IDX header (two zero bytes, then a dtype of "
            f"{', '.join(f'{code:#04x}' for code in _DTYPES)}), got the bytes "
            f"{head.hex(' ') or '(none)'}.",
        )
    dtype, dimensions = np.dtype(_DTYPES[head[2]]), head[3]
    start = 4 + 4 * dimensions
    if not 1 <= dimensions <= 4 or len(content) < start:
        raise broken(
            path,
            f"that states 1 to 4 dimensions, got a header of "
            f"{min(len(content), start)} bytes for {dimensions}. Is the file whole?",
        )
    shape = tuple(content[4:start].view(">u4").tolist())
    expected = math.prod(shape) * dtype.itemsize
    if len(content) - start != expected or expected == 0:
        raise broken(
            path,
            f"that holds {expected} bytes (1 or more) after its header, for shape "
            f"{shape}, got {len(content) - start}. Is the file whole?",
        )
    return content[start:].view(dtype).reshape(shape)


def read_idx_folder(folder: str | Path) -> IdxFolder:
    """Read the images and the labels to train on and to test on.

    Args:
      folder: holds the four files under a naming of the MNIST family:
        train-images-idx3-ubyte, t10k- or test- for the test, a dot before idx, a name
        in front (emnist-letters-train-...), .gz at the end. Where it holds several
        sets, FOLDER/NAME names one: emnist/emnist-letters.

    Returns:
      Images (m, height, width) and integer labels (m,), for training and for the test.

    Raises:
      TrainingError: if the folder or a file is missing or broken, if images are not
        three-dimensional, labels not integers in one dimension, or their counts or
        image sizes differ.
    """
    files = _find(Path(folder).expanduser())
    train_images, train_labels = _read_part(files, "train")
    test_images, test_labels = _read_part(files, "test")
    if train_images.shape[1:] != test_images.shape[1:]:
        raise TrainingError(
            f"`data.path` {folder} must hold images of one size, got "
            f"{train_images.shape[1:]} for training and {test_images.shape[1:]} for "
            "the test."
        )
    return IdxFolder(train_images, train_labels, test_images, test_labels)


def _find(folder: Path) -> dict[tuple[str, str], Path]:
    """The file of each part and kind."""
    name = ""
    if not folder.is_dir():
        folder, name = folder.parent, folder.name
    with reading(folder):
        matches = [_NAME.fullmatch(path.name) for path in sorted(folder.iterdir())]
    found = [m for m in matches if m and m["set"].startswith(name)]
    sets = sorted({match["set"] for match in found})
    if len(sets) > 1:
        raise TrainingError(
            f"`data.path` {folder / name} must hold one data set, found "
            f"{', '.join(sets)}. Add the name of one to the path: {folder / sets[-1]}"
        )
    files = {
        (match["part"].replace("t10k", "test"), match["kind"]): folder / match.string
        for match in reversed(found)
    }
    for part, kind in (
        ("train", "images"),
        ("train", "labels"),
        ("test", "images"),
        ("test", "labels"),
    ):
        if (part, kind) not in files:
            raise TrainingError(
                f"`data.path` {folder.absolute()} must hold {part}-{kind}, found "
                f"{', '.join(match.string for match in found) or 'no IDX file'}. Its "
                f"name must be like train-images-idx3-ubyte, with .gz or without."
            )
    return files


def _read_part(
    files: dict[tuple[str, str], Path], part: str
) -> tuple[np.ndarray, np.ndarray]:
    images_path, labels_path = files[part, "images"], files[part, "labels"]
    images, labels = read_idx(images_path), read_idx(labels_path)
    if "idx2-int" in labels_path.name and labels.ndim == 2:
        labels = labels[
            :, 0
        ]  # of QMNIST, where the class is the first of eight columns
    if images.ndim != 3:
        raise broken(
            images_path,
            f"of 3 dimensions (images, height, width), got shape {images.shape}.",
        )
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise broken(
            labels_path,
            f"of integers in 1 dimension, got {labels.dtype} of shape {labels.shape}.",
        )
    if len(images) != len(labels):
        raise broken(
            labels_path,
            f"of one label per image, got {len(labels)} for the {len(images)} images "
            f"in {images_path.name}.",
        )
    return images, labels
