"""Broken files: a reader gives samples or the package's own error, in bounded memory.

FUZZ_CASES=10000 python -m pytest -n 0 tests/training/data/test_fuzz.py
"""

import contextlib
import gzip
import io
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handgrad.training import TrainingError
from handgrad.training.data import files
from handgrad.training.data.arrays import read_npy_folder, read_npz
from handgrad.training.data.csv_file import read_csv
from handgrad.training.data.idx import read_idx
from handgrad.training.settings import Data

CASES = int(os.environ.get("FUZZ_CASES", "150"))
MOST = 64
"""Bytes of memory that a reader may take for each byte that it may unpack."""

X, Y = np.arange(60, dtype=np.uint8).reshape(20, 3), np.arange(20) % 2
IDX = b"\0\0\x08\2" + bytes((0, 0, 0, 20, 0, 0, 0, 3)) + X.tobytes()
CSV = b"size,colour,y\n" + b"1.5,red,a\n,blue,b\n-2e3, red,a\n" * 5
EXTREME = st.sampled_from(
    [b"\xff" * 4, b"\0" * 8, b"\x7f\xff\xff\xff", b"\x41", b"9" * 30, b"[" * 200]
    + [b"'O'", b"1e999", b"nan", b'"', b"\n", b",,", b"(", b"-1", b"\xef\xbb\xbf"]
)


def saved(save: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()


NPY = saved(lambda file: np.save(file, X))
NPZ = saved(lambda file: np.savez(file, x=X, y=Y))
PACKED = saved(lambda file: np.savez_compressed(file, x=X, y=Y))


@st.composite
def broken(draw: st.DrawFn, *whole: bytes) -> bytes:
    """A file with some of its bytes changed, removed or repeated; or any bytes."""
    content = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(content)))
        end = start + draw(st.integers(0, 12))
        content[start:end] = draw(st.binary(max_size=12) | EXTREME)
    if draw(st.booleans()):
        del content[draw(st.integers(0, len(content))) :]
    repeated = bytes(content) * draw(st.sampled_from([1, 1, 1, 2, 50]))
    packed = draw(st.booleans())
    return gzip.compress(repeated, 1, mtime=0) if packed else repeated


def reads_or_refuses(path: Path, content: bytes, read: Callable[[], object]) -> None:
    path.write_bytes(content)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    with contextlib.suppress(TrainingError):
        read()
    peak = tracemalloc.get_traced_memory()[1] - before
    assert peak < MOST * (files.UNPACKED * len(content) + files.ALLOWANCE)


@pytest.fixture(autouse=True)
def bounded(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(files, "ALLOWANCE", 2**16)
    tracemalloc.start()
    yield
    tracemalloc.stop()


fuzz = settings(
    max_examples=CASES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@fuzz
@given(content=broken(IDX, IDX[:30]) | st.binary(max_size=80))
def test_idx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x-idx"
    reads_or_refuses(path, content, lambda: read_idx(path))


@fuzz
@given(content=broken(NPZ, PACKED) | st.binary(max_size=80))
def test_npz(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npz"
    reads_or_refuses(path, content, lambda: read_npz(path))


@fuzz
@given(content=broken(NPY) | st.binary(max_size=80))
def test_npy(tmp_path: Path, content: bytes) -> None:
    np.save(tmp_path / "y.npy", Y)
    path = tmp_path / "x.npy"
    reads_or_refuses(path, content, lambda: read_npy_folder(tmp_path))


@fuzz
@given(
    content=broken(CSV, CSV[14:]) | st.binary(max_size=80),
    categorical=st.sampled_from([(), ("*",), ("colour",)]),
)
def test_csv(tmp_path: Path, content: bytes, categorical: tuple[str, ...]) -> None:
    path = tmp_path / "a.csv"
    how = Data("csv", str(path), categorical=categorical)
    reads_or_refuses(path, content, lambda: read_csv(how, path))
