"""Compare a gradient with `jax.grad`, leaf by leaf."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

ROUNDING = 1e3
"""What a right gradient may differ by, in units of the dtype's roundoff: sums over a
minibatch in another order lose a few hundred of them where terms cancel."""


@dataclass(frozen=True)
class Leaf:
    """The finding on one leaf of the parameters.

    Attributes:
      path: its name in the pytree, such as ``[0].weight``.
      ok: whether the error is within rounding.
      relative_error: largest |candidate - truth| over largest |truth|.
    """

    path: str
    ok: bool
    relative_error: float


@dataclass(frozen=True)
class Report:
    """The findings of a check; ``str`` of it is a table."""

    leaves: tuple[Leaf, ...]

    @property
    def ok(self) -> bool:
        """Whether every leaf is right."""
        return all(leaf.ok for leaf in self.leaves)

    def __str__(self) -> str:
        width = max(len("leaf"), *(len(leaf.path) for leaf in self.leaves))
        rows = [f"{'leaf':<{width}}  relative error  verdict"]
        for leaf in self.leaves:
            verdict = "right" if leaf.ok else "WRONG"
            rows.append(f"{leaf.path:<{width}}  {leaf.relative_error:14.2e}  {verdict}")
        return "\n".join(rows)


def check_gradients(
    loss: Callable[..., jax.Array],
    gradient: Callable[..., Any],
    params: Any,
    *args: Any,
) -> Report:
    """Compare ``gradient`` with ``jax.grad(loss)`` in the dtype of the parameters.

    Args:
      loss: (params, *args) -> scalar.
      gradient: (params, *args) -> a pytree like ``params``.
      params: a pytree of floating arrays.
      *args: what both functions take besides.

    Returns:
      The largest relative error of every leaf, and whether it is within rounding.

    Raises:
      ValueError: if the gradient has another structure than the parameters, or a leaf
        another shape.
    """
    truth = jax.grad(loss)(params, *args)
    candidate = gradient(params, *args)
    if jax.tree.structure(candidate) != jax.tree.structure(truth):
        raise ValueError(
            "`gradient` must return a pytree like `params`, "
            f"{jax.tree.structure(truth)}, got {jax.tree.structure(candidate)}."
        )
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(truth)]
    pairs = zip(jax.tree.leaves(candidate), jax.tree.leaves(truth), strict=True)
    return Report(
        tuple(_compare(path, *pair) for path, pair in zip(paths, pairs, strict=True))
    )


def _compare(path: str, candidate: jax.Array, truth: jax.Array) -> Leaf:
    if candidate.shape != truth.shape:
        raise ValueError(
            f"`gradient` leaf {path} must have shape {truth.shape}, "
            f"got {candidate.shape}."
        )
    got, expected = np.asarray(candidate, float), np.asarray(truth, float)
    size = np.abs(expected).max(initial=0.0)
    error = np.abs(got - expected).max(initial=0.0)
    relative = float(error / size if size else error)
    bound = ROUNDING * float(jax.numpy.finfo(truth.dtype).eps)
    return Leaf(path, relative <= bound, relative)
