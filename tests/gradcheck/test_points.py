"""The figures of a leaf, held against numpy's, and what an untested leaf says."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from handgrad import check_gradients
from handgrad.gradcheck import Leaf
from handgrad.gradcheck.directions import normal, sized
from handgrad.gradcheck.randomness import normal as in_shape

TRUTH = np.array([[1.0, -2.0, 0.5], [4.0, 0.0, 3.0]])


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def figures(candidate: np.ndarray, truth: np.ndarray = TRUTH) -> Leaf:
    """Of a linear loss, whose gradient is ``truth`` to the last digit."""
    (leaf,) = check_gradients(
        lambda w: jnp.sum(w * truth),
        lambda w: jnp.asarray(candidate),
        jnp.ones(truth.shape),
    ).leaves
    return leaf


def test_figures_of_a_wrong_leaf() -> None:
    candidate = TRUTH * 2 + np.array([[0, 0.25, 0], [0, 0.5, -8]])
    leaf = figures(candidate)
    error, size = np.linalg.norm(candidate - TRUTH), np.linalg.norm(TRUTH)
    inner = np.sum(candidate * TRUTH)
    assert leaf.verdict == "wrong"
    assert leaf.relative_error == pytest.approx(error / size)
    assert leaf.scale == pytest.approx(inner / size**2)
    assert leaf.cosine == pytest.approx(inner / size / np.linalg.norm(candidate))
    assert leaf.worst_index == (1, 2)
    assert (leaf.got, leaf.expected) == (-2, 3)
    assert leaf.shape == (2, 3)
    assert leaf.dtype == "float64"
    assert 0 < leaf.floor < 1e-13
    assert leaf.excess > 1e12


def test_figures_of_small_numbers() -> None:
    leaf = figures(2e-3 * TRUTH, 1e-3 * TRUTH)
    assert (leaf.scale, leaf.cosine) == pytest.approx((2, 1))
    assert leaf.relative_error == pytest.approx(1)


def test_figures_of_a_gradient_of_zero() -> None:
    leaf = figures(0 * TRUTH)
    assert (leaf.cause, leaf.relative_error, leaf.scale) == ("zero", 1, 0)
    assert np.isnan(leaf.cosine)


def test_figures_where_the_truth_is_zero() -> None:
    leaf = figures(TRUTH, 0 * TRUTH)
    assert leaf.verdict == "wrong"
    assert leaf.relative_error == np.inf
    assert np.isnan([leaf.scale, leaf.cosine]).all()
    leaf = figures(0 * TRUTH, 0 * TRUTH)
    assert leaf.verdict == "untested"
    assert "the true gradient is zero here" in leaf.explanation
    assert leaf.relative_error == 0
    assert np.isnan([leaf.scale, leaf.cosine]).all()


def test_empty_leaf_is_untested() -> None:
    leaf = figures(np.zeros((0, 3)), np.zeros((0, 3)))
    assert (leaf.verdict, leaf.explanation) == ("untested", "untested: it is empty.")
    assert leaf.shape == (0, 3)


def test_leaf_within_rounding_says_what_rounding_may_do() -> None:
    def loss(w: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(1e7 * w) * 1e-5)

    # float32 has eight digits of the phase, and loses all of it.
    w = jnp.linspace(0.3, 0.9, 5, dtype=jnp.float32)
    (leaf,) = check_gradients(loss, jax.grad(loss), w).leaves
    assert leaf.verdict == "untested"
    text = f"in float32 rounding alone may do {leaf.floor:.1g} of this gradient"
    assert text in leaf.explanation


@pytest.mark.parametrize(
    ("entry", "size"), [(100.0, 100.0), (0.0, 1.0), (-1e-20, 1e-20)]
)
def test_direction_is_as_large_as_its_leaf(entry: float, size: float) -> None:
    leaf = jnp.full(1000, entry).at[0].set(jnp.inf)
    direction = np.asarray(sized(np.random.default_rng(0), leaf), np.float64)
    assert direction[0] == 0
    assert 0.9 < np.sqrt(np.mean(direction[1:] ** 2)) / size < 1.1


def test_complex_directions_are_normal_in_both_parts() -> None:
    like = np.zeros(4000, np.complex64)
    drawn = normal(np.random.default_rng(0), like)
    shaped = in_shape(np.random.default_rng(0), like)
    for values, size in ((np.asarray(drawn), 1.0), (shaped, 0.5)):
        parts = np.cov(np.real(values), np.imag(values))
        np.testing.assert_allclose(parts, size * np.eye(2), atol=0.1)
