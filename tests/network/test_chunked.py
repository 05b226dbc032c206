"""`chunk`: what comes with a chunk of the classes at a time is what comes without."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    GRADIENT,
    assert_close,
    assert_equal,
    batch,
    compiled,
    network,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.extend.core import jaxprs_in_params
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from meshes import four_devices

import handgrad as hg
from handgrad.byproducts import per_sample_norms
from handgrad.network.chunked import forward_below, scores_in_chunks
from handgrad.network.numbers import check_chunk

SIZES = (4, 6, 11)
KINDS = ("labels", "soft", "smoothed")


def options_of(seed: int, sizes: tuple[int, ...], m: int, kind: str) -> dict[str, Any]:
    """Targets of a kind, weights of which some are 0, masks: of one problem."""
    data, random = batch(sizes, m, seed), np.random.default_rng(seed)
    targets: Any = {
        "labels": data.labels,
        "soft": data.distribution * random.integers(3, size=(m, 1)).astype("float64"),
        "smoothed": hg.Smoothed(data.labels, 0.3),
    }[kind]
    kept = random.integers(4, size=m) > 0
    weights = {
        0: None,
        1: data.weights * kept.astype("float64"),
        2: jnp.asarray(kept),
        3: data.weights * 1e30,
    }[seed % 4]
    return {
        "x": data.x,
        "targets": targets,
        "weights": weights,
        "masks": data.masks if seed % 3 else None,
    }


@functools.partial(compiled, static_argnames=("chunk", "has_aux"))
def by_hand(params: Any, chunk: int | None = None, **options: Any) -> Any:
    return hg.value_and_grad(params, activation="tanh", chunk=chunk, **options)


@functools.partial(compiled, static_argnames="chunk")
def value(params: Any, chunk: int, **options: Any) -> Any:
    return hg.loss(params, activation="tanh", chunk=chunk, **options)


def without(params: hg.Params, impossible: list[int]) -> hg.Params:
    """The classes of these numbers cannot be: their logits are -inf."""
    last = params[-1]
    bias = last.bias.at[jnp.array(impossible, "int32")].set(-jnp.inf)
    return (*params[:-1], hg.Layer(last.weight, bias))


@settings(max_examples=15)
@given(
    st.integers(0, 7),
    st.sampled_from([(), (5,), (3, 4)]),
    st.integers(2, 13),
    st.integers(1, 15),
    st.integers(0, 1000),
    st.sampled_from(KINDS),
)
def test_value_and_gradient_are_those_of_all_classes_at_once(
    m: int, hidden: Any, classes: int, chunk: int, seed: int, kind: str
) -> None:
    sizes = (4, *hidden, classes)
    params, options = network(sizes, seed), options_of(seed, sizes, m, kind)
    came = by_hand(params, chunk=chunk, **options)
    assert_close(came, by_hand(params, **options), GRADIENT)
    assert_close(value(params, chunk=chunk, **options), came[0], GRADIENT)


@pytest.mark.parametrize(
    ("chunk", "kind"),
    [
        *((chunk, "labels") for chunk in (1, 3, 4, 10, 40)),
        *((chunk, "soft") for chunk in (1, 4, 40)),
        *((chunk, "smoothed") for chunk in (3, 10)),
    ],
)
def test_no_chunk_counts_twice_and_none_is_left_out(chunk: int, kind: str) -> None:
    """Logits of 1/1000: every class has its share of the sums."""
    params = jax.tree.map(lambda leaf: leaf / 1000, network(SIZES))
    options = options_of(4, SIZES, 5, kind)
    came = by_hand(params, chunk=chunk, **options)
    assert_close(came, by_hand(params, **options), GRADIENT)


@pytest.mark.parametrize("impossible", [[0], [0, 1, 2, 3], [8, 9, 10], [5]])
@pytest.mark.parametrize("chunk", [2, 4])
@pytest.mark.parametrize("kind", ["labels", "soft"])
def test_a_class_that_cannot_be_may_be_in_any_chunk(
    impossible: list[int], chunk: int, kind: str
) -> None:
    params, options = without(network(SIZES), impossible), options_of(1, SIZES, 6, kind)
    possible = sorted(set(range(11)) - set(impossible))
    if kind == "labels":
        options["targets"] = jnp.asarray(possible, "int32")[options["targets"] % 5]
    else:
        gone = jnp.asarray(impossible, "int32")
        options["targets"] = options["targets"].at[:, gone].set(0)
    came = by_hand(params, chunk=chunk, **options)
    assert np.isfinite(came[0])
    assert_close(came, by_hand(params, **options), GRADIENT)


@pytest.mark.parametrize("anything", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [SIZES, (4, 11)])
def test_a_row_of_weight_0_may_hold_anything(
    sizes: tuple[int, ...], anything: float, kind: str
) -> None:
    params, options = network(sizes), options_of(1, sizes, 6, kind)
    weights = jnp.array([1.0, 0, 2, 0, 0, 1])
    kept = np.array([0, 2, 5])
    x, targets = options["x"], options["targets"]
    take = functools.partial(jax.tree.map, lambda leaf: leaf[kept])
    of_kept = (
        hg.Smoothed(targets.labels[kept], 0.3) if kind == "smoothed" else take(targets)
    )
    expected = by_hand(params, x=x[kept], targets=of_kept, weights=weights[kept])
    x = x.at[1].set(anything).at[3, 0].set(anything)
    if kind == "smoothed":
        targets = hg.Smoothed(targets.labels.at[1].set(77).at[4].set(-1), 0.3)
    else:
        spoil = anything if kind == "soft" else 77
        targets = targets.at[1].set(spoil).at[4].set(0 if kind == "soft" else -1)
    came = by_hand(params, x=x, targets=targets, weights=weights, chunk=4)
    assert_close(came, expected, GRADIENT)


@pytest.mark.parametrize("kind", KINDS)
def test_where_the_weights_sum_to_0_all_is_exactly_0(kind: str) -> None:
    params, options = network(SIZES), options_of(0, SIZES, 3, kind)
    options["weights"] = jnp.zeros(3)
    came = by_hand(params, chunk=4, **options)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(came))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
def test_a_label_of_any_integer_dtype_is_its_number(dtype: str) -> None:
    """In int8, 300 classes are 44, and a chunk that starts at 200 is at -56."""
    params, x = network((4, 300)), batch((4, 2), 4).x
    labels = np.array([0, 99, 127, 5])
    expected = by_hand(params, x=x, targets=labels.astype("int32"))
    came = by_hand(params, x=x, targets=jnp.asarray(labels, dtype), chunk=100)
    assert_close(came, expected, GRADIENT)


@pytest.mark.parametrize("label", [-1, 11, 12, 77, -4])
@pytest.mark.parametrize("smooth", [False, True])
def test_a_label_that_is_no_class_is_nan(label: int, smooth: bool) -> None:
    params, options = network(SIZES), options_of(0, SIZES, 3, "labels")
    labels = options["targets"].at[1].set(label)
    options["targets"] = hg.Smoothed(labels, 0.1) if smooth else labels
    found, grads = by_hand(params, chunk=4, **options)
    assert np.isnan(found)
    assert np.isnan(grads[1].bias).all()


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        *(("float16", kind) for kind in KINDS),
        ("bfloat16", "soft"),
        ("float32", "labels"),
    ],
)
def test_in_narrow_dtypes_sums_are_float32(dtype: str, kind: str) -> None:
    """The logits are the same to the last bit; sums differ in their order alone, and
    B6 is rounded once, where all classes at once round it once as well. A GPU's
    compiler rounds logits that it fuses with their sum, or does not, as it likes."""
    params = network(SIZES, dtype=dtype)
    options = options_of(3, SIZES, 6, kind)
    options["weights"] = options["weights"].astype("float32")
    options["x"], options["masks"] = options["x"].astype(dtype), None
    spacing = float(jnp.finfo(dtype).eps)
    with jax.numpy_dtype_promotion("standard"):
        found, grads = by_hand(params, chunk=3, **options)
        plain, expected = by_hand(params, **options)
    assert found.dtype == jnp.float32
    assert_close(found, plain, 1e-6 if jax.default_backend() == "cpu" else spacing)
    assert_close(grads, expected, 4 * spacing)


def test_a_thousand_small_terms_are_not_lost_in_bfloat16() -> None:
    """1024 samples add 1/1024 each to a bias: in bfloat16 sums the last half adds 0."""
    params = (hg.Layer(jnp.zeros((1, 6), "bfloat16"), jnp.zeros(6, "bfloat16")),)
    x, labels = jnp.ones((1024, 1), "bfloat16"), jnp.full(1024, 2, "int32")
    _, grads = by_hand(params, x=x, targets=labels, chunk=4)
    expected = np.array([1, 1, -5, 1, 1, 1]) / 6
    assert np.abs(np.asarray(grads[0].bias, "float64") - expected).max() < 2**-8
    assert np.abs(np.asarray(grads[0].weight[0], "float64") - expected).max() < 2**-8


def test_float16_keeps_its_power_of_two() -> None:
    """Of 65,536 samples each counts 2^-16: without it their errors have few bits."""
    params, m = network((2, 3, 5), dtype="float16"), 2**16
    data = batch((2, 3, 5), 64)
    x = jnp.tile(data.x, (m // 64, 1)).astype("float16")
    labels = jnp.tile(data.labels, m // 64)
    came = by_hand(params, x=x, targets=labels, chunk=2)[1]
    expected = by_hand(params, x=x, targets=labels)[1]
    assert_close(came, expected, 2**-9)


@pytest.mark.parametrize("sizes", [SIZES, (4, 5, 3, 11), (4, 11)])
@pytest.mark.parametrize("kind", ["labels", "soft"])
def test_of_single_samples_losses_predictions_and_norms_are_to_be_had(
    sizes: tuple[int, ...], kind: str
) -> None:
    params, options = network(sizes), options_of(5, sizes, 6, kind)
    options["weights"] = jnp.array([1, 0, 0.5, -2, 0, 1e-30])
    (found, of_each), grads = by_hand(params, chunk=4, has_aux=True, **options)
    assert_close((found, grads), by_hand(params, **options), GRADIENT)
    x, targets, weights, masks = options.values()

    @compiled
    def apart(params: Any) -> Any:
        trace = hg.forward(params, x, activation="tanh", masks=masks)
        errors = hg.deltas(params, trace, targets, weights=weights)
        alone = [
            hg.loss((hg.Layer(jnp.eye(11), jnp.zeros(11)),), d[None], t[None])
            for d, t in zip(trace.logits, targets, strict=True)
        ]
        norms = per_sample_norms(trace, errors, per_layer=True)
        return norms, jnp.argmax(trace.logits, axis=1), jnp.stack(alone)

    norms, predictions, losses = apart(params)
    assert_close(of_each.norms, norms, GRADIENT)
    assert of_each.predictions.tolist() == predictions.tolist()
    assert_close(of_each.losses, losses, GRADIENT)

    @compiled
    def scored(params: Any) -> Any:
        return scores_in_chunks(
            forward_below(params, chunk=4, activation="tanh", **options)
        )

    assert_close(scored(params), (losses, of_each.predictions), GRADIENT)


def test_layers_have_activations_of_their_own() -> None:
    sizes = (4, 5, 3, 11)
    params, options = network(sizes), options_of(5, sizes, 6, "labels")
    step = functools.partial(hg.value_and_grad, activation=("tanh", "softplus"))
    came, expected = (
        compiled(functools.partial(step, chunk=chunk))(params, **options)
        for chunk in (4, None)
    )
    assert_close(came, expected, GRADIENT)


def test_the_first_of_equal_logits_is_the_prediction() -> None:
    params = (hg.Layer(jnp.zeros((1, 5)), jnp.array([0.0, 2, 1, 2, 2])),)
    x, labels = jnp.ones((3, 1)), jnp.array([0, 1, 2])
    for chunk in (1, 2, 3, 5):
        (_, found), _ = by_hand(params, x=x, targets=labels, chunk=chunk, has_aux=True)
        assert found.predictions.tolist() == [1, 1, 1]


def arrays_in(jaxpr: Any) -> Iterator[Any]:
    """Every array that a program makes, in its loops as well."""
    for equation in jaxpr.eqns:
        yield from (variable.aval for variable in equation.outvars)
        for inner in jaxprs_in_params(equation.params):
            yield from arrays_in(inner)


@pytest.mark.parametrize("kind", ["labels", "smoothed"])
@pytest.mark.parametrize("has_aux", [False, True])
@pytest.mark.parametrize("classes", [96, 101])
def test_no_array_has_all_samples_and_all_classes(
    classes: int, has_aux: bool, kind: str
) -> None:
    m, sizes = 50, (3, 4, classes)
    params, options = network(sizes), options_of(1, sizes, m, kind)

    def largest(chunk: int | None) -> int:
        how: dict[str, Any] = {"chunk": chunk, "has_aux": has_aux}
        program = functools.partial(hg.value_and_grad, **how)
        found = jax.make_jaxpr(program)(params, **options)
        return max(array.size for array in arrays_in(found.jaxpr))

    assert largest(None) >= m * classes
    assert largest(16) == m * 16


def test_soft_targets_are_made_finite_a_chunk_at_a_time() -> None:
    sizes = (3, 4, 96)
    params, options = network(sizes), options_of(1, sizes, 50, "soft")
    program = functools.partial(hg.value_and_grad, chunk=16)
    found = jax.make_jaxpr(program)(params, **options)
    assert max(array.size for array in arrays_in(found.jaxpr)) == 50 * 16


@pytest.mark.parametrize(
    ("kind", "sizes"), [*((kind, SIZES) for kind in KINDS), ("labels", (4, 11))]
)
def test_the_gradient_passes_the_check(kind: str, sizes: tuple[int, ...]) -> None:
    params, options = network(sizes), options_of(1, sizes, 5, kind)
    x, targets, weights, masks = options.values()
    if kind == "smoothed":
        targets, epsilon = targets
        wrap = functools.partial(hg.Smoothed, epsilon=epsilon)
    else:
        wrap = lambda targets: targets  # noqa: E731

    def loss(params: Any, x: Any, targets: Any, weights: Any) -> Any:
        return hg.loss(params, x, wrap(targets), weights=weights, masks=masks)

    def gradient(params: Any, x: Any, targets: Any, weights: Any) -> Any:
        return hg.value_and_grad(
            params, x, wrap(targets), weights=weights, masks=masks, chunk=4
        )

    report = hg.check_gradients(loss, gradient, params, x, targets, weights)
    assert report.ok, str(report)


def test_autodiff_of_the_loss_in_chunks_is_the_gradient() -> None:
    params, options = network(SIZES), options_of(1, SIZES, 5, "soft")
    of_loss = functools.partial(hg.loss, activation="tanh", chunk=4)
    came = compiled(jax.grad(of_loss))(params, **options)
    assert_close(came, by_hand(params, **options)[1], GRADIENT)


def test_vmap_jvp_and_hessians_go_through() -> None:
    sizes = (3, 4, 5)
    params, options = network(sizes), options_of(1, sizes, 4, "soft")
    other = network(sizes, 7)
    options["activation"] = "tanh"

    def both(function: Any) -> tuple[Any, Any]:
        def by_chunk(chunk: int | None) -> Any:
            program = functools.partial(hg.value_and_grad, chunk=chunk, **options)
            return compiled(lambda params, other: function(program, params, other))(
                params, other
            )

        return by_chunk(2), by_chunk(None)

    def many(program: Any, params: Any, other: Any) -> Any:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), params, other)
        return jax.vmap(program)(stacked)

    def along(program: Any, params: Any, other: Any) -> Any:
        return jax.jvp(program, (params,), (other,))

    def back(program: Any, params: Any, other: Any) -> Any:
        _, pull = jax.vjp(lambda params: program(params)[1], params)
        return pull(other)

    for function in (many, along, back):
        assert_close(*both(function), GRADIENT)


def test_smoothed_labels_are_smooth_labels_without_a_chunk_too() -> None:
    params, options = network(SIZES), options_of(0, SIZES, 3, "labels")
    labels = options.pop("targets")
    smooth = hg.smooth_labels(labels, 11, 0.2)
    targets = hg.Smoothed(labels, 0.2)
    expected = hg.value_and_grad(params, targets=smooth, **options)
    assert_equal(hg.value_and_grad(params, targets=targets, **options), expected)
    assert_equal(hg.loss(params, targets=targets, **options), expected[0])


@pytest.mark.parametrize(
    ("samples", "classes", "expected"),
    [
        (128, 1000, 1000),
        (128, 32_768, 32_768),  # 4 chunks of 2^20 entries
        (129, 32_768, 4096),
        (2048, 32_768, 512),
        (100_000, 300, 256),
        (0, 10, 10),
        (5, 1, 1),
        (1, 10**7, 2**20),
    ],
)
def test_auto_takes_all_classes_where_they_are_few(
    samples: int, classes: int, expected: int
) -> None:
    assert check_chunk("auto", samples, classes) == expected


def test_auto_is_a_chunk() -> None:
    params, options = network(SIZES), options_of(0, SIZES, 3, "labels")
    assert_equal(
        hg.value_and_grad(params, chunk="auto", **options),
        hg.value_and_grad(params, chunk=11, **options),
    )


@pytest.mark.parametrize("chunk", [0, -1, 2.0, "all", "every", True, np.zeros(2), None])
def test_a_chunk_is_a_number_of_classes(chunk: Any) -> None:
    if chunk is None:
        with pytest.raises(ValueError, match="`chunk` must be a number of classes"):
            jax.jit(lambda chunk: check_chunk(chunk, 3, 4))(2)
        return
    params, options = network(SIZES), options_of(0, SIZES, 3, "labels")
    for function in (hg.loss, hg.value_and_grad):
        with pytest.raises(ValueError, match="`chunk` must be a number of classes"):
            function(params, chunk=chunk, **options)


def test_what_a_chunk_has_not_is_refused() -> None:
    params, options = network(SIZES), options_of(0, SIZES, 3, "labels")

    def other(k: int, delta: Any, weight: Any, output_delta: Any) -> Any:
        raise AssertionError

    with pytest.raises(ValueError, match="`transport` must be the exact one"):
        hg.value_and_grad(params, chunk=3, transport=other, **options)
    options["targets"] = hg.Smoothed(jnp.ones((3, 11)), 0.1)
    with pytest.raises(ValueError, match="`targets` must be Smoothed labels"):
        hg.value_and_grad(params, chunk=3, **options)
    options["targets"] = hg.Smoothed(jnp.ones(3, "int32"), 1.5)
    with pytest.raises(ValueError, match="`epsilon` must be a number at least 0"):
        hg.value_and_grad(params, chunk=3, **options)


def test_on_an_explicit_mesh_the_axis_of_the_classes_alone_may_not_be_split() -> None:
    mesh = jax.make_mesh(
        (2,), ("model",), (AxisType.Explicit,), devices=four_devices()[:2]
    )
    x, labels = jnp.ones((3, 4)), jnp.zeros(3, int)

    def loss(weight: P, bias: P) -> Any:
        whole = jnp.ones((4, 6)), jnp.ones(6)
        places = NamedSharding(mesh, weight), NamedSharding(mesh, bias)
        laid = (hg.Layer(*map(jax.device_put, whole, places)),)
        return jax.eval_shape(functools.partial(hg.loss, chunk=2), laid, x, labels)

    with jax.set_mesh(mesh):
        with pytest.raises(ValueError, match="`chunk` must be None where a mesh axis"):
            loss(P(None, "model"), P("model"))
        assert loss(P("model", None), P()).shape == ()
