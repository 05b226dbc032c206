"""What `jax.value_and_grad` makes of a loss, as it would be used without all this."""

from collections.abc import Callable
from typing import Any

import jax


def by_autodiff(loss: Callable[..., Any]) -> Callable[..., tuple[jax.Array, Any]]:
    """The loss and its gradient with respect to its first argument, by JAX's own rules.

    Args:
      loss: a scalar of its first argument, a pytree, and others.

    Returns:
      (params, ...) -> value and gradient: to measure a gradient by hand against.
    """
    return jax.value_and_grad(loss)
