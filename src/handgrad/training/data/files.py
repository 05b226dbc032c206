"""Files as bytes: unpacked where they are gzipped, and no more than their size allows.

What a file unpacks to may be at most `UNPACKED` times its size, and `ALLOWANCE` bytes.
"""

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from handgrad.training.errors import TrainingError
from handgrad.training.files import UNREADABLE

UNPACKED, ALLOWANCE = 100, 2**24
_BLOCK = 2**20
_GZIP = b"\x1f\x8b"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what a reader raises into an error that names the file."""
    try:
        yield
    except TrainingError:
        raise
    except (OSError, *UNREADABLE) as error:
        if known := getattr(error, "strerror", None):
            raise broken(path, f"that can be read: {known}.") from error
        what = str(error) or type(error).__name__
        raise broken(path, f"that can be read: {what}. Is the file whole?") from error


def broken(path: Path, what: str) -> TrainingError:
    """An error about a file of the data.

    Args:
      path: the file.
      what: completes "must be a file ".

    Returns:
      The error, to be raised.
    """
    return TrainingError(f"`data.path` {path} must be a file {what}")


def opened(path: Path) -> IO[bytes]:
    """A file to be read from its beginning, unpacked as it is read if it is gzipped.

    Args:
      path: the file; whether it is gzipped is seen from its first bytes.

    Returns:
      The open file; reading it raises a TrainingError where it unpacks to too much.
    """
    return bounded(gzip.GzipFile(path), path) if _is_gzip(path) else path.open("rb")


def bounded(file: Any, path: Path) -> IO[bytes]:
    """What is unpacked of a file, up to what the file's size allows."""
    return io.BufferedReader(_Bounded(file, path), _BLOCK)


def contents(path: Path) -> np.ndarray:
    """All bytes of a file: mapped into memory, or unpacked there if it is gzipped."""
    if path.is_file() and path.stat().st_size and not _is_gzip(path):
        return np.memmap(path, np.uint8, "r")
    with opened(path) as file:
        return np.frombuffer(everything(file), np.uint8)


def everything(file: IO[bytes]) -> bytearray:
    """The rest of an open file."""
    content = bytearray()
    for block in iter(lambda: file.read(_BLOCK), b""):
        content += block
    return content


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == _GZIP


class _Bounded(io.RawIOBase):
    def __init__(self, file: Any, path: Path) -> None:
        self._file, self._path = file, path
        self._left = UNPACKED * path.stat().st_size + ALLOWANCE

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._file.read(len(buffer))
        self._left -= len(block)
        if self._left < 0:
            raise broken(
                self._path,
                f"that unpacks to at most {UNPACKED} times its size, got more. If it "
                "is what you want, unpack it first.",
            )
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        self._file.close()
        super().close()
