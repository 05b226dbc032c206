"""What a check costs, and what it leaves behind: nothing."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradcheck.cases import check, loss, point, right

from handgrad import check_gradients, check_rules
from handgrad.gradcheck.reference.tolerance import DRAWS, LOSS_DRAWS


class Counted:
    """How often the loss was run and traced, and the gradient traced."""

    def __init__(self) -> None:
        self.runs = self.traces = self.gradients = 0

    def run(self) -> None:
        self.runs += 1

    def loss(self, params: Any, *args: Any) -> jax.Array:
        self.traces += 1
        jax.debug.callback(self.run)
        return loss(params, *args)

    def right(self, *args: Any) -> Any:
        self.gradients += 1
        return right(*args)

    def sign(self, *args: Any) -> Any:
        return jax.tree.map(jnp.negative, self.right(*args))


RUNS = {
    "float32": 1 + 3 + LOSS_DRAWS + 8,
    "float64": 1 + 1 + DRAWS + LOSS_DRAWS + 8,
}
"""In float64, as written, in random rounding, along two lines."""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["right", "sign"])
def test_loss_is_traced_twice_and_run_as_often_as_is_said(
    dtype: str, kind: str
) -> None:
    count = Counted()
    with jax.enable_x64(dtype == "float64"):
        check_gradients(count.loss, getattr(count, kind), *point(jnp.dtype(dtype)))
    jax.effects_barrier()
    assert (count.gradients, count.traces) == (1, 2)
    leaves = 0 if kind == "right" else 2
    assert count.runs == RUNS[dtype] + 4 * leaves


@pytest.fixture(name="compilations")
def _compilations() -> Iterator[list[str]]:
    """The names of the programs that are compiled."""
    found: list[str] = []

    def note(event: str, duration_secs: float, **details: str | int) -> None:
        del duration_secs
        if event.endswith("backend_compile_duration"):
            found.append(str(details.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(note)
    yield found
    jax.monitoring.unregister_event_duration_listener(note)


def test_four_programs_are_compiled_and_none_the_second_time(
    compilations: list[str],
) -> None:
    """Also where loss and gradient are new functions of the same operations."""

    def run() -> int:
        x = jnp.linspace(0.1, 1.0, 11)  # a length of its own
        compilations.clear()
        assert check_gradients(
            lambda w, x: jnp.sum(jnp.sin(w * x)), lambda w, x: x * jnp.cos(w * x), x, x
        ).ok
        return len(compilations)

    assert run() <= 4
    assert run() == 0


def test_constants_are_no_part_of_what_is_compiled(compilations: list[str]) -> None:
    def run(constant: jax.Array) -> bool:
        inner = jax.jit(lambda w: w * constant)  # a constant of a program within
        return check_gradients(
            lambda w: jnp.sum(inner(w) + constant), lambda w: constant, w
        ).ok

    w = jnp.linspace(0.1, 1.0, 13)
    first, second = jnp.full(13, 2.5), jnp.full(13, 3.5)
    assert run(first)
    assert run(second)


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
        return jnp.sum(w**2) if float(jnp.ones(())) > 0 else jnp.sum(w)

    before = [getattr(jax.config, flag) for flag in FLAGS]
    report = check_gradients(broken, lambda w: 2 * w, jnp.ones(3))
    assert [getattr(jax.config, flag) for flag in FLAGS] == before
    assert "no float64 here" in report.notes[1]


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


def test_a_second_call_of_check_rules_compiles_next_to_nothing(
    compilations: list[str],
) -> None:
    """Where a hundred programs were compiled, and the rule is a new function."""

    def run() -> int:
        found = len(compilations)
        x = jnp.linspace(-1.0, 1.0, 13)  # a length of its own
        rule = jax.custom_vjp(jnp.tanh)
        rule.defvjp(
            lambda x: (jnp.tanh(x), x), lambda x, u: (u * (1 - jnp.tanh(x) ** 2),)
        )
        assert check_rules(rule, x).ok
        return len(compilations) - found

    first, second = run(), run()
    assert first > 20
    assert second <= 2, compilations[-second:]
