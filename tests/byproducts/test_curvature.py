"""Fisher, GGN, K-FAC and curvature products against dense matrices by autodiff."""

from typing import Any

import byproduct_cases as cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import handgrad
from handgrad import byproducts
from handgrad.network.backward import backward

EACH = pytest.mark.parametrize("variant", cases.VARIANTS)


@EACH
def test_ggn_diagonal(variant: str) -> None:
    came = cases.found(variant)["ggn_diagonal"]
    shapes = [(leaf.weight.shape, leaf.bias.shape) for leaf in came]
    params = cases.make(**cases.VARIANTS[variant]).params
    assert shapes == [(leaf.weight.shape, leaf.bias.shape) for leaf in params]
    expected = np.diag(cases.judged(variant).ggn)
    assert cases.error(cases.flat(came), expected) < 1e-10


@EACH
def test_ggn_vector_product(variant: str) -> None:
    v = cases.flat(cases.direction(cases.make(**cases.VARIANTS[variant])))
    came = cases.flat(cases.found(variant)["ggn_vector_product"])
    assert cases.error(came, cases.judged(variant).ggn @ v) < 1e-10


def test_exact_deltas_are_s_times_the_columns_of_a_root_of_H() -> None:
    """S S^T = t H at the output, row by row; below it, B6 and B7 of each column."""
    case = cases.make(scores=True, weighted=True)

    def both() -> Any:
        trace, _ = case.passes()
        exact = byproducts.exact_deltas(
            case.params, trace, targets=case.targets, weights=case.weights
        )
        carried = [
            backward(case.params, trace, column, weights=exact.weights)
            for column in exact.layers[-1]
        ]
        return exact, carried, jax.nn.softmax(trace.logits, axis=1)

    exact, carried, p = cases.numpy(cases.compiled(both))
    t = np.asarray(case.q).sum(axis=1)
    assert cases.error(exact.scale, case.s) < 1e-12
    root = exact.layers[-1]  # (C, m, C)
    product = np.einsum("cmi,cmj->mij", root, root)
    h = np.einsum("mi,ij->mij", p, np.eye(3)) - np.einsum("mi,mj->mij", p, p)
    assert cases.error(product, (case.s**2 * t)[:, None, None] * h) < 1e-12
    stacked = jax.tree.map(lambda *rows: np.stack(rows), *carried)
    assert cases.error(exact.layers, stacked) < 1e-12


def test_only_the_sums_of_targets_enter_the_ggn() -> None:
    """Labels, distributions, and no targets at all are one GGN; twice them is two."""
    case = cases.make(soft=True)
    labels = jnp.zeros(6, int)

    def all_of_them() -> Any:
        trace, _ = case.passes()
        params = case.params
        every = (None, labels, case.q, 2 * case.q)
        return [
            (
                byproducts.ggn_diagonal(params, trace, targets=q),
                byproducts.ggn_vector_product(params, trace, params, targets=q),
            )
            for q in every
        ]

    none, of_labels, of_rows, twice = cases.numpy(cases.compiled(all_of_them))
    assert cases.error(of_labels, none) == 0
    assert cases.error(of_rows, none) < 1e-14
    assert cases.error(twice, jax.tree.map(lambda leaf: 2 * leaf, none)) < 1e-14


@EACH
def test_hessian_vector_product(variant: str) -> None:
    """RF1 to RB7."""
    v = cases.flat(cases.direction(cases.make(**cases.VARIANTS[variant])))
    came = cases.flat(cases.found(variant)["hessian_vector_product"])
    assert cases.error(came, cases.judged(variant).hessian @ v) < 1e-10


@pytest.mark.parametrize("sizes", [(4, 3), (3, 4, 2)])
def test_kronecker_factors_of_one_sample_are_the_exact_blocks(sizes: Any) -> None:
    case = cases.make(sizes, samples=1)

    def both() -> Any:
        trace, _ = case.passes()
        errors = byproducts.exact_deltas(case.params, trace)
        return byproducts.kronecker_factors(trace, errors), cases.dense_ggn(case)

    came, ggn = cases.numpy(cases.compiled(both))
    start = 0
    for factors, layer in zip(came, case.params, strict=True):
        stop = start + layer.weight.size + layer.bias.size  # (W; b) row by row
        block = ggn[start:stop, start:stop]
        assert cases.error(np.kron(factors.inputs, factors.deltas), block) < 1e-10
        start = stop


