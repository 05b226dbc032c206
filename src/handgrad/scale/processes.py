"""Many processes that train together: how they join, and what they agree on.

Every process runs the same program on its own devices, so each must take the same
decisions in the same order. What depends on time, on a signal or on the disk is decided
by one of them and told to all. Where there is one process, all of this does nothing.
"""

from collections.abc import Callable

import jax
import numpy as np

JOINING, HEARTBEAT, LEAVING = 300, 30, 3600
"""Seconds: how long a process waits for the others to come, after how much silence it
takes one for dead, and how long it waits for the others to end."""

_LONGEST = 4096
"""Bytes of a text that all are told."""


class FirstFailed(Exception):
    """Process 0 failed at what it did for all."""


def join(
    coordinator: str | None = None,
    processes: int | None = None,
    index: int | None = None,
) -> None:
    """Join the processes of this run, before anything asks for a device.

    Args:
      coordinator: HOST:PORT of process 0; None, as the others, for what JAX finds in
        the environment that SLURM, mpirun, Kubernetes or a TPU pod has made.
      processes: how many there are.
      index: of this one, from 0.

    Raises:
      ValueError, RuntimeError: as `jax.distributed.initialize` does.
    """
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        coordinator,
        processes,
        index,
        initialization_timeout=JOINING,
        heartbeat_timeout_seconds=HEARTBEAT,
        shutdown_timeout_seconds=LEAVING,
    )


def many() -> bool:
    """Whether this run has more than one process."""
    return jax.process_count() > 1


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    return jax.process_index() == 0


def first_says(number: int) -> int:
    """The number of process 0."""
    return number if not many() else int(_of_all(number)[0])


def highest(number: int) -> int:
    """The highest number of all processes."""
    return number if not many() else int(_of_all(number).max())


def from_first(make: Callable[[], str]) -> str:
    """A text that process 0 makes, told to all.

    Raises:
      FirstFailed: in the others, where ``make`` raised in process 0.
    """
    if not many():
        return make()
    try:
        text = make() if is_first() else ""
    except BaseException:
        _told(b"")
        raise
    found = _told(b"=" + text.encode())
    if not found:
        raise FirstFailed
    return found[1:].decode()


def _of_all(number: int) -> np.ndarray:
    from jax.experimental.multihost_utils import process_allgather

    return np.asarray(process_allgather(np.array(number, np.int32)))


def _told(text: bytes) -> bytes:
    from jax.experimental.multihost_utils import broadcast_one_to_all

    padded = np.zeros(_LONGEST, np.uint8)
    padded[: len(text)] = np.frombuffer(text, np.uint8)
    return np.asarray(broadcast_one_to_all(padded)).tobytes().rstrip(b"\0")
