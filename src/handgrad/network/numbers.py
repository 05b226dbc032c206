"""Numbers among the arguments: within bounds, and known unless they are traced."""

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike, DTypeLike

REAL = (jnp.bool_, jnp.integer, jnp.floating)


def check_number(
    name: str,
    value: ArrayLike,
    dtype: DTypeLike,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> jax.Array:
    """A number within bounds, as a scalar of ``dtype``; NaN where it may not be told.

    The value of a traced number cannot be refused: outside the bounds it becomes NaN,
    and so does all that is computed with it.

    Raises:
      ValueError: for a value outside the bounds, NaN, or anything but a scalar.
    """
    bounds = [
        (above, "above {}", operator.gt),
        (at_least, "at least {}", operator.ge),
        (below, "below {}", operator.lt),
        (at_most, "at most {}", operator.le),
    ]
    given = [(bound, text, holds) for bound, text, holds in bounds if bound is not None]
    came: Any = value if is_traced(value) else np.asarray(value)
    # mutants: it is 0 or more
    within = [came.ndim == 0 and any(jnp.issubdtype(came.dtype, k) for k in REAL)]
    number = None
    if within[0]:  # mutants: it has one entry
        with np.errstate(over="ignore"):
            number = came.astype(dtype)
        within = [holds(came, bound) for bound, _, holds in given]
        if above is not None:  # 1e-50 is, but float32 has 0 for it
            within.append(number > above)  # mutants: rounding keeps the order
    if number is not None and is_traced(value):
        return jnp.where(functools.reduce(jnp.logical_and, within), number, jnp.nan)
    if not all(within):
        must = " and ".join(text.format(bound) for bound, text, _ in given)
        raise ValueError(f"`{name}` must be a number {must}, got {value}.")
    return jnp.asarray(number)


AUTO = 2**20
"""Entries of the logits that one chunk has where `chunk` is "auto": in float32 4 MiB,
which stay in the cache of a core; below 4 such chunks there is one."""


def check_chunk(chunk: int | str, samples: int, classes: int) -> int:
    """How many classes to take at a time, 1 ... C, of logits (m, C)."""
    if isinstance(chunk, str) and chunk == "auto":
        if samples * classes <= 4 * AUTO:
            return classes
        most = max(AUTO // samples, 256)  # mutants: down to a power of two
        chunk = 1 << (most.bit_length() - 1)
    whole = isinstance(chunk, int | np.integer) and not isinstance(chunk, bool)
    if not whole or int(chunk) < 1:
        raise ValueError(
            "`chunk` must be a number of classes, at least 1, or 'auto', or None for "
            f"all at once, and known when the function is traced, got {chunk!r}."
        )
    return min(int(chunk), classes)


def is_zero(value: ArrayLike) -> bool:
    """Whether a number is known to be 0."""
    return not is_traced(value) and bool(value == 0)


def is_traced(value: ArrayLike) -> bool:
    """Whether the value is not known while the function is traced."""
    return isinstance(value, Tracer)
