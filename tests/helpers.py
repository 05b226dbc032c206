"""Tolerances, networks and oracles for the tests of the rooms of derivatives.

The oracles share no code with handgrad: functions of `jax.nn` and `optax`, samples as
rows, differentiated by JAX.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from handgrad import Layer, Params

# Every tolerance is an error relative to the largest entry of the expected leaf.
EQUATION = 1e-12  # one equation in float64: about 10 roundings of 1e-16, cancellation
GRADIENT = 1e-11  # a whole float64 gradient: up to 6 layers of such equations
ENGINE = 1e-13  # the same float64 arithmetic by another engine: only its order differs
FLOAT32 = 2**-23  # spacing of float32 at 1: the result is right to one rounding

JAX_NN = {
    "identity": lambda d: d,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "hard_tanh": jax.nn.hard_tanh,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "celu": jax.nn.celu,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "silu": jax.nn.silu,
    "mish": jax.nn.mish,
    "gelu": lambda d: jax.nn.gelu(d, approximate=False),
    "gelu_tanh": lambda d: jax.nn.gelu(d, approximate=True),
}
SMOOTH = (
    "identity",
    "sigmoid",
    "tanh",
    "softplus",
    "silu",
    "mish",
    "gelu",
    "gelu_tanh",
)


compiled = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
"""`jax.jit` for what is run once: compiled sooner, the same to rounding."""


class Batch(NamedTuple):
    """Inputs with every kind of target, weight and mask, all of them exact float32."""

    x: jax.Array  # (m, n_0)
    labels: jax.Array  # (m,)
    distribution: jax.Array  # (m, C), multiples of 1/64, so that rows sum to 1 exactly
    weights: jax.Array  # (m,), positive
    masks: tuple[jax.Array, ...]  # dropout at 1/2, for the input and hidden layers


@pytest.fixture(scope="module", autouse=True)
def strict() -> Iterator[None]:
    """float64, and no dtype or rank promoted unseen, in every test of a room whose
    conftest imports this; entered and left with each module."""
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
        jax.default_matmul_precision("highest"),
    ):
        yield


def network(sizes: Sequence[int], seed: int = 0, dtype: Any = jnp.float64) -> Params:
    """Weights of variance 1 / n_in, and biases that are not zero."""
    random = np.random.default_rng(seed)
    params = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        weight = random.normal(scale=n_in**-0.5, size=(n_in, n_out)).astype("float32")
        bias = random.normal(scale=0.3, size=n_out).astype("float32")
        params.append(Layer(jnp.asarray(weight, dtype), jnp.asarray(bias, dtype)))
    return tuple(params)


def batch(
    sizes: Sequence[int], samples: int, seed: int = 0, dtype: Any = jnp.float64
) -> Batch:
    """Normal features, and targets, weights and masks to choose from."""
    random, classes = np.random.default_rng(seed + 100), sizes[-1]
    counts = random.multinomial(64, np.full(classes, 1 / classes), size=samples)
    masks = [2 * random.integers(0, 2, size=(samples, n)) for n in sizes[:-1]]
    return Batch(
        jnp.asarray(random.normal(size=(samples, sizes[0])).astype("float32"), dtype),
        jnp.asarray(random.integers(classes, size=samples)),
        jnp.asarray(counts / 64, dtype),
        jnp.asarray(random.uniform(0.1, 2, size=samples).astype("float32"), dtype),
        tuple(jnp.asarray(mask, dtype) for mask in masks),
    )


def plain_loss(
    activation: str, params: Any, x: Any, distribution: Any, weights: Any, masks: Any
) -> jax.Array:
    """A softmax classifier as one would write it without handgrad."""
    h, value = JAX_NN[activation], x
    for k, ((weight, bias), mask) in enumerate(zip(params, masks, strict=True)):
        value = (h(value) if k > 0 else value) * mask @ weight + bias[None, :]
    losses = optax.softmax_cross_entropy(value, distribution)
    return jnp.sum(weights * losses) / jnp.sum(weights)


def plain_value_and_grad(activation: str, params: Any, *rest: Any) -> tuple[Any, Any]:
    """The loss of the plain network and its gradient by autodiff."""
    return jax.value_and_grad(plain_loss, argnums=1)(activation, params, *rest)


def term_sizes(
    activation: str, params: Any, x: Any, distribution: Any, weights: Any, masks: Any
) -> Params:
    """For each entry of the gradient, the absolute values of its terms added up.

    The unit in which rounding is measured: B3 subtracts, B4 to B6 add, and what cancels
    there is lost to any engine. h' counts as its largest value.
    """
    h, values, size = JAX_NN[activation], [x], []
    steepest = jnp.max(jnp.abs(slope(activation, jnp.linspace(-8, 8, 1000))))
    for k, ((weight, bias), mask) in enumerate(zip(params, masks, strict=True)):
        values[k] = values[k] * mask
        values.append(values[k] @ weight + bias[None, :])
        if k < len(params) - 1:
            values[k + 1] = h(values[k + 1])
    delta = weights[:, None] * (jax.nn.softmax(values.pop(), axis=1) + distribution)
    for value, (weight, _), mask in reversed(
        list(zip(values, params, masks, strict=True))
    ):
        size.append(Layer(jnp.abs(value).T @ delta, jnp.sum(delta, axis=0)))
        delta = steepest * mask * (delta @ jnp.abs(weight).T)
    return jax.tree.map(lambda leaf: leaf / jnp.sum(weights), tuple(reversed(size)))


@functools.partial(jax.jit, static_argnums=0)
def slope(activation: str, d: Any) -> jax.Array:
    """h'(d) by autodiff."""
    return jax.vjp(JAX_NN[activation], d)[1](jnp.ones_like(d))[0]


