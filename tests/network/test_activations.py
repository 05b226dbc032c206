"""F2 and B7: every h against `jax.nn`, every h' against autodiff, kinks included."""

import dataclasses
import functools
import math
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
    JAX_NN,
    assert_close,
    assert_equal,
    numbers,
    relative_error,
    slope,
)
from hypothesis import given
from jax.test_util import check_vjp

from handgrad import ACTIVATIONS, Activation, Layer, value_and_grad
from handgrad.network.activations import (
    activate,
    resolve_activations,
    through_activation,
)

KINKED = ("identity", "hard_tanh", "relu", "relu6", "leaky_relu")
KINKS = (-6.0, -1.0, -0.0, 0.0, 1.0, 6.0)
EXTREMES = (-6e4, -300.0, -30.0, -10.0, -6.0, -1.0, 0.0, 1.0, 6.0, 10.0, 30.0, 6e4)

every_activation = pytest.mark.parametrize("name", JAX_NN)


@functools.partial(jax.jit, static_argnums=0)
def vjp(name: str, d: Any, cotangent: Any) -> tuple[jax.Array, jax.Array]:
    """h(d), and the cotangent carried through it by autodiff."""
    value, backward = jax.vjp(JAX_NN[name], d)
    return value, backward(cotangent)[0]


def derivative(name: str, d: Any) -> jax.Array:
    h = ACTIVATIONS[name]
    return h.derivative(d, h.function(d))


def exact_slope(name: str, d: Any) -> jax.Array:
    """h'(d) in float64; beyond 700, where exp overflows, it has long been constant."""
    return slope(name, jnp.clip(d.astype(jnp.float64), -700, 700))


def largest_error(actual: Any, expected: Any) -> float:
    return np.max(np.abs(np.asarray(actual, "float64") - np.asarray(expected)))


def test_the_sixteen_activations_are_those_of_the_contract() -> None:
    assert list(ACTIVATIONS) == list(JAX_NN)
    assert len(ACTIVATIONS) == 16


@every_activation
@given(d=numbers(2, 3))
def test_F2_is_the_function_of_jax_nn(name: str, d: Any) -> None:
    d = jnp.asarray(d)
    assert_equal(activate(ACTIVATIONS[name], d), JAX_NN[name](d))


@every_activation
@given(d=numbers(2, 3), cotangent=numbers(2, 3))
def test_B7_is_the_vjp_of_F2(name: str, d: Any, cotangent: Any) -> None:
    d, cotangent = jnp.asarray(d), jnp.asarray(cotangent)
    value, expected = vjp(name, d, cotangent)
    delta = through_activation(ACTIVATIONS[name], d, value, cotangent)
    assert_close(delta, expected, EQUATION)


@every_activation
def test_B7_multiplies_by_the_diagonal_jacobian(name: str) -> None:
    d, cotangent = jnp.linspace(-7, 8, 21), jnp.arange(1.0, 22)
    jacobian = jax.jacobian(JAX_NN[name])(d)
    delta = through_activation(ACTIVATIONS[name], d, JAX_NN[name](d), cotangent)
    assert_close(delta, jacobian.T @ cotangent, EQUATION)


@every_activation
def test_F2_and_B7_pass_check_vjp(name: str) -> None:
    """At points that no kink is near: JAX's check takes finite differences."""
    h = ACTIVATIONS[name]

    def h_vjp(d: Any) -> tuple[Any, Any]:
        value = activate(h, d)
        return value, lambda cotangent: (through_activation(h, d, value, cotangent),)

    check_vjp(lambda d: activate(h, d), h_vjp, (np.array([-7.3, -0.4, 0.3, 2.5]),))


@every_activation
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_derivative_at_a_kink_is_that_of_jax_nn(name: str, dtype: Any) -> None:
    d = jnp.array(KINKS, dtype)
    if name in KINKED:
        assert_equal(derivative(name, d), slope(name, d))
    tolerance = {jnp.float32: 8 * FLOAT32}.get(dtype, 1e-15)
    exact = slope(name, jnp.array(KINKS, jnp.float64)).astype(dtype)
    assert_close(derivative(name, d), exact, tolerance)


