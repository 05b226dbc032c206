"""Equal layers in stacks: the same numbers as apart, in all that takes parameters."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    ENGINE,
    GRADIENT,
    assert_close,
    assert_equal,
    batch,
    compiled,
    network,
    plain_value_and_grad,
)
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from meshes import four_devices

import handgrad as hg
from handgrad import Layer, byproducts, stack_layers, unstack_layers

SIZES = (4, *[5] * 6, 3)
SAMPLES = 7


def shapes(params: hg.Params) -> list[tuple[int, ...]]:
    return [layer.weight.shape for layer in params]


@pytest.mark.parametrize(
    ("sizes", "above", "expected"),
    [
        (SIZES, 1, [(4, 5), (4, 5, 5), (5, 5), (5, 3)]),
        (SIZES, 3, [(4, 5), (4, 5, 5), (5, 5), (5, 3)]),
        (SIZES, 4, [(4, 5), *[(5, 5)] * 5, (5, 3)]),
        ((5, 5, 5, 5, 5, 5), 1, [(5, 5), (2, 5, 5), (5, 5), (5, 5)]),
        ((4, 5, 5, 3), 1, [(4, 5), (5, 5), (5, 3)]),
        ((4, 5, 5, 5, 3), 1, [(4, 5), (5, 5), (5, 5), (5, 3)]),
        ((4, 5, 6, 7, 8, 3), 1, [(4, 5), (5, 6), (6, 7), (7, 8), (8, 3)]),
        ((4, 3), 1, [(4, 3)]),
        ((4, 5, 3), 1, [(4, 5), (5, 3)]),
        (
            (4, 5, 5, 5, 2, 2, 2, 2, 3),
            1,
            [(4, 5), (2, 5, 5), (5, 2), (2, 2, 2), (2, 2), (2, 3)],
        ),
    ],
)
def test_runs_of_equal_hidden_layers_become_stacks(
    sizes: tuple[int, ...], above: int, expected: list[tuple[int, ...]]
) -> None:
    params = network(sizes)
    stacked = stack_layers(params, above=above)
    assert shapes(stacked) == expected
    assert_equal(unstack_layers(stacked), params)
    assert_equal(stack_layers(stacked, above=above), stacked)


def test_above_is_8_and_the_layers_of_a_stack_have_one_activation() -> None:
    params = network((4, *[5] * 10, 3))
    assert shapes(stack_layers(params)) == shapes(params)
    assert (9, 5, 5) in shapes(stack_layers(network((4, *[5] * 11, 3))))
    mixed = (*["tanh"] * 3, *["relu"] * 3)
    stacked = stack_layers(network(SIZES), activation=mixed, above=1)
    assert shapes(stacked) == [(4, 5), (2, 5, 5), *[(5, 5)] * 3, (5, 3)]
    longer = network((4, *[5] * 8, 3))
    stacked = stack_layers(longer, activation=(*mixed, "relu", "relu"), above=1)
    # Between the two stacks a layer stands by itself.
    assert shapes(stacked) == [(4, 5), (2, 5, 5), (5, 5), (3, 5, 5), (5, 5), (5, 3)]


@pytest.mark.parametrize("activation", ["relu", ("tanh",) * 4 + ("gelu",) * 2])
@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_stacks_are_drawn_as_their_layers(activation: Any, dtype: str) -> None:
    given = {"activation": activation, "dtype": dtype}
    layers = hg.init(jax.random.key(3), SIZES, **given)
    stacked = hg.init(jax.random.key(3), SIZES, **given, stack_above=1)
    assert stacked[1].weight.shape[1:] == (5, 5)
    # Every operation of a draw rounds to bfloat16, but for some within a compiled loop.
    rounding = 0.0 if dtype == "float64" else 4 * float(jnp.finfo(dtype).eps)
    expected = stack_layers(layers, activation=activation, above=1)
    assert_close(stacked, expected, rounding)


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
def test_keys_of_any_kind_draw_a_stack_as_its_layers(impl: str) -> None:
    key = jax.random.key(3, impl=impl)
    layers, stacked = (hg.init(key, SIZES, stack_above=n) for n in (None, 1))
    assert_equal(unstack_layers(stacked), layers)
    apart, together = (
        hg.dropout_masks(key, params, SAMPLES, hidden=0.5)
        for params in (layers, stacked)
    )
    stack = together[1]
    assert stack is not None
    assert_equal(list(stack), list(apart[1:5]))


@pytest.mark.parametrize("above", [0, -1, 1.0, True])
def test_above_is_a_whole_number(above: Any) -> None:
    with pytest.raises(ValueError, match="^`above` must be a whole number, 1 or more"):
        stack_layers(network(SIZES), above=above)
    with pytest.raises(ValueError, match="^`stack_above` must be a whole number, 1 or"):
        hg.init(jax.random.key(0), SIZES, stack_above=above)
    two: Any = np.int64(2)
    wide = stack_layers(network(SIZES), above=two)
    assert shapes(wide) == [(4, 5), (4, 5, 5), (5, 5), (5, 3)]


def test_stacks_of_other_libraries() -> None:
    """`transposed` is about the last two axes, where K is n as well."""
    sizes = (4, *[4] * 6, 3)
    stacked = stack_layers(network(sizes), above=1)
    assert stacked[1].weight.shape == (4, 4, 4)
    theirs = [(weight.mT, bias) for weight, bias in stacked]
    assert_equal(hg.as_params(theirs, transposed=True), stacked)
    without = hg.as_params([(weight, None) for weight, _ in stacked])
    assert_equal(without, tuple(Layer(w, 0 * b) for w, b in stacked))


def test_a_stack_of_one_layer() -> None:
    sizes = (4, 5, 5, 5, 3)
    params, data = network(sizes), batch(sizes, SAMPLES)
    one = jax.tree.map(lambda leaf: leaf[None], params[1])
    stacked = (params[0], one, *params[2:])
    run = functools.partial(hg.value_and_grad, activation="tanh", weights=data.weights)
    (came, grads), expected = (run(p, data.x, data.labels) for p in (stacked, params))
    assert_close((came, unstack_layers(grads)), expected, GRADIENT)
    assert grads[1].weight.shape == (1, 5, 5)


def arguments(dropout: bool, weighted: bool, stacked: hg.Params) -> dict[str, Any]:
    """Masks drawn for these parameters, and weights with a 0."""
    key = jax.random.key(2)
    masks = hg.dropout_masks(key, stacked, SAMPLES, inputs=0.2, hidden=0.3)
    weights = jnp.arange(float(SAMPLES))
    return {
        "masks": masks if dropout else None,
        "weights": weights if weighted else None,
    }


def of_gradients(params: hg.Params, x: Any, y: Any, **given: Any) -> Any:
    masks, weights = given["masks"], given["weights"]
    value, grads = hg.value_and_grad(params, x, y, **given)
    trace = hg.forward(params, x, activation=given["activation"], masks=masks)
    errors = hg.deltas(params, trace, y, weights=weights)
    ways = [
        grads,
        hg.gradients(trace, errors),
        jax.grad(hg.loss)(params, x, y, **given),
        jax.grad(hg.loss_by_hand)(params, x, y, **given),
    ]
    below = hg.input_gradient(params, trace, errors)
    return [value, below, trace.logits], list(map(unstack_layers, ways))


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "leaky_relu"])
@pytest.mark.parametrize(("dropout", "weighted"), [(False, False), (True, True)])
def test_all_gradients_of_a_stack_are_those_of_its_layers(
    activation: str, dropout: bool, weighted: bool
) -> None:
    params, data = network(SIZES), batch(SIZES, SAMPLES)
    stacked = stack_layers(params, activation=activation, above=1)
    found = []
    for way in (params, stacked):
        given = arguments(dropout, weighted, way)
        function = functools.partial(of_gradients, activation=activation, **given)
        found.append(compiled(function)(way, data.x, data.distribution))
    assert_close(found[1], found[0], GRADIENT)
    given = arguments(dropout, weighted, params)
    weights = jnp.ones(SAMPLES) if given["weights"] is None else given["weights"]
    masks = given["masks"] or [jnp.ones((SAMPLES, n)) for n in SIZES[:-1]]
    batched = data.x, data.distribution, weights, masks
    _, expected = plain_value_and_grad(activation, params, *batched)
    for grads in found[1][1]:
        assert_close(grads, expected, GRADIENT)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_rule_differentiates_all_that_goes_into_a_stack(activation: str) -> None:
    """x, distributions, weights and masks, the latter of every layer in the stack."""
    stacked = stack_layers(network(SIZES), above=1)
    data = batch(SIZES, SAMPLES)
    given = arguments(True, True, stacked)

    def slopes(loss: Callable[..., jax.Array]) -> Any:
        def of(x: Any, targets: Any, weights: Any, masks: Any) -> jax.Array:
            options = {"weights": weights, "masks": masks, "activation": activation}
            return loss(stacked, x, targets, **options)

        everything = data.x, data.distribution, given["weights"], given["masks"]
        return compiled(jax.grad(of, argnums=(0, 1, 2, 3)))(*everything)

    assert_close(slopes(hg.loss_by_hand), slopes(hg.loss), GRADIENT)


@pytest.mark.parametrize("chunk", [None, 1, 2, "auto"])
def test_chunks_of_classes_above_a_stack(chunk: Any) -> None:
    params, data = network(SIZES), batch(SIZES, SAMPLES)
    given = {"activation": "tanh", "weights": data.weights, "chunk": chunk}

    @compiled
    def ways(params: hg.Params) -> Any:
        (value, aux), grads = hg.value_and_grad(
            params, data.x, data.labels, has_aux=True, **given
        )
        of_samples = aux if chunk else aux.logits
        known = hg.loss(params, data.x, data.labels, **given)
        return value, known, of_samples, unstack_layers(grads)

    assert_close(ways(stack_layers(params, above=1)), ways(params), GRADIENT)


def test_probabilities_of_a_stack() -> None:
    params, x = network(SIZES), batch(SIZES, SAMPLES).x
    stacked = stack_layers(params, above=1)
    assert_close(hg.predict_proba(stacked, x), hg.predict_proba(params, x), ENGINE)


def test_masks_of_a_stack_are_those_of_its_layers() -> None:
    params = network(SIZES)
    stacked = stack_layers(params, above=1)
    key, rates = jax.random.key(0), (0.1, 0.0, 0.3, 0.4, 0.5, 0.6)
    apart = hg.dropout_masks(key, params, SAMPLES, hidden=rates)
    together = hg.dropout_masks(key, stacked, SAMPLES, hidden=rates)
    assert apart[0] is together[0] is None
    stack = together[1]
    assert stack is not None
    ones = jnp.ones((SAMPLES, 5))
    expected = [ones if mask is None else mask for mask in apart[1:5]]
    assert_equal(list(stack), expected)
    assert_equal(together[2:], apart[5:])
    assert hg.dropout_masks(key, stacked, SAMPLES, hidden=0.0)[1] is None


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes_of_a_stack(dtype: str) -> None:
    """The sums of both are in another order, of numbers of this dtype."""
    params, data = network(SIZES, dtype=dtype), batch(SIZES, SAMPLES, dtype=dtype)
    stacked = stack_layers(params, above=1)
    run = functools.partial(hg.value_and_grad, activation="tanh")
    came, expected = run(stacked, data.x, data.labels), run(params, data.x, data.labels)
    tolerance = 8 * float(jnp.finfo(dtype).eps)
    assert_close(unstack_layers(came[1]), expected[1], tolerance)
    assert_close(came[0], expected[0], tolerance)


def test_padding_of_a_stack_may_hold_anything() -> None:
    params, data = network(SIZES), batch(SIZES, SAMPLES)
    stacked = stack_layers(params, above=1)
    weights = data.weights.at[2].set(0)
    x = data.x.at[2].set(jnp.array([jnp.nan, jnp.inf, -jnp.inf, 1e300]))
    came = hg.value_and_grad(stacked, x, data.labels, weights=weights)
    expected = hg.value_and_grad(stacked, data.x, data.labels, weights=weights)
    assert_equal(came, expected)


def test_a_stack_is_differentiated_again_and_mapped() -> None:
    """Hessian times vector by forward mode, and networks side by side."""
    params, data = network(SIZES), batch(SIZES, SAMPLES)
    vector = network(SIZES, seed=1)
    stack = functools.partial(stack_layers, above=1)

    @compiled
    def product(params: hg.Params, vector: hg.Params) -> hg.Params:
        def gradient(params: hg.Params) -> hg.Params:
            return hg.value_and_grad(params, data.x, data.labels, activation="tanh")[1]

        return unstack_layers(jax.jvp(gradient, (params,), (vector,))[1])

    assert_close(
        product(stack(params), stack(vector)), product(params, vector), GRADIENT
    )

    def gradients(params: hg.Params) -> hg.Params:
        return unstack_layers(hg.value_and_grad(params, data.x, data.labels)[1])

    pair = jax.tree.map(lambda *leaves: jnp.stack(leaves), params, vector)
    side_by_side = jax.vmap(stack)(pair)
    assert shapes(side_by_side)[1] == (2, 4, 5, 5)
    mapped = jax.vmap(gradients)(side_by_side)
    assert_close(jax.tree.map(lambda leaf: leaf[1], mapped), gradients(vector), ENGINE)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("spec", [(None, None), (None, "model"), ("model", None)])
def test_a_stack_on_a_mesh(kind: AxisType, spec: tuple[Any, Any]) -> None:
    """Samples along one axis; along the other the columns of every weight, its rows, or
    nothing."""
    sizes = (4, *[6] * 6, 3)
    params, data = network(sizes), batch(sizes, 8)
    mesh = jax.make_mesh(
        (2, 2), ("data", "model"), axis_types=(kind,) * 2, devices=four_devices()
    )
    stacked = list(stack_layers(params, above=1))

    def put(array: Any, *spec: Any) -> jax.Array:
        return jax.device_put(array, jax.sharding.NamedSharding(mesh, P(*spec)))

    laid = [Layer(*map(put, layer)) for layer in stacked]
    weight, bias = stacked[1]
    laid[1] = Layer(put(weight, None, *spec), put(bias, None, spec[1]))

    @compiled
    def run(params: Any, x: Any, y: Any) -> Any:
        found = hg.value_and_grad(params, x, y, activation="tanh")
        trace = hg.forward(params, x, activation="tanh")
        errors = hg.deltas(params, trace, y)
        along = {"params": params, "vector": params}
        what = {"ggn_vector_product": along, "hessian_vector_product": along}
        return found, byproducts.collect(trace, errors, what)

    expected = run(tuple(stacked), data.x, data.labels)
    with jax.set_mesh(mesh):
        came = run(tuple(laid), put(data.x, "data"), put(data.labels, "data"))
    assert_close(jax.device_get(came), jax.device_get(expected), GRADIENT)


def test_a_stack_in_shard_map() -> None:
    params, data = network(SIZES), batch(SIZES, 8)
    stacked = stack_layers(params, above=1)
    auto = (AxisType.Auto,)
    mesh = jax.make_mesh((4,), ("data",), axis_types=auto, devices=four_devices())

    @functools.partial(
        jax.shard_map, mesh=mesh, in_specs=(P(), P("data"), P("data")), out_specs=P()
    )
    def mean(params: hg.Params, x: jax.Array, y: jax.Array) -> hg.Params:
        grads = hg.value_and_grad(params, x, y, activation="tanh")[1]
        return jax.tree.map(lambda leaf: leaf / 4, grads)

    expected = hg.value_and_grad(stacked, data.x, data.labels, activation="tanh")[1]
    assert_close(jax.jit(mean)(stacked, data.x, data.labels), expected, GRADIENT)


def lowered(depth: int, function: Callable[..., Any], *, above: int) -> Any:
    sizes = (4, *[8] * depth, 3)
    params = stack_layers(network(sizes, dtype="float32"), above=above)
    data = batch(sizes, SAMPLES, dtype="float32")
    return jax.jit(function).lower(params, data.x, data.labels.astype(jnp.int32))


@pytest.mark.parametrize("chunk", [None, 2])
def test_the_program_of_a_stack_is_as_long_whatever_its_depth(chunk: Any) -> None:
    run = functools.partial(hg.value_and_grad, chunk=chunk)

    def lines(depth: int, above: int) -> int:
        return lowered(depth, run, above=above).as_text().count("\n")

    assert lines(30, 1) == lines(90, 1) < lines(90, 90) / 3


@pytest.mark.parametrize("activation", ["relu", "tanh", "silu", "gelu", "elu"])
def test_a_stack_keeps_less_than_autodiff_of_a_scan(activation: str) -> None:
    h = hg.ACTIVATIONS[activation].function

    def textbook(params: Any, x: Any, labels: Any) -> jax.Array:
        first, stack, *rest = params
        d = x @ first.weight + first.bias[None, :]

        def layer(d: jax.Array, own: Layer) -> tuple[jax.Array, None]:
            return h(d) @ own.weight + own.bias[None, :], None

        d, _ = jax.lax.scan(layer, d, stack)
        for own in rest:
            d, _ = layer(d, own)
        picked = jnp.take_along_axis(jax.nn.log_softmax(d), labels[:, None], axis=1)
        return -jnp.mean(picked)

    def memory(function: Callable[..., Any]) -> int:
        program = lowered(60, function, above=1).compile()
        return program.memory_analysis().temp_size_in_bytes

    by_hand = functools.partial(hg.value_and_grad, activation=activation)
    with jax.default_device(jax.devices("cpu")[0]):
        assert memory(by_hand) <= memory(jax.value_and_grad(textbook))


def broken(change: Callable[[list[Any]], Any]) -> hg.Params:
    layers = list(stack_layers(network(SIZES), above=1))
    change(layers)
    return tuple(layers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda layers: layers.pop(0), "layer 1 of 3 is a stack, of weight (4, 5, 5)"),
        (lambda layers: layers.__delitem__(slice(2, 4)), "layer 2 of 2 is a stack"),
        (lambda layers: layers.insert(1, layers[1]), "layer 2 of 5 is a stack"),
        (
            lambda layers: operator.setitem(
                layers, 1, Layer(jnp.ones((4, 5, 6)), jnp.ones((4, 6)))
            ),
            "layer 2 must have weight (n_in, n_out) and bias (n_out,), or (K, n, n)",
        ),
        (
            lambda layers: operator.setitem(
                layers, 1, Layer(jnp.ones((4, 5, 5)), jnp.ones(5))
            ),
            "and (K, n) of K equal layers, got weight (4, 5, 5) and bias (5,).",
        ),
        (
            lambda layers: operator.setitem(
                layers, 1, Layer(jnp.ones((0, 5, 5)), jnp.ones((0, 5)))
            ),
            "layer 2 must have a unit, got weight (0, 5, 5).",
        ),
    ],
)
def test_what_is_no_stack_is_refused(change: Any, message: str) -> None:
    params, data = broken(change), batch(SIZES, SAMPLES)
    with pytest.raises(ValueError, match="^`params` layer") as caught:
        hg.loss(params, data.x, data.labels)
    assert message in str(caught.value)


def test_activations_and_masks_fit_a_stack() -> None:
    data = batch(SIZES, SAMPLES)
    stacked = stack_layers(network(SIZES), above=1)
    mixed = ["tanh", "tanh", "relu", "relu", "relu", "relu"]
    with pytest.raises(ValueError, match="one for all layers of a stack, 2 to 5, got"):
        hg.forward(stacked, data.x, activation=mixed)
    with pytest.raises(ValueError, match=r"one per hidden layer \(6\), got 3"):
        hg.forward(stacked, data.x, activation=["tanh"] * 3)
    masks = list(hg.dropout_masks(jax.random.key(0), stacked, SAMPLES, hidden=0.5))
    assert masks[1] is not None
    masks[1] = masks[1][0]
    with pytest.raises(ValueError, match=r"entry 1 must be float64 of shape \(4, 7, 5"):
        hg.forward(stacked, data.x, masks=tuple(masks))
    alone = broken(lambda layers: layers.pop(2))
    with pytest.raises(ValueError, match="`params` must have the last hidden layer by"):
        hg.loss(alone, data.x, data.labels, chunk=2)


def test_activations_of_two_stacks_are_those_of_their_layers() -> None:
    sizes, names = (4, *[5] * 9, 3), ["tanh"] * 4 + ["gelu"] * 4 + ["relu"]
    params, data = network(sizes), batch(sizes, SAMPLES)
    stacked = stack_layers(params, activation=names, above=1)
    assert [len(shape) for shape in shapes(stacked)] == [2, 3, 2, 3, 2, 2]
    run = functools.partial(hg.value_and_grad, activation=names, weights=data.weights)
    (came, grads), expected = (run(p, data.x, data.labels) for p in (stacked, params))
    assert_close((came, unstack_layers(grads)), expected, GRADIENT)
    trace = hg.forward(stacked, data.x, activation=names)
    used = ("tanh", "tanh", "gelu", "gelu", "relu")
    assert trace.hidden == tuple(hg.ACTIVATIONS[name] for name in used)


def test_a_trace_of_another_stack_is_refused() -> None:
    data, layers = batch(SIZES, SAMPLES), network(SIZES)
    stacked = stack_layers(layers, above=1)
    shorter = stack_layers(network(SIZES[:-2] + SIZES[-1:]), above=1)
    trace = hg.forward(stacked, data.x)
    with pytest.raises(ValueError, match=r"\[4, 5, \(3, 5\), 5, 3\], got \[4, 5, \(4"):
        hg.deltas(shorter, trace, data.labels)
    errors = hg.deltas(stacked, trace, data.labels)
    with pytest.raises(ValueError, match="^`deltas` must have the shapes of `trace"):
        hg.gradients(hg.forward(shorter, data.x), errors)


def test_layers_and_stacks_are_numbered_alike() -> None:
    """`Hidden.k` counts every layer, and a_k of a stack is the input of the next."""
    stacked = stack_layers(network(SIZES), activation="tanh", above=1)
    data = batch(SIZES, SAMPLES)
    first, stack, last = hg.forward(stacked, data.x, activation="tanh").hidden_layers
    assert (first.k, stack.k, last.k) == (1, 2, 6)
    for hidden in (first, stack, last):
        np.testing.assert_allclose(hidden.a, jnp.tanh(hidden.d), rtol=1e-15)
    assert_equal(first.output, stack.inputs[0])
    assert_equal(stack.a[-1], last.inputs)
