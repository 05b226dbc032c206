"""What a check costs, and what it leaves behind: nothing."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradcheck.cases import check, loss, point, right
from jax.core import Tracer

from handgrad import check_gradients
from handgrad.gradcheck.reference.tolerance import DRAWS


class Counted:
    """How often the gradient was called, and the loss, plain or traced."""

    def __init__(self) -> None:
        self.differentiated = self.losses = self.traced = self.gradients = 0

    def loss(self, params: Any, *args: Any) -> jax.Array:
        kind = type(params["bias"])
        traced, program = (
            issubclass(kind, Tracer),
            kind.__name__ == "DynamicJaxprTracer",
        )
        self.differentiated += traced and not program
        self.traced += program
        self.losses += not traced
        return loss(params, *args)

    def right(self, *args: Any) -> Any:
        self.gradients += 1
        return right(*args)

    def wrong(self, *args: Any) -> Any:
        return jax.tree.map(jnp.negative, self.right(*args))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["right", "wrong"])
def test_cost_is_six_gradients_and_eleven_losses_at_most(dtype: str, kind: str) -> None:
    count = Counted()
    with jax.enable_x64(dtype == "float64"):
        check_gradients(count.loss, getattr(count, kind), *point(jnp.dtype(dtype)))
    assert count.gradients == 1
    assert count.gradients + count.differentiated == {"float32": 5, "float64": 6}[dtype]
    assert count.losses + DRAWS * count.traced == 11


FLAGS = ("jax_enable_x64", "jax_numpy_dtype_promotion", "jax_default_device")


@pytest.mark.parametrize("x64", [False, True])
def test_no_flag_is_left_changed(x64: bool) -> None:
    with jax.enable_x64(x64):
        before = [getattr(jax.config, flag) for flag in FLAGS]
        check(right)
        assert [getattr(jax.config, flag) for flag in FLAGS] == before
        assert jnp.zeros(1).dtype == (jnp.float64 if x64 else jnp.float32)


def test_no_flag_is_left_changed_by_a_loss_that_raises() -> None:
    def broken(w: jax.Array) -> jax.Array:
        if jnp.zeros(()).dtype == jnp.float64:
            raise RuntimeError("no float64 here")
        return jnp.sum(w**2)

    before = [getattr(jax.config, flag) for flag in FLAGS]
    report = check_gradients(broken, lambda w: 2 * w, jnp.ones(3))
    assert [getattr(jax.config, flag) for flag in FLAGS] == before
    assert "no float64 here" in report.notes[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_strict_promotion_of_the_caller_is_respected(dtype: str) -> None:
    with (
        jax.enable_x64(dtype == "float64"),
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
    ):
        assert check(right, jnp.dtype(dtype)).ok


def test_the_point_is_left_as_it_was() -> None:
    params, x, y = point()
    kept = jax.tree.map(np.array, (params, x, y))
    check_gradients(loss, right, params, x, y, trials=2, key=jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, kept, (params, x, y))
