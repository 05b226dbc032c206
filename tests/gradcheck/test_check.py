"""The other points of a check: parameters moved at random."""

import jax
import jax.numpy as jnp
import numpy as np
from gradcheck.cases import loss, point, right

from handgrad.gradcheck.check import MOVE, Check, move
from handgrad.gradcheck.randomness import stream
from handgrad.gradcheck.reference.float64 import Point


def test_move_is_a_tenth_of_each_leaf_and_keeps_dtypes() -> None:
    params, x, y = point(jnp.bfloat16)
    params["bias"] = jnp.zeros_like(params["bias"])
    check = Check(Point(loss, params, (x, y)), right)
    moved = move(check, jax.random.key(0)).point.params
    assert {leaf.dtype for leaf in moved.values()} == {jnp.dtype(jnp.bfloat16)}
    step = np.asarray(moved["weight"], np.float64) - np.asarray(params["weight"])
    share = np.linalg.norm(step) / np.linalg.norm(np.asarray(params["weight"], float))
    assert 0.5 * MOVE < share < 2 * MOVE
    assert np.asarray(moved["bias"]).all()


def test_move_to_the_last_digit() -> None:
    with jax.enable_x64(True):
        key = jax.random.key(7)
        params = {"a": jnp.array([3.0, -4.0]), "b": jnp.ones(3), "c": jnp.zeros(2)}
        moved = move(Check(Point(loss, params), right), key).point.params
        generator = stream("points", 0, 7)
        steps = {"a": np.sqrt(12.5), "b": 1.0, "c": np.sqrt(12.5)}
        for name, leaf in params.items():
            noise = generator.standard_normal(leaf.shape)
            expected = np.asarray(leaf) + 0.1 * steps[name] * noise
            np.testing.assert_allclose(moved[name], expected, rtol=1e-12)


def test_parameters_that_are_all_zero_are_moved_like_ones() -> None:
    with jax.enable_x64(True):
        params = {"a": jnp.zeros(2)}
        check = Check(Point(loss, params), right)
        moved = move(check, jax.random.key(7)).point.params
        noise = stream("points", 0, 7).standard_normal(2)
        np.testing.assert_allclose(moved["a"], 0.1 * noise, rtol=1e-12)


def test_what_is_infinite_stays_and_complex_leaves_move_in_both_parts() -> None:
    params = {
        "mask": jnp.array([0.0, -jnp.inf, 1.0]),
        "z": jnp.array([1 + 2j, 3 - 1j], jnp.complex64),
    }
    moved = move(Check(Point(loss, params), right), jax.random.key(7)).point.params
    assert np.isneginf(moved["mask"]).tolist() == [False, True, False]
    step = np.asarray(moved["z"] - params["z"])
    assert moved["z"].dtype == jnp.complex64
    assert np.real(step).all()
    assert np.imag(step).all()
