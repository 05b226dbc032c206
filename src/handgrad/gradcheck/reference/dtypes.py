"""Dtypes as a check sees them: which have a gradient, and how coarse they are."""

from typing import Any

import jax.numpy as jnp
import numpy as np


def is_inexact(dtype: Any) -> bool:
    """Whether numbers of a dtype are rounded: floating or complex."""
    return bool(jnp.issubdtype(dtype, jnp.inexact))


def inexact(value: Any) -> bool:
    """Whether a value, or its type, is an array of such numbers."""
    return hasattr(value, "dtype") and is_inexact(value.dtype)


def wide_dtype(dtype: Any) -> np.dtype:
    """float64, or complex128."""
    imaginary = jnp.issubdtype(dtype, jnp.complexfloating)
    return np.dtype(np.complex128 if imaginary else np.float64)


def unit_of(dtype: Any) -> float:
    """u, the unit roundoff: half the distance from 1 to the next number."""
    return float(jnp.finfo(dtype).eps) / 2
