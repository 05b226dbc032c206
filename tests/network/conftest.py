"""Derivatives are tested in float64, and no dtype or rank is promoted unseen."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def strict() -> Iterator[None]:
    """A context, entered and left with each module: the other rooms never see it."""
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
        jax.default_matmul_precision("highest"),
    ):
        yield
