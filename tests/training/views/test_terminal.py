"""Progress by time, and tables that print names as they stand."""

import io
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest
from rich.console import Console
from run_folders import records

from handgrad.training.views.scores import ClassScore
from handgrad.training.views.terminal import (
    class_table,
    in_words,
    losses_in_words,
    training_progress,
)

STEPS = 10


def console(*, terminal: bool = False) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=terminal, width=200), text


def lines(epochs: int, seconds: float) -> list[str]:
    """What a file gets of epochs that take so long each."""
    to, text = console()
    now = 0.0
    with training_progress(to, epochs, STEPS, clock=lambda: now) as show:
        for record in records([0.5] * epochs):
            now += seconds
            show(record.steps, record)
    return text.getvalue().splitlines()


def test_a_short_run_says_its_first_and_last_epoch() -> None:
    first, last = lines(60, seconds=0.01)
    assert first.startswith("epoch 1/60  loss 0.4500 (validation 0.5000)  accuracy 0.9")
    assert last.startswith("epoch 60/60 ")


def test_without_validation_there_are_no_figures_of_it() -> None:
    (record,) = records([0.5])
    assert "validation" in losses_in_words(record)
    nan = float("nan")
    diverged = replace(record, train_loss=nan, validation_loss=nan)
    assert "loss nan (validation nan)" in losses_in_words(diverged)
    without = replace(record, validation_loss=nan, validation_accuracy=nan)
    assert losses_in_words(without) == "loss 0.4500  accuracy 0.9000"


def test_a_long_run_says_little_and_then_once_a_minute() -> None:
    written = lines(7200, seconds=1.0)
    assert 120 <= len(written) <= 130
    numbers = [int(line.split()[1].split("/")[0]) for line in written]
    gaps = [b - a for a, b in zip(numbers, numbers[1:], strict=False)]
    assert gaps[:6] == [1, 2, 4, 8, 16, 32]
    assert set(gaps[6:-1]) == {60}
    assert numbers[-1] == 7200


def test_slow_epochs_are_all_said() -> None:
    assert len(lines(5, seconds=300.0)) == 5


def test_rate_and_time_left() -> None:
    *_, line = lines(4, seconds=60.0)[:3]
    assert line.endswith("0.167 steps/s, 1 min 00 s left")
    *_, line = lines(4, seconds=0.003)
    assert line.endswith(" 3,333 steps/s, 0 s left")


def test_the_middle_of_an_epoch_is_said_after_a_pause() -> None:
    to, text = console()
    now = 0.0
    with training_progress(to, 2, STEPS, clock=lambda: now) as show:
        show(1, None)
        assert text.getvalue() == ""
        now = 5.0
        show(3, None)
        assert text.getvalue() == "epoch 1/2  30% of it  0.4 steps/s, 42 s left\n"


def test_what_a_resumed_run_has_behind_it_is_not_its_rate() -> None:
    to, text = console()
    now = 100.0
    with training_progress(to, 100, STEPS, clock=lambda: now) as show:
        for record in records([0.5] * 52)[50:]:
            show(record.steps, record)
            now += 10
    *_, last = text.getvalue().splitlines()
    assert "1 steps/s, 8 min 00 s left" in last


def test_the_last_epoch_is_said_when_a_run_is_ended() -> None:
    to, text = console()
    clock = count(step=1e-3)

    def interrupted() -> None:
        with training_progress(to, 9, STEPS, clock=lambda: next(clock)) as show:
            for record in records([0.5, 0.4]):
                show(record.steps, record)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [line[:9] for line in text.getvalue().splitlines()] == [
        "epoch 1/9",
        "epoch 2/9",
    ]


def test_no_epoch_says_nothing() -> None:
    assert lines(0, 1.0) == []


def test_a_terminal_gets_a_bar() -> None:
    to, text = console(terminal=True)
    with training_progress(to, 2, STEPS) as show:
        for record in records([0.5, 0.4]):
            show(record.steps - 5, None)
            show(record.steps, record)
    written = text.getvalue()
    for part in ("epoch 2/2", "100%", "steps/s", "loss 0.3600"):
        assert part in written


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
        (3.6e7, "10,000 h 00 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert in_words(seconds) == text


def rows(names: Iterator[str] | list[str]) -> list[ClassScore]:
    return [ClassScore(name, 0.5, 0.25, k / 1000, k) for k, name in enumerate(names)]


def test_names_are_no_markup() -> None:
    to, text = console(terminal=True)
    names = ["[red]x[/red]", "[/]", ":smile:", "日本"]
    to.print(class_table(rows(names), "[b]test[/b]"))
    for name in (*names, "[b]test[/b]"):
        assert name in text.getvalue()


def test_of_many_classes_the_worst_are_shown() -> None:
    to, text = console()
    to.print(class_table(rows([f"class {k}." for k in range(100)]), "test"))
    written = text.getvalue()
    assert "test: the 25 lowest F1 of 100 classes" in written
    assert "class 24." in written
    assert "class 25." not in written
