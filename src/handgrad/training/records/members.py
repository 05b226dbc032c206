"""members.jsonl: a line of JSON per member of a sweep; and what they come to."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from handgrad.training.errors import TrainingError

MEMBERS = "members.jsonl"


@dataclass(frozen=True)
class MemberRecord:
    """A line of members.jsonl: a network, how it ended, and how good its best
    parameters are. What there is no part for, or no finite number, is None."""

    values: dict[str, float]  # of the settings that are swept
    seed: int
    ended: Literal["done", "stopped", "diverged"]
    epochs: int
    best_epoch: int
    train_loss: float | None  # in nats, over the training samples that are scored
    train_accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None


@dataclass(frozen=True)
class Mean:
    """Over the seeds."""

    mean: float
    standard_error: float | None  # of the mean; None for one seed


@dataclass(frozen=True)
class Combination:
    """The members of the same values. A member that diverged is counted, and is in no
    mean."""

    values: dict[str, float]
    seeds: int
    diverged: int
    best_epoch: Mean | None
    train_loss: Mean | None
    train_accuracy: Mean | None
    validation_loss: Mean | None
    validation_accuracy: Mean | None
    test_loss: Mean | None
    test_accuracy: Mean | None

    @property
    def chosen_by(self) -> float:
        """What is the lower the better: the validation loss, without validation samples
        the training loss; infinite where a member diverged."""
        loss = self.validation_loss or self.train_loss
        return float("inf") if self.diverged or loss is None else loss.mean


MEANS = tuple(Combination.__annotations__)[3:]
"""Names of what is averaged."""


def append_members(folder: Path, records: Iterable[MemberRecord]) -> None:
    """Add lines to members.jsonl and hand them to the operating system."""
    with (folder / MEMBERS).open("ab") as file:
        file.write(b"".join(msgspec.json.encode(each) + b"\n" for each in records))


def read_members(folder: Path) -> tuple[MemberRecord, ...]:
    """The members of a sweep that have come to their end; none without the file.

    A last line that was not written to its end is left out, and cut off.

    Raises:
      TrainingError: for any other line that is not a record; naming file and line.
    """
    path = folder / MEMBERS
    if not path.is_file():
        return ()
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return tuple(
        _record(line, path, number)
        for number, line in enumerate(whole.splitlines(), start=1)
    )


def combinations(records: Sequence[MemberRecord]) -> tuple[Combination, ...]:
    """Means over the seeds, in the order in which the values are first met."""
    groups: dict[tuple[tuple[str, float], ...], list[MemberRecord]] = {}
    for record in records:
        groups.setdefault(tuple(record.values.items()), []).append(record)
    return tuple(_combination(group) for group in groups.values())


def best_of(found: Sequence[Combination]) -> Combination | None:
    """The combination with the lowest mean loss; None where every one diverged."""
    best = min(found, key=lambda each: each.chosen_by, default=None)
    return best if best and best.chosen_by < float("inf") else None


def _combination(group: Sequence[MemberRecord]) -> Combination:
    sound = [record for record in group if record.ended != "diverged"]

    def mean(of: Callable[[MemberRecord], float | None]) -> Mean | None:
        values = [value for value in map(of, sound) if value is not None]
        if not values:
            return None
        several = len(values) > 1
        error = statistics.stdev(values) / len(values) ** 0.5 if several else None
        return Mean(statistics.fmean(values), error)

    means = {name: mean(lambda record, n=name: getattr(record, n)) for name in MEANS}
    return Combination(group[0].values, len(group), len(group) - len(sound), **means)


def _record(line: bytes, path: Path, number: int) -> MemberRecord:
    try:
        return msgspec.json.decode(line, type=MemberRecord)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TrainingError(
            f"`{path}` must hold a member of a sweep in line {number}, got "
            f"{line[:80]!r} ({error}). Remove the line."
        ) from error
