"""The table, the figure and the progress of a sweep."""

import io
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from handgrad.training.records.members import (
    Combination,
    MemberRecord,
    combinations,
)
from handgrad.training.views.style import save_png
from handgrad.training.views.sweep import (
    sweep_figure,
    sweep_progress,
    sweep_table,
)


def found(
    *, seeds: int = 3, diverged: Sequence[int] = (), **values: Sequence[float]
) -> tuple[Combination, ...]:
    """Of the products of values, by keys with __ for the dot; some diverged."""
    random, records = np.random.default_rng(0), []
    for number, chosen in enumerate(itertools.product(*values.values())):
        keys = [key.replace("__", ".") for key in values]
        loss, lost = 1.0 / (1 + number), number in diverged
        for seed in range(seeds):
            each = loss * (1 + 0.1 * float(random.normal()))
            figures = (None,) * 6 if lost else (each, 0.9, each, 0.8, each, 0.7)
            ended = "diverged" if lost else "done"
            at = dict(zip(keys, chosen, strict=True))
            records.append(MemberRecord(at, seed, ended, 9, 7, *figures))
    return combinations(records)


def printed(rows: Sequence[Combination], width: int = 80) -> str:
    text = io.StringIO()
    Console(file=text, width=width).print(sweep_table(rows))
    return text.getvalue()


RATES = [3e-4, 1e-3, 3e-3]


def test_the_table_has_a_row_per_combination_and_fits_80_columns() -> None:
    rows = found(optimizer__learning_rate=RATES, model__hidden_dropout=[0, 0.5])
    lines = printed(rows).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("±" in line for line in lines) == 6
    assert "80.0±0.0" in lines[-2]
    assert "diverged" not in printed(rows)


def test_the_table_says_what_diverged() -> None:
    rows = found(
        optimizer__learning_rate=RATES, model__hidden_dropout=[0, 0.5], diverged=[2]
    )
    text = printed(rows)
    assert "diverged" in text
    assert "…" not in text
    row = text.split(" 0.001 ", 1)[1].split("\n")[0]
    assert row.split() == ["0", "0", "of", "3", *"----"]


def test_of_very_many_combinations_the_best_are_shown() -> None:
    text = printed(found(seed=range(50), seeds=1))
    assert "the 40 lowest losses of 50" in text
    assert len([line for line in text.splitlines() if " 80.0 " in line]) == 40


@pytest.mark.parametrize(
    "rows",
    [
        found(),
        found(seeds=1),
        found(optimizer__learning_rate=RATES),
        found(optimizer__learning_rate=[0.01], diverged=[0]),
        found(optimizer__weight_decay=[0, 1e-4, 1e-2], model__hidden_dropout=[0, 0.5]),
        found(a__x=range(20), b__x=range(15)),
    ],
    ids=["seeds", "one", "rates", "diverged", "zero", "many"],
)
def test_every_sweep_has_a_figure(
    rows: tuple[Combination, ...], tmp_path: Path
) -> None:
    save_png(tmp_path / "sweep.png", sweep_figure, rows)
    assert (tmp_path / "sweep.png").read_bytes()[:4] == b"\x89PNG"


def test_zero_has_a_place_on_a_logarithmic_axis() -> None:
    rows = found(
        optimizer__weight_decay=[0, 1e-4, 1e-2], model__hidden_dropout=[0, 0.5]
    )
    loss, _ = sweep_figure(rows).axes
    assert loss.get_xscale() == "symlog"
    assert [text.get_text() for text in loss.get_xticklabels()] == [
        "0",
        "0.0001",
        "0.01",
    ]
    line = loss.containers[0].lines[0]  # pyright: ignore[reportAttributeAccessIssue]
    assert line.get_xdata().tolist() == [0, 1e-4, 1e-2]
    assert loss.get_xlabel() == "weight_decay"


def test_progress_is_paced_where_there_is_no_terminal() -> None:
    text, now = io.StringIO(), [0.0]
    console = Console(file=text, width=80)
    with sweep_progress(console, 8, clock=lambda: now[0]) as tell:
        for tenths in range(1, 101):
            now[0] = tenths / 10
            tell(tenths / 100, tenths // 13)
    lines = text.getvalue().splitlines()
    assert lines == [
        "10%  0/8 networks done, 9 s left",
        "30%  2/8 networks done, 7 s left",
        "70%  5/8 networks done, 3 s left",
    ]