@pytest.mark.parametrize(
    ("name", "d", "expected"),
    [
        ("relu", 0, 0),
        ("relu6", 0, 0),
        ("relu6", 6, 0),
        ("hard_tanh", -1, 1),
        ("hard_tanh", 1, 1),
        ("leaky_relu", 0, 1),
        ("elu", 0, 1),
        ("celu", 0, 1),
        ("selu", 0, 1.0507009873554805 * 1.6732632423543772),
        ("softsign", 0, 1),
    ],
)
def test_derivative_at_a_kink_is_documented(
    name: str, d: float, expected: float
) -> None:
    assert derivative(name, jnp.array([float(d)])).item() == expected


@every_activation
def test_derivative_is_right_to_float32_far_from_0(name: str) -> None:
    """Judged in float64; the error is relative to 1, the size of h' where h is steep.

    32 roundings cover the longest closed form, gelu_tanh's, whose terms reach 4.
    """
    d = jnp.array((*EXTREMES, -1e30, 1e30), jnp.float32)
    came = derivative(name, d)
    assert came.dtype == jnp.float32
    assert largest_error(came, exact_slope(name, d)) <= 32 * FLOAT32


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("elu", math.exp(-30)),
        ("celu", math.exp(-30)),
        ("selu", 1.0507009873554805 * 1.6732632423543772 * math.exp(-30)),
        ("softplus", 1 / (1 + math.exp(30))),
        ("softsign", 1 / 31**2),
    ],
)
def test_derivative_keeps_its_relative_accuracy_in_the_tail(
    name: str, expected: float
) -> None:
    """Where a + 1 would be 0; autodiff itself takes it through expm1."""
    came = derivative(name, jnp.array([-30], jnp.float32))
    assert relative_error(came, [expected]) <= 8 * FLOAT32


@every_activation
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_derivative_is_finite_in_low_precision(name: str, dtype: Any) -> None:
    d = jnp.array(EXTREMES, dtype)
    came = derivative(name, d)
    assert came.dtype == dtype
    assert largest_error(came, exact_slope(name, d)) <= 32 * float(jnp.finfo(dtype).eps)


def test_softsign_derivative_does_not_underflow_in_float16() -> None:
    """(1 + 300)^2 = 90601 is beyond float16, 1 / 90601 is not."""
    came = derivative("softsign", jnp.array([300], jnp.float16))
    assert came.item() == pytest.approx(1 / 301**2, rel=0.01)


def test_default_scale_is_he_and_there_is_no_second_derivative() -> None:
    h = Activation(jnp.sin, lambda d, a: jnp.cos(d))
    assert (h.scale, h.second_derivative) == ("he", None)


def test_scales_follow_the_shape_of_h() -> None:
    scales = {name: h.scale for name, h in ACTIVATIONS.items()}
    bounded = ("sigmoid", "tanh", "hard_tanh", "softplus", "softsign")
    expected = dict.fromkeys(ACTIVATIONS, "he")
    expected |= dict.fromkeys(bounded, "glorot")
    assert scales == expected | {"identity": "lecun", "selu": "lecun"}


def test_one_activation_serves_every_hidden_layer() -> None:
    relu, sine = ACTIVATIONS["relu"], Activation(jnp.sin, lambda d, a: jnp.cos(d))
    assert resolve_activations("relu", 2) == (relu, relu)
    assert resolve_activations(sine, 1) == (sine,)
    assert resolve_activations("relu", 0) == ()


def test_a_sequence_gives_one_activation_per_hidden_layer() -> None:
    sine = Activation(jnp.sin, lambda d, a: jnp.cos(d))
    relu, tanh = ACTIVATIONS["relu"], ACTIVATIONS["tanh"]
    assert resolve_activations(["relu", sine, "tanh"], 3) == (relu, sine, tanh)
    assert resolve_activations((), 0) == ()


NAMES = ", ".join(JAX_NN)


