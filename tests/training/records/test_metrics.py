"""metrics.jsonl: what is appended is read back, whatever a crash left at its end."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_folders import records

from handgrad.training import TrainingError
from handgrad.training.records.metrics import (
    METRICS,
    EpochRecord,
    append_record,
    best_record,
    read_records,
    truncate_records,
)

FIGURES = st.floats(width=64)


@given(st.lists(st.tuples(*[FIGURES] * 6), max_size=3))
def test_every_float_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("run")
    written = [EpochRecord(k, 10 * k, *row) for k, row in enumerate(rows, start=1)]
    for record in written:
        append_record(folder, record)
    assert list(map(repr, read_records(folder))) == list(map(repr, written))


def test_what_diverged_is_json_that_anyone_reads(tmp_path: Path) -> None:
    append_record(tmp_path, *records([math.nan]))
    append_record(tmp_path, *records([-math.inf]))

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    for line in (tmp_path / METRICS).read_text().splitlines():
        json.loads(line, parse_constant=refuse)


def test_no_file_is_no_record(tmp_path: Path) -> None:
    assert read_records(tmp_path) == ()
    assert best_record(()) is None


def test_a_line_cut_anywhere_is_dropped(tmp_path: Path) -> None:
    written = records([0.5, 0.25])
    for record in written:
        append_record(tmp_path, record)
    path = tmp_path / METRICS
    content = path.read_bytes()
    second = content.index(b"\n") + 1
    for end in range(second, len(content)):
        path.write_bytes(content[:end])
        assert read_records(tmp_path) == (written[0],)


@pytest.mark.parametrize(
    "line",
    ["{}", "[]", "7", "", '{"epoch": 1', "\x00", '{"epoch": "a"}', "[" * 5000],
)
def test_another_line_is_named(tmp_path: Path, line: str) -> None:
    append_record(tmp_path, *records([0.5]))
    with (tmp_path / METRICS).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(TrainingError, match=r"metrics.jsonl` must .* in line 2"):
        read_records(tmp_path)


def test_unknown_keys_are_passed_over(tmp_path: Path) -> None:
    (record,) = records([0.5])
    append_record(tmp_path, record)
    path = tmp_path / METRICS
    path.write_text(path.read_text().replace("{", '{"later": [1], ', 1))
    assert read_records(tmp_path) == (record,)


@pytest.mark.parametrize("kept", [0, 2, 3])
def test_a_resumed_run_goes_on_after_its_epoch(tmp_path: Path, kept: int) -> None:
    written = records([0.5, 0.4, 0.3])
    for record in written:
        append_record(tmp_path, record)
    with (tmp_path / METRICS).open("ab") as file:
        file.write(b'{"epoch": 4, "st')  # killed while writing
    assert list(truncate_records(tmp_path, kept)) == written[:kept]
    append_record(tmp_path, replace(written[0], epoch=kept + 1))
    assert [record.epoch for record in read_records(tmp_path)] == list(
        range(1, kept + 2)
    )


def test_the_best_epoch_is_of_a_finite_loss() -> None:
    losses = [0.5, math.nan, 0.2, 0.2, -math.inf, math.inf]
    best = best_record(records(losses))
    assert best is not None
    assert best.epoch == 3
    assert best_record(records([math.nan])) is None
