"""F3, L1, L2, B1, B2, B3, and the helpers that make targets and weights."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import (
    EQUATION,
    FLOAT32,
    assert_close,
    assert_equal,
    numbers,
)
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.test_util import check_vjp
from meshes import four_devices

from handgrad import class_weights, smooth_labels
from handgrad.network.softmax_nll import (
    compared_delta,
    log_probabilities,
    mean_loss,
    negative_log_likelihood,
    output_delta,
    probability_gradient,
    row_sums,
    set_delta,
    softmax,
    softmax_jacobian,
)

SHAPES = (1, 2), (3, 2), (2, 5)  # m, C


@st.composite
def outputs(draw: Any) -> tuple[jax.Array, jax.Array]:
    """logits (m, C) and distributions (m, C), none of them 0."""
    m, classes = draw(st.sampled_from(SHAPES))
    logits, scores = draw(numbers(m, classes)), draw(numbers(m, classes))
    return jnp.asarray(logits), jax.nn.softmax(jnp.asarray(scores), axis=1)


def plain_softmax(logits: Any) -> jax.Array:
    """F3 as the notes have it."""
    return jnp.exp(logits) / jnp.sum(jnp.exp(logits), axis=1, keepdims=True)


def plain_losses(probabilities: Any, q: Any) -> jax.Array:
    """L1 as the notes have it."""
    return -jnp.sum(q * jnp.log(probabilities), axis=1)


def assert_near(actual: Any, expected: Any) -> None:
    """To 1e-12 of 1, the sum of the probabilities that B3 takes from each other."""
    assert actual.shape == expected.shape
    assert jnp.max(jnp.abs(actual - expected)) <= EQUATION


@given(outputs())
def test_F3_is_the_softmax_of_every_row(case: Any) -> None:
    assert_close(softmax(case[0]), plain_softmax(case[0]), EQUATION)


@given(outputs())
def test_L1_is_the_negative_logarithm_of_F3(case: Any) -> None:
    logits, q = case
    expected = plain_losses(plain_softmax(logits), q)
    assert_close(negative_log_likelihood(logits, q), expected, EQUATION)


@given(outputs())
def test_L1_of_a_label_is_that_of_optax(case: Any) -> None:
    logits, q = case
    labels = jnp.argmax(q, axis=1)
    expected = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    assert_close(negative_log_likelihood(logits, labels), expected, EQUATION)


@given(outputs(), st.integers(-8, 8))
def test_L1_is_linear_in_the_targets_whatever_their_rows_sum_to(
    case: Any, factor: int
) -> None:
    logits, q = case
    expected = factor / 4 * plain_losses(plain_softmax(logits), q)
    losses = negative_log_likelihood(logits, factor / 4 * q)
    assert_close(losses, expected, EQUATION)


@given(losses=numbers(5))
def test_L2_is_the_mean(losses: Any) -> None:
    assert abs(mean_loss(jnp.asarray(losses)) - np.mean(losses)) <= 4 * EQUATION


@given(losses=numbers(5), weights=numbers(5).map(lambda w: np.abs(w) + 0.5))
def test_L2_with_weights_is_the_weighted_mean(losses: Any, weights: Any) -> None:
    came = mean_loss(jnp.asarray(losses), jnp.asarray(weights))
    assert abs(came - np.average(losses, weights=weights)) <= 4 * EQUATION


def test_L2_is_exactly_0_where_the_weights_sum_to_0() -> None:
    assert mean_loss(jnp.array([1.0, 2.0]), jnp.zeros(2)) == 0


@given(outputs())
def test_B1_is_the_gradient_of_L1_in_the_probabilities(case: Any) -> None:
    probabilities, q = plain_softmax(case[0]), case[1]
    _, vjp = jax.vjp(lambda a: plain_losses(a, q), probabilities)
    (expected,) = vjp(jnp.ones(len(q)))
    assert_close(probability_gradient(probabilities, q), expected, EQUATION)


@given(outputs())
def test_B2_is_the_jacobian_of_F3(case: Any) -> None:
    logits, _ = case
    expected = jax.jacobian(plain_softmax)(logits)  # (m, C, m, C), 0 between samples
    came = softmax_jacobian(plain_softmax(logits))
    assert_close(came, jnp.einsum("iyic->iyc", expected), EQUATION)


@given(outputs())
def test_B3_is_the_gradient_of_L1_in_the_logits(case: Any) -> None:
    logits, q = case
    _, vjp = jax.vjp(lambda d: optax.softmax_cross_entropy(d, q), logits)
    (expected,) = vjp(jnp.ones(len(q)))
    assert_near(output_delta(softmax(logits), q), expected)


@given(outputs())
def test_B3_of_a_label_is_the_gradient_of_L1_in_the_logits(case: Any) -> None:
    logits, labels = case[0], jnp.argmax(case[1], axis=1)
    loss = optax.softmax_cross_entropy_with_integer_labels
    _, vjp = jax.vjp(lambda d: loss(d, labels), logits)
    (expected,) = vjp(jnp.ones(len(labels)))
    assert_near(output_delta(softmax(logits), labels), expected)


@st.composite
def scores(draw: Any) -> tuple[jax.Array, jax.Array]:
    """logits (m, C) and targets (m, C) of any sign, whose rows sum to anything."""
    shape = draw(st.sampled_from(SHAPES))
    return jnp.asarray(draw(numbers(*shape))), jnp.asarray(draw(numbers(*shape)))


@given(scores())
def test_B3_is_the_gradient_of_L1_whatever_the_rows_of_targets_sum_to(
    case: Any,
) -> None:
    """t a_L - q; to 1e-12 of 20, what five targets sum to at most."""
    logits, q = case
    _, vjp = jax.vjp(lambda d: plain_losses(plain_softmax(d), q), logits)
    (expected,) = vjp(jnp.ones(len(q)))
    assert_near(output_delta(softmax(logits), q) / 20, expected / 20)


def test_B3_of_a_row_of_zeros_is_exactly_0() -> None:
    probabilities = softmax(jnp.array([[3.0, -1.0, 0.5]]))
    assert_equal(output_delta(probabilities, jnp.zeros((1, 3))), jnp.zeros((1, 3)))


def test_row_sums_are_those_of_distributions_and_absent_for_labels() -> None:
    wide = jnp.dtype("float32")
    assert row_sums(jnp.array([0, 1]), wide) is None
    q = jnp.array([[0.25, 0.5], [2.0, 1.0], [0.0, 0.0]], "float16")
    assert_equal(row_sums(q, wide), jnp.array([0.75, 3.0, 0.0], "float32"))


@given(outputs())
def test_B1_through_B2_is_B3(case: Any) -> None:
    probabilities, q = softmax(case[0]), case[1]
    gradient, jacobian = probability_gradient(probabilities, q), softmax_jacobian
    composed = jnp.einsum("iy,iyc->ic", gradient, jacobian(probabilities))
    assert_near(composed, output_delta(probabilities, q))


def test_B1_and_B2_break_down_where_a_probability_underflows_and_B3_does_not() -> None:
    """exp(-800) is 0 in float64; the error of the label with that probability is -1."""
    logits, one_hot = jnp.array([[800.0, 0.0]]), jnp.array([[0.0, 1.0]])
    probabilities = softmax(logits)
    gradient, jacobian = probability_gradient(probabilities, one_hot), softmax_jacobian
    composed = jnp.einsum("iy,iyc->ic", gradient, jacobian(probabilities))
    assert gradient[0, 1] == -jnp.inf
    assert jnp.all(jnp.isnan(composed))
    assert_equal(output_delta(probabilities, one_hot), jnp.array([[1.0, -1.0]]))
    assert_equal(negative_log_likelihood(logits, one_hot), jnp.array([800.0]))


@given(outputs())
def test_B3_sums_to_0_over_the_classes(case: Any) -> None:
    delta = output_delta(softmax(case[0]), case[1])
    assert_near(jnp.sum(delta, axis=1), jnp.zeros(len(delta)))


@given(outputs(), st.integers(-1000, 1000))
def test_F3_L1_B3_do_not_change_when_logits_shift(case: Any, shift: int) -> None:
    """The shift itself rounds each logit: up to 1004 * 2^-53, about 1e-13."""
    logits, q = case
    shifted = logits + jnp.float64(shift)
    losses = negative_log_likelihood(logits, q)
    assert_close(softmax(shifted), softmax(logits), EQUATION)
    assert_close(negative_log_likelihood(shifted, q), losses, EQUATION)


def test_F3_with_B2_and_L1_with_B3_pass_check_vjp() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(3, 4))
    q = jnp.asarray(random.dirichlet(np.ones(4), size=3))

    def softmax_vjp(d: Any) -> tuple[Any, Any]:
        a = softmax(d)
        jacobian = softmax_jacobian(a)
        return a, lambda ct: (jnp.einsum("iy,iyc->ic", ct, jacobian),)

    def loss_vjp(d: Any) -> tuple[Any, Any]:
        delta = output_delta(softmax(d), q)
        return negative_log_likelihood(d, q), lambda ct: (ct[:, None] * delta,)

    check_vjp(softmax, softmax_vjp, (logits,))
    check_vjp(lambda d: negative_log_likelihood(d, q), loss_vjp, (logits,))


def test_logits_of_1e4_are_finite_and_right_in_float32() -> None:
    logits = jnp.array([[1e4, -1e4], [-1e4, 1e4], [1e4, 1e4]], jnp.float32)
    one_hot = jnp.array([[0, 1], [0, 1], [1, 0]], jnp.float32)
    for targets in (jnp.array([1, 1, 0]), one_hot):
        losses = negative_log_likelihood(logits, targets)
        expected = jnp.array([2e4, 0, np.log(2)], jnp.float32)
        assert_close(losses, expected, FLOAT32)
        delta = output_delta(softmax(logits), targets)
        assert_equal(delta, jnp.array([[1, -1], [0, 0], [-0.5, 0.5]], jnp.float32))


def test_L1_is_infinite_where_a_target_has_weight_on_a_class_that_cannot_be() -> None:
    logits = jnp.array([[0.0, -jnp.inf]] * 3)
    q = jnp.array([[1.0, 0.0], [0.5, 0.5], [1.5, -0.5]])
    assert negative_log_likelihood(logits, q).tolist() == [0, jnp.inf, -jnp.inf]


def test_L1_takes_0_for_the_logarithm_where_target_and_probability_are_0() -> None:
    logits = jnp.array([[0.0, -jnp.inf], [0.0, -jnp.inf], [0.0, 0.0]])
    q = jnp.array([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]])
    expected = [[0, 0], [0, -jnp.inf], [-np.log(2), -np.log(2)]]
    assert log_probabilities(logits, q).tolist() == expected


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_low_precision_logits_are_widened_to_float32(dtype: Any) -> None:
    logits = jnp.array([[6e4, -6e4]], dtype)
    gap = 2 * logits[0, 0].astype(jnp.float32)
    assert_equal(softmax(logits), jnp.array([[1, 0]], jnp.float32))
    losses = negative_log_likelihood(logits, jnp.array([[0, 1]], jnp.float32))
    assert_equal(losses, gap[None])


def test_a_label_and_its_one_hot_row_are_one_target() -> None:
    logits = jnp.array([[0.5, -1.0, 2.0], [1.5, 0.25, -3.0]])
    labels, one_hot = jnp.array([2, 0]), jnp.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    for function, output in (
        (negative_log_likelihood, logits),
        (output_delta, softmax(logits)),
    ):
        assert_equal(function(output, labels), function(output, one_hot))


def test_distributions_take_the_dtype_of_the_logits_widened() -> None:
    q = jnp.array([[0.25, 0.75]], jnp.float32)
    wide = jnp.array([[3.0, -1.0]])
    for function, output in (
        (negative_log_likelihood, wide),
        (output_delta, softmax(wide)),
    ):
        assert_equal(function(output, q), function(output, q.astype(jnp.float64)))
        narrow = function(output.astype(jnp.float32), q.astype(jnp.float64))
        assert_equal(narrow, function(output.astype(jnp.float32), q))


def test_L1_and_B3_of_labels_do_not_change_on_an_explicit_mesh() -> None:
    logits, labels = jnp.arange(16.0).reshape(4, 4) ** 0.5, jnp.array([0, 3, 1, 2])
    mesh = jax.make_mesh(
        (2, 2), ("data", "model"), (AxisType.Explicit,) * 2, devices=four_devices()
    )
    with jax.set_mesh(mesh):
        laid = jax.device_put(logits, NamedSharding(mesh, P("data", "model")))
        y = jax.device_put(labels, NamedSharding(mesh, P("data")))
        losses = negative_log_likelihood(laid, y)
        delta = output_delta(softmax(laid), y)
    assert delta.sharding.is_equivalent_to(laid.sharding, 2)
    expected = negative_log_likelihood(logits, labels)
    assert_close(jax.device_get(losses), expected, EQUATION)
    expected = output_delta(softmax(logits), labels)
    assert_close(jax.device_get(delta), expected, EQUATION)


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
@pytest.mark.parametrize("kind", ["int", "uint"])
def test_labels_may_have_any_integer_dtype(kind: str, bits: int) -> None:
    """There are more than 8 bits count, and -1 is no class where it has no sign."""
    logits = jnp.arange(600.0).reshape(2, 300)
    labels = jnp.array([100, -1]).astype(f"{kind}{bits}")
    losses = negative_log_likelihood(logits, labels)
    second = 255 if (kind, bits) == ("uint", 8) else -1
    expected = negative_log_likelihood(logits, jnp.array([100, second]))
    assert np.array_equal(losses, expected, equal_nan=True)


def test_L1_of_a_label_beyond_32_bits_is_nan() -> None:
    labels = jnp.array([2**32, -(2**32) + 1])
    assert jnp.all(jnp.isnan(negative_log_likelihood(jnp.zeros((2, 3)), labels)))


@pytest.mark.parametrize("label", [-1, 3, 1000])
def test_a_label_out_of_range_is_nan_and_leaves_other_rows_alone(label: int) -> None:
    logits = jnp.array([[0.5, -1.0, 2.0], [1.5, 0.25, -3.0]])
    labels, known = jnp.array([label, 0]), jnp.array([0, 0])
    for function, output in (
        (negative_log_likelihood, logits),
        (output_delta, softmax(logits)),
    ):
        came = function(output, labels)
        assert jnp.all(jnp.isnan(came[0]))
        assert_equal(came[1], function(output, known)[1])


@pytest.mark.parametrize("dtype", ["bool", "int32", "float32"])
def test_L2_of_a_label_out_of_range_with_weight_0_is_padding(dtype: str) -> None:
    losses = negative_log_likelihood(jnp.zeros((3, 2)), jnp.array([-1, -1, 1]))
    weights = jnp.array([0, 0, 1]).astype(dtype)
    assert_equal(mean_loss(losses, weights), losses[2])
    assert jnp.isnan(mean_loss(losses, jnp.array([0, 1, 0]).astype(dtype)))


@pytest.mark.parametrize("label", [-1, 3, 1000])
def test_smooth_labels_of_a_label_out_of_range_are_nan(label: int) -> None:
    q = smooth_labels(jnp.array([label, 0]), 3, 0.0)
    assert jnp.all(jnp.isnan(q[0]))
    assert_equal(q[1], jnp.array([1, 0, 0], jnp.float32))


def test_smooth_labels_mixes_with_the_uniform_distribution() -> None:
    came = smooth_labels(jnp.array([0, 2]), classes=4, epsilon=0.2)
    expected = [[0.85, 0.05, 0.05, 0.05], [0.05, 0.05, 0.85, 0.05]]
    assert_close(came, jnp.array(expected, jnp.float32), 2 * FLOAT32)


def test_smooth_labels_mixes_distributions_in_their_own_dtype() -> None:
    q = jnp.array([[0.5, 0.5, 0.0]])
    came = smooth_labels(q, classes=3, epsilon=0.3)
    assert_close(came, jnp.array([[0.45, 0.45, 0.1]]), EQUATION)
    assert smooth_labels(q.astype(jnp.float16), 3, 0.3).dtype == jnp.float32


def test_smooth_labels_keep_the_sums_of_rows() -> None:
    q = jnp.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    expected = jnp.array([[0.9, 0.9, 0.2], [0.0, 0.0, 0.0]])
    assert_close(smooth_labels(q, 3, 0.3), expected, EQUATION)


def test_smooth_labels_at_its_ends() -> None:
    q = jnp.array([[0.5, 0.5, 0.0, 0.0]])
    assert_equal(smooth_labels(q, 4, 0), q)
    assert_equal(smooth_labels(q, 4, 1), jnp.full((1, 4), 0.25))


@pytest.mark.parametrize("epsilon", [-0.01, 1.01, float("nan")])
def test_smooth_labels_refuses_an_epsilon_outside_0_1(epsilon: float) -> None:
    bounds = "a number at least 0 and at most 1"
    text = re.escape(f"`epsilon` must be {bounds}, got {epsilon}.")
    with pytest.raises(ValueError, match=f"^{text}$"):
        smooth_labels(jnp.array([0]), 2, epsilon)


def test_class_weights_of_labels_and_of_distributions() -> None:
    per_class = jnp.array([4.0, 2.0, 1.0])
    labels, soft = jnp.array([2, 0]), jnp.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    of_labels = class_weights(labels, per_class)
    assert_equal(of_labels, jnp.array([1, 4], jnp.float32))
    assert_equal(class_weights(soft, per_class), jnp.array([3.0, 1.0]))


def test_class_weights_of_no_class_are_1() -> None:
    per_class = jnp.array([4.0, 2.0])
    labels, soft = jnp.array([-1, 2, 0]), jnp.array([[np.nan, 1.0], [0.0, 1.0]])
    assert class_weights(labels, per_class).tolist() == [1, 1, 4]
    assert class_weights(soft, per_class).tolist() == [1, 2]


def test_class_weights_take_whole_numbers() -> None:
    assert_equal(
        class_weights(np.array([1, 0]), np.array([3, 5])),
        jnp.array([5, 3], jnp.float32),
    )


@pytest.mark.parametrize("shape", [(), (1, 2)])
def test_class_weights_refuse_what_is_not_a_vector(shape: Any) -> None:
    text = f"`per_class` must have shape (C,), one weight per class, got {shape}."
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        class_weights(jnp.array([0]), jnp.ones(shape))


def test_class_weights_refuse_distributions_over_other_classes() -> None:
    text = "`targets` must be labels (m,) or distributions (m, 2), got shape (1, 3)."
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        class_weights(jnp.ones((1, 3)), jnp.ones(2))


def test_B3_of_labels_is_the_same_by_comparing_and_by_setting() -> None:
    """One of the two is in the program, by the platform."""
    rng = np.random.default_rng(0)
    p = jax.nn.softmax(rng.standard_normal((6, 5)))
    y = jnp.array([0, 4, 2, 2, 1, 3], jnp.int32)
    scale = jnp.asarray(rng.standard_normal(6))
    compared, set_ = (f(p, y, scale) for f in (compared_delta, set_delta))
    expected = scale[:, None] * (p - jax.nn.one_hot(y, 5, dtype=p.dtype))
    assert_close(compared, expected, EQUATION)
    assert_close(set_, expected, EQUATION)