@EACH
def test_empirical_factors_are_the_means_of_outer_products(variant: str) -> None:
    case = cases.make(**cases.VARIANTS[variant])
    came, g = cases.found(variant), cases.judged(variant).gradients
    w = case.s
    for k, factors in enumerate(came["kronecker_factors"]):
        a = came["layer_inputs"][k]
        a = np.concatenate([a, np.ones((a.shape[0], 1))], axis=1)
        assert cases.error(factors.inputs, np.einsum("m,mi,mj->ij", w, a, a)) < 1e-10
        delta = g[k].bias  # B5: the bias's gradient is the delta, without its s
        expected = np.einsum("m,mi,mj->ij", w, delta, delta)
        assert cases.error(factors.deltas, expected) < 1e-10


def test_factors_of_many_samples_and_wide_layers() -> None:
    """Where a quarter of each factor is a copy."""
    random = np.random.default_rng(0)
    a, delta = random.normal(size=(600, 131)), random.normal(size=(600, 150))
    w = random.uniform(size=600)
    passes = cases.one_layer(a, (w / w.sum())[:, None] * delta, w)
    (came,) = cases.numpy(cases.compiled(byproducts.kronecker_factors, *passes))
    a = np.concatenate([a, np.ones((600, 1))], axis=1)
    for factor, rows in zip(came, (a, delta), strict=True):
        assert cases.error(factor, (rows.T * w) @ rows / w.sum()) < 1e-12


def test_exact_delta_factor_is_the_mean_over_the_models_labels() -> None:
    """E over y ~ a_L of delta delta^T, by summing over all labels."""
    case = cases.make(weighted=True)

    def both() -> Any:
        trace, _ = case.passes()
        exact = byproducts.exact_deltas(case.params, trace, weights=case.weights)
        factors = byproducts.kronecker_factors(trace, exact)
        each = [
            handgrad.deltas(case.params, trace, jnp.full(6, c)).layers for c in range(3)
        ]
        each = jax.tree.map(lambda delta: 6 * delta, each)  # of each sample alone
        return factors, each, jax.nn.softmax(trace.logits, axis=1)

    came, each, p = cases.numpy(cases.compiled(both))
    w = case.s
    for k, factors in enumerate(came):
        expected = sum(
            np.einsum("m,mi,mj->ij", w * p[:, c], each[c][k], each[c][k])
            for c in range(3)
        )
        assert cases.error(factors.deltas, expected) < 1e-10


def test_sampled_fisher_is_unbiased() -> None:
    case = cases.make(samples=3)
    trace, _ = case.passes()

    def draw(key: jax.Array) -> jax.Array:
        errors = byproducts.sampled_deltas(key, case.params, trace)
        return ravel_pytree(byproducts.second_moment(trace, errors))[0]

    keys = jax.random.split(jax.random.key(1), 4000)
    draws = cases.numpy(cases.compiled(jax.vmap(draw), keys))
    exact = cases.flat(cases.compiled(byproducts.ggn_diagonal, case.params, trace))
    standard_error = draws.std(axis=0) / 4000**0.5
    assert np.max(np.abs(draws.mean(axis=0) - exact) / standard_error) < 4.5
    empirical = cases.compiled(byproducts.second_moment, *case.passes())
    assert np.max(np.abs(cases.flat(empirical) - exact) / standard_error) > 20


def test_ggn_is_the_hessian_of_softmax_regression() -> None:
    case = cases.make((4, 3), weighted=True)
    v = cases.direction(case)
    trace, errors = case.passes()
    ggn = cases.compiled(
        byproducts.ggn_vector_product, case.params, trace, v, weights=case.weights
    )
    hessian = cases.compiled(
        byproducts.hessian_vector_product, case.params, trace, errors, v
    )
    assert cases.error(ggn, hessian) < 1e-12


def test_hessian_product_needs_a_second_derivative() -> None:
    case = cases.make()
    sine = handgrad.Activation(jnp.sin, lambda d, a: jnp.cos(d))
    trace = handgrad.forward(case.params, case.x, activation=sine)
    errors = handgrad.deltas(case.params, trace, case.targets)
    with pytest.raises(ValueError, match="^`activation` must have a second derivative"):
        cases.compiled(
            byproducts.hessian_vector_product, case.params, trace, errors, case.params
        )


def test_vector_of_other_shapes_is_refused() -> None:
    case = cases.make()
    trace, _ = case.passes()
    with pytest.raises(ValueError, match="^`vector` must have the structure"):
        cases.compiled(
            byproducts.ggn_vector_product, case.params, trace, case.params[:1]
        )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_products_keep_the_dtype_of_the_parameters(dtype: str) -> None:
    case = cases.make(dtype=jnp.dtype(dtype), samples=5)
    trace, errors = case.passes()
    for came in (
        cases.compiled(byproducts.ggn_vector_product, case.params, trace, case.params),
        cases.compiled(
            byproducts.hessian_vector_product, case.params, trace, errors, case.params
        ),
    ):
        assert {leaf.dtype.name for leaf in jax.tree.leaves(came)} == {dtype}