@pytest.mark.parametrize(
    ("activation", "error", "text"),
    [
        (
            "rellu",
            ValueError,
            f"`activation` must be one of {NAMES}, or an Activation(function, "
            "derivative); got 'rellu'. Did you mean 'relu'?",
        ),
        (
            ["tanh", "gelu_tan"],
            ValueError,
            f"`activation` must be one of {NAMES}, or an Activation(function, "
            "derivative); got 'gelu_tan'. Did you mean 'gelu_tanh'?",
        ),
        (
            ["tanh"],
            ValueError,
            "`activation` must be one, or one per hidden layer (2), got 1: ['tanh'].",
        ),
        (
            ("tanh",) * 3,
            ValueError,
            "`activation` must be one, or one per hidden layer (2), got 3: "
            "('tanh', 'tanh', 'tanh').",
        ),
        (
            None,
            TypeError,
            "`activation` must be a name or an Activation(function, derivative), "
            "got None.",
        ),
        (
            ["tanh", 3],
            TypeError,
            "`activation` must be a name or an Activation(function, derivative), "
            "got 3.",
        ),
    ],
)
def test_wrong_activations_are_refused(activation: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        resolve_activations(activation, 2)


def test_a_name_unlike_any_other_still_has_a_nearest() -> None:
    with pytest.raises(ValueError, match=r"Did you mean '\w+'\?$"):
        resolve_activations("12345", 1)


@pytest.mark.parametrize("shape", [(4, 2), (4, 4), (3, 3), (5, 3)])
def test_F2_must_keep_the_shape(shape: Any) -> None:
    pair = Activation(lambda d: jnp.ones(shape, d.dtype), lambda d, a: d)
    text = (
        "`Activation.function` must work elementwise and keep the dtype: float64 of "
        f"shape (4, 3) became float64 of shape {shape}."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        activate(pair, jnp.ones((4, 3)))


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_F2_must_keep_the_dtype(dtype: str) -> None:
    pair = Activation(lambda d: d.astype(dtype), lambda d, a: d)
    with pytest.raises(ValueError, match=rf"the dtype: float64 .* became {dtype} of"):
        activate(pair, jnp.ones((4, 3)))


def test_B7_must_keep_the_shape() -> None:
    pair = Activation(jnp.tanh, lambda d, a: 1 - a * a)
    d = jnp.ones((4, 3))
    with pytest.raises(
        ValueError, match=r"^`Activation.derivative` .* \(1, 3\) became"
    ):
        through_activation(pair, d, jnp.tanh(d), jnp.ones((1, 3)))


def test_an_activation_is_a_constant_that_jit_can_hash() -> None:
    pair = Activation(jnp.tanh, lambda d, a: 1 - a * a)
    assert hash(pair) == hash(dataclasses.replace(pair))
    with pytest.raises(dataclasses.FrozenInstanceError):
        pair.scale = "he"  # type: ignore[misc]


@every_activation
def test_a_step_takes_at_most_the_temporary_memory_of_autodiff(name: str) -> None:
    """No array of the size of d is kept for h' that autodiff would not keep. Other
    compilers than a CPU's take memory for their products too: the benchmark has them.
    """
    shapes = [(64, 256), (256, 256), (256, 256), (256, 10)]
    params = tuple(Layer(jnp.ones(shape), jnp.ones(shape[1])) for shape in shapes)

    def plain(params: Any, x: Any, labels: Any) -> jax.Array:
        for k, (weight, bias) in enumerate(params):
            x = (JAX_NN[name](x) if k else x) @ weight + bias[None, :]
        return optax.softmax_cross_entropy_with_integer_labels(x, labels).mean()

    def bytes_of(function: Any) -> int:
        data = jnp.ones((128, 64)), jnp.zeros(128, int)
        with jax.default_device(jax.devices("cpu")[0]):
            memory = jax.jit(function).lower(params, *data).compile().memory_analysis()
        assert memory is not None
        return memory.temp_size_in_bytes

    ours = bytes_of(functools.partial(value_and_grad, activation=name))
    assert ours < bytes_of(jax.value_and_grad(plain)) + 128 * 256 * 4


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_that_are_finite_wherever_d_is(name: str, dtype: str) -> None:
    """What lets padding be looked at once: its errors are 0 times a finite number."""
    h, limits = ACTIVATIONS[name], jnp.finfo(dtype)
    low, high = np.log10([float(limits.tiny), float(limits.max)])
    d = jnp.asarray([0, float(limits.max), *np.logspace(low, high - 0.1, 999)], dtype)
    for sign in (1, -1):
        values = jnp.asarray(sign, dtype) * d
        assert bool(jnp.isfinite(values).all())
        a = h.function(values)
        assert bool(jnp.isfinite(h.derivative(values, a)).all())
        assert bool(jnp.isfinite(a).all()) or not h.finite
    assert h.finite == (name != "selu")


def test_another_function_is_not_known_to_be_finite() -> None:
    assert not Activation(jnp.sin, lambda d, a: jnp.cos(d)).finite
    changed = dataclasses.replace(ACTIVATIONS["relu"], function=jnp.sqrt)
    assert not changed.finite
    assert dataclasses.replace(ACTIVATIONS["relu"], scale="lecun").finite
