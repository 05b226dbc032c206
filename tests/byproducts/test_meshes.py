"""By-products on meshes of four devices, Auto and Explicit, and in `jax.shard_map`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from helpers import GRADIENT, assert_close, compiled
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from meshes import LAYOUTS, lay, lies_like, same_on, traced_on, will_lie_like

import handgrad as hg
from handgrad import byproducts

ALONE = {
    **{name: {} for name in ("per_sample_gradients", "second_moment", "variance")},
    **{name: {} for name in ("per_sample_norms", "noise_scale", "health")},
    "kronecker_factors": {},
    "clipped_gradient": {"clip_norm": 0.3, "per_layer": True, "divide_by": 3.0},
}
LIKE_PARAMETERS = {"second_moment", "variance", "clipped_gradient", "gradient"}


def first_order(params: Any, x: Any, labels: Any, soft: Any, weights: Any) -> Any:
    trace = hg.forward(params, x, activation="gelu")
    errors = hg.deltas(params, trace, soft, weights=weights)
    return byproducts.collect(trace, errors, ALONE)


def curvature(params: Any, x: Any, labels: Any, soft: Any, weights: Any) -> Any:
    trace = hg.forward(params, x, activation="gelu")
    errors = hg.deltas(params, trace, soft, weights=weights)
    what: dict[str, Any] = {"ggn_diagonal": {"params": params}}
    for name in ("ggn_vector_product", "hessian_vector_product"):
        what[name] = {"params": params, "vector": jax.tree.map(jnp.sin, params)}
    exact = byproducts.exact_deltas(params, trace, targets=soft, weights=weights)
    factors = byproducts.kronecker_factors(trace, exact)
    return {**byproducts.collect(trace, errors, what), "factors": factors}


def private(params: Any, x: Any, labels: Any, soft: Any, weights: Any) -> Any:
    trace = hg.forward(params, x)
    errors = hg.deltas(params, trace, labels, weights=weights > 0)
    return {
        "gradient": byproducts.private_gradient(
            *(jax.random.key(0), trace, errors),
            clip_norm=0.3,
            noise_multiplier=0.7,
            expected_batch_size=4.0,
        )
    }


FUNCTIONS = (first_order, curvature, private)
EXPLICIT, AUTO = AxisType.Explicit, AxisType.Auto
COMPILED = [
    *((EXPLICIT, "both", function) for function in FUNCTIONS),
    (EXPLICIT, "data", first_order),
    (EXPLICIT, "model", curvature),
    (EXPLICIT, "fsdp", private),
    (AUTO, "both", first_order),
    (AUTO, "both", private),
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
    for name in traced.keys() & LIKE_PARAMETERS:
        assert will_lie_like(traced[name], laid.params), name


@pytest.mark.parametrize(("kind", "layout", "function"), COMPILED)
def test_on_a_mesh_the_same_comes_and_lies_where_the_parameters_do(
    kind: AxisType, layout: str, function: Callable[..., Any]
) -> None:
    laid = lay(layout, kind)
    came = same_on(laid, function)
    if kind is EXPLICIT:  # on an Auto mesh where all lies is the compiler's
        for name in came.keys() & LIKE_PARAMETERS:
            assert lies_like(came[name], laid.params), name


def test_in_shard_map_statistics_are_those_of_the_shard() -> None:
    """Gradients are summed over the shards, as JAX's are; statistics are not."""
    laid = lay("data", AxisType.Auto)
    params, x, labels, soft, weights = laid.plain
    split = (P(), *[P("data")] * 4)

    def of_shard(*problem: Any) -> Any:
        found = first_order(*problem)
        varying = {"second_moment": found["second_moment"], "mean": found["variance"]}
        stacked = jax.tree.map(lambda leaf: leaf[None], varying)
        return found["gradient"], found["clipped_gradient"], stacked

    mapped = jax.shard_map(
        of_shard, mesh=laid.mesh, in_specs=split, out_specs=(P(), P(), P("data"))
    )
    gradient, clipped, statistics = jax.device_get(compiled(mapped)(*laid.problem))
    of_part = compiled(first_order)
    each = [
        of_part(params, x[i : i + 2], labels[i : i + 2], soft[i : i + 2], w)
        for i in range(0, 8, 2)
        for w in [weights[i : i + 2]]
    ]

    def total(name: str) -> Any:
        return jax.tree.map(lambda *leaves: sum(leaves), *[one[name] for one in each])

    assert_close(gradient, jax.device_get(total("gradient")), GRADIENT)
    assert_close(clipped, jax.device_get(total("clipped_gradient")), GRADIENT)
    for name, known in (("second_moment", "second_moment"), ("mean", "variance")):
        stacked = jax.tree.map(
            lambda *leaves: jnp.stack(leaves), *[one[known] for one in each]
        )
        assert_close(statistics[name], jax.device_get(stacked), GRADIENT)
