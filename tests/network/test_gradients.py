"""The whole gradient against `jax.value_and_grad`, in float64 and in float32.

The oracle is a plain network of `jax.nn` and `optax`. It takes a distribution, weights
and masks always; one-hot rows, weights of 1 and masks of 1 stand for what is absent, so
that one call judges all eight combinations.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    GRADIENT,
    JAX_NN,
    Batch,
    assert_close,
    batch,
    error_in_terms,
    network,
    numbers,
    plain_loss,
    plain_value_and_grad,
    term_sizes,
)
from hypothesis import given
from hypothesis import strategies as st

from handgrad import Layer, loss, value_and_grad

HIDDEN = {0: (), 1: (4,), 2: (4, 1), 5: (4, 1, 4, 1, 4)}
BATCHES = {0: (1, 10), 1: (7, 2), 2: (7, 2), 5: (7, 2)}
"""(samples, classes) of each depth. The shapes of one depth are among those of the
next, which then costs little."""


NAMES = list(JAX_NN)
CASES = [
    ("identity", 0),  # there is no hidden layer
    *((name, 1 + i % 2) for i, name in enumerate(NAMES)),
    *((name, 5) for name in NAMES),
]
"""Every activation in many layers, and in one or in two."""


def problem(depth: int, dtype: Any = jnp.float64) -> tuple[Any, Batch]:
    samples, classes = BATCHES[depth]
    sizes = (3, *HIDDEN[depth], classes)
    return network(sizes, depth, dtype), batch(sizes, samples, depth, dtype)


def options(data: Batch) -> list[tuple[Any, Any, Any]]:
    """targets, weights and masks in every combination of kinds: eight."""
    targets = data.labels, data.distribution
    weights, masks = (None, data.weights), (None, data.masks)
    return list(itertools.product(targets, weights, masks))


def filled(data: Batch, option: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """The same option as distribution, weights and masks, none of them absent."""
    targets, weights, masks = option
    one_hot = jnp.eye(data.distribution.shape[1], dtype=data.x.dtype)
    return (
        one_hot[targets] if targets.ndim == 1 else targets,
        jnp.ones_like(data.weights) if weights is None else weights,
        jax.tree.map(jnp.ones_like, data.masks) if masks is None else masks,
    )


def oracle(name: str, params: Any, data: Batch) -> list[tuple[Any, Any]]:
    """Loss and gradient of each option, by autodiff of the plain network."""

    def value_and_grad(*option: Any) -> Any:
        return jax.value_and_grad(plain_loss, 1)(name, params, data.x, *option)

    each = [filled(data, option) for option in options(data)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    results = jax.tree.map(np.asarray, jax.vmap(value_and_grad)(*stacked))
    return [jax.tree.map(lambda leaf, i=i: leaf[i], results) for i in range(len(each))]


def by_hand(name: str, params: Any, data: Batch) -> Iterator[tuple[Any, Any]]:
    for targets, weights, masks in options(data):
        keywords = {"activation": name, "weights": weights, "masks": masks}
        yield value_and_grad(params, data.x, targets, **keywords)


@pytest.mark.parametrize(("name", "depth"), CASES)
def test_gradient_is_that_of_jax(name: str, depth: int) -> None:
    """264 networks in all."""
    params, data = problem(depth)
    expected = oracle(name, params, data)
    for came, right in zip(by_hand(name, params, data), expected, strict=True):
        assert_close(came, right, GRADIENT)


@pytest.mark.parametrize("name", JAX_NN)
def test_float32_rounds_as_jax_does(name: str) -> None:
    """Or by one bit more, in its worst case over the 8 networks of the most layers.

    Rounding is judged against float64 in units of the terms that each entry adds up.
    """
    params, data = problem(5)
    exact = oracle(name, params, data)
    each = [filled(data, option) for option in options(data)]
    units = [term_sizes(name, params, data.x, *option) for option in each]

    def worst(results: Iterable[Any]) -> float:
        errors = []
        for came, (_, right), unit in zip(results, exact, units, strict=True):
            assert {leaf.dtype.name for leaf in jax.tree.leaves(came)} == {"float32"}
            errors.append(error_in_terms(came[1], right, unit))
        return max(errors)

    narrow = problem(5, jnp.float32)
    assert worst(by_hand(name, *narrow)) <= 2 * worst(oracle(name, *narrow))


@st.composite
def networks(draw: Any) -> tuple[Any, ...]:
    """An activation, parameters, inputs and labels, in the shapes of depth 2."""
    name, (samples, classes) = draw(st.sampled_from(NAMES)), BATCHES[2]
    params = tuple(
        Layer(jnp.asarray(draw(numbers(*shape))), jnp.asarray(draw(numbers(shape[1]))))
        for shape in itertools.pairwise((3, *HIDDEN[2], classes))
    )
    x = jnp.asarray(draw(numbers(samples, 3)))
    labels = st.lists(st.integers(0, classes - 1), min_size=samples, max_size=samples)
    return name, params, x, jnp.array(draw(labels))


@given(networks())
def test_gradient_is_that_of_any_network(case: Any) -> None:
    """In units of the terms that are added up: hypothesis looks for cancellation."""
    name, params, x, labels = case
    came = value_and_grad(params, x, labels, activation=name)
    one_hot = jnp.eye(params[-1].bias.size)[labels]
    rest = one_hot, jnp.ones(len(x)), tuple(jnp.ones((1, len(w))) for w, _ in params)
    unit = term_sizes(name, params, x, *rest)
    value, grads = jax.value_and_grad(loss)(params, x, labels, activation=name)
    _, independent = plain_value_and_grad(name, params, x, *rest)
    assert error_in_terms(came[1], grads, unit) <= GRADIENT
    assert error_in_terms(came[1], independent, unit) <= GRADIENT
    assert came[0] == value
