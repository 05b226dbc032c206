"""Random numbers that no caller has drawn before: streams of the check's own."""

from typing import Any

import jax
import numpy as np

_OWN = tuple(b"handgrad.gradcheck")
"""Where the streams begin: far from the small seeds that data are drawn with."""


def stream(purpose: str, *seeds: int) -> np.random.Generator:
    """A generator for one purpose; the same for the same seeds."""
    return np.random.default_rng([*_OWN, *purpose.encode(), 256, *seeds])


def seeds_of(key: Any) -> tuple[int, ...]:
    """The numbers in a JAX key, typed or not, as seeds for `stream`; None is key 0."""
    if key is None:
        return (0, 0)
    typed = jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key)
    return tuple(
        np.asarray(jax.random.key_data(key) if typed else key).ravel().tolist()
    )


def normal(generator: np.random.Generator, like: np.ndarray) -> np.ndarray:
    """Standard normal numbers in the shape of an array, complex if it is."""
    real = generator.standard_normal(like.shape)
    if not np.iscomplexobj(like):
        return real
    return (real + 1j * generator.standard_normal(like.shape)) / np.sqrt(2)
