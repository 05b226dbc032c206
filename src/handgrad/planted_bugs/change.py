"""How a planted bug changes the right steps: one of them replaced, or its result."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from handgrad.planted_bugs.backward import Steps, Tape

Value = jax.Array
Change = Callable[[Steps], Steps]
"""The right steps -> the wrong ones."""

Where = Callable[[int, int], bool]
"""(k, L) -> whether layer k of L is meant."""


def everywhere(k: int, layers: int) -> bool:
    """All layers."""
    return True


def first(k: int, layers: int) -> bool:
    """Layer 1."""
    return k == 1


def last(k: int, layers: int) -> bool:
    """Layer L."""
    return k == layers


def below_last(k: int, layers: int) -> bool:
    """The hidden layers: what the error is carried back to."""
    return k < layers


def put(**steps: Callable[..., Any]) -> Change:
    """Other steps in the place of the right ones."""
    return lambda right: replace(right, **steps)


def after(
    step: str, change: Callable[[Tape, Any], Any], at: Where | None = None
) -> Change:
    """Change the result of a step.

    Args:
      step: a field of `Steps`.
      change: the tape and the right result -> the wrong one.
      at: the layers where, for a step that each layer takes; default all.
    """

    def changed(steps: Steps) -> Steps:
        right = getattr(steps, step)

        def wrong(t: Tape, *given: Any) -> Any:
            value = right(t, *given)
            meant = at is None or at(given[0], t.layers)
            return change(t, value) if meant else value

        return replace(steps, **{step: wrong})

    return changed


def before(leaf: Value) -> Value:
    """A parameter before its last step, in the bugs and in the problems."""
    return (0.9 * leaf + 0.05 * jnp.flip(leaf)).astype(leaf.dtype)


def previous(x: Value) -> Value:
    """The previous batch: other inputs with the same targets."""
    return jnp.flip(x, axis=1)