def error_in_terms(actual: Any, expected: Any, sizes: Any) -> float:
    """Largest difference over the size of the entry's terms, in a tree of arrays."""
    errors = []
    for came, leaf, size in zip(
        *map(jax.tree.leaves, (actual, expected, sizes)), strict=True
    ):
        difference = np.abs(np.asarray(came, "float64") - np.asarray(leaf))
        floor = np.where(difference > 0, np.asarray(size), 1)
        with np.errstate(divide="ignore"):
            errors.append(np.max(difference / floor))
    return float(np.max(errors))


def numbers(*shape: int) -> st.SearchStrategy[np.ndarray]:
    """Float64 arrays within [-4, 4]; multiples of 2^-18, so none is subnormal."""
    steps = st.integers(-(2**20), 2**20).map(lambda step: step / 2**18)
    return arrays(np.float64, shape, elements=steps)


def relative_error(actual: Any, expected: Any) -> float:
    """Largest difference over the largest expected entry; NaN and shapes never pass."""
    actual, expected = np.asarray(actual, "float64"), np.asarray(expected, "float64")
    assert actual.shape == expected.shape, f"{actual.shape} is not {expected.shape}"
    difference = np.max(np.abs(actual - expected), initial=0)
    scale = np.max(np.abs(expected), initial=0)
    if np.isnan(difference):
        return float("inf")
    return float(difference / scale) if scale > 0 else float(difference > 0)


def assert_close(actual: Any, expected: Any, tolerance: float) -> None:
    """The same tree, the same shapes and dtypes, and values within the tolerance."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    paths, _ = jax.tree_util.tree_flatten_with_path(actual)
    for (path, came), leaf in zip(paths, jax.tree.leaves(expected), strict=True):
        name = jax.tree_util.keystr(path) or "the value"
        assert came.dtype == leaf.dtype, f"{name}: {came.dtype} is not {leaf.dtype}"
        error = relative_error(came, leaf)
        assert error <= tolerance, f"{name}: relative error {error:.2e}\n{came}\n{leaf}"


def assert_equal(actual: Any, expected: Any) -> None:
    """The same to the last bit."""
    assert_close(actual, expected, 0.0)
