"""What rounding costs, measured: numbers moved in the last place, random rounding."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from handgrad import check_gradients
from handgrad.gradcheck.reference.float64 import Point
from handgrad.gradcheck.reference.rounding import (
    Neighbour,
    draws,
    noise_of_loss,
    probes,
    run,
)
from handgrad.gradcheck.reference.tolerance import DRAWS, PROBES
from handgrad.gradcheck.trees import is_floating

DTYPES = ["bfloat16", "float16", "float32", "float64"]


def units(moved: Any, start: Any) -> np.ndarray:
    """How many units in the last place lie between, by counting representable numbers.

    Of positive numbers, whose bits are in order.
    """
    bits = np.dtype(f"i{np.asarray(start).dtype.itemsize}")
    return np.asarray(moved).view(bits) - np.asarray(start).view(bits)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_computed_number_is_moved_by_one_unit_in_the_last_place(
    dtype: str,
) -> None:
    with jax.enable_x64(True):
        start = jnp.exp2(jnp.linspace(-5, 5, 301)).astype(dtype)
        moved = Neighbour(0, (-1, 1)).result(start)
        assert moved.dtype == start.dtype
        found = units(moved, start)
    assert set(np.unique(found)) == {-1, 1}
    assert np.mean(found) == pytest.approx(0, abs=0.2)


def test_given_whole_numbers_and_all_that_is_not_floating_stay() -> None:
    beside = Neighbour(0, (-1, 1))
    given = jnp.array([0.0, -3.0, 0.1], jnp.float32)
    assert list(np.asarray(beside.data(given)) == given) == [True, True, False]
    computed = np.asarray(beside.result(given)) == given
    assert list(computed) == [True, False, False]  # 0 has no last place of its own
    labels, name = jnp.arange(3), "relu"
    for move in (beside.data, beside.result):
        assert move(labels) is labels
        assert move(name) is name
        assert isinstance(move(0.1), float)
        assert move(0.1) != 0.1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("step", [-1, 0, 1])
def test_step_is_in_units_in_the_last_place_away_from_zero(
    dtype: str, step: int
) -> None:
    with jax.enable_x64(True):
        start = jnp.linspace(1.01, 3.99, 301).astype(dtype)
        beside = Neighbour(0, (step,))
        given = start[start != jnp.round(start)]
        for moved, kept in (
            (beside.result(start), start),
            (-beside.result(-start), start),
            (beside.data(given), given),
            (-beside.data(-given), given),
        ):
            assert moved.dtype == kept.dtype
            assert set(np.unique(units(moved, kept))) == {step}


def test_only_whole_numbers_that_were_given_stay() -> None:
    whole = np.array([-3.0, -1.0, 0.0, 1.0, 2.0, 1e6], np.float32)
    broken = np.array([-2.75, -1.5, -0.25, 0.25, 0.5, 0.75, 2.5, 3.25], np.float32)
    for step in (-1, 1):
        beside = Neighbour(0, (step,))
        np.testing.assert_array_equal(beside.data(whole), whole)
        assert (beside.data(broken) != broken).all()
        assert (beside.result(broken) != broken).all()
        np.testing.assert_array_equal(beside.result(whole) == whole, whole == 0)


def test_seed_chooses_the_steps_anew_at_each_call() -> None:
    start = np.linspace(1.01, 1.99, 64, dtype=np.float32)
    random, beside = np.random.default_rng(3), Neighbour(3, (-1, 0, 1))
    for move in (beside.data, beside.result):
        expected = random.choice((-1, 0, 1), 64)
        np.testing.assert_array_equal(units(move(start), start), expected)


N = 4096
SPREAD = np.random.default_rng(1).uniform(1.01, 1.99, N)
"""Numbers of one binade, none of them whole."""


@jax.custom_vjp
def given(w: jax.Array, x: jax.Array) -> jax.Array:
    """A loss whose "gradient" is x as the loss was given it, without an operation."""
    return jnp.max(w)


given.defvjp(lambda w, x: (given(w, x), x), lambda x, u: (x, jnp.zeros_like(x)))


def own(w: jax.Array) -> jax.Array:
    """A loss whose "gradient" is its parameter."""
    return given(w, jax.lax.stop_gradient(w))


def shares(found: np.ndarray) -> dict[int, float]:
    """Which share of the entries has which value."""
    values, counts = np.unique(found, return_counts=True)
    return dict(zip(values.tolist(), (counts / found.size).tolist(), strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_probes_move_one_entry_in_four_up_as_often_as_down(dtype: str) -> None:
    with jax.enable_x64(dtype == "float64"):
        x = jnp.asarray(SPREAD, dtype)
        of_args = probes(Point(given, x, (x,)))
        of_params = probes(Point(own, x))
        for found in (of_args, of_params):
            assert len(found) == PROBES
            for probe in found:
                assert probe.dtype == dtype
                moved = units(probe.gradient[0].astype(dtype), x)
                expected = {-1: 1 / 8, 0: 3 / 4, 1: 1 / 8}
                assert shares(moved) == pytest.approx(expected, abs=0.02)
        assert len({probe.gradient[0].tobytes() for probe in of_args}) == PROBES


def test_draws_move_what_is_given_in_its_own_last_place_and_once_more() -> None:
    """At first in float32, and then in float64."""
    x = jnp.asarray(SPREAD, jnp.float32)
    for found in (draws(Point(given, x, (x,))), draws(Point(own, x))):
        assert len(found) == DRAWS
        for draw in found:
            (gradient,) = draw.gradient
            narrow = gradient.astype(np.float32)
            half = {-1: 1 / 2, 1: 1 / 2}
            assert shares(units(narrow, x)) == pytest.approx(half, abs=0.04)
            rest = units(gradient, narrow.astype(np.float64))
            assert shares(rest) == pytest.approx(half, abs=0.04)
            assert draw.dtype == np.float64


def test_draws_move_the_constants_of_the_loss() -> None:
    with jax.enable_x64(True):
        constant = jnp.asarray(SPREAD)
        found = draws(Point(lambda w: given(w, constant), jnp.full(N, 1.5)))
    for draw in found:
        moved = units(draw.gradient[0], SPREAD)
        assert shares(moved) == pytest.approx({-1: 1 / 2, 1: 1 / 2}, abs=0.04)


EPS = 2.0**-52


@pytest.mark.parametrize(
    ("loss", "value", "noise"),
    [
        (jnp.max, 0.5, 1 + EPS),
        (jnp.min, 0.5, 1 - EPS),
        (jnp.max, 2.5, 1 - EPS),
        (jnp.min, 2.5, 1 + EPS),
        (jnp.max, 1.5, EPS),
        (jnp.min, 1.5, EPS),
        (lambda w: jnp.max(w) * 1.0, 0.5, 1 + 2 * EPS),
    ],
)
@pytest.mark.parametrize("where", ["params", "args", "constants"])
def test_noise_of_loss_is_the_largest_distance_from_the_value(
    loss: Any, value: float, noise: float, where: str
) -> None:
    with jax.enable_x64(True):
        x, zero = jnp.full(64, 1.5), jnp.zeros(())
        found = {
            "params": lambda: noise_of_loss(Point(loss, x), value),
            "args": lambda: noise_of_loss(
                Point(lambda w, x: loss(x), zero, (x,)), value
            ),
            "constants": lambda: noise_of_loss(Point(lambda w: loss(x), zero), value),
        }[where]()
    assert found == noise


def test_noise_of_loss_is_the_largest_of_all_draws() -> None:
    steps = [np.random.default_rng(seed).choice((-1, 1)) for seed in range(DRAWS)]
    assert set(steps) == {-1, 1}
    with jax.enable_x64(True):
        point = Point(jnp.abs, jnp.array(1.5))
        assert noise_of_loss(point, 0.5) == 1 + EPS
        assert noise_of_loss(point, 2.5) == 1 + EPS


def rich(w: jax.Array) -> jax.Array:
    """A loss with calls, rules, loops, branches, random numbers and data movement."""
    c, rows = jax.lax.scan(
        lambda c, x: (jnp.tanh(c @ w + x), c), w[0], jnp.linspace(0, 1, 5)
    )
    chosen = jax.lax.cond(c[0] > 0, lambda: c * w[1], lambda: c)
    saved = jax.checkpoint(lambda v: jnp.sin(jnp.cos(v)))(w)
    noise = jax.random.normal(jax.random.key(0), w.shape)
    counted = jax.lax.while_loop(lambda c: c < 3, lambda c: c + 1.0, 0.0)
    parts = (chosen, saved, jax.nn.relu(w), jnp.sort(rows), noise * w, counted * w)
    ends = [jnp.sum(part) for part in parts]
    return jax.nn.logsumexp(jnp.stack(ends)) + jax.jit(jnp.linalg.norm)(w)


def program_of(function: Any, *args: Any) -> tuple[Any, list[Any]]:
    closed = jax.make_jaxpr(function)(*args)
    return closed.jaxpr, [*closed.consts, *args]


def test_program_without_rounding_is_the_program() -> None:
    with jax.enable_x64(True):
        w = jnp.asarray(np.random.default_rng(0).standard_normal((4, 4)))
        value, gradient = run(*program_of(jax.value_and_grad(rich), w), lambda r: r)
        expected, truth = jax.value_and_grad(rich)(w)
        np.testing.assert_allclose(value, expected, rtol=1e-14)
        np.testing.assert_allclose(gradient, truth, rtol=1e-12, atol=1e-14)


def test_what_is_moved_or_chosen_is_not_rounded() -> None:
    def moves(v: jax.Array) -> jax.Array:
        kept = jnp.where(v > 0, -jnp.abs(v), jnp.max(v))
        return jnp.sort(jnp.concatenate([kept.T, kept[::-1]]).reshape(2, -1))[0]

    def never(result: Any) -> Any:
        assert not is_floating(result), f"rounded: {result}"
        return result

    v = jnp.arange(-4.0, 5.0).reshape(3, 3) / 4
    (found,) = run(*program_of(moves, v), never)
    np.testing.assert_array_equal(found, moves(v))


def test_what_is_computed_is_rounded_inside_calls_too() -> None:
    seen = []

    def note(result: Any) -> Any:
        seen.append(result)
        return result

    def computes(v: jax.Array) -> jax.Array:
        inner = jax.jit(lambda u: jnp.exp(u) * 3.0)
        return jax.checkpoint(lambda u: inner(u).T + 1.0)(v)

    v = jnp.array([0.0, 1.0])
    run(*program_of(computes, v), note)
    np.testing.assert_allclose(
        seen, [np.exp(v), 3 * np.exp(v), 3 * np.exp(v) + 1], 1e-6
    )


def cancels(v: jax.Array) -> jax.Array:
    """log p at a p so near 1 that 1 - p is off by a ten-thousandth of itself."""
    p = 1 / (1 + jnp.exp(-v))
    return jnp.sum((1 - p) * jnp.arange(1.0, 4.0))


def test_random_rounding_finds_an_error_that_no_neighbour_has() -> None:
    with jax.enable_x64(True):
        v = jnp.array([28.1, 28.2, 28.3])
        point = Point(cancels, v)
        here = jax.value_and_grad(cancels)(v)[0]
        drawn = [e.value for e in draws(point)]
        beside = [e.value for e in probes(point)]
    truth = float(np.sum(np.arange(1.0, 4.0) / (1 + np.exp(np.asarray(v)))))
    error = abs(float(here) - truth)
    assert len(drawn) == DRAWS
    assert len(beside) == PROBES
    assert max(abs(d - float(here)) for d in drawn) > error
    assert max(abs(b - float(here)) for b in beside) < 0.1 * error


def test_draws_are_repeatable_and_differ() -> None:
    with jax.enable_x64(True):
        w = jnp.asarray(np.random.default_rng(0).standard_normal((4, 4)))
        first, second = (draws(Point(rich, w)) for _ in range(2))
        truth = jax.grad(rich)(w)
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.gradient[0], two.gradient[0])
        np.testing.assert_allclose(one.gradient[0], truth, rtol=1e-12)
        assert one.dtype == np.float64
    assert len({draw.gradient[0].tobytes() for draw in first}) == DRAWS


def test_arguments_narrower_than_float64_are_known_to_their_own_last_place() -> None:
    with jax.enable_x64(True):
        w, q = jnp.array([0.3, 0.7]), jnp.array([0.1, 0.9], jnp.float32)

        def loss(w: jax.Array, q: jax.Array) -> jax.Array:
            return jnp.sum(q * w**2)

        found = draws(Point(loss, w, (q,)))
        truth = np.asarray(2 * q.astype(w.dtype) * w)
    loose = max(abs(e.gradient[0] - truth).max() for e in found)
    assert 1e-8 < loose < 1e-6


def test_float64_of_one_saturated_sample_is_right() -> None:
    """J is of the size of its own rounding, which the audit once took for a fault."""

    def loss(v: jax.Array, y: jax.Array) -> jax.Array:
        return -jax.nn.log_softmax(v)[y]

    def gradient(v: jax.Array, y: jax.Array) -> jax.Array:
        return jax.nn.softmax(v) - jax.nn.one_hot(y, v.size, dtype=v.dtype)

    with jax.enable_x64(True):
        for seed in range(20):
            v = jnp.asarray(np.random.default_rng(seed).normal(0, 9, 5))
            assert check_gradients(loss, gradient, v, jnp.argmax(v)).ok


def test_loss_that_cannot_be_traced_is_compared_with_a_note() -> None:
    def branches(w: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.sum(w * x) if float(x[0]) > 0 else jnp.sum(w)

    with jax.enable_x64(True):
        w, x = jnp.array([1.5, 2.5, 0.1, 0.2]), jnp.array([0.5, 0.25, 0.3, 0.7])
        report = check_gradients(branches, lambda w, x: x, w, x)
        wrong = check_gradients(branches, lambda w, x: 1.001 * x, w, x)
    assert report.ok
    assert "cannot be traced" in report.notes[0]
    assert "ConcretizationTypeError" in report.notes[0]
    assert wrong.leaves[0].cause == "scale"
