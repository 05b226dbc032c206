"""Checkpoints of many processes, by Orbax: each writes what lies on its own devices,
into one folder that all of them see; it is read back onto any devices."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from handgrad.training.errors import TrainingError

Named = Sequence[tuple[str, Any]]


def orbax() -> Any:
    """The package.

    Raises:
      TrainingError: where it is not installed.
    """
    try:
        import orbax.checkpoint
    except ModuleNotFoundError as error:
        raise TrainingError(
            "`processes` must have Orbax for the checkpoints that many of them write, "
            "but it is not installed: pip install 'handgrad[scale]'"
        ) from error
    return orbax.checkpoint


def write_sharded(path: Path, leaves: Named) -> None:
    """Write arrays by their names; called by every process. It is all there, or not."""
    with orbax().StandardCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), {n: a for n, a in leaves if a.size})


def read_sharded(path: Path, templates: Named) -> dict[str, Any]:
    """Read arrays by their names, each to where its template lies.

    Raises:
      ValueError: for names, shapes or contents that are not those of the templates.
    """
    wanted = {name: _target(leaf) for name, leaf in templates if leaf.size}
    try:
        with orbax().StandardCheckpointer() as checkpointer:
            there = set(checkpointer.metadata(path.absolute()).item_metadata.tree)
            if there != wanted.keys():
                raise ValueError("it is of another network or optimiser")
            found = checkpointer.restore(path.absolute(), wanted)
    except (OSError, KeyError, TypeError) as error:
        raise ValueError("it is truncated, corrupted or no checkpoint") from error
    return {name: found.get(name, leaf) for name, leaf in templates}


def _target(leaf: Any) -> Any:
    if isinstance(leaf, np.ndarray):
        return leaf
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
