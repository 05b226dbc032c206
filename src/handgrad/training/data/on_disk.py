"""Arrays that stay on the disk: some of their rows, and the memory of reading."""

import mmap
from typing import Any

import numpy as np

_KEPT = {np.dtype(name) for name in ("u1", "i1", "u2", "i2", "f2", "f4")}


def kept_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What goes to the device: small integers and float32 as they are, all else as
    float32; in the byte order of this machine."""
    native = dtype.newbyteorder("=")
    return native if native in _KEPT else np.dtype(np.float32)


class Rows:
    """Some rows of an array that stays where it is; read when they are asked for."""

    def __init__(self, array: Any, rows: np.ndarray) -> None:
        self.array, self.rows = array, rows
        self.shape: tuple[int, ...] = (len(rows), *array.shape[1:])
        self.dtype: np.dtype[Any] = array.dtype
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return np.asarray(self.array[self.rows[rows]])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        del copy  # what is read is always new
        return np.asarray(self[:], dtype)


def forget(x: Any) -> None:
    """Gives back the memory of what was read through a memory map.

    The system keeps what it likes of the file; it is this process that no longer counts
    it as its own.

    Args:
      x: an array, a memory map or a view of one, or `Rows`; of an array in memory
        nothing happens.
    """
    base = x.array if isinstance(x, Rows) else x
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
