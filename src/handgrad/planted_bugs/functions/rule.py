"""A function beside its right backward pass, and the wrong ones planted in it.

A backward pass takes the primals and the cotangent of the output. Each of its steps is
a keyword whose default is right, and a bug is one keyword set wrong.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

Array = Any
Backward = Callable[..., tuple[Any, ...]]


class Wrong(NamedTuple):
    """A wrong backward pass.

    Attributes:
      name: unique among those of its function.
      causes: the codes that name it; none where numbers alone do not tell, so that
        "unknown" is the honest answer.
      backward: primals, u -> cotangents.
    """

    name: str
    causes: tuple[str, ...]
    backward: Backward


class Rule(NamedTuple):
    """A function, and what is planted in its backward pass.

    Attributes:
      name: of the function.
      function: primals -> output.
      backward: primals, u -> cotangents, right.
      primals: random numbers, dtype -> the arguments.
      wrong: the bugs.
      narrow: whether JAX runs the function in dtypes of 16 bits.
    """

    name: str
    function: Callable[..., Any]
    backward: Backward
    primals: Callable[[np.random.Generator, Any], tuple[Any, ...]]
    wrong: tuple[Wrong, ...]
    narrow: bool = True

    def runs_in(self, dtype: Any) -> bool:
        """Whether JAX runs the function in a dtype."""
        return self.narrow or jnp.finfo(dtype).bits > 16

    def forward(self, *primals: Any) -> tuple[Any, Any]:
        """(output, residuals): the primals are all that the backward pass needs."""
        return self.function(*primals), primals


def bwd(backward: Backward) -> Callable[[Any, Any], tuple[Any, ...]]:
    """residuals, u -> cotangents in the dtypes of the primals, as `jax.custom_vjp`."""

    def pulled(primals: Any, u: Any) -> tuple[Any, ...]:
        found = backward(*primals, u)
        return tuple(
            leaf if leaf is None else leaf.astype(primal.dtype)
            for leaf, primal in zip(found, primals, strict=True)
        )

    return pulled


def bug(name: str, backward: Backward, *causes: str, **steps: Any) -> Wrong:
    """The backward pass with some of its steps set wrong."""
    return Wrong(name, causes, partial(backward, **steps))


def changed(
    name: str, backward: Backward, i: int, change: Callable[[Any], Any], *causes: str
) -> Wrong:
    """The backward pass with its i-th cotangent changed."""

    def wrong(*given: Any) -> tuple[Any, ...]:
        found = list(backward(*given))
        found[i] = change(found[i])
        return tuple(found)

    return Wrong(name, causes, wrong)


def normal(rng: np.random.Generator, dtype: Any, *shape: int, size: float = 1) -> Array:
    """Normal numbers."""
    return jnp.asarray(size * rng.standard_normal(shape), dtype)
