"""members.jsonl and its means."""

from pathlib import Path
from typing import Any

import pytest

from handgrad.training import TrainingError
from handgrad.training.records.members import (
    MEMBERS,
    MemberRecord,
    append_members,
    best_of,
    combinations,
    read_members,
)


def member(rate: float, seed: int, loss: float | None, **other: Any) -> MemberRecord:
    ended = "diverged" if loss is None else "done"
    figures = {"train_accuracy": 0.9, "validation_accuracy": 0.8, "test_loss": loss}
    figures = {"train_loss": loss, "validation_loss": loss, **figures, **other}
    return MemberRecord(
        {"optimizer.learning_rate": rate},
        seed,
        ended,
        9,
        7,
        test_accuracy=0.7,
        **figures,
    )


RECORDS = (
    member(0.1, 0, 1.0),
    member(0.2, 0, 0.5),
    member(0.1, 1, 3.0),
    member(0.2, 1, None),
    member(0.3, 0, 2.5),
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_members(tmp_path) == ()
    append_members(tmp_path, RECORDS[:2])
    append_members(tmp_path, RECORDS[2:])
    assert read_members(tmp_path) == RECORDS


def test_a_line_cut_short_is_cut_off(tmp_path: Path) -> None:
    append_members(tmp_path, RECORDS)
    path = tmp_path / MEMBERS
    path.write_bytes(path.read_bytes()[:-5])
    assert read_members(tmp_path) == RECORDS[:-1]
    append_members(tmp_path, RECORDS[-1:])
    assert read_members(tmp_path) == RECORDS


def test_a_line_that_is_no_member_is_refused_by_its_place(tmp_path: Path) -> None:
    append_members(tmp_path, RECORDS[:1])
    with (tmp_path / MEMBERS).open("ab") as file:
        file.write(b'{"values": 3}\n')
    with pytest.raises(TrainingError, match=f"{MEMBERS}` must hold .* in line 2, got"):
        read_members(tmp_path)


def test_means_are_over_the_seeds_that_did_not_diverge() -> None:
    first, second, third = combinations(RECORDS)
    assert (first.values, first.seeds) == ({"optimizer.learning_rate": 0.1}, 2)
    assert first.validation_loss is not None
    assert first.validation_loss.mean == 2.0
    assert first.validation_loss.standard_error == 1.0  # sqrt(2) / sqrt(2)
    assert (second.seeds, second.diverged) == (2, 1)
    assert second.validation_loss is not None
    assert second.validation_loss.mean == 0.5
    assert second.validation_loss.standard_error is None
    assert third.test_accuracy is not None
    assert third.test_accuracy.mean == 0.7


def test_the_best_has_the_lowest_mean_and_diverged_nowhere() -> None:
    found = combinations(RECORDS)
    assert best_of(found) is found[0]
    assert best_of(found[1:2]) is None
    assert best_of(()) is None


def test_without_validation_samples_the_training_loss_decides() -> None:
    found = combinations(
        [
            member(0.1, 0, 1.0, validation_loss=None),
            member(0.2, 0, 0.5, validation_loss=None, train_loss=2.0),
        ]
    )
    assert best_of(found) is found[0]
