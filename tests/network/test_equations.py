"""Every equation alone, against `jax.vjp` and `jax.jacobian` in float64."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from handgrad import ACTIVATIONS
from handgrad.network.activations import activate, through_activation
from handgrad.network.affine import affine, bias_gradient, carry_back, weight_gradient
from handgrad.network.softmax_nll import (
    as_distribution,
    mean_loss,
    negative_log_likelihood,
    output_delta,
    probability_gradient,
    softmax,
    softmax_jacobian,
)
from handgrad.network.types import drop

EXACT = 1e-12  # relative; float64 roundoff times the length of the sums here


def normal(seed: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape, jnp.float64)


def labels(seed: int, m: int, classes: int) -> jax.Array:
    return jax.random.randint(jax.random.key(seed), (m,), 0, classes)


def close(got: jax.Array, expected: jax.Array) -> None:
    scale = float(jnp.abs(expected).max())
    chex.assert_trees_all_close(got, expected, rtol=EXACT, atol=EXACT * scale)


def test_F1_affine_is_the_column_form_of_every_sample() -> None:
    a, weight, bias = normal(0, 3, 4), normal(1, 4, 2), normal(2, 2)
    columns = [weight.T @ sample + bias for sample in a]
    close(affine(a, weight, bias), jnp.stack(columns))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_F2_activate_is_the_function_of_jax_nn(name: str) -> None:
    names = {"softsign": "soft_sign", "gelu_tanh": "gelu"}
    function = getattr(jax.nn, names.get(name, name))
    d = normal(3, 4, 5)
    expected = function(d, approximate=False) if name == "gelu" else function(d)
    close(activate(ACTIVATIONS[name], d), expected)


def test_F3_softmax_is_the_normalised_exponential_and_ignores_a_shift() -> None:
    logits = normal(4, 3, 5)
    exponentials = np.exp(np.asarray(logits))
    close(softmax(logits), exponentials / exponentials.sum(axis=1, keepdims=True))
    close(softmax(logits + 7.0), softmax(logits))


def test_L1_negative_log_likelihood_is_minus_log_of_the_labels_probability() -> None:
    logits, y = normal(5, 4, 3), labels(6, 4, 3)
    q = as_distribution(y, 3, logits.dtype)
    expected = -jnp.log(softmax(logits)[jnp.arange(4), y])
    close(negative_log_likelihood(logits, q), expected)


def test_L2_mean_loss_is_the_weighted_mean() -> None:
    losses, weights = normal(7, 5), jnp.array([0.0, 1.0, 2.0, 0.5, 0.0])
    close(mean_loss(losses), losses.mean())
    close(mean_loss(losses, weights), (weights * losses).sum() / weights.sum())
    assert mean_loss(losses, jnp.array([1.0, -1.0, 0.0, 0.0, 0.0])) == 0


def test_B1_probability_gradient_is_the_derivative_of_the_log() -> None:
    probabilities = softmax(normal(8, 4, 3))
    q = as_distribution(labels(9, 4, 3), 3, probabilities.dtype)
    expected = jax.grad(lambda a: -jnp.sum(q * jnp.log(a)))(probabilities)
    close(probability_gradient(probabilities, q), expected)


def test_B2_softmax_jacobian() -> None:
    logits = normal(10, 4, 3)
    close(
        softmax_jacobian(softmax(logits)),
        jax.vmap(jax.jacobian(jax.nn.softmax))(logits),
    )


def test_B3_output_delta_is_the_gradient_of_the_loss_and_its_rows_sum_to_0() -> None:
    logits = normal(11, 4, 3)
    for q in (
        as_distribution(labels(12, 4, 3), 3, logits.dtype),
        softmax(normal(1, 4, 3)),
    ):
        delta = output_delta(softmax(logits), q)
        close(
            delta, jax.grad(lambda d, q=q: negative_log_likelihood(d, q).sum())(logits)
        )
        np.testing.assert_allclose(delta.sum(axis=1), 0, atol=1e-15)


def test_B3_is_B1_carried_through_B2() -> None:
    probabilities = softmax(normal(13, 4, 3))
    q = as_distribution(labels(14, 4, 3), 3, probabilities.dtype)
    textbook = jnp.einsum(
        "iy,iyc->ic",
        probability_gradient(probabilities, q),
        softmax_jacobian(probabilities),
    )
    close(textbook, output_delta(probabilities, q))


def test_B3_holds_where_a_probability_underflows_and_the_textbook_route_fails() -> None:
    logits = jnp.array([[0.0, 2000.0]])
    probabilities, q = softmax(logits), as_distribution(jnp.array([0]), 2, logits.dtype)
    assert probabilities[0, 0] == 0
    textbook = jnp.einsum(
        "iy,iyc->ic",
        probability_gradient(probabilities, q),
        softmax_jacobian(probabilities),
    )
    assert jnp.isnan(textbook).any()
    chex.assert_trees_all_equal(
        output_delta(probabilities, q), jnp.array([[-1.0, 1.0]])
    )


def _affine_vjp() -> tuple[jax.Array, jax.Array, jax.Array, tuple[jax.Array, ...]]:
    a, weight, delta = normal(15, 5, 4), normal(16, 4, 3), normal(18, 5, 3)
    _, vjp = jax.vjp(affine, a, weight, normal(17, 3))
    return a, weight, delta, vjp(delta)


def test_B4_weight_gradient_is_the_sum_of_outer_products_over_the_normaliser() -> None:
    a, _, delta, (_, expected, _) = _affine_vjp()
    total = jnp.asarray(2.0)
    close(weight_gradient(a, delta, total), expected / 2)
    close(
        weight_gradient(a, delta, total),
        jnp.stack([jnp.outer(*pair) for pair in zip(a, delta, strict=True)]).sum(0) / 2,
    )
    assert not weight_gradient(a, delta, jnp.asarray(0.0)).any()


def test_B5_bias_gradient_is_the_sum_of_deltas_over_the_normaliser() -> None:
    _, _, delta, (_, _, expected) = _affine_vjp()
    close(bias_gradient(delta, jnp.asarray(2.0)), expected / 2)


def test_B6_carry_back_is_the_transposed_affine_map() -> None:
    _, weight, delta, (expected, _, _) = _affine_vjp()
    close(carry_back(delta, weight), expected)


KINKS = jnp.array([[0.0, -0.0, 1.0, -1.0, 6.0, 3.0, -3.0, 20.0, -20.0]])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_B7_through_activation_also_at_the_kinks(name: str) -> None:
    activation = ACTIVATIONS[name]
    for d in (normal(19, 6, 9), KINKS.astype(jnp.float64)):
        a, vjp = jax.vjp(activation.function, d)
        cotangent = normal(20, *d.shape)
        got = through_activation(activation, d, a, cotangent)
        chex.assert_trees_all_close(got, *vjp(cotangent), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16, jnp.bfloat16])
def test_B7_derivative_is_finite_far_from_0(name: str, dtype: jnp.dtype) -> None:
    d = jnp.array([[1e4, -1e4, 300, -300]], dtype)
    activation = ACTIVATIONS[name]
    derivative = activation.derivative(d, activation.function(d))
    assert jnp.isfinite(derivative).all()
    assert derivative.dtype == dtype


def test_D1_D2_dropout_is_its_own_derivative() -> None:
    a, mask, cotangent = normal(21, 3, 4), normal(22, 3, 4), normal(23, 3, 4)
    value, vjp = jax.vjp(lambda a: drop(a, mask), a)
    close(value, mask * a)
    close(drop(cotangent, mask), *vjp(cotangent))
    assert drop(a, None) is a
