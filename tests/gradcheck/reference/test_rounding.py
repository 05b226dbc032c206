"""What rounding costs, measured: numbers moved in the last place, random rounding."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from handgrad import check_gradients
from handgrad.gradcheck.reference.arithmetic.moves import to_dtype
from handgrad.gradcheck.reference.dtypes import unit_of
from handgrad.gradcheck.reference.float64 import Point
from handgrad.gradcheck.reference.program import trace
from handgrad.gradcheck.reference.rounding import (
    Neighbour,
    draws,
    noise_of_loss,
    probes,
)
from handgrad.gradcheck.reference.tolerance import DRAWS, PROBES

DTYPES = ["bfloat16", "float16", "float32", "float64"]


def units(moved: Any, start: Any) -> np.ndarray:
    """How many units in the last place lie between, by counting representable numbers.

    Of positive numbers, whose bits are in order.
    """
    bits = np.dtype(f"i{np.asarray(start).dtype.itemsize}")
    return np.asarray(moved).view(bits) - np.asarray(start).view(bits)


def test_given_whole_numbers_and_all_that_is_not_floating_stay() -> None:
    beside = Neighbour(0, (-1, 1))
    given = jnp.array([0.0, -3.0, 0.1, -jnp.inf, jnp.nan], jnp.float32)
    moved = np.asarray(beside.of(given))
    np.testing.assert_array_equal(moved[[0, 1, 3, 4]], np.asarray(given)[[0, 1, 3, 4]])
    assert moved[2] != given[2]
    labels, name = jnp.arange(3), "relu"
    assert beside.of(labels) is labels
    assert beside.of(name) is name
    assert isinstance(beside.of(0.1), float)
    assert beside.of(0.1) != 0.1


def test_largest_number_of_a_dtype_stays_finite() -> None:
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16):
        ends = jnp.array([jnp.finfo(dtype).min, 1.5 - 2**-9], dtype)
        moved = np.asarray(Neighbour(0, (1,)).of(ends), np.float64)
        assert np.isfinite(moved).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("step", [-1, 0, 1])
def test_step_is_in_units_in_the_last_place_away_from_zero(
    dtype: str, step: int
) -> None:
    with jax.enable_x64(True):
        start = np.linspace(1.01, 3.99, 301).astype(dtype)
        beside = Neighbour(0, (step,))
        given = jnp.asarray(start[start != np.round(start)])
        for moved, kept in (
            (beside.of(given), given),
            (-np.asarray(beside.of(-given)), given),
        ):
            assert moved.dtype == kept.dtype
            assert set(np.unique(units(moved, kept))) == {step}


def test_both_parts_of_a_complex_number_move() -> None:
    z = jnp.array([0.1 + 0.3j, 0.7 - 0.9j], jnp.complex64)
    moved = Neighbour(0, (1,)).of(z)
    assert moved.dtype == np.complex64
    for part in (np.real, np.imag):
        assert (part(moved) != part(z)).all()


def test_seed_chooses_the_steps_anew_at_each_call() -> None:
    start = jnp.linspace(1.01, 1.99, 64, dtype=jnp.float32)
    first, second = Neighbour(3, (-1, 0, 1)), Neighbour(3, (-1, 0, 1))
    one, two = first.of(start), first.of(start)
    np.testing.assert_array_equal(one, second.of(start))
    assert not np.array_equal(one, two)


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


def test_draws_move_what_is_given_in_its_own_last_place() -> None:
    x = jnp.asarray(SPREAD, jnp.float32)
    for found in (draws(Point(given, x, (x,))), draws(Point(own, x))):
        assert len(found) == DRAWS
        for draw in found:
            (gradient,) = draw.gradient
            half = {-1: 1 / 2, 1: 1 / 2}
            moved = units(gradient.astype(np.float32), x)
            assert shares(moved) == pytest.approx(half, abs=0.04)
            assert draw.dtype == np.float64


def test_draws_move_the_constants_of_the_loss() -> None:
    with jax.enable_x64(True):
        constant = jnp.asarray(SPREAD)
        found = draws(Point(lambda w: given(w, constant), jnp.full(N, 1.5)))
    for draw in found:
        moved = units(draw.gradient[0], SPREAD)
        assert shares(moved) == pytest.approx({-1: 1 / 2, 1: 1 / 2}, abs=0.04)


def test_noise_of_loss_is_the_largest_distance_from_the_value() -> None:
    with jax.enable_x64(True):
        traced = trace(lambda v: jnp.exp(v[0]) * 3.0, [jnp.array(0.7)])
        value = float(np.exp(0.7) * 3)
        eps = float(np.finfo(float).eps)
        noise = noise_of_loss(traced, [jnp.array(0.7)], value)
        assert 0 < noise < 8 * eps * value
        far = noise_of_loss(traced, [jnp.array(0.7)], value + 1)
        assert far == pytest.approx(1, abs=1e-12)


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


def results_of(function: Any, w: jax.Array, moves: str = "") -> list[np.ndarray]:
    """The results of a function in float64, in random rounding if it is named."""
    traced = trace(lambda values: function(values[0]), [w])
    signs = getattr(traced, moves)(0) if moves else None
    return traced.in_float64([w], None, signs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_program_in_float64_is_that_of_a_loss_traced_in_it(dtype: str) -> None:
    with jax.enable_x64(True):
        w = jnp.asarray(np.random.default_rng(0).standard_normal((4, 4)), dtype)
        value, gradient = results_of(lambda w: jax.value_and_grad(calls)(w), w)
        expected, truth = jax.value_and_grad(calls)(w.astype(jnp.float64))
    np.testing.assert_allclose(value, expected, rtol=1e-14)
    np.testing.assert_allclose(gradient, truth, rtol=1e-12, atol=1e-14)


def calls(w: jax.Array) -> jax.Array:
    """A loss with a scatter, a solve, a reduction of its own, a Fourier transform."""
    spread = jnp.zeros(6, w.dtype).at[jnp.array([0, 2, 2, 5])].add(w[0])
    solved = jnp.linalg.solve(w @ w.T + jnp.eye(4, dtype=w.dtype), w[1])
    whole = jax.lax.reduce(w * w, w.dtype.type(0), jax.lax.add, (0, 1))
    turned = jnp.abs(jnp.fft.rfft(w[2])) ** 2
    low = jax.lax.dot(w, w, preferred_element_type=w.dtype)
    return jnp.sum(spread**2) + jnp.sum(solved) + whole + jnp.sum(turned) + low[0, 0]


def test_casts_down_take_nothing_in_float64() -> None:
    def casts(w: jax.Array) -> jax.Array:
        half = w.astype(jnp.bfloat16) @ w.astype(jnp.float16).astype(jnp.bfloat16).T
        return jax.lax.reduce_precision(half, 8, 3).astype(jnp.float32)

    w = jnp.asarray(np.random.default_rng(0).standard_normal((4, 4)), jnp.float32)
    (found,) = results_of(casts, w)
    wide = np.asarray(w, np.float64)
    np.testing.assert_allclose(found, wide @ wide.T, rtol=1e-14)


def test_what_is_moved_or_chosen_is_not_rounded() -> None:
    def moves(v: jax.Array) -> jax.Array:
        kept = jnp.where(v > 0, -jnp.abs(v), jnp.max(v))
        return jnp.sort(jnp.concatenate([kept.T, kept[::-1]]).reshape(2, -1))[0]

    v = jnp.arange(-4.0, 5.0).reshape(3, 3) / 7
    exact = results_of(moves, v)
    np.testing.assert_array_equal(exact, results_of(moves, v, "last_places"))
    np.testing.assert_array_equal(exact, results_of(moves, v, "own_dtypes"))


@pytest.mark.parametrize("where", ["calls", "loop", "branch", "while"])
def test_what_is_computed_is_rounded_wherever_it_stands(where: str) -> None:
    def computes(v: jax.Array) -> jax.Array:
        run = {
            "calls": lambda v: jax.checkpoint(jax.jit(jnp.exp))(v),
            "loop": lambda v: jax.lax.scan(lambda c, x: (c + x, jnp.exp(x)), 0.0, v)[1],
            "branch": lambda v: jax.lax.cond(v[0] > 0, jnp.exp, jnp.sin, v),
            "while": lambda v: jax.lax.while_loop(
                lambda c: c[1] < 1, lambda c: (jnp.exp(c[0]), c[1] + 1), (v, 0)
            )[0],
        }
        return run[where](v)

    v = jnp.linspace(0.1, 0.9, 16)
    (exact,) = results_of(computes, v)
    np.testing.assert_allclose(exact, np.exp(np.asarray(v, np.float64)), rtol=1e-15)
    for moves, unit in (("last_places", 2.0**-52), ("own_dtypes", 2.0**-23)):
        (moved,) = results_of(computes, v, moves)
        off = np.abs(moved / exact - 1)
        assert np.mean(off > 0) > 0.9
        assert off.max() < 4 * unit


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_rounding_at_random_is_to_one_of_the_two_numbers_beside(dtype: str) -> None:
    generator = np.random.default_rng(1)
    exact = np.concatenate([generator.standard_normal(4000), np.arange(8.0), [-np.inf]])
    bits = generator.integers(0, 2**64 - 1, exact.size, np.uint64)
    with jax.enable_x64(True):
        found = np.asarray(
            to_dtype(jnp.asarray(exact), jnp.asarray(bits), jnp.dtype(dtype))
        )
        held = np.asarray(jnp.asarray(found).astype(dtype).astype(jnp.float64))
    np.testing.assert_array_equal(found, held)
    np.testing.assert_array_equal(found[4000:], exact[4000:])
    off = (found[:4000] - exact[:4000]) / (np.abs(exact[:4000]) * 2.0 * unit_of(dtype))
    assert np.abs(off).max() <= 1
    assert abs(np.mean(off)) < 0.03  # as often up as down, the nearer the likelier


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
