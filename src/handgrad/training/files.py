"""Files that are never there by half."""

import csv
import json
import lzma
import os
import struct
import tokenize
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

UNREADABLE = (
    *(ValueError, EOFError, TypeError, KeyError, IndexError, SyntaxError),
    *(RuntimeError, OverflowError, MemoryError, UserWarning, csv.Error, struct.error),
    *(tokenize.TokenError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
"""What the readers of Python and numpy raise for contents that they cannot make out;
besides OSError, for what the file system refuses."""


def replace_file(path: str | Path, content: bytes) -> None:
    """Write a file so that a reader finds the old content or the new, never a part.

    The content is on the disk before the name points to it, so this holds for a power
    cut as well. What fails leaves the old file, and nothing beside it.

    Args:
      path: the file; its folder must exist.
      content: all of it.

    Raises:
      OSError: for what the disk or the folder refuses, with the file's name.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)
        raise


def replace_json(path: str | Path, value: Any) -> None:
    """Write a value as JSON that anyone reads, as `replace_file` writes.

    Raises:
      ValueError: for NaN and infinity, which JSON does not have.
      OSError: as `replace_file`.
    """
    text = json.dumps(value, indent=2, allow_nan=False)
    replace_file(path, f"{text}\n".encode())
