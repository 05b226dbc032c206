"""Checkpoints: all that the next step depends on, in files that are whole or not.

A checkpoint is a safetensors file of the leaves of a tree, named by their paths, with a
digest of its bytes, so that one changed byte is noticed. It holds whole arrays, on
whatever devices of this process they lie. Of many processes none has them all: their
checkpoints are Orbax's. Either is read by one process and by many, on any devices.
"""

import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load, save

from handgrad.scale.processes import first_says, is_first, many
from handgrad.training.files import replace_file
from handgrad.training.records.sharded import orbax, read_sharded, write_sharded
from handgrad.training.settings import Records

FOLDER = "checkpoints"
_MAGIC = b"handgrad checkpoint 1\n"
_DIGEST = 32


class Unreadable(Exception):
    """A checkpoint that is truncated, corrupted or of another run."""


class Checkpointer:
    """Writes the checkpoints of a run when they are due, and reads the newest."""

    def __init__(self, folder: Path, settings: Records, per_epoch: int) -> None:
        self.folder, self.settings = folder / FOLDER, settings
        self.per_epoch = per_epoch  # steps
        self.folder.mkdir(parents=True, exist_ok=True)
        self._written, self._epochs = time.monotonic(), 0
        if many():
            orbax()  # missing before the first step, not after the first epoch

    def __call__(
        self, steps: int, tree: Any, *, ended: bool, best: int, now: bool
    ) -> None:
        """Write a checkpoint if it is due.

        Args:
          steps: done.
          tree: what to keep: a pytree of arrays; keys of PRNGs too.
          ended: whether an epoch has just ended.
          best: the best epoch so far; its checkpoint is kept besides the last ones.
          now: whether it is due in any case.

        Raises:
          OSError: for what the disk or the folder refuses; older checkpoints stay.
        """
        self._epochs += ended
        every = self.settings.checkpoint_epochs
        seconds = time.monotonic() - self._written
        due = ended and 0 < every <= self._epochs
        if first_says(due or now or seconds >= self.settings.checkpoint_seconds):
            _write(self.folder / _name(steps), tree)
            self._written, self._epochs = time.monotonic(), 0
            if is_first():
                self._forget(_name(best * self.per_epoch))

    def newest(self, template: Any, warn: Callable[[str], None]) -> Any:
        """The newest checkpoint that can be read.

        Args:
          template: a tree of the structure, shapes and dtypes that are expected: that
            of the beginning.
          warn: told about every newer one that cannot be read, and why. Such a file is
            renamed, so that it no longer counts.

        Returns:
          The tree, its leaves numpy arrays and PRNG keys; None if there is none.
        """
        for path in self._newest_first():
            try:
                return _read(path, template)
            except Unreadable as error:
                aside = path.with_suffix(".unreadable")
                if is_first():
                    path.replace(aside)
                first_says(0)  # none goes on before it is so
                warn(f"{path} is left out, as {error}; it is now {aside.name}.")
        return None

    def _newest_first(self) -> list[Path]:
        found = (*self.folder.glob("step-*.ckpt"), *self.folder.glob("step-*.orbax"))
        return sorted(found, key=lambda path: path.stem, reverse=True)

    def _forget(self, best: str) -> None:
        """All but the last ones and the best; and what Orbax left by half."""
        for left in self.folder.glob("step-*.orbax-checkpoint-tmp"):
            shutil.rmtree(left, ignore_errors=True)
        kept = [path for path in self._newest_first() if path.stem != best]
        for path in kept[self.settings.keep :]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _name(steps: int) -> str:
    return f"step-{steps:012d}"


def _write(path: Path, tree: Any) -> None:
    if many():
        leaves = [(name, _data(leaf)) for name, leaf in _named(tree)]
        write_sharded(path.with_suffix(".orbax"), leaves)
        return
    path = path.with_suffix(".ckpt")
    body = save({name: _bits(np.asarray(_data(leaf))) for name, leaf in _named(tree)})
    replace_file(path, _MAGIC + _digest(body) + body)


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST).digest()


def _read(path: Path, template: Any) -> Any:
    if path.suffix == ".orbax":
        return _read_orbax(path, template)
    content = path.read_bytes()
    start = len(_MAGIC) + _DIGEST
    body = content[start:]
    if not content.startswith(_MAGIC) or content[start - _DIGEST : start] != _digest(
        body
    ):
        raise Unreadable("it is truncated, corrupted or no checkpoint")
    leaves, wanted = load(body), _named(template)
    if leaves.keys() != {name for name, _ in wanted}:
        raise Unreadable("it is of another network or optimiser")
    found = [_like(leaves[name], leaf, name) for name, leaf in wanted]
    return jax.tree.unflatten(jax.tree.structure(template), found)


def _read_orbax(path: Path, template: Any) -> Any:
    wanted = _named(template)
    try:
        leaves = read_sharded(path, [(name, _data(leaf)) for name, leaf in wanted])
    except ValueError as error:
        raise Unreadable(f"{error}".partition("\n")[0]) from error
    found = [_key_like(leaves[name], leaf) for name, leaf in wanted]
    return jax.tree.unflatten(jax.tree.structure(template), found)


def _named(tree: Any) -> list[tuple[str, Any]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in leaves]


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _data(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _bits(array: np.ndarray) -> np.ndarray:
    """The array; as integers where it is of a dtype that numpy does not know."""
    known = array.dtype.kind != "V"
    return array if known else array.view(f"u{array.dtype.itemsize}")


def _like(array: np.ndarray, leaf: Any, name: str) -> Any:
    """The array as the leaf of the template, whose shape and dtype it must have."""
    wanted = jax.eval_shape(_data, leaf)
    bits = _bits(np.empty(0, wanted.dtype)).dtype
    if (array.shape, array.dtype) != (wanted.shape, bits):
        raise Unreadable(
            f"its {name} is {array.dtype} of shape {array.shape} where "
            f"{wanted.dtype} of shape {wanted.shape} belongs"
        )
    if _is_key(leaf):
        return _key_like(jnp.asarray(array), leaf)
    return array.view(wanted.dtype)


def _key_like(data: Any, leaf: Any) -> Any:
    """A key made of its data again, where the leaf is one."""
    if not _is_key(leaf):
        return data
    return jax.random.wrap_key_data(data, impl=str(jax.random.key_impl(leaf)))
