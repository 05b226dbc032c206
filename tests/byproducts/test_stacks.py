"""By-products of a stack of equal layers are those of its layers, in stacks."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from helpers import GRADIENT, assert_close, batch, compiled, network

import handgrad as hg
from handgrad import byproducts
from handgrad.byproducts import KroneckerFactors

SIZES = (4, *[5] * 6, 3)
SAMPLES = 7

OPTIONS: dict[str, dict[str, Any]] = {
    "per_sample_gradients": {},
    "per_sample_norms": {"per_layer": True},
    "clipped_gradient": {"clip_norm": 0.1},
    "second_moment": {},
    "variance": {},
    "gradient_snr": {},
    "noise_scale": {},
    "kronecker_factors": {},
    "health": {"saturation": 0.3},
    "ggn_diagonal": {"params": ()},
    "ggn_vector_product": {"params": (), "vector": ()},
    "hessian_vector_product": {"params": (), "vector": ()},
}


def found(stacked: bool, name: str, *, weighted: bool, activation: str) -> Any:
    """A by-product of one network, its layers apart or in a stack; layers apart again.

    The masks are of the network as it comes, so both draw the same ones.
    """
    data = batch(SIZES, SAMPLES)
    trees = {"params": network(SIZES), "vector": network(SIZES, seed=1)}
    if stacked:
        trees = {
            key: hg.stack_layers(tree, activation=activation, above=1)
            for key, tree in trees.items()
        }
    options = {
        key: trees.get(key, value) for key, value in OPTIONS.get(name, {}).items()
    }

    @compiled
    def run() -> Any:
        params, key = trees["params"], jax.random.key(0)
        masks = hg.dropout_masks(key, params, SAMPLES, hidden=0.3) if weighted else None
        trace = hg.forward(params, data.x, activation=activation, masks=masks)
        weights = data.weights.at[1].set(0) if weighted else None
        errors = hg.deltas(params, trace, data.distribution, weights=weights)
        if name == "exact kronecker factors":
            roots = byproducts.exact_deltas(params, trace, weights=weights)
            return byproducts.kronecker_factors(trace, roots)
        if name == "clipped per layer":
            return byproducts.clipped_gradient(
                trace, errors, clip_norm=0.1, per_layer=True
            )
        if name == "private_gradient":
            return byproducts.private_gradient(
                key,
                trace,
                errors,
                clip_norm=0.1,
                noise_multiplier=0.0,
                expected_batch_size=5,
            )
        return byproducts.collect(trace, errors, {name: options})[name]

    return apart(run())


def apart(tree: Any) -> Any:
    """Layers apart, where the tree is one of layers."""
    if not isinstance(tree, tuple) or not isinstance(tree[0], tuple):
        return tree
    layers: list[Any] = list(tree)
    if isinstance(layers[0], KroneckerFactors):
        return [
            KroneckerFactors(*parts)
            for layer in layers
            for parts in ([layer] if layer.inputs.ndim == 2 else zip(*layer))  # noqa: B905
        ]
    if layers[0].weight.ndim == 3:  # of every sample
        return jax.vmap(hg.unstack_layers)(tuple(layers))
    return hg.unstack_layers(tuple(layers))


@pytest.mark.parametrize(
    ("weighted", "activation"), [(False, "tanh"), (True, "gelu"), (True, "relu")]
)
@pytest.mark.parametrize(
    "name",
    [*OPTIONS, "exact kronecker factors", "clipped per layer", "private_gradient"],
)
def test_by_products_of_a_stack_are_those_of_its_layers(
    name: str, weighted: bool, activation: str
) -> None:
    given = {"weighted": weighted, "activation": activation}
    assert_close(found(True, name, **given), found(False, name, **given), GRADIENT)


def test_a_by_product_has_the_structure_of_the_stack() -> None:
    params, data = hg.stack_layers(network(SIZES), above=1), batch(SIZES, SAMPLES)
    trace = hg.forward(params, data.x)
    errors = hg.deltas(params, trace, data.labels)
    clipped = byproducts.clipped_gradient(trace, errors, clip_norm=jnp.inf)
    assert jax.tree.map(jnp.shape, clipped) == jax.tree.map(jnp.shape, params)
    of_samples = byproducts.per_sample_gradients(trace, errors)
    assert of_samples[1].weight.shape == (SAMPLES, 4, 5, 5)
    assert of_samples[1].bias.shape == (SAMPLES, 4, 5)


@pytest.mark.parametrize("k", range(1, 8))
def test_health_counts_every_layer_of_a_stack(k: int) -> None:
    """The first value that is not finite, forward and backward."""
    layers, data = list(network(SIZES)), batch(SIZES, SAMPLES)
    stacked = hg.stack_layers(tuple(layers), above=1)
    trace = hg.forward(stacked, data.x)
    errors = hg.deltas(stacked, trace, data.labels)
    planted = list(errors.layers)
    if 2 <= k <= 5:
        planted[1] = planted[1].at[k - 2, 0, 0].set(jnp.nan)
    else:
        planted[k - 1 if k == 1 else k - 4] *= jnp.inf
    report = byproducts.health(trace, replace(errors, layers=tuple(planted)))
    assert (int(report.stage), int(report.layer)) == (2, k)

    weight = layers[k - 1].weight.at[0, 0].set(jnp.nan)
    layers[k - 1] = layers[k - 1]._replace(weight=weight)
    stacked = hg.stack_layers(tuple(layers), above=1)
    trace = hg.forward(stacked, data.x)
    report = byproducts.health(trace, hg.deltas(stacked, trace, data.labels))
    assert (int(report.stage), int(report.layer)) == (1, k)
    assert report.delta_rms.shape == (7,)
