"""`Trace` and `Deltas` are pytrees: what JAX does with any, it does with them."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import GRADIENT, assert_close, assert_equal, batch, network

from handgrad import ACTIVATIONS, Activation, Deltas, Trace, deltas, forward, gradients

SIZES = (3, 5, 4, 3)


def passes(name: Any = "tanh", dtype: Any = "float64") -> tuple[Any, Any, Any, Any]:
    """Parameters and a batch, the trace of both, and the deltas of a weighted loss."""
    params, data = network(SIZES, dtype=dtype), batch(SIZES, 6, dtype=dtype)
    trace = forward(params, data.x, activation=name, masks=data.masks)
    errors = deltas(params, trace, data.distribution, weights=data.weights)
    return params, data, trace, errors


def test_the_arrays_are_the_leaves_and_the_rest_is_the_structure() -> None:
    _, data, trace, errors = passes()
    arrays = (*trace.activations, *trace.pre_activations, *data.masks)
    assert [id(leaf) for leaf in jax.tree.leaves(trace)] == list(map(id, arrays))
    expected = (*errors.layers, data.weights, errors.total, errors.row_sums)
    assert [id(leaf) for leaf in jax.tree.leaves(errors)] == list(map(id, expected))
    half = passes(dtype="float16")[3]
    assert len(jax.tree.leaves(half)) == len(expected) + 1  # the power of two


def test_map_keeps_what_is_static() -> None:
    _, data, trace, errors = passes(["tanh", "relu"])
    twice = jax.tree.map(lambda leaf: 2 * leaf, trace)
    assert isinstance(twice, Trace)
    assert twice.hidden == (ACTIVATIONS["tanh"], ACTIVATIONS["relu"])
    assert twice.placements == trace.placements
    assert_equal(twice.logits, 2 * trace.logits)
    assert_equal(twice.masks[1], 2 * data.masks[1])
    assert isinstance(jax.tree.map(lambda leaf: 2 * leaf, errors), Deltas)


def test_unflatten_undoes_flatten() -> None:
    _, _, trace, errors = passes()
    for tree in (trace, errors):
        leaves, structure = jax.tree.flatten(tree)
        assert_equal(jax.tree.unflatten(structure, leaves), tree)


def test_other_activations_are_another_structure() -> None:
    trace, same, other = (passes(name)[2] for name in ("tanh", "tanh", "relu"))
    assert jax.tree.structure(trace) == jax.tree.structure(same)
    assert hash(jax.tree.structure(trace)) == hash(jax.tree.structure(same))
    assert jax.tree.structure(trace) != jax.tree.structure(other)


def test_paths_bear_the_names_of_the_fields() -> None:
    _, _, trace, errors = passes()
    names = [
        jax.tree_util.keystr(path)
        for tree in (trace, errors)
        for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]
    ]
    for name in (".activations[0]", ".pre_activations[2]", ".masks[1]", ".layers[0]"):
        assert name in names
    assert {".weights", ".total", ".row_sums"} <= set(names)


@pytest.mark.parametrize("field", ["logits", "activations", "hidden"])
def test_a_trace_is_frozen(field: str) -> None:
    _, _, trace, errors = passes()
    for tree, name in ((trace, field), (errors, "layers")):
        with pytest.raises(AttributeError):
            setattr(tree, name, None)


def test_they_go_into_and_out_of_jit() -> None:
    params, data, trace, errors = passes()
    came = jax.jit(lambda p, x, masks: forward(p, x, activation="tanh", masks=masks))(
        params, data.x, data.masks
    )
    assert_close(came, trace, GRADIENT)
    carried = jax.jit(lambda p, t, q, w: deltas(p, t, q, weights=w))(
        params, came, data.distribution, data.weights
    )
    assert_close(carried, errors, GRADIENT)
    assert_close(jax.jit(gradients)(came, carried), gradients(trace, errors), GRADIENT)


def test_two_activations_are_two_programs_and_no_more() -> None:
    @chex.assert_max_traces(n=2)
    def traced(trace: Any, errors: Any) -> Any:
        names.append(trace.hidden)
        return gradients(trace, errors)

    names: list[Any] = []
    program = jax.jit(traced)
    for _ in range(3):
        for name in ("tanh", "relu"):
            _, _, trace, errors = passes(name)
            assert_close(program(trace, errors), gradients(trace, errors), GRADIENT)
    tanh, relu = ((ACTIVATIONS[name],) * 2 for name in ("tanh", "relu"))
    assert names == [tanh, relu]


def test_an_activation_of_the_user_is_one_program_too() -> None:
    own = Activation(jnp.tanh, lambda d, a: 1 - a * a)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def program(trace: Any, errors: Any) -> Any:
        return gradients(trace, errors)

    for _ in range(2):
        program(*passes(own)[2:])


def test_with_and_without_weights_are_two_programs_and_no_more() -> None:
    params, data, trace, _ = passes()

    @jax.jit
    @chex.assert_max_traces(n=2)
    def program(trace: Any, errors: Any) -> Any:
        return gradients(trace, errors)

    for scale in (1.0, 2.0):
        for weights in (None, scale * data.weights):
            errors = deltas(params, trace, data.labels, weights=weights)
            program(trace, errors)


def test_vmap_over_samples_gives_the_trace_of_each() -> None:
    params, data, trace, _ = passes()
    one = [row[:, None] for row in (data.x, data.labels)]
    masks = tuple(mask[:, None] for mask in data.masks)

    def single(x: Any, label: Any, masks: Any) -> Any:
        trace = forward(params, x, activation="tanh", masks=masks)
        return trace, deltas(params, trace, label)

    traces, errors = jax.jit(jax.vmap(single))(*one, masks)
    assert_close(jax.tree.map(lambda v: v[:, 0], traces), trace, GRADIENT)
    grads = jax.vmap(gradients)(traces, errors)
    for i in range(6):
        x, label = (row[i] for row in one)
        own = single(x, label, tuple(mask[i] for mask in masks))
        expected = own[0], own[1], gradients(*own)
        came = jax.tree.map(lambda v, i=i: v[i], (traces, errors, grads))
        assert_close(came, expected, GRADIENT)
    # Every sample alone counts 1, so their mean is the gradient of the batch.
    whole = gradients(trace, deltas(params, trace, data.labels))
    mean = jax.tree.map(lambda v: jnp.mean(v, axis=0), grads)
    assert_close(mean, whole, GRADIENT)


def test_vmap_over_deltas_with_one_trace() -> None:
    params, data, trace, _ = passes()
    every = jnp.stack([data.labels, (data.labels + 1) % 3])
    errors = jax.vmap(lambda y: deltas(params, trace, y))(every)
    came = jax.vmap(gradients, in_axes=(None, 0))(trace, errors)
    for i in range(2):
        expected = gradients(trace, deltas(params, trace, every[i]))
        assert_close(jax.tree.map(lambda v, i=i: v[i], came), expected, GRADIENT)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_scan_carries_them(dtype: str) -> None:
    """The last trace and deltas of four steps of gradient descent."""
    params, data, trace, errors = passes(dtype=dtype)

    def step(carry: Any, _: None) -> Any:
        params, trace, errors = carry
        grads = gradients(trace, errors)
        params = jax.tree.map(lambda p, g: p - g.astype(dtype) / 8, params, grads)
        trace = forward(params, data.x, activation="tanh", masks=data.masks)
        errors = deltas(params, trace, data.distribution, weights=data.weights)
        return (params, trace, errors), jnp.sum(errors.scale)

    start = params, trace, errors
    came, sums = jax.lax.scan(step, start, None, length=4)
    expected = start
    for _ in range(4):
        expected, _ = step(expected, None)
    # The same steps compiled as one: fused roundings, grown over four steps.
    assert_close(came, expected, 32 * float(jnp.finfo(dtype).eps))
    assert_close(sums, jnp.ones(4, sums.dtype), 1e-6)


def test_both_can_be_donated() -> None:
    """What is computed of them is right, and they are gone."""
    params, _, trace, errors = passes()
    expected = gradients(trace, errors)

    def doubled(trace: Any, errors: Any) -> Any:
        grads = gradients(trace, errors)
        return grads, jax.tree.map(lambda leaf: leaf * 2, (trace, errors))

    before = jax.tree.map(np.array, (trace, errors))
    own = jax.tree.map(jnp.array, (trace, errors))  # masks and weights are shared
    grads, twice = jax.jit(doubled, donate_argnums=(0, 1))(*own)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(own))
    assert_close(grads, expected, GRADIENT)
    assert_equal(twice, jax.tree.map(lambda leaf: 2 * leaf, before))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(params))


def test_the_shape_of_a_trace_needs_no_arrays() -> None:
    params, data, trace, errors = passes()

    def steps(params: Any, x: Any) -> Any:
        trace = forward(params, x, activation="tanh", masks=data.masks)
        return trace, deltas(params, trace, data.distribution, weights=data.weights)

    came = jax.eval_shape(steps, params, data.x)
    chex.assert_trees_all_equal_shapes_and_dtypes(came, (trace, errors))
