"""The flags by which the processes of one run find each other."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Processes:
    """How this process joins others."""

    distributed: bool = False
    """One of many processes that SLURM, mpirun, Kubernetes or a TPU pod started, which
    find each other by what these leave in the environment."""
    coordinator: str | None = None
    """HOST:PORT of process 0, for processes that are started by hand; with --processes
    and --index."""
    processes: int | None = None
    """How many there are."""
    index: int | None = None
    """Which of them this one is, from 0."""
