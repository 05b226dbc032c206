"""float64 for a while, and arrays in it: locally, with no flag left changed.

On a platform without float64 the CPU does the work.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.trees import Tree, is_array, is_differentiable, to_numpy

_HAVE_FLOAT64 = ("cpu", "gpu", "cuda", "rocm")


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """64-bit types, and a device that has them, for a while.

    Types are promoted and products computed in JAX's standard ways meanwhile, whatever
    the caller has set.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.enable_x64(True))
        stack.enter_context(jax.numpy_dtype_promotion("standard"))
        stack.enter_context(jax.numpy_rank_promotion("allow"))
        stack.enter_context(jax.default_matmul_precision("highest"))
        if jax.default_backend() not in _HAVE_FLOAT64:
            # mutants: there is one
            stack.enter_context(jax.default_device(jax.devices("cpu")[0]))
        yield


def wide_array(leaf: Any) -> Any:
    """A floating or complex array in 64 bits, placed where it was; the rest as it is.

    Call it inside `float64`.
    """
    if not is_differentiable(leaf):
        return leaf
    exact = to_numpy(leaf)
    return placed(exact, leaf) if _has_float64(leaf) else exact


def _has_float64(leaf: Any) -> bool:
    if not isinstance(leaf, jax.Array):
        return True
    return all(device.platform in _HAVE_FLOAT64 for device in leaf.sharding.device_set)


def like(exact: np.ndarray, leaf: Any) -> Any:
    """``exact`` in the dtype of ``leaf``, and placed where it is.

    What is finite stays finite.
    """
    if not is_array(leaf):
        return type(leaf)(exact)
    return placed(_within(exact, leaf.dtype).astype(leaf.dtype), leaf)


def _within(exact: np.ndarray, dtype: Any) -> np.ndarray:
    most = float(jnp.finfo(dtype).max)
    if np.iscomplexobj(exact) or not np.isfinite(exact).any():
        return exact
    return np.where(np.isfinite(exact), np.clip(exact, -most, most), exact)


def placed(value: np.ndarray, leaf: Any) -> Any:
    """``value`` on the devices that ``leaf`` is bound to; on none if it is not."""
    if isinstance(leaf, jax.Array) and leaf.committed:
        return jax.device_put(value, leaf.sharding)
    return jax.device_put(value) if isinstance(leaf, jax.Array) else value


def copied(tree: Tree) -> Tree:
    """The same arrays in other memory, for a function that may use theirs up."""

    def copy(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array):
            return leaf
        return jax.device_put(leaf, may_alias=False)

    return jax.tree.map(copy, tree)
