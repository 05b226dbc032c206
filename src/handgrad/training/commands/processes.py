"""How a command becomes one of many processes, and how it ends as one."""

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from handgrad.scale.processes import join, many
from handgrad.scale.watch import Watch
from handgrad.training.errors import TrainingError
from handgrad.training.settings.processes import Processes


@contextmanager
def joined(flags: Processes) -> Iterator[Watch | None]:
    """Join the others, if there are any; before anything asks for a device.

    An error that is this process's alone ends the others too, who would wait for it.

    Yields:
      What watches them; None where there are no others.

    Raises:
      TrainingError: for flags that do not fit each other, and where the others do not
        come.
    """
    by_hand = (flags.coordinator, flags.processes, flags.index)
    if by_hand != (None, None, None):
        _check(flags)
    elif not flags.distributed:
        yield None
        return
    try:
        join(*by_hand)
    except (ValueError, RuntimeError, TypeError) as error:
        raise TrainingError(
            f"`distributed` processes must find each other, but: {error}"
        ) from error
    watch = Watch() if many() else None
    try:
        yield watch
    except BaseException:
        atexit.register(_end_at_once)  # JAX's own way out waits for the others
        raise
    if watch:
        watch.leave()


def _check(flags: Processes) -> None:
    if flags.coordinator is None or flags.processes is None or flags.index is None:
        raise TrainingError(
            "`coordinator`, `processes` and `index` must be given together, got "
            f"{flags.coordinator}, {flags.processes} and {flags.index}."
        )
    host, _, port = flags.coordinator.rpartition(":")
    if not host or not port.isdigit():
        raise TrainingError(
            f"`coordinator` must be HOST:PORT, got {flags.coordinator!r}."
        )
    if not 0 <= flags.index < flags.processes:
        raise TrainingError(
            f"`index` must be one of 0 ... {flags.processes - 1}, got {flags.index}."
        )


def _end_at_once() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
