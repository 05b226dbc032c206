"""The arguments of a function by their positions: which move, and which are fixed."""

from collections.abc import Sequence
from typing import Any


def fixed_of(nondiff_argnums: int | Sequence[int], count: int) -> tuple[int, ...]:
    """The positions that are not differentiated, from 0, in order.

    Args:
      nondiff_argnums: as in `jax.custom_vjp` and `jax.custom_jvp`.
      count: of the primals.

    Raises:
      ValueError: for a position without a primal.
    """
    given = [nondiff_argnums] if isinstance(nondiff_argnums, int) else nondiff_argnums
    if any(not -count <= i < count for i in given):
        raise ValueError(
            f"`nondiff_argnums` must lie in the {count} primals, got "
            f"{tuple(given)}. Pass positions from 0 to {count - 1}."
        )
    return tuple(sorted({i % count for i in given}))


def others(fixed: Sequence[int], count: int) -> tuple[int, ...]:
    """The positions that are differentiated, in order."""
    return tuple(i for i in range(count) if i not in fixed)


def put(
    primals: Sequence[Any], moving: Sequence[int], moved: Sequence[Any]
) -> list[Any]:
    """The primals, of which those that move are replaced."""
    merged = list(primals)
    for i, value in zip(moving, moved, strict=True):
        merged[i] = value
    return merged
