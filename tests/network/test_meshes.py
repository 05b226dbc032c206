"""Meshes of four devices, Auto and Explicit, and `jax.shard_map`.

On one device the same functions give what must come; where a layout moves sums across
devices, it comes to rounding.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import GRADIENT, assert_close, compiled
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from meshes import (
    LAYOUTS,
    four_devices,
    lay,
    lies_like,
    same_on,
    traced_on,
    will_lie_like,
)

import handgrad as hg
from handgrad import transport

KINDS = [AxisType.Auto, AxisType.Explicit]
Problem = tuple[Any, ...]  # params, x, labels, soft targets, weights


def steps(params: Any, x: Any, labels: Any, soft: Any, weights: Any) -> Any:
    trace = hg.forward(params, x, activation="gelu")
    errors = hg.deltas(params, trace, soft, weights=weights)
    return hg.gradients(trace, errors), hg.input_gradient(params, trace, errors)


def of_labels(params: Any, x: Any, labels: Any, soft: Any, weights: Any) -> Any:
    value, grads = hg.value_and_grad(params, x, labels, weights=weights)
    return grads, value


def by_autodiff(params: Any, x: Any, labels: Any, soft: Any, weights: Any) -> Any:
    return jax.grad(hg.loss)(params, x, labels), hg.predict_proba(params, x)


def by_rule(params: Any, x: Any, labels: Any, soft: Any, weights: Any) -> Any:
    def loss(params: Any, x: Any, soft: Any, weights: Any) -> jax.Array:
        return hg.loss_by_hand(params, x, soft, weights=weights, activation="tanh")

    return jax.grad(loss, argnums=(0, 1, 2, 3))(params, x, soft, weights)


def helpers(params: Any, x: Any, labels: Any, soft: Any, weights: Any) -> Any:
    per_class = jnp.arange(1.0, 5, dtype=x.dtype)
    smooth = hg.smooth_labels(labels, 4, 0.1).astype(x.dtype)
    w = hg.class_weights(labels, per_class).astype(x.dtype)
    w = w * hg.class_weights(soft, per_class)
    return hg.value_and_grad(params, x, smooth, weights=w)[::-1]


def other_ways(params: Any, x: Any, labels: Any, soft: Any, weights: Any) -> Any:
    key = jax.random.key(0)
    ways = [
        transport.feedback_alignment(transport.init_feedback(key, params)),
        transport.direct_feedback_alignment(
            transport.init_direct_feedback(key, params)
        ),
        transport.sign_symmetric_uniform(),
    ]
    grads = [hg.value_and_grad(params, x, soft, transport=way)[1] for way in ways]
    return *grads, transport.angles(*grads[:2])


FUNCTIONS = (steps, of_labels, by_autodiff, by_rule, helpers, other_ways)
EXPLICIT, AUTO = AxisType.Explicit, AxisType.Auto
COMPILED = [
    *((EXPLICIT, "both", function) for function in FUNCTIONS),
    *((EXPLICIT, "data", function) for function in (of_labels, helpers)),
    *((EXPLICIT, "model", function) for function in (of_labels, by_rule)),
    *((EXPLICIT, "fsdp", function) for function in (steps, by_autodiff)),
    *((AUTO, "both", function) for function in (of_labels, by_rule)),
]
"""What is run: every function on the mesh that splits samples and units, and every
layout; the others are traced (`traced_on`)."""


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_on_an_explicit_mesh_gradients_have_the_layout_of_the_parameters(
    layout: str, function: Callable[..., Any]
) -> None:
    laid = lay(layout, EXPLICIT)
    traced = traced_on(laid, function)
    assert will_lie_like(traced[0], laid.params)
    if function is by_rule:
        assert will_lie_like(traced[1:], (laid.x, laid.soft, laid.weights))


@pytest.mark.parametrize(("kind", "layout", "function"), COMPILED)
def test_on_a_mesh_the_same_comes_and_lies_where_the_parameters_do(
    kind: AxisType, layout: str, function: Callable[..., Any]
) -> None:
    laid = lay(layout, kind)
    came = same_on(laid, function)
    if kind is EXPLICIT:  # on an Auto mesh where all lies is the compiler's
        assert lies_like(came[0], laid.params)
    if kind is EXPLICIT and function is by_rule:
        assert lies_like(came[1:], (laid.x, laid.soft, laid.weights))


def in_chunks(params: Any, x: Any, labels: Any, soft: Any, weights: Any) -> Any:
    """Four classes, three at a time; the second program has a chunk left over."""
    (value, of_each), grads = hg.value_and_grad(
        params, x, labels, weights=weights, chunk=3, has_aux=True
    )
    options = {"weights": weights, "chunk": 2}
    other = hg.value_and_grad(params, x, soft, **options)[1]
    smooth = hg.loss(params, x, hg.Smoothed(labels, 0.1), **options)
    return grads, other, value, smooth, of_each


@pytest.mark.parametrize(
    ("kind", "layout"),
    [(EXPLICIT, "data"), (AUTO, "both"), (AUTO, "fsdp")],
)
def test_in_chunks_of_the_classes_the_same_comes_on_a_mesh(
    kind: AxisType, layout: str
) -> None:
    laid = lay(layout, kind)
    came = same_on(laid, in_chunks)
    if kind is EXPLICIT:
        assert lies_like(came[0], laid.params)
        assert lies_like(came[1], laid.params)


@pytest.mark.parametrize("layout", ["model", "both", "fsdp"])
def test_classes_that_an_explicit_mesh_splits_are_not_walked_in_chunks(
    layout: str,
) -> None:
    laid = lay(layout, AxisType.Explicit)
    with (
        jax.set_mesh(laid.mesh),
        pytest.raises(ValueError, match="`chunk` must be None where a mesh axis"),
    ):
        hg.value_and_grad(laid.params, laid.x, laid.labels, chunk=2)


def test_hidden_units_that_an_explicit_mesh_splits_are_summed_in_every_chunk() -> None:
    """The second layer of "both" is split by its inputs, and here it is the last."""
    laid = lay("both", AxisType.Explicit)
    params, x, _, _, weights = laid.problem
    labels = laid.labels

    def program(params: Any, x: Any, labels: Any, weights: Any) -> Any:
        return hg.value_and_grad(params, x, labels, weights=weights, chunk=3)

    plain = laid.plain
    expected = compiled(program)(plain[0][:2], *plain[1:3], plain[4])
    with jax.set_mesh(laid.mesh):
        came = compiled(program)(params[:2], x, labels, weights)
    assert_close(jax.device_get(came), jax.device_get(expected), GRADIENT)
    assert lies_like(came[1], params[:2])


def test_the_gradient_in_the_inputs_lies_where_these_do() -> None:
    """And not where the hidden units do, which are split."""
    laid = lay("both", AxisType.Explicit)

    def loss(x: Any) -> jax.Array:
        return hg.loss_by_hand(laid.params[:2], x, laid.labels)

    with jax.set_mesh(laid.mesh):
        assert lies_like(compiled(jax.grad(loss))(laid.x), laid.x)


def test_on_an_explicit_mesh_it_works_without_jit() -> None:
    laid = lay("both", AxisType.Explicit)
    expected = compiled(of_labels)(*laid.plain)
    with jax.set_mesh(laid.mesh):
        came = of_labels(*laid.problem)
    assert_close(jax.device_get(came), jax.device_get(expected), GRADIENT)
    assert lies_like(came[0], laid.params)


IN_CHUNKS = {
    "chunked": functools.partial(hg.value_and_grad, chunk=3),
    "loss in chunks": jax.value_and_grad(functools.partial(hg.loss, chunk=3)),
}
BY_HAND = {"by hand": hg.value_and_grad, "rule": jax.value_and_grad(hg.loss_by_hand)}


@pytest.mark.parametrize(
    ("kind", "checked", "functions"),
    [
        (AUTO, True, {**BY_HAND, **IN_CHUNKS}),
        (EXPLICIT, True, BY_HAND),
        (AUTO, False, BY_HAND),
        (EXPLICIT, False, {"by hand": hg.value_and_grad, **IN_CHUNKS}),
    ],
    ids=["Auto, checked", "Explicit, checked", "Auto", "Explicit"],
)
def test_in_shard_map_it_is_what_autodiff_gives(
    kind: AxisType, checked: bool, functions: dict[str, Any]
) -> None:
    """With check_vma JAX sums the gradient of shared parameters over the shards."""
    laid = lay("data", kind)
    split = (P(), P("data"), P("data"), P("data"), P("data"))

    def of_shard(*problem: Any) -> Any:
        params, x, labels, _, weights = problem
        found = {}
        for name, function in {"": jax.value_and_grad(hg.loss), **functions}.items():
            value, grads = function(params, x, labels, weights=weights)
            if not checked:
                grads = jax.lax.psum(grads, "data")
            found[name] = jax.lax.psum(value, "data"), grads
        return found

    mapped = jax.shard_map(
        of_shard, mesh=laid.mesh, in_specs=split, out_specs=P(), check_vma=checked
    )
    with jax.set_mesh(laid.mesh):
        found = jax.device_get(compiled(mapped)(*laid.problem))
    expected = found.pop("")
    for came in found.values():
        assert_close(came, expected, GRADIENT)


def test_in_shard_map_a_mean_over_all_samples_is_two_sums() -> None:
    """The recipe of docs/derivation.md: w_i over the sum of all weights."""
    laid = lay("data", AxisType.Auto)
    expected = compiled(of_labels)(*laid.plain)

    def of_shard(params: Any, x: Any, labels: Any, soft: Any, weights: Any) -> Any:
        del soft
        here = jnp.sum(weights)
        share = here / jax.lax.psum(here, "data")

        def part(params: Any) -> jax.Array:
            return share * hg.loss_by_hand(params, x, labels, weights=weights)

        value, grads = jax.value_and_grad(part)(params)
        return grads, jax.lax.psum(value, "data")

    split = (P(), *[P("data")] * 4)
    mapped = jax.shard_map(
        of_shard, mesh=laid.mesh, in_specs=split, out_specs=(P(), P())
    )
    came = jax.device_get(compiled(mapped)(*laid.problem))
    assert_close(came, jax.device_get(expected), GRADIENT)


def test_parameters_of_each_shard_keep_gradients_of_their_own() -> None:
    """An ensemble: parameters differ along the axis, and nothing is summed."""
    laid = lay("data", AxisType.Auto)
    params, x, labels, *_ = laid.plain
    many = jax.tree.map(lambda leaf: jnp.stack([leaf * k for k in range(1, 5)]), params)

    def of_shard(many: Any, x: Any, labels: Any) -> Any:
        one = jax.tree.map(lambda leaf: leaf[0], many)
        grads = hg.value_and_grad(one, x, labels)[1]
        return jax.tree.map(lambda leaf: leaf[None], grads)

    mapped = jax.shard_map(
        of_shard, mesh=laid.mesh, in_specs=(P("data"), P(), P()), out_specs=P("data")
    )
    apart = jax.vmap(lambda params: hg.value_and_grad(params, x, labels)[1])
    expected = compiled(apart)(many)
    assert_close(jax.device_get(compiled(mapped)(many, x, labels)), expected, GRADIENT)


def test_four_devices_are_there() -> None:
    assert len(four_devices()) == 4
    assert len(lay("data", AxisType.Auto).x.sharding.device_set) == 4
    assert np.all(lay("data", AxisType.Explicit).plain[1] == lay("fsdp", KINDS[0]).x)
