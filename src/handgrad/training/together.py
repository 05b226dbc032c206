"""What many processes do as one run: one folder, and one end."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import jax
from filelock import FileLock

from handgrad.scale.processes import FirstFailed, from_first, is_first
from handgrad.scale.watch import GRACE, Watch
from handgrad.training.errors import TrainingError
from handgrad.training.records.folder import LOCK, Claim, failed


def claimed_by_first(claims: Callable[[], Claim]) -> Claim:
    """The folder that process 0 claims for all of this run.

    Args:
      claims: makes the claim; called in process 0 alone.

    Raises:
      TrainingError: in the others, where process 0 was refused.
    """
    made: list[Claim] = []

    def in_words() -> str:
        made.append(claims())
        return f"{made[0].resumed:d}{made[0].folder.resolve()}"

    try:
        words = from_first(in_words)
    except FirstFailed as error:
        raise TrainingError("`processes` 0 could not begin: see what it says.") from (
            error
        )
    folder = Path(words[1:])
    return made[0] if made else Claim(folder, FileLock(folder / LOCK), words[0] == "1")


@contextmanager
def ended_with_others(watch: Watch | None, folder: Path) -> Iterator[None]:
    """What fails because another process is gone is told as that, in the status of the
    folder too.

    Raises:
      TrainingError: where the watch, which is given time to end this process, knows
        nothing, as of a machine that has vanished.
    """
    before = watch and watch.last_words
    if watch and is_first():
        watch.last_words = partial(failed, folder)
    try:
        yield
    except (jax.errors.JaxRuntimeError, TimeoutError) as error:
        if watch is None:
            raise
        time.sleep(2 * GRACE)
        raise TrainingError(
            "`processes` must all live, but one does not answer: "
            f"{f'{error}'.partition(chr(10))[0]}"
        ) from error
    finally:
        if watch and before:
            watch.last_words = before
