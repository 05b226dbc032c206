"""Gradients of single samples, their norms, and clipping, against autodiff."""

import functools
from dataclasses import replace
from itertools import product
from typing import Any

import byproduct_cases as cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import handgrad
from handgrad import byproducts

EACH = pytest.mark.parametrize("variant", cases.VARIANTS)


def counted(case: cases.Case, gradients: Any) -> handgrad.Params:
    """Of samples with weight 0 nothing is known: 0."""
    counts = case.w != 0
    return jax.tree.map(
        lambda g: g * counts.reshape(-1, *(1,) * (g.ndim - 1)), gradients
    )


def clipped_reference(
    g: handgrad.Params, w: np.ndarray, *, per_layer: bool, automatic: bool
) -> handgrad.Params:
    """sum_i w_i c_i g_i / sum w, every g_i formed, C the median of all norms."""
    parts = [(layer,) for layer in g] if per_layer else [g]
    clip_norm = np.median(np.linalg.norm(cases.rows(g), axis=1)) / len(parts) ** 0.5
    done = []
    for part in parts:
        norms = np.linalg.norm(cases.rows(part), axis=1)
        c = clip_norm / (norms + 0.01)
        if not automatic:
            c = np.array([clip_norm / n if n > clip_norm else 1.0 for n in norms])
        c = c * w / w.sum()
        done += jax.tree.map(lambda leaf, c=c: np.tensordot(c, leaf, 1), part)
    return tuple(done)


@EACH
def test_per_sample_gradients_are_those_of_autodiff(variant: str) -> None:
    case = cases.make(**cases.VARIANTS[variant])
    came = cases.found(variant)["per_sample_gradients"]
    assert cases.error(came, counted(case, cases.judged(variant).gradients)) < 1e-10


@EACH
def test_norms_are_those_of_the_formed_gradients(variant: str) -> None:
    case = cases.make(**cases.VARIANTS[variant])
    g = counted(case, cases.judged(variant).gradients)
    came = cases.found(variant)
    whole = np.linalg.norm(cases.rows(g), axis=1)
    assert cases.error(came["per_sample_norms"], whole) < 1e-10
    layers = [np.linalg.norm(cases.rows(layer), axis=1) for layer in g]
    assert cases.error(came["norms per layer"], np.stack(layers, axis=1)) < 1e-10


@EACH
def test_clipped_gradient_is_that_of_the_formed_gradients(variant: str) -> None:
    case = cases.make(**cases.VARIANTS[variant])
    g = counted(case, cases.judged(variant).gradients)
    for per_layer, automatic in product((False, True), repeat=2):
        came = cases.found(variant)[cases.CLIPPED.format(per_layer, automatic)]
        expected = clipped_reference(
            g, case.w, per_layer=per_layer, automatic=automatic
        )
        assert cases.error(came, expected) < 1e-10


def test_float32_clipped_sum_is_within_1e_6_of_the_formed_one() -> None:
    case = cases.make((20, 16, 10), samples=64, dtype=jnp.float32)
    came = cases.compiled(
        byproducts.clipped_gradient, *case.passes(), clip_norm=1.0, divide_by=1
    )
    g = cases.compiled(byproducts.per_sample_gradients, *case.passes())
    clipped, _ = cases.compiled(
        optax.per_example_global_norm_clip, jax.tree.leaves(g), l2_norm_clip=1.0
    )
    assert cases.error(jax.tree.leaves(came), clipped) < 1e-6


@EACH
def test_no_clipping_is_the_gradient_bit_for_bit(variant: str) -> None:
    came = cases.found(variant)
    assert cases.error(came["unclipped"], came["gradient"]) == 0


@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    samples=st.integers(1, 5),
    weighted=st.booleans(),
)
def test_any_shape(sizes: list[int], samples: int, weighted: bool) -> None:
    case = cases.make(tuple(sizes), samples=samples, weighted=weighted)

    @functools.partial(jax.jit, compiler_options=cases.FAST)
    def both() -> Any:
        passes = case.passes()
        return (
            byproducts.per_sample_gradients(*passes),
            byproducts.per_sample_norms(*passes),
        )

    g, norms = both()
    assert cases.error(g, counted(case, cases.sample_gradients(case))) < 1e-10
    assert cases.error(norms, np.linalg.norm(cases.rows(g), axis=1)) < 1e-10


def test_norms_count_the_bias() -> None:
    """By hand: x = 0, so the weight's gradient is 0; d = (0, 0), a_L = (1/2, 1/2)."""
    params = (handgrad.Layer(jnp.ones((1, 2)), jnp.zeros(2)),)
    trace = handgrad.forward(params, jnp.zeros((1, 1)))
    errors = handgrad.deltas(params, trace, jnp.array([0]))
    norm = byproducts.per_sample_norms(trace, errors)
    assert float(norm[0]) == pytest.approx(0.5**0.5, rel=1e-12)


def test_half_precision_norms_do_not_overflow() -> None:
    a = jnp.full((1, 64), 300.0, jnp.float16)  # 300^2 * 64 is beyond float16
    passes = cases.one_layer(a, jnp.ones((1, 2), jnp.float16))
    norms = byproducts.per_sample_norms(*passes)
    assert norms.dtype == jnp.float32
    assert float(norms[0]) == pytest.approx((2 * (64 * 300**2 + 1)) ** 0.5, rel=1e-3)


def test_bfloat16_gradients_keep_their_dtype() -> None:
    case = cases.make(dtype=jnp.bfloat16)
    formed = cases.compiled(byproducts.per_sample_gradients, *case.passes())
    clipped = cases.compiled(byproducts.clipped_gradient, *case.passes(), clip_norm=1.0)
    for came in (formed, clipped):
        assert {leaf.dtype.name for leaf in jax.tree.leaves(came)} == {"bfloat16"}


def test_deltas_that_do_not_fit_are_refused() -> None:
    trace, errors = cases.make().passes()
    with pytest.raises(ValueError, match="^`deltas` must have the shapes"):
        byproducts.per_sample_norms(trace, replace(errors, layers=errors.layers[1:]))
    bare: Any = errors.layers
    with pytest.raises(TypeError, match="^`deltas` must be what `deltas` returns"):
        byproducts.per_sample_norms(trace, bare)


@pytest.mark.parametrize("scale", [2.0**-30, 1.0, 2.0**20])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_speaks_of_single_samples_does_not_know_what_they_count(
    dtype: str, scale: float
) -> None:
    """|g_i| of samples that count 1 and 1/1000 are those of each alone."""
    case = cases.make((4, 5, 3), dtype=dtype)
    w = jnp.array([1, 1e-3, 1, 1e-3, 2, 1], "float32")
    weighted = case._replace(weights=scale * w)
    came, plain = (
        cases.compiled(byproducts.per_sample_norms, *each.passes())
        for each in (weighted, case)
    )
    # float16 deltas carry s_i, which takes ten bits of the smallest: 2^-24 is left.
    tolerance = 2e-3 if dtype == "float16" else 1e-6
    assert cases.error(came, plain) < tolerance
